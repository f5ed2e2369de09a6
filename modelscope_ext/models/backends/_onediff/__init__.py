"""The parts of the onediff backend: the table of compilers and their options, and compiling what diffusers loaded."""
