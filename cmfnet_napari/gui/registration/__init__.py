"""Moving the second image onto the first: by the computer or by keys, kept or undone."""
