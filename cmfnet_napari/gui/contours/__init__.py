"""Contours in the viewer: the network's, the provisional one, and what they are compared with."""
