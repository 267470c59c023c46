"""Sample patients: a synthetic one, and a real one that is downloaded."""
