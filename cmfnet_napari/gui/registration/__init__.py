"""Moving the MR onto the CT: by the computer or by keys, kept or undone."""
