"""The fit of one patient: its loop, what it learns from, refining it, going back."""
