"""What is looked at before a model is built, against building it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import Timer, repeated
from benchmarks.models import make

__all__ = ["checks"]


def checks(scratch: Path) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    """What reading and both gates add to a load, against the load itself by the library."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from modelscope_ext.metadata.evidence import collect
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.models import gate
    from modelscope_ext.models.builder import BACKENDS
    from modelscope_ext.models.gate.unchanged import check_unchanged, marks
    from modelscope_ext.models.loader import files_of
    from modelscope_ext.models.resolve import resolve
    from modelscope_ext.safety.grants import Grants

    folder = Path(make("bert", scratch / "bert"))
    resolution, grants = resolve(folder), Grants()
    engine = BACKENDS.get(resolution.backend)

    def ours() -> None:
        snapshot = Snapshot.from_folder(folder)
        seen = marks(folder, snapshot.names)
        evidence = collect(snapshot)
        gate.gate_a(resolution, evidence, snapshot, grants, engine=engine)
        files = files_of(resolution, snapshot, engine)
        gate.gate_b(resolution, snapshot, files, grants)
        check_unchanged(folder, seen, files, source=str(folder))

    def library() -> None:
        AutoTokenizer.from_pretrained(folder, local_files_only=True)
        AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True)

    return (("readers and gates", repeated(ours)), ("from_pretrained, tokenizer and model", repeated(library)))
