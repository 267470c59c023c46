"""Base models from a cohort: its file, its patients, splits, training, curves and tables."""
