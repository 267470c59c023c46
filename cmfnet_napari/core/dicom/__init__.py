"""DICOM in and out: importing a patient, exporting contours, a PACS. None knows another."""
