"""A patient's DICOM in: which images, structures and registrations, and a case of them."""
