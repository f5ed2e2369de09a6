"""Step 6 of 6, transformers: what every task's runner shares: parts on demand, pipelines, batches, seeds, errors.

A runner takes a `Session`, the inputs and the call's options. It returns the library's own outputs, one per input, and
a function that brings one of them into the task's schema. Where transformers has a pipeline for the task, that very
class runs, built from the loaded model and its parts, never from a path.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from modelscope_ext.errors import MalformedMetadata, ModelScopeExtError, NotAModel, OptionError, TemplateRefused
from modelscope_ext.models.backend import Loaded
from modelscope_ext.models.backends._transformers.parts import kind_of, load_part
from modelscope_ext.models.backends._transformers.tasks import ROWS, Row
from modelscope_ext.utils.text import printable

__all__ = ["Session", "chunks", "kept", "own_tokenizer", "same", "seeded", "takes", "told"]

_LENGTHS = {"max_new_tokens", "max_length"}
#: What a runner returns: the library's outputs, and what brings one of them, with its input, into the schema.
Outcome = tuple[list[Any], Callable[[Any, Any], Any]]


@dataclass
class Session:
    """One call: a loaded model, a task and its row.

    Attributes:
        loaded: The model and its parts.
        task: The canonical task.
        asked: How many inputs the caller wants to run at once; None when the caller said nothing.
    """

    loaded: Loaded
    task: str
    asked: int | None = None

    @property
    def batch_size(self) -> int:
        """How many inputs run at once: one, unless the caller asks for more."""
        return self.asked or 1

    @property
    def row(self) -> Row:
        """The task's row in the table."""
        return ROWS[self.task]

    @property
    def model(self) -> Any:
        """The library's model."""
        return self.loaded.native

    @property
    def device(self) -> Any:
        """Where inputs have to go."""
        return self.model.device

    def part(self, kind: str) -> Any:
        """Return the tokenizer or processor of this kind; read from the folder when it is first needed."""
        found = self._there(kind)
        if found is not None:
            return found
        folder = self.loaded.parts.get("folder")
        if folder is None:
            raise OptionError(f"{self.task} needs a {kind.replace('|', ' or ')}: pass it as preprocessor=.")
        part = load_part(folder, kind)
        self.loaded.parts[kind_of(part) or kind] = part
        return part

    def optional(self, kind: str) -> Any:
        """Return the part of this kind, or None where the model has none."""
        try:
            return self.part(kind)
        except (NotAModel, OptionError, MalformedMetadata):
            return None

    def _there(self, kind: str) -> Any:
        for one in kind.split("|"):
            found = self.loaded.parts.get(one)
            if found is None and one != "processor":
                found = getattr(self.loaded.parts.get("processor"), one, None)
            if found is not None:
                return found
        return None

    def pipe(self) -> Any:
        """Return transformers' pipeline for the task, made once for this model."""
        made = self.loaded.parts.setdefault("pipelines", {})
        if self.task not in made:
            made[self.task] = self._make_pipe()
        return made[self.task]

    def _make_pipe(self) -> Any:
        cls = getattr(import_module("transformers.pipelines"), self.row.pipeline or "")
        parts: dict[str, Any] = {}
        for kind in self.row.parts:
            optional = kind.endswith("?")
            part = self.optional(kind[:-1]) if optional else self.part(kind)
            if part is not None:
                parts[kind_of(part) or kind] = part
        if "tokenizer" in parts:
            parts["tokenizer"] = own_tokenizer(parts["tokenizer"])
        device = {} if getattr(self.model, "hf_device_map", None) else {"device": self.device}
        pipe = cls(model=self.model, task=self.task, **parts, **device)
        if str(getattr(self.model, "dtype", None)) == "torch.bfloat16":
            run = pipe._forward
            pipe._forward = lambda *given, **options: _widened(run(*given, **options))
        return pipe

    def run(self, items: Sequence[Any], *args: Any, **options: Any) -> list[Any]:
        """Run the pipeline on `items` in batches and return one output per item."""
        pipe = self.pipe()
        out: list[Any] = []
        for batch in chunks(items, self.batch_size if self._pads(pipe) else 1):
            if len(batch) == 1:
                out.append(pipe(batch[0], *args, **options))
            else:
                out += pipe(list(batch), *args, batch_size=len(batch), **options)
        return out

    def _pads(self, pipe: Any) -> bool:
        """Whether texts of different lengths can run at once: there is a token to pad with, known to all involved."""
        tokenizer = pipe.tokenizer
        if tokenizer is None or self.task in ("text-generation", "automatic-speech-recognition"):
            return tokenizer is None or tokenizer.pad_token_id is not None
        return None not in (tokenizer.pad_token_id, getattr(self.model.config, "pad_token_id", 0))

    def run_alike(self, items: Sequence[Any], key: Callable[[Any], Any], **options: Any) -> list[Any]:
        """Run the pipeline like `run`, with only such items in one batch as have the same `key`."""
        if self.batch_size <= 1:
            return self.run(items, **options)
        groups: dict[Any, list[int]] = {}
        for number, item in enumerate(items):
            groups.setdefault(key(item), []).append(number)
        out: list[Any] = [None] * len(items)
        for numbers in groups.values():
            for number, native in zip(numbers, self.run([items[n] for n in numbers], **options), strict=True):
                out[number] = native
        return out

    def generation(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return keywords for `generate()`: the caller's, and greedy search where neither caller nor model says more.

        The model's generation_config.json is followed; where it says nothing about sampling nothing is sampled, and
        where it says nothing about length 256 new tokens are the limit.
        """
        import transformers

        config = getattr(self.model, "generation_config", None)
        said = dict(options)
        if config is not None:
            own = config.to_diff_dict()
            # transformers 4's pipelines put settings of their own (sampling among them) before the model's.
            if not getattr(config, "do_sample", None):
                said.setdefault("do_sample", False)
            if not _LENGTHS & said.keys():
                lengths = {name: own[name] for name in _LENGTHS if own.get(name) is not None}
                if not lengths:
                    said["max_new_tokens"] = 256
                elif transformers.__version__.startswith("4."):
                    said |= lengths
        if "stop_strings" in said:
            said.setdefault("tokenizer", self.part("tokenizer"))
        return said


def _widened(value: Any) -> Any:
    """Return a model's outputs with bfloat16 as float32, which numpy knows; the library's postprocessing needs it."""
    if str(getattr(value, "dtype", None)) == "torch.bfloat16":
        return value.float()
    if isinstance(value, dict):
        for name, one in value.items():
            value[name] = _widened(one)
    return value


def own_tokenizer(tokenizer: Any) -> Any:
    """Return a copy that a pipeline may change: pipelines pad on the left, and decoders often have no pad token."""
    if getattr(tokenizer, "pad_token_id", None) is not None:
        return copy.copy(tokenizer)
    own = copy.deepcopy(tokenizer)
    own.pad_token = own.eos_token or own.bos_token or own.unk_token
    return own


def takes(model: Any, name: str) -> bool:
    """Whether the model's forward method has a parameter of this name."""
    import inspect

    return name in inspect.signature(model.forward).parameters


def chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Cut `items` into runs of at most `size`.

    Example:
        >>> list(chunks([1, 2, 3], 2))
        [[1, 2], [3]]
    """
    for start in range(0, len(items), max(size, 1)):
        yield items[start : start + max(size, 1)]


def same(native: Any, _item: Any) -> Any:
    """Return the library's output as it is, with numpy's and torch's scalars as Python's."""
    return _plain(native)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if type(value).__module__ in ("numpy", "torch") and getattr(value, "ndim", 1) == 0:
        return value.item()
    return str(value) if isinstance(value, str) else value


@contextmanager
def seeded(seed: int | None, device: Any) -> Iterator[None]:
    """Set torch's random numbers for the block and put them back afterwards; None changes nothing."""
    if seed is None:
        yield
        return
    import torch

    devices = [device] if getattr(device, "type", "cpu") != "cpu" else []
    kind = {"device_type": device.type} if devices else {}
    with torch.random.fork_rng(devices=devices, **kind):
        torch.manual_seed(seed)
        yield


@contextmanager
def kept(session: Session, options: Mapping[str, Any]) -> Iterator[None]:
    """Put torch's random numbers back after a call that draws none for its answer: its data loaders draw seeds."""
    import torch

    config = getattr(session.model, "generation_config", None)
    samples = options.get("do_sample", getattr(config, "do_sample", None))
    if samples or session.task in ("text-to-audio", "text-to-speech"):
        yield
        return
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)


@contextmanager
def told(session: Session) -> Iterator[None]:
    """Turn what the library raises while it runs into errors that say what mends them."""
    try:
        yield
    except ModelScopeExtError:
        raise
    except Exception as error:
        if isinstance(error, IndexError) or "size of tensor" in str(error):
            raise _too_long_or_foreign(session, error) from error
        kind = type(error)
        if kind.__name__ == "SecurityError" or "no loader for this environment" in str(error):
            raise TemplateRefused(
                f"the chat template reaches for more than text: {printable(str(error), 200)}",
                file="tokenizer_config.json",
                field="chat_template",
            ) from error
        raise


def _too_long_or_foreign(session: Session, error: Exception) -> ModelScopeExtError:
    tokenizer = session.optional("tokenizer")
    embeddings = session.model.get_input_embeddings() if hasattr(session.model, "get_input_embeddings") else None
    rows = getattr(embeddings, "num_embeddings", None)
    if tokenizer is not None and rows is not None and len(tokenizer) > rows:
        return MalformedMetadata(
            f"the tokenizer (tokenizer.json) has {len(tokenizer)} tokens, the model's vocabulary (config.json: "
            f"vocab_size) {rows}: it belongs to another model.",
            file="tokenizer.json",
        )
    longest = getattr(getattr(session.model, "config", None), "max_position_embeddings", None)
    hint = f" The model takes {longest} tokens." if longest else ""
    return OptionError(
        f"{session.task}: an input is longer than the model can take ({printable(str(error), 100)}).{hint} Shorten it, "
        "or pass truncation=True where the task has that option."
    )
