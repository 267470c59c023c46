"""Step 3, training: a fit followed, brought up to date, and its previews gone back to."""
