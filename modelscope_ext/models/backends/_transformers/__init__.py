"""The parts of the transformers backend: the table of tasks, loading, the check of the weights, and the runners."""
