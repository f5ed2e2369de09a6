"""Step 2 and 3 of 6: a snapshot of one source, and the facts it states."""
