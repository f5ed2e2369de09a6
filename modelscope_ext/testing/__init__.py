"""For contributors: the conformance test class of backends."""
