"""What may be read, run and opened: limits, grants, bounded readers and checks of bytes."""
