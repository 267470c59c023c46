"""Images, strokes, contours, the case, DICOM, reports: no torch, no Qt, no napari."""
