"""Step 4 and 5 of 6: one decision with its reasons, and the load that follows from it."""
