"""Contours out as DICOM: written aside, read back and checked, then moved into place."""
