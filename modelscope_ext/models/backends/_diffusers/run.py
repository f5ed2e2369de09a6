"""Step 6 of 6, diffusers: a call: fields to parameters, a generator for each input, answers to the task's schema.

Inputs run one at a time, or several at once where `batch_size` says so and the pipeline takes lists of them. Each has a
generator of its own, so that the answer to an input does not depend on its neighbours.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from modelscope_ext.errors import ModelScopeExtError, OptionError
from modelscope_ext.models.backends._diffusers.tasks import ROWS, Row
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["Call", "Chance", "TorchChance", "run"]


class Chance(Protocol):
    """Where a framework's random numbers come from."""

    def generator(self, seed: int | None) -> Any:
        """Return a generator for one answer; None takes a seed that nobody knows."""

    def kept(self, seed: int | None) -> AbstractContextManager[None]:
        """Put the process's own random numbers back after a block; they begin at `seed` where there is one."""


class TorchChance:
    """PyTorch's, on the CPU always: the same numbers whatever the device."""

    def generator(self, seed: int | None) -> Any:
        """Return a `torch.Generator`."""
        import torch

        made = torch.Generator("cpu")
        made.manual_seed(seed) if seed is not None else made.seed()
        return made

    @contextmanager
    def kept(self, seed: int | None) -> Iterator[None]:
        """Fork torch's random numbers."""
        import torch

        with torch.random.fork_rng(devices=[]):
            if seed is not None:
                torch.manual_seed(seed)  # for what draws beside the generator
            yield


@dataclass(frozen=True)
class Call:
    """What all inputs of one call share.

    Attributes:
        pipe: The library's pipeline.
        task: The canonical task.
        options: The caller's, those that were said.
        seed: Of the random numbers of each input; None takes the framework's own.
        chance: Draws them; PyTorch unless said otherwise.
    """

    pipe: Any
    task: str
    options: Mapping[str, Any]
    seed: int | None
    chance: Chance = field(default_factory=lambda: TorchChance())

    @property
    def row(self) -> Row:
        """The task's row in the table."""
        return ROWS[self.task]

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """What the pipeline can be called with."""
        return inspect.signature(type(self.pipe).__call__).parameters

    @property
    def count(self) -> int:
        """How many answers each input gets."""
        return int(self.options.get(self.row.several, 1))


def run(call: Call, inputs: Sequence[Any], batch_size: int, *, raw: bool) -> list[Any]:
    """Return one answer per input: in the task's schema, or as the library gives it.

    Raises:
        OptionError: An option or field that this pipeline does not take, or lacks.
    """
    _check(call)
    outputs: list[Any] = []
    with _seeded(call):
        for batch in _batches(call, inputs, 1 if raw else batch_size):
            native = _called(call, batch)
            outputs += [native] if raw else _answers(call, native, len(batch))
    return outputs


def _check(call: Call) -> None:
    """Refuse options that this pipeline does not take, before anything runs."""
    name = type(call.pipe).__name__
    for option in call.options:
        if option not in call.parameters:
            takes = [one for one in call.row.options if one in call.parameters]
            raise OptionError(
                f"{call.task}: {name} takes no {printable(option)!r}.{did_you_mean(option, takes)} It takes:"
                f" {listing(takes, 40)}."
            )
    sides = {"height", "width"} & set(call.parameters)
    if len(sides) == 2 and len(sides & set(call.options)) == 1:
        raise OptionError(f"{call.task}: {name} takes height and width together, and would ignore one alone: pass both")
    if call.seed is not None and (type(call.seed) is not int or not 0 <= call.seed < 2**63):
        raise OptionError(f"seed={printable(repr(call.seed))}: expected a whole number of at least 0")
    several = call.options.get(call.row.several, 1)
    if type(several) is not int or several < 1:
        raise OptionError(f"{call.row.several}={printable(repr(several))}: expected a whole number of at least 1")


def _batches(call: Call, inputs: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Cut the inputs into runs: several at once only where the pipeline takes lists of what these inputs have."""
    start = 0
    while start < len(inputs):
        end = start + 1
        while end < len(inputs) and end - start < size and _alike(call, inputs[start], inputs[end]):
            end += 1
        yield inputs[start:end]
        start = end


def _alike(call: Call, one: Any, other: Any) -> bool:
    if call.row.output != "image" or ("prompt" in call.row.names and "prompt" not in call.parameters):
        return False
    first, second = _fields(call, one), _fields(call, other)
    if first.keys() != second.keys():
        return False
    return all(getattr(first[k], "size", None) == getattr(second[k], "size", None) for k in first if k != "prompt")


def _fields(call: Call, item: Any) -> dict[str, Any]:
    """Return an input's fields by the names of the task."""
    if isinstance(item, Mapping):
        return {name: value for name, value in item.items() if value is not None}
    return {call.row.lead: item} if call.row.lead else {}


def _called(call: Call, batch: Sequence[Any]) -> Any:
    """Call the pipeline with one input as it is, or with several as lists."""
    rows = [_arguments(call, item) for item in batch]
    if len(rows) == 1:
        arguments = {**call.options, **rows[0]}
    else:
        shared = {k: [v] * len(rows) if isinstance(v, str) else v for k, v in call.options.items()}
        arguments = {**shared, **{name: [row[name] for row in rows] for name in rows[0]}}
    if call.task == "unconditional-image-generation":
        arguments |= _unconditional(call, len(batch))
    if call.row.output != "audio" and "output_type" in call.parameters:
        arguments["output_type"] = "pil"  # some give arrays by default
    generators = _generators(call, batch)
    if generators and "generator" in call.parameters:
        arguments["generator"] = generators if len(generators) > 1 else generators[0]
    with _told(call):
        return call.pipe(**arguments)


def _unconditional(call: Call, count: int) -> dict[str, Any]:
    if "batch_size" in call.parameters:
        return {"batch_size": count}
    return {}


def _arguments(call: Call, item: Any) -> dict[str, Any]:
    """Return the pipeline's arguments for one input."""
    found: dict[str, Any] = {}
    for key, value in _fields(call, item).items():
        name = next((one for one in call.row.names.get(key, ()) if one in call.parameters), None)
        if name is None:
            raise OptionError(f"{call.task}: {type(call.pipe).__name__} takes no {key!r}; leave it out")
        found[name] = value.convert("L" if key == "mask_image" else "RGB") if hasattr(value, "convert") else value
    if "prompt" in call.parameters and "prompt" not in found and "prompt" in call.row.names:
        raise OptionError(
            f"{call.task}: {type(call.pipe).__name__} needs a text beside the {call.row.lead or 'image'}: pass"
            " prompt='...', or inputs of the form {'image': ..., 'prompt': '...'}"
        )
    return found


def _generators(call: Call, batch: Sequence[Any]) -> list[Any]:
    """Return a generator for each answer; those of one input are one object, which is drawn from in turn."""
    unconditional = call.task == "unconditional-image-generation"
    seeds = [item if unconditional else call.seed for item in batch]
    if all(seed is None for seed in seeds):
        return []
    made = [call.chance.generator(seed) for seed in seeds]
    return [generator for generator in made for _ in range(call.count)]


def _seeded(call: Call) -> AbstractContextManager[None]:
    """Keep the process's random numbers in a call whose own come from a seed, or from none."""
    if call.seed is None and call.task != "unconditional-image-generation":
        return nullcontext()
    return call.chance.kept(call.seed)


@contextmanager
def _told(call: Call) -> Iterator[None]:
    """Turn what a pipeline says about its arguments into an error that says whose they are."""
    try:
        yield
    except (ModelScopeExtError, MemoryError):
        raise
    except (ValueError, TypeError) as error:
        detail = printable(" ".join(str(error).split()), 400)
        raise OptionError(f"{call.task}: {type(call.pipe).__name__} refuses the call: {detail}") from error


def _answers(call: Call, native: Any, count: int) -> list[Any]:
    """Return the answers of one run, in the task's schema: one per input, or a list each."""
    from modelscope_ext.models.backends._diffusers.answers import MAKERS

    _warn_of_black(native)
    found = MAKERS[call.row.output](call, native)
    several = call.count
    if len(found) != count * several:
        raise ModelScopeExtError(
            f"{call.task}: {type(call.pipe).__name__} gave {len(found)} answers for {count} inputs; expected"
            f" {count * several}"
        )
    if several == 1:
        return found
    return [found[start : start + several] for start in range(0, len(found), several)]


def _warn_of_black(native: Any) -> None:
    flags = getattr(native, "nsfw_content_detected", None)
    if flags and any(flags if isinstance(flags, list | tuple) else [flags]):
        logger.warning("the pipeline's safety checker has blackened what it takes for unsafe")
