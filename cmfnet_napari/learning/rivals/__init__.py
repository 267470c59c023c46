"""The methods that the paper compares CmFNet with: networks, losses, labels that they make."""
