"""The interface of a backend: one library that can load and run models, in one file `backends/<lib>_.py`.

The hooks stand in the order in which they are called: `probe` (step 4), `base`, `files`, `load`, `predict`, `save`,
`close` (step 5 and 6). A contributor subclasses `Backend`, overrides `probe` and `load`, usually `predict`, and names
the class in the entry-point group ``modelscope_ext.backends``. `modelscope_ext.testing.BackendConformance` checks the
rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from modelscope_ext.models.resolution import BaseReference, Match, Reason, Resolution
from modelscope_ext.utils.record import dataclass, field

if TYPE_CHECKING:
    from pathlib import Path

    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.safety.grants import Grants

__all__ = ["Backend", "Example", "Exported", "Loaded"]


@dataclass(frozen=False)
class Loaded:
    """What `load` returns when `predict` needs more than the library's own object.

    Attributes:
        native: The library's own object, e.g. a `PreTrainedModel`; becomes `Model.native`.
        parts: Whatever else belongs to it: tokenizer, processor, label names, the folder.
        device: Where it lives, e.g. ``"cpu"`` or ``"cuda:0"``.
        because: Reasons for what only the load could decide, e.g. the compiler; they join `Resolution.because`.
        declares: Keys of configuration.json with which a saved copy loads the same way.
    """

    native: Any
    parts: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    because: Mapping[str, tuple[Reason, ...]] = field(default_factory=dict)
    declares: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Example:
    """A call of a model and what it answered, to hold a copy of it in another format against.

    Attributes:
        task: The task of the call.
        item: One input.
        options: The options of the call; ``raw`` among them asks for the numbers behind the answer.
        answer: What the original answered; with ``raw`` its outputs by name.
    """

    task: str
    item: Any
    options: Mapping[str, Any]
    answer: Any


@dataclass(frozen=True)
class Exported:
    """What `export` wrote, and how far it was checked.

    Attributes:
        backend: The backend that loads it.
        tasks: The tasks it serves, the default first.
        made_by: The exporter, for people.
        difference: The largest difference from the original's numbers, relative where they are above one.
        shapes: The shapes of the inputs on which it was compared, by input, one dict per batch.
        examples: Calls that the copy must answer as the original did.
    """

    backend: str
    tasks: tuple[str, ...]
    made_by: str
    difference: float
    shapes: tuple[Mapping[str, tuple[int, ...]], ...]
    examples: tuple[Example, ...]


class Backend:
    """One library, seen from outside. Instances hold no state: one is made on first use and shared by all threads.

    Attributes:
        name: The backend's name, as users write it in ``backend=``.
        frameworks: The frameworks it runs in, the usual one first.
        requires: Requirement strings (PEP 508) that any load needs; import names may differ.
        install: The one command that installs them.
        options: The keywords `load` takes beyond the common ones, each with one line of help.
        call_options: The keywords `predict` takes, by task; the key ``"*"`` holds for all tasks.
        tasks: The canonical tasks that `predict` serves.
        runs_code: Whether the library would run Python that comes with a model (``auto_map`` and the like). False for
            one that cannot, so that such a folder need not be refused.
        exports: Formats into which `export` writes a model, with the requirements of each beyond `requires`.
    """

    name: ClassVar[str]
    frameworks: ClassVar[tuple[str, ...]] = ("pytorch",)
    requires: ClassVar[tuple[str, ...]] = ()
    install: ClassVar[str] = ""
    options: ClassVar[Mapping[str, str]] = {}
    call_options: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    tasks: ClassVar[tuple[str, ...]] = ()
    runs_code: ClassVar[bool] = True
    exports: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def probe(self, evidence: Evidence) -> Match | None:
        """Say whether this backend can load what `evidence` describes. Override.

        Pure: no I/O, no imports of the library, the same answer on every machine. None means no claim.
        """
        raise NotImplementedError

    def base(self, evidence: Evidence) -> BaseReference | None:
        """Say which model the folder is an adapter to, or None for a model of its own. Override for adapters.

        Pure, like `probe`. What is returned makes `base_model=` an argument of the load; without that argument the
        base that is named is refused unless `allow_sources` names it too, and `load` opens it with
        `models.base_source.load_base`.
        """
        return None

    def files(self, resolution: Resolution, snapshot: Snapshot) -> tuple[str, ...]:
        """Return exactly the names that `load` will open. Usually not overridden.

        The default is every metadata file of at most the text limit plus `resolution.weights.files`.
        """
        from modelscope_ext.models.plan import default_files

        return default_files(resolution, snapshot)

    def load(self, folder: Path, resolution: Resolution, grants: Grants, **options: Any) -> Any:
        """Load the model and return the library's own object, or `Loaded`. Override.

        Gate B has passed before this is called. Every nested call into the library passes the trust arguments
        (``trust_remote_code``, ``local_files_only``, ``weights_only``, ``use_safetensors``, ...) explicitly.

        Args:
            folder: The local folder, resolved.
            resolution: The decision; `resolution.weights.files` are the files to read.
            grants: What the caller permits.
            **options: `device`, `device_map`, `dtype`, `variant`, `task`, `cfg_dict`, `base_model`,
                `allow_missing_weights`, and the keywords of `options`; None where the caller said nothing.
        """
        raise NotImplementedError

    def adopt(self, native: Any, *, task: str | None = None, preprocessor: Any = None) -> Any | None:
        """Return what `load` would for an object the caller made, or None when it is none of this library's. Optional.

        Imports nothing for a stranger's object: the module names of ``type(native).__mro__`` tell.

        Args:
            native: The library's own object, as given to ``pipeline(model=...)``.
            task: The caller's task; None asks for the object's own (left in ``Loaded.parts["tasks"]``, a tuple).
            preprocessor: The tokenizer or processor that belongs to it, if the caller passed one.
        """
        return None

    def check_task(self, native: Any, task: str | None) -> None:
        """Raise OptionError where what was loaded cannot run `task`; asked when a pipeline is made. Optional.

        For what only the loaded object tells, e.g. that it is a part of a model and nothing to run; None where nothing
        says what it is for.
        """

    def predict(self, native: Any, task: str, inputs: Sequence[Any], **options: Any) -> Sequence[Any] | Iterator[Any]:
        """Run `task` on `inputs` and return one output per input, in order, in the task's schema. Usually overridden.

        Args:
            native: What `load` returned.
            task: A canonical task name out of `tasks`.
            inputs: Already normalised by the task's schema; never empty.
            **options: The keywords of `call_options`, `batch_size`, and ``raw`` (True: the library's own outputs).
        """
        raise NotImplementedError(f"backend {self.name!r} has no predict()")

    def stream(self, native: Any, task: str, item: Any, **options: Any) -> Iterator[Any]:
        """Yield the output for one input piece by piece. Override where the library can."""
        raise NotImplementedError(f"backend {self.name!r} cannot stream {task!r}")

    def count_tokens(self, native: Any, item: Any) -> int | None:
        """Return how many tokens the model reads for a text or a chat; None where nothing tells. Optional."""
        return None

    def save(self, native: Any, folder: Path) -> str | None:
        """Write the model into `folder` so that `load` finds it again. Usually overridden.

        Returns:
            None, or the name of another backend, where what was written is for that one: a merged adapter is a plain
            model.
        """
        raise NotImplementedError(f"backend {self.name!r} has no save()")

    def cannot_export(self, task: str, to: str) -> str | None:
        """Return why a model for `task` is never written in the format `to`, None where it can be. Optional."""
        return None

    def export(self, native: Any, task: str, to: str, folder: Path, **options: Any) -> Exported:
        """Write the model in the format `to` into the empty `folder`, and check it against the original. Optional.

        Args:
            native: What `load` returned.
            task: The task that the copy is for.
            to: A key of `exports`.
            folder: Where to write; it becomes the user's only when everything agrees.
            **options: `opset` (None: the usual one), `tolerance` (largest difference of two numbers).
        """
        raise NotImplementedError(f"backend {self.name!r} cannot export to {to!r}")

    def close(self, native: Any) -> None:
        """Let go of threads, files and device memory beyond what dropping the object frees. Usually not overridden."""

    def code(self, resolution: Resolution) -> str:
        """Return the snippet that does the same in the library's own words. Usually overridden."""
        return ""

    #: Called with a label, the steps done and their number; the command line sets it where a person looks.
    progress: ClassVar[Callable[[str, int, int], None] | None] = None

    def report(self, label: str, done: int, total: int) -> None:
        """Say how far a long load has come, to whoever listens; `load` calls it. Not overridden."""
        listener = type(self).progress
        if listener is not None:
            listener(label, done, total)
