"""Reports: figures, curves, facts, and pages of PDF."""
