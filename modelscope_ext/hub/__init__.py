"""Step 1 of 6: which hub or folder a model string means."""
