"""The worker on another computer, over the system's ssh: see docs/how-to/remote.md."""
