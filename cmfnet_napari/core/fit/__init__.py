"""What the window and the worker share of a fit: its settings, events, runs and model card."""
