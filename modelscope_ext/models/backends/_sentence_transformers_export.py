"""From a loaded sentence-transformers model to an ONNX folder: the encoder as a graph, the rest in the library's words.

The graph gives vectors of tokens, or the score of a pair; how tokens become one vector stays in `modules.json` and
`1_Pooling/config.json`, where the onnx backend reads it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelscope_ext.errors import BackendNotLoadable
from modelscope_ext.models.backend import Backend, Example, Exported, Loaded
from modelscope_ext.utils.text import listing, printable

__all__ = ["export"]

#: Modules that the onnx backend computes itself, after the graph.
_AFTERWARDS = ("Pooling", "Normalize")
_WEIGHTS = (".safetensors", ".bin", ".onnx", ".h5", ".msgpack")
_TEXT = "It works."
_PAIR = {"query": "Who lives in Paris?", "documents": ["Mary lives in Paris.", "John works in London."]}


def export(engine: Backend, loaded: Loaded, task: str, folder: Path, options: Mapping[str, Any]) -> Exported:
    """Write the encoder's graph and the library's own documents into `folder`; the copy must give the same vectors.

    Args:
        engine: The backend, which answers the example.
        loaded: A SentenceTransformer or a CrossEncoder.
        task: One of the backend's tasks.
        folder: An empty folder.
        options: `opset` and `tolerance`.

    Raises:
        BackendNotLoadable: A module that is neither in the graph nor computed after it (``Dense``).
    """
    from modelscope_ext.models.backends._transformers.export import export as export_encoder
    from modelscope_ext.models.backends._transformers.run import Session
    from modelscope_ext.models.backends.transformers_ import Transformers

    model = loaded.native
    ranks = hasattr(model, "rank")
    first, *others = model
    strange = [type(module).__name__ for module in others if ranks or type(module).__name__ not in _AFTERWARDS]
    if type(first).__name__ != "Transformer" or strange:
        raise BackendNotLoadable(
            f"this {type(model).__name__} is not exportable, because of its module "
            f"{listing(map(printable, strange or [type(first).__name__]))}: an ONNX folder has a Transformer"
            f"{'' if ranks else ', ' + ', '.join(_AFTERWARDS)}."
        )
    encoder = Transformers().wrap(first.auto_model, tokenizer=model.tokenizer)
    session = Session(encoder, "text-ranking" if ranks else "feature-extraction")
    exported = export_encoder(session, folder, options)
    _write_documents(model, folder)
    called, item = ("text-ranking", _PAIR) if ranks else ("feature-extraction", _TEXT)
    [answer] = engine.predict(loaded, called, [item])
    tasks = tuple(dict.fromkeys((task, *exported.tasks)))
    return replace(exported, tasks=tasks, examples=(Example(called, item, {}, answer),))


def _write_documents(model: Any, folder: Path) -> None:
    """Write everything that the library saves, but no weights."""
    from modelscope_ext.models.backends._transformers.export import without_code

    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".documents.") as saved:
        model.save_pretrained(saved, create_model_card=False)
        for path in sorted(Path(saved).rglob("*")):
            if path.is_file() and not path.name.endswith((*_WEIGHTS, ".index.json")):
                target = folder / path.relative_to(saved)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    without_code(folder / "config.json")
