"""Step 1, opening a patient: files, a DICOM folder looked through, a case, a sample."""
