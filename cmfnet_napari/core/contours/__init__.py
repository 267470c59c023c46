"""Judging contours: parts, volumes, agreement with a reference, areas, doubt."""
