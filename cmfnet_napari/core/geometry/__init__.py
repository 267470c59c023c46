"""Boxes, distances, planes and surfaces, in the patient's millimetres."""
