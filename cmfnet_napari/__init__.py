"""Scribbles on CT and MR to a reviewed 3D tumour contour."""
