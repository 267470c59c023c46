"""DICOM in and out: what a clinic has, and what its planning system reads."""
