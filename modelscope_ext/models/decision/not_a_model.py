"""What to say about a folder that nothing can be made of: empty, a tokenizer, a model one level down, code only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from modelscope_ext.errors import AmbiguousModel, NotAModel
from modelscope_ext.utils.text import listing, printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence

__all__ = ["refuse"]

_TOKENIZER = frozenset(
    ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model",
     "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "sentencepiece.bpe.model")
)  # fmt: skip
_ADVICE = "Pass backend= to name the library that loads it."


def refuse(evidence: Evidence) -> NoReturn:
    """Raise NotAModel or AmbiguousModel with what the folder is and what to do.

    Raises:
        AmbiguousModel: Several models lie one level down.
        NotAModel: Anything else.
    """
    source = printable(str(evidence.source))
    if not evidence.names:
        raise NotAModel(f"{source} is empty: there is no file in it. Expected a model's folder.")
    below = _below(evidence)
    if len(below) == 1:
        raise NotAModel(f"The model lies one level down: pass {source}/{below[0]}, or subfolder={below[0]!r}.")
    if below:
        shown = listing(map(printable, below))
        raise AmbiguousModel(f"{source} holds {len(below)} models one level down: {shown}. Choose one with subfolder=.")
    if evidence.basenames & _TOKENIZER and not evidence.weights and "config.json" not in evidence.name_set:
        found = listing(map(printable, evidence.basenames & _TOKENIZER))
        raise NotAModel(
            f"{source} is a tokenizer and no model: it has {found}, but neither config.json nor weights. "
            "Load it with the tokenizers library, or pass the folder of the model."
        )
    raise NotAModel(f"{source}: {_what(evidence)}")


def _what(evidence: Evidence) -> str:
    foreign = next((f for f in evidence.findings if f.code == "foreign-configuration"), None)
    if foreign is not None:
        return (
            "configuration.json is there but belongs to another program: none of the keys framework, task, model, ... "
            "is in it. Nothing else in the folder is known as a model's."
        )
    index = evidence.documents.get("model_index.json")
    if isinstance(index, Mapping) and "_class_name" not in index:
        return "model_index.json has no _class_name, so it is not diffusers'; nothing else is known as a model's."
    if evidence.unreadable:
        name, why = next(iter(sorted(evidence.unreadable.items())))
        pointer = " Run 'git lfs pull' in the folder." if why == "lfs" else ""
        return f"{printable(name)} could not be read ({printable(why)}), and nothing else tells what it is.{pointer}"
    if evidence.weights:
        weight = evidence.weights[0]
        return (
            f"weights without a word about their library: {printable(weight.name)} ({weight.format}). Expected "
            f"config.json, configuration.json or a README with library_name beside them. {_ADVICE}"
        )
    code = [name for name in evidence.names if name.endswith((".py", ".cpp", ".cc", ".js", ".ipynb"))]
    if code:
        return f"code and no model: {listing(map(printable, code), most=4)}. Expected config.json or weights. {_ADVICE}"
    shown = listing(map(printable, evidence.names), most=6)
    return f"none of its {len(evidence.names)} files is known as a model's: {shown}. {_ADVICE}"


def _below(evidence: Evidence) -> list[str]:
    """Return the folders one level down that hold a model of their own."""
    found = set()
    for name, document in evidence.documents.items():
        folder, _, base = name.partition("/")
        if "/" in base or not base or not isinstance(document, Mapping | list):
            continue
        own = base == "config.json" and isinstance(document, Mapping) and document.keys() & _KEYS
        if own or base in ("model_index.json", "adapter_config.json", "modules.json", "genai_config.json"):
            found.add(folder)
    found |= {w.folder for w in evidence.weights if w.folder and "/" not in w.folder and w.format == "gguf"}
    return sorted(found)


_KEYS = frozenset(("model_type", "architectures", "auto_map", "_class_name"))
