"""The parts of the backend `modelscope_`."""
