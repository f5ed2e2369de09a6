"""Config beside ModelScope's: reading, access, merging, copying, writing, for files of several sizes.

Both sides read the same file, and must give the same values before anything is measured.
"""

from __future__ import annotations

import copy
import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.folders import configuration
from benchmarks.measure import Timer, each, repeated

__all__ = ["OPERATIONS", "growth", "operation", "pretty", "read"]


def _both(scratch: Path, size: int) -> tuple[str, Any, Any]:
    """Write a file of `size` bytes; return its path and the two classes."""
    from modelscope.utils.config import Config as TheirConfig

    from modelscope_ext.utils.config import Config

    path = str(configuration(scratch / f"configuration-{size}.json", size))
    if Config.from_file(path).to_dict() != TheirConfig.from_file(path).to_dict():
        raise AssertionError(f"the two read {path} differently")
    return path, Config, TheirConfig


def _tidy(size: int) -> Callable[[], object]:
    """Rounds start with a clean heap, so that neither side pays for the other's garbage."""
    return gc.collect if size > 50_000 else lambda: None


def read(scratch: Path, *, size: int) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    path, ours, theirs = _both(scratch, size)
    return (
        ("Config.from_file", repeated(lambda: ours.from_file(path), before=_tidy(size))),
        ("ModelScope's Config.from_file", repeated(lambda: theirs.from_file(path), before=_tidy(size))),
    )


def _access(cfg: Any) -> Any:
    for _ in range(100):
        found = (cfg.framework, cfg.model.type, cfg.model.hidden_size, cfg.preprocessor.label2id.neg, cfg["task"])
    return found


def _merge(cfg: Any) -> Any:
    cfg.merge_from_dict({"model.hidden_size": 1024, "preprocessor.label2id": {"odd": 2}, "pipeline.type": "other"})
    return cfg


#: Operation -> (how it reads in code, what is done with a Config).
OPERATIONS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "access": ("cfg.model.type, 500 times", _access),
    "merge": ("cfg.merge_from_dict({...})", _merge),
    "deepcopy": ("copy.deepcopy(cfg)", copy.deepcopy),
    "dump": ("cfg.dump('x.json')", lambda cfg: cfg.dump("x.json") or Path("x.json").read_text("utf-8")),
}


def operation(scratch: Path, *, name: str, size: int) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    """Measure one of `OPERATIONS`, whose results are compared first."""
    path, ours, theirs = _both(scratch, size)
    what, work = OPERATIONS[name]
    into = str(scratch / "x.json")

    def side(kind: Any) -> tuple[Callable[[], Any], Any]:
        cfg = kind.from_file(path)
        if name == "dump":
            return (lambda: cfg.dump(into)), cfg
        return (lambda: work(cfg)), cfg

    (our_work, our_cfg), (their_work, their_cfg) = side(ours), side(theirs)
    results = []
    for run, cfg in ((our_work, our_cfg), (their_work, their_cfg)):
        result = run()
        results.append(json.loads(Path(into).read_text("utf-8")) if name == "dump" else _plain(result or cfg))
    if results[0] != results[1]:
        raise AssertionError(f"{what}: the two give different values")
    return (
        (what, repeated(our_work, before=_tidy(size))),
        (f"{what}, ModelScope's", repeated(their_work, before=_tidy(size))),
    )


def _plain(value: Any) -> Any:
    return value.to_dict() if callable(getattr(value, "to_dict", None)) else value


def pretty(scratch: Path, *, size: int) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    """Measure `pretty_text` against yapf on the same values; both texts are read back first."""
    from modelscope_ext.utils._config.dump import as_python
    from modelscope_ext.utils.config import Config

    cfg = Config.from_file(configuration(scratch / "pretty.json", size))
    values = cfg.to_dict()
    for text in (cfg.pretty_text, as_python(values, strict=True)):
        if Config.from_string(text, ".py", trust_remote_code=True).to_dict() != values:
            raise AssertionError("the text is not read back to the same values")
    return (
        ("cfg.pretty_text", repeated(lambda: cfg.pretty_text)),
        ("the same values through yapf", repeated(lambda: as_python(values, strict=True), rounds=1)),
    )


def growth(scratch: Path, *, small: int, large: int) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    """Return the time of one byte of a large file and of a small one."""
    from modelscope_ext.safety.limits import Limits
    from modelscope_ext.utils.config import Config

    sides, limits = [], Limits(json_bytes=2 * large, nodes=large)
    for size in (large, small):
        path = configuration(scratch / f"growth-{size}.json", size)
        timer, length = (
            repeated(lambda p=path: Config.from_file(p, limits=limits), before=_tidy(size)),
            path.stat().st_size,
        )
        sides.append((f"Config.from_file, {size / 1e6:g} MB, for each kB", each(timer, length / 1000)))
    return sides[0], sides[1]
