"""Did every weight arrive? ModelScope's classes keep random numbers where a checkpoint lacks some, and log it at most.

Two ways lead into a network: `torch.nn.Module.load_state_dict`, whose answer is noted here whoever asks for it, and
transformers' own loader, which reports in its log and nowhere else.
"""

from __future__ import annotations

import ast
import logging
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from modelscope_ext.errors import WeightsMismatch
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import listing, printable

__all__ = ["Arrivals", "check_arrivals", "mismatch_of", "watched"]

#: What transformers 4.57 and diffusers say of a checkpoint, and the kind of their list of names.
_REPORTS = (
    (re.compile(r"not initialized from the model checkpoint at .*?newly initialized: (\[.*?\])", re.DOTALL), "lost"),
    (
        re.compile(r"weights of the model checkpoint at .*? not used when initializing \w+: (\[.*?\])", re.DOTALL),
        "left",
    ),
)
#: What transformers 5 says, a table with a line for each weight.
_TABLE = {"MISSING": "lost", "MISMATCH": "lost", "UNEXPECTED": "left"}
_LOGGERS = ("transformers.modeling_utils", "diffusers.models.modeling_utils")
#: What torch says of a checkpoint that does not fit: whose names, and their kind.
_COMPLAINTS = (
    (re.compile(r"Missing key\(s\) in state_dict: (.+?)\. ?$", re.MULTILINE), "weights are not in the checkpoint"),
    (re.compile(r"Unexpected key\(s\) in state_dict: (.+?)\. ?$", re.MULTILINE), "weights have no place in the model"),
    (re.compile(r"size mismatch for ([\w.]+):"), "weights have another shape than the model"),
)


@dataclass
class Arrivals:
    """What was said while a model was loaded.

    Attributes:
        networks: Each network that got a state dict, and what its parameters are called.
        arrived: Identities of the parameters that a state dict had values for.
        reports: Lines of transformers' log.
    """

    networks: dict[int, Any] = field(default_factory=dict)
    arrived: set[int] = field(default_factory=set)
    reports: list[str] = field(default_factory=list)

    def missing(self) -> list[str]:
        """Return the names of parameters that no checkpoint had values for."""
        names = {
            name
            for network in self.networks.values()
            for name, parameter in network.named_parameters()
            if id(parameter) not in self.arrived
        }
        return sorted({*names, *self._reported("lost")})

    def left_over(self) -> list[str]:
        """Return the names of transformers' checkpoints that no parameter had a place for."""
        return sorted(self._reported("left"))

    def _reported(self, kind: str) -> set[str]:
        found: set[str] = set()
        for line in self.reports:
            for pattern, said in _REPORTS:
                for names in pattern.findall(line) if said == kind else ():
                    found |= set(ast.literal_eval(names))
            for row in re.sub(r"\x1b\[[0-9;]*m", "", line).splitlines():
                cells = [cell.strip() for cell in row.split("|")]
                if len(cells) > 1 and _TABLE.get(cells[1]) == kind:
                    found.add(cells[0])
        return found


@contextmanager
def watched() -> Iterator[Arrivals]:
    """Note what this thread loads into networks while the body runs; the loading itself is unchanged."""
    import torch

    seen, thread = Arrivals(), threading.get_ident()
    plain = torch.nn.Module.load_state_dict

    def noted(network: Any, state: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        answer = plain(network, state, *args, **kwargs)
        if threading.get_ident() == thread:
            lost = set(getattr(answer, "missing_keys", ()))
            seen.networks[id(network)] = network
            seen.arrived |= {id(one) for name, one in network.named_parameters() if name not in lost}
        return answer

    torch.nn.Module.load_state_dict = noted
    try:
        with _reported(seen.reports):
            yield seen
    finally:
        torch.nn.Module.load_state_dict = plain


@contextmanager
def _reported(lines: list[str]) -> Iterator[None]:
    """Collect what the libraries log of weights while they load."""

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler, before = Collect(logging.INFO), []
    for name in _LOGGERS:
        theirs = logging.getLogger(name)
        before.append((theirs, theirs.level, theirs.propagate))
        theirs.addHandler(handler)
        theirs.setLevel(logging.INFO)  # of what is left over it speaks at INFO, for most classes
        theirs.propagate = False
    try:
        yield
    finally:
        for theirs, level, propagate in before:
            theirs.removeHandler(handler)
            theirs.setLevel(level)
            theirs.propagate = propagate


def check_arrivals(seen: Arrivals, model: Any, source: str, *, allowed: bool) -> None:
    """Raise for weights that are random, or that show that the model is smaller than its checkpoint.

    Raises:
        WeightsMismatch: With the names of the weights.
    """
    from modelscope_ext.models.backends._transformers.weights import left_over

    missing = seen.missing()
    extra = left_over(model, seen.left_over()) if hasattr(model, "named_modules") else []
    seen.networks.clear()
    said = [
        f"{len(keys)} {what} ({listing(map(printable, keys), 6)})"
        for what, keys in (
            ("weights are not in the checkpoint and would be random", missing),
            ("weights of the checkpoint have no place in the model", extra),
        )
        if keys
    ]
    if not said:
        return
    message = f"{printable(source)}: loaded by ModelScope as {type(model).__name__}, {'; '.join(said)}."
    if not allowed:
        raise WeightsMismatch(
            f"{message} Complete the checkpoint, or pass allow_missing_weights=True to get a model whose missing"
            " weights are random."
        )
    logger.warning("%s Continuing, as allow_missing_weights=True asks.", message)


def mismatch_of(error: BaseException, source: str) -> WeightsMismatch | None:
    """Return the error for a checkpoint that torch found not to fit, or None for another failure."""
    text = str(error)
    if "state_dict" not in text and "size mismatch" not in text:
        return None
    said = []
    for pattern, what in _COMPLAINTS:
        names = [name.strip().strip('"') for found in pattern.findall(text) for name in found.split(", ")]
        if names:
            said.append(f"{len(names)} {what} ({_named(names)})")
    detail = "; ".join(said) or printable(" ".join(text.split()), 300)
    return WeightsMismatch(
        f"{printable(source)}: the checkpoint does not fit the model that configuration.json describes: {detail}."
        " ModelScope loads this type whole or not at all."
    )


def _named(names: Sequence[str]) -> str:
    return listing(map(printable, names), 6)
