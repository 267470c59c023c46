"""Images: Grid, Volume and Study, how they are read, and what guards against bad files."""
