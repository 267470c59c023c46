"""Step 5, what is written: report and table, DICOM with its receipt, and on to a PACS."""
