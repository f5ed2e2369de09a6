"""Registries of 500 classes in 25 groups, ours and ModelScope's: looking one up, building one, and the first build.

ModelScope logs a warning at each build of a class that is not in its own index; its logger is told not to, so that what
is measured is the look-up.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from benchmarks.measure import Answering, Timer, repeated

__all__ = ["build", "first_build", "get"]


class _Thing:
    def __init__(self, size: int = 1) -> None:
        self.size = size


def _filled(kind: Any) -> Any:
    registry = kind("models")
    for number in range(500):
        made = type(f"Thing{number}", (_Thing,), {})
        registry.register_module(f"task-{number % 25}", f"thing-{number}", made)
    return registry


def _registries() -> tuple[Any, Any]:
    from modelscope.utils.logger import get_logger
    from modelscope.utils.registry import Registry as TheirRegistry

    from modelscope_ext.utils.registry import Registry

    get_logger().setLevel(logging.ERROR)
    return _filled(Registry), _filled(TheirRegistry)


def get(_: Path) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    ours, theirs = _registries()

    def times(registry: Any) -> Timer:
        def run() -> None:
            for _ in range(1000):
                registry.get("thing-7", "task-7")

        return repeated(run)

    return ("MODELS.get(name, task), 1,000 times", times(ours)), ("ModelScope's, the same call", times(theirs))


def build(_: Path) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    from modelscope.utils.registry import build_from_cfg as their_build

    from modelscope_ext.utils.registry import build_from_cfg

    ours, theirs = _registries()
    cfg = {"type": "thing-7", "size": 3}
    if build_from_cfg(cfg, ours, "task-7").size != their_build(cfg, theirs, "task-7").size:
        raise AssertionError("the two build different things")

    def times(make: Any, registry: Any) -> Timer:
        def run() -> None:
            for _ in range(100):
                make(cfg, registry, "task-7")

        return repeated(run)

    return (
        ("build_from_cfg(cfg, MODELS, task), 100 times", times(build_from_cfg, ours)),
        ("ModelScope's, the same call", times(their_build, theirs)),
    )


_FIRST = """
import json
class Thing:
    def __init__(self, size): self.size = size
registry = Registry("models")
registry.register_module("task", "thing", Thing)
print(json.dumps(build_from_cfg({"type": "thing", "size": 3}, registry, "task").size))
"""


def first_build(_: Path) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    """Measure from the start of the interpreter to the first thing built: ModelScope loads its index for that."""
    ours, theirs = (f"from {name}.utils.registry import Registry, build_from_cfg" for name in _PACKAGES)
    return ("import and build", Answering(ours + _FIRST)), ("ModelScope's", Answering(theirs + _FIRST))


_PACKAGES = ("modelscope_ext", "modelscope")
