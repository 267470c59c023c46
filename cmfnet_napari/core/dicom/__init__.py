"""DICOM in and out: series, structure sets, segmentations, registrations."""
