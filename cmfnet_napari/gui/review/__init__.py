"""Step 4, looking a contour over: places in doubt, slices seen."""
