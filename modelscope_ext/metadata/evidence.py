"""Step 3 of 6: what the files say, each fact with its file and key. No judgement, and no I/O after `collect`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_ext.metadata.declared import Fact
from modelscope_ext.metadata.snapshot import Snapshot, Source
from modelscope_ext.metadata.weights import WeightFile
from modelscope_ext.safety.finding import Finding
from modelscope_ext.safety.headers import Header
from modelscope_ext.safety.limits import Limits
from modelscope_ext.utils.text import printable

__all__ = ["Evidence", "Fact", "WeightFile", "collect"]

_MISSING = object()


class Evidence:
    """What the files of one source say. Made by `collect`; nothing in it changes afterwards.

    Attributes:
        source: Where it comes from.
        names: All file names, sorted.
        sizes: Bytes by name.
        name_set: `names` as a set.
        basenames: The names in the model's own folder (not in folders below it).
        documents: Parsed metadata files by name; only those that could be read. ``cfg_dict`` stands in for
            configuration.json.
        unreadable: Name -> why it could not be read: ``"lfs"``, ``"too large"`` or ``"malformed: ..."``. Such a file is
            unknown, not empty.
        yaml_tags: Name -> the tags (``"!new:speechbrain..."``) of a YAML file, also of one that cannot be read.
        card: The README's front matter, {} if none.
        weights: The weight files.
        headers: Headers of weight files by name, where they were read.
        declared: Facts from configuration.json or `cfg_dict`, by the names in `metadata.declared.DECLARED`.
        tagged: Facts from the front matter, raw spellings, by the names in `metadata.declared.TAGGED`.
        findings: What a reader should know.
        folders: The folders directly below the model's own.

    Example:
        >>> from modelscope_ext.metadata.snapshot import Snapshot
        >>> evidence = collect(Snapshot.from_mapping({"config.json": '{"model_type": "bert"}'}))
        >>> evidence.get("config.json", "model_type"), evidence.has("model.safetensors")
        ('bert', False)
    """

    source: Source
    names: tuple[str, ...]
    sizes: Mapping[str, int]
    name_set: frozenset[str]
    basenames: frozenset[str]
    documents: Mapping[str, Any]
    unreadable: Mapping[str, str]
    yaml_tags: Mapping[str, tuple[str, ...]]
    card: Mapping[str, Any]
    weights: tuple[WeightFile, ...]
    headers: Mapping[str, Header]
    declared: Mapping[str, tuple[Fact, ...]]
    tagged: Mapping[str, tuple[Fact, ...]]
    findings: tuple[Finding, ...]
    folders: frozenset[str]

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __repr__(self) -> str:
        return (
            f"<Evidence of {printable(str(self.source))}: {len(self.documents)} documents of {len(self.names)} files>"
        )

    def get(self, file: str, *path: str | int, default: Any = None) -> Any:
        """Return the value at `path` in a parsed document, or `default` if any step is absent.

        Example:
            >>> from modelscope_ext.metadata.snapshot import Snapshot
            >>> e = collect(Snapshot.from_mapping({"config.json": '{"architectures": ["BertModel"]}'}))
            >>> e.get("config.json", "architectures", 0), e.get("config.json", "architectures", 7)
            ('BertModel', None)
        """
        value = self.documents.get(file, _MISSING)
        for step in path:
            if isinstance(step, int):
                value = value[step] if isinstance(value, list) and -len(value) <= step < len(value) else _MISSING
            else:
                value = value.get(step, _MISSING) if isinstance(value, dict) else _MISSING
        return default if value is _MISSING else value

    def fact(self, file: str, *path: str | int) -> Fact | None:
        """Return the value at `path` as a Fact with its dotted key, or None if it is absent."""
        value = self.get(file, *path, default=_MISSING)
        if value is _MISSING:
            return None
        key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
        return Fact(file, key.removeprefix("."), value)

    def has(self, name: str) -> bool:
        """Return whether there is a file `name`."""
        return name in self.name_set

    def match(self, pattern: str) -> tuple[str, ...]:
        """Return the names that match a shell pattern; ``*`` crosses folders.

        Example:
            >>> from modelscope_ext.metadata.snapshot import Snapshot
            >>> collect(Snapshot.from_mapping({}, {"a.gguf": 1, "b/c.gguf": 2})).match("*.gguf")
            ('a.gguf', 'b/c.gguf')
        """
        from fnmatch import fnmatchcase

        return tuple(name for name in self.names if fnmatchcase(name, pattern))


def collect(
    snapshot: Snapshot,
    *,
    cfg_dict: Any = None,
    limits: Limits | None = None,
    headers: bool | None = None,
) -> Evidence:
    """Read what can decide something and return it as Evidence.

    Args:
        snapshot: The source.
        cfg_dict: A dict or Config that replaces configuration.json whole; it is not changed.
        limits: What is too large; None takes the snapshot's.
        headers: Read the headers of weight files: True all, False none, None only where nothing else decides.

    Raises:
        MalformedMetadata: A deciding file (config.json, configuration.json, model_index.json, modules.json,
            adapter_config.json, an index of shards) is broken or a deciding key has the wrong type.
        LimitExceeded: A deciding file is too large, or declares sizes beyond the limits.
        PathEscapeRefused: A deciding file is a link that leaves the model, or names a file outside it.
        OptionError: `cfg_dict` is no dict.
    """
    from modelscope_ext.metadata.collector import Collector

    return Collector(snapshot.within(limits or snapshot.limits)).run(cfg_dict, headers)
