"""Parts of the mindformers backend."""
