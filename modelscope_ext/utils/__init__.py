"""Helpers below every other part: Config, Registry, requirement checks, text and records."""
