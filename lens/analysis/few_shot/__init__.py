"""Tasks learned from examples in the prompt: whether the model does them, and which heads carry them."""
