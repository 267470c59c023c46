"""Geometry, files, scribbles, journal, configuration: no torch, no Qt, no napari."""
