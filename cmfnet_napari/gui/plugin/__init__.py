"""What napari.yaml names: files dropped, saved and sampled, and the Layers menu."""
