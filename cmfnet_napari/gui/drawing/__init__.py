"""Step 2, drawing: tools, brush, pens, classes, automatic strokes, and their keys."""
