"""Which of the models in a library's format a backend here can load, where that is not all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from modelscope_ext.models.backends._mindformers.settings import architecture_in
from modelscope_ext.models.backends._mindformers.tables import ARCHITECTURES
from modelscope_ext.models.decision import tables

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence

__all__ = ["LOADABLE"]

#: Parts of the names of GGUF files that are no models of their own.
_PARTS = ("mmproj", "imatrix")


def _gguf(evidence: Evidence) -> bool:
    """Language models that transformers knows; where no header could be read, all that are no mere projector."""
    files = [w.name for w in evidence.weights if w.format == "gguf" and not any(p in w.name.lower() for p in _PARTS)]
    found = {evidence.headers[name].metadata.get("general.architecture") for name in files if name in evidence.headers}
    return bool(files) and (not found or bool(found & tables.transformers().gguf))


def _mindformers(evidence: Evidence) -> bool:
    """Models of a class that is served; where several files describe one, any."""
    runs = [d for n, d in evidence.documents.items() if n.endswith((".yaml", ".yml"))]
    named = {architecture_in(document) for document in (*runs, evidence.documents.get("config.json"))}
    return bool(named & {*ARCHITECTURES})


#: Name in the table of libraries -> whether the backend of that name can load what is in the folder.
LOADABLE: Mapping[str, Callable[[Evidence], bool]] = {"gguf": _gguf, "mindformers": _mindformers}
