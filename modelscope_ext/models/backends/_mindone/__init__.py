"""Parts of the mindone backend: the tasks it serves, loading, the check of the weights, and running."""
