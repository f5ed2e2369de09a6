"""Step 5 of 6, mindone: did every weight arrive? mindone fills what is missing with random numbers and warns.

Folders written by a newer transformers may name tensors otherwise than mindone's class does (CLIP's text encoder
without ``text_model.``): that is an error here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from modelscope_ext.errors import WeightsMismatch
from modelscope_ext.safety.limits import Limits
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import listing, printable

__all__ = ["Checkpoint", "drop_random_pooler", "judge"]

#: Spelling of a dtype in safetensors -> its name.
_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
_ADVICE = (
    "Pick a task this checkpoint was trained for, or pass allow_missing_weights=True to get a model whose missing"
    " weights are random."
)


@dataclass(frozen=True)
class Checkpoint:
    """The safetensors of one model.

    Attributes:
        files: Their paths.
        names: Of all tensors.
        dtype: The name of the dtype that most elements have.
    """

    files: tuple[Path, ...]
    names: frozenset[str]
    dtype: str

    @classmethod
    def of(cls, folder: Path, files: Iterable[str], limits: Limits, source: str) -> Checkpoint:
        """Read the headers of the files."""
        from modelscope_ext.safety.headers import read_header

        names: set[str] = set()
        stored: dict[str, int] = {}
        paths = tuple(folder / name for name in files)
        for path in paths:
            with path.open("rb") as file:

                def read(start: int, count: int, file: Any = file) -> bytes:
                    file.seek(start)
                    return bytes(file.read(count))

                header = read_header(
                    "safetensors", partial(read), path.stat().st_size, file=path.name, limits=limits, source=source
                )
            if header is not None:
                names |= set(header.tensors)
                for dtype, count in header.dtypes.items():
                    stored[dtype] = stored.get(dtype, 0) + count
        known = {name: count for name, count in stored.items() if name in _DTYPES}
        return cls(paths, frozenset(names), _DTYPES[max(known, key=known.__getitem__)] if known else "float32")


def judge(model: Any, info: Mapping[str, Any], name: str, *, strict: bool, what: str = "") -> None:
    """Raise WeightsMismatch where weights are missing, left over or of another shape; log it where not `strict`.

    Args:
        model: The loaded model.
        info: What mindone says about loading.
        name: How the user named the model.
        strict: False with ``allow_missing_weights=True``.
        what: The component, of a pipeline.
    """
    odd = sorted(_shapes(entry) for entry in info.get("mismatched_keys") or ())
    named = {entry.partition(" ")[0] for entry in odd}
    problems = [
        f"{len(keys)} {text} ({listing(map(printable, keys), 6)})"
        for text, keys in (
            ("weights are not in the checkpoint and would be random", sorted(_missing(model, info) - named)),
            ("weights of the checkpoint have another shape than config.json says", odd),
            ("weights of the checkpoint have no place in the model", _left_over(model, info)),
            ("errors were met", [" ".join(str(one).split())[:200] for one in info.get("error_msgs") or ()]),
        )
        if keys
    ]
    if not problems:
        return
    part = f"{what} " if what else ""
    message = f"{name}: {part}loaded by mindone as {type(model).__name__}, {'; '.join(problems)}."
    if strict:
        raise WeightsMismatch(f"{message} {_ADVICE}")
    logger.warning("%s Continuing, as allow_missing_weights=True asks.", message)


def _missing(model: Any, info: Mapping[str, Any]) -> set[str]:
    """Return the missing names without those that are another name of a parameter that is there (tied weights)."""
    names: dict[int, set[str]] = {}
    for path, cell in model.cells_and_names():
        for name, parameter in cell._params.items():
            names.setdefault(id(parameter), set()).add(f"{path}.{name}" if path else name)
    missing = set(info.get("missing_keys") or ())
    tied = {name for same in names.values() if same - missing for name in same}
    return missing - tied


def _shapes(entry: Any) -> str:
    name, theirs, ours = entry
    return f"{name} is {tuple(theirs)}, not {tuple(ours)}"


def _left_over(model: Any, info: Mapping[str, Any]) -> list[str]:
    """Return those of the unexpected names that show that the model is not what was saved: see `_is_inside`."""
    cells = dict(model.cells_and_names())
    base = getattr(model, "base_model_prefix", "")
    keys = info.get("unexpected_keys") or ()
    return sorted(key for key in keys if _is_inside(cells, key) or _is_inside(cells, key.removeprefix(f"{base}.")))


def _is_inside(cells: Mapping[str, Any], key: str) -> bool:
    """Whether the deepest cell of the model on the path of `key` is a list of layers or has weights of its own."""
    parent = key
    while "." in parent:
        parent = parent.rpartition(".")[0]
        cell = cells.get(parent)
        if cell is not None:
            is_list = type(cell).__name__ in ("CellList", "CellDict", "ModuleList") and bool(len(cell))
            return is_list or bool(cell._params)
    return False


#: Tasks whose answers do not pass through an encoder's pooler.
_WITHOUT_POOLER = frozenset(("feature-extraction", None))


def drop_random_pooler(model: Any, info: dict[str, Any], task: str | None) -> None:
    """Take a pooler without weights off an encoder whose answers do not pass through it, as for transformers."""
    missing = set(info.get("missing_keys") or ())
    pooler = getattr(model, "pooler", None)
    keys = {f"pooler.{one}" for one, _ in pooler.parameters_and_names()} if pooler is not None else set()
    keys = {key.replace("pooler.pooler.", "pooler.") for key in keys}
    if task not in _WITHOUT_POOLER or not keys or not keys <= missing:
        return
    model.pooler = None
    info["missing_keys"] = missing - keys
