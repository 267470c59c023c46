"""Whole volumes through the network, in tiles that fit the memory."""
