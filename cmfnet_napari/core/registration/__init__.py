"""Where the MR lies to the CT: finding it, keeping it, checking it."""
