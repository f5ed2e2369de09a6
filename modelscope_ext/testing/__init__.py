"""For contributors: the conformance test class of backends."""

from __future__ import annotations

from modelscope_ext.testing.conformance import BackendConformance

__all__ = ["BackendConformance"]
