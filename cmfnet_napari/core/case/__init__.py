"""The case folder on disk: its card, images, structures, lock, and how it was looked at."""
