"""The parts of the diffusers backend: the plan, loading, the check of the weights, tasks, runs."""
