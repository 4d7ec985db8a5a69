"""The model, what is inside it, and its file."""
