"""What every room uses: widgets, plots, shortcuts, work off the GUI thread."""
