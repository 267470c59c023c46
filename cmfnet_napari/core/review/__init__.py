"""Review: places to look at, and the record of what was looked at and decided."""
