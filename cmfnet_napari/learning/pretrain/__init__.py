"""A network for any structure, taught on material by simulated users."""
