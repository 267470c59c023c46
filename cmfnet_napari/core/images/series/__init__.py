"""DICOM folders looked through: headers, slices in order, and their voxels."""
