"""Speed against the incumbents, side by side in one run: ``python -m benchmarks [ROW ...]`` or ``make bench``."""
