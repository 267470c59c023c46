"""To and from a PACS, over DICOMweb or DICOM messages."""
