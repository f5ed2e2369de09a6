"""Builders of tiny random models: small enough to make in every test run, real enough to load with their library."""
