"""CmFNet, its losses, training and prediction: the only room that imports torch."""
