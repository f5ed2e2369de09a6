"""Which files of a mindformers folder hold the weights: by their names and the index, nothing is opened."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from modelscope_ext.errors import AmbiguousModel, LimitExceeded, MalformedMetadata, ModelNotFound, NotAModel
from modelscope_ext.models.backends._mindformers.settings import is_run
from modelscope_ext.utils.text import listing, printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.snapshot import Snapshot

__all__ = ["INDEX", "documents_of", "planned", "weight_files"]

INDEX = "mindspore_model.ckpt.index.json"
_WHOLE = "mindspore_model.ckpt"


def documents_of(snapshot: Snapshot) -> dict[str, object]:
    """Return the parsed files that may describe the model: config.json and the yaml files of the folder itself.

    A yaml that cannot be read describes nothing; the gate has refused those that ask for Python.
    """
    names = [n for n in snapshot.names if "/" not in n and n.endswith((".yaml", ".yml")) and snapshot.has_text(n)]
    found: dict[str, object] = {}
    for name in names:
        with suppress(MalformedMetadata, LimitExceeded):
            found[name] = snapshot.document(name)
    if "config.json" in snapshot and snapshot.has_text("config.json"):
        found["config.json"] = snapshot.document("config.json")
    return found


def weight_files(snapshot: Snapshot, describing: str) -> tuple[str, ...]:
    """Return the checkpoint files that belong to the file that describes the model.

    Beside a yaml that is the ``.ckpt`` of its name, or the only one; beside config.json ``mindspore_model.ckpt``, or
    what its index lists.

    Raises:
        AmbiguousModel: Several, and nothing says which.
        ModelNotFound: The index lists files that are not there.
        NotAModel: There is none.

    Example:
        >>> from modelscope_ext.metadata.snapshot import Snapshot
        >>> weight_files(Snapshot.from_mapping({"llama.yaml": ""}, {"llama.ckpt": 9, "other.ckpt": 9}), "llama.yaml")
        ('llama.ckpt',)
    """
    source = printable(str(snapshot.source))
    own = f"{describing.rpartition('.')[0]}.ckpt"
    if describing != "config.json" and own in snapshot:
        return (own,)
    if _WHOLE in snapshot:
        return (_WHOLE,)
    if INDEX in snapshot:
        return _listed(snapshot, source)
    found = [name for name in snapshot.names if name.endswith(".ckpt") and "/" not in name]
    if describing != "config.json" and len(found) == 1:
        return (found[0],)
    if len(found) > 1:
        raise AmbiguousModel(
            f"{source}: {listing(map(printable, found))}: nothing says which of them belongs to"
            f" {printable(describing)}; name it {printable(own) if describing != 'config.json' else _WHOLE}"
        )
    expected = _WHOLE if describing == "config.json" else own
    raise NotAModel(
        f"{source}: there is no {printable(expected)} beside {printable(describing)}; expected the weights in it, or in"
        f" the files that {INDEX} lists"
    )


def planned(snapshot: Snapshot) -> tuple[str, ...]:
    """Return every file of weights that a load could read, the files that describe a model, and the index of shards.

    What is missing or ambiguous is left out: the load says so, and a plan only counts.
    """
    documents = documents_of(snapshot)
    runs = [name for name, document in documents.items() if is_run(name, document)]
    found = dict.fromkeys(name for name in (*runs, "config.json", INDEX) if name in snapshot)
    for name in runs or ["config.json"]:
        with suppress(AmbiguousModel, ModelNotFound, NotAModel):
            found.update(dict.fromkeys(weight_files(snapshot, name)))
    return tuple(found)


def _listed(snapshot: Snapshot, source: str) -> tuple[str, ...]:
    document = snapshot.document(INDEX)
    table = document.get("weight_map") if isinstance(document, Mapping) else None
    names = sorted({str(name) for name in table.values()}) if isinstance(table, Mapping) else []
    if not names:
        raise NotAModel(f"{source}: {INDEX}: weight_map: expected the file of each tensor")
    lost = [name for name in names if name not in snapshot]
    if lost:
        raise ModelNotFound(
            f"{source} lacks {listing(map(printable, lost))}, which {INDEX} lists: the copy is incomplete; fetch the"
            " missing files"
        )
    return tuple(names)
