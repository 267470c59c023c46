"""Scribbles and strokes: codes, journal, brush, slices between, automatic and imitated ones."""
