"""The patient that is open: session, layers, classes, and every stroke recorded."""
