"""Step 6 of 6: uniform inputs and outputs for every task."""
