"""From studies and scribbles to tensors, and patches drawn from them."""
