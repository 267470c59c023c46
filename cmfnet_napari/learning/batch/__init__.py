"""A model over a cohort: contours, tables and pictures of patients that it was not trained on."""
