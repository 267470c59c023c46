"""The network of the paper, its losses and its files."""
