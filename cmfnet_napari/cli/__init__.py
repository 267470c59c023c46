"""The ``cmfnet`` command: one small function a command."""
