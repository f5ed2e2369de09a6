"""The parts of `utils.config`: building, reading, merging, checking and writing a configuration."""
