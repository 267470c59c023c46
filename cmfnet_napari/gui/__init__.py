"""The napari window: layers, views, panels and the worker's client. Never imports torch."""
