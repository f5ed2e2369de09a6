"""Coverage-guided fuzzing of every reader of a stranger's bytes; see `__main__`."""
