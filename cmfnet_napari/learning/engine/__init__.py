"""Training, one step after another: device, state on disk, memory that runs out."""
