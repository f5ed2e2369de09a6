"""Tests of the package; the folders mirror it, and `reference.py` asks other libraries in a process of their own."""
