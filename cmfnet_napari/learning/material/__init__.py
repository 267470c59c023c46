"""Material to teach from: pieces of contours, objects found without labels, made-up anatomy."""
