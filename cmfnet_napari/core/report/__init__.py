"""Reports: figures, curves, facts, and one page of PDF."""
