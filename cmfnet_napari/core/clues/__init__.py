"""What strokes tell of the voxels between them, before anything is trained."""
