"""Step 5 of 6, peft: an adapter is applied to its base, and everything that peft would only warn about is an error.

Weights of the adapter that are missing stay random, those without a place are dropped, and a configuration beside other
weights targets nothing: peft goes on in all three cases, and the answers are the base's, or noise.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelscope_ext.errors import MalformedMetadata, ModelScopeExtError, OptionError, WeightsMismatch
from modelscope_ext.models.backends._peft.adapter import CONFIG, Adapter
from modelscope_ext.models.backends._peft.effect import changes
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import listing, printable

__all__ = ["attach", "inner", "keep", "kept_random", "merged", "unload", "write"]

#: Ways to begin that change the base's own weights, and so need real ones from the start.
_CHANGES_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga")


def attach(
    base: Any, adapter: Adapter, adapter_name: str, *, strict: bool, kept: Mapping[str, Any] | None = None
) -> Any:
    """Return the `PeftModel` of `base`, which is changed in place, with the adapter applied and in use.

    Args:
        base: A `PreTrainedModel` on its device.
        adapter: What its files say.
        adapter_name: What peft is to call it.
        strict: False to log a warning where weights are missing or left over (`allow_missing_weights=True`).
        kept: What `keep` returned, of a base that is the caller's and is given back to him; None for one of our own.

    Raises:
        OptionError: A base that is lent would have to grow.
        WeightsMismatch: Weights are missing, left over or of another shape; modules to adapt are not in the base; or
            the adapter changes nothing.
        MalformedMetadata: adapter_config.json cannot be used.
    """
    from peft import PeftConfig, get_peft_model

    _make_room(base, adapter, lent=kept is not None)
    with _told(adapter, base), kept_random(base), _quiet():
        config = PeftConfig.from_pretrained(str(adapter.folder), local_files_only=True)
        named, config.inference_mode = config.base_model_name_or_path, True
        # Empty weights are not random ones: what does not arrive stays visible, and nothing is allocated twice.
        empty = strict and not str(getattr(config, "init_lora_weights", None)).startswith(_CHANGES_BASE)
        model = get_peft_model(base, config, adapter_name, low_cpu_mem_usage=empty)
        model.peft_config[adapter_name].base_model_name_or_path = named
        try:
            found = model.load_adapter(
                str(adapter.folder),
                adapter_name,
                torch_device=str(base.device),
                low_cpu_mem_usage=empty,
                local_files_only=True,
            )
            model.eval()
            _check(model, adapter, adapter_name, found, strict=strict)
        except BaseException:
            unload(model, kept or {})
            raise
    return model


def keep(base: Any, adapter: Adapter) -> dict[str, Any]:
    """Return copies of the base's weights whose place the adapter's may take, for `unload`."""
    return {name: p.detach().clone() for name, p in base.named_parameters() if name in adapter.brings}


def merged(model: Any, adapter: Adapter) -> Any:
    """Return the base with the adapter's changes in its own weights; peft is no longer needed to run it.

    Raises:
        OptionError: A kind of adapter that adds tokens cannot be merged.
        WeightsMismatch: Merging would give weights that are no numbers.
    """
    if adapter.is_prompt:
        raise OptionError(
            f"merge=True: {printable(adapter.source)} ({CONFIG}: peft_type: {adapter.type}) adds tokens to the input"
            " and changes no weights, so there is nothing to merge; leave merge out"
        )
    try:
        return model.merge_and_unload(safe_merge=True).eval()
    except ValueError as error:
        raise WeightsMismatch(
            f"{printable(adapter.source)}: merging the adapter gives weights that are no numbers:"
            f" {printable(str(error), 300)}. Use it unmerged, or with dtype='float32'."
        ) from error


def inner(model: Any) -> Any:
    """Return what runs: the adapted base, or `model` itself where it adds tokens, or calls the base in its own way.

    peft's model for questions hands the base no token types, neither in training nor afterwards.
    """
    config = model.active_peft_config
    own = config.is_prompt_learning or config.task_type == "QUESTION_ANS"
    return model if own else model.get_base_model()


def unload(model: Any, kept: Mapping[str, Any]) -> None:
    """Take every adapter off the base again, whose weights are then as they were.

    Args:
        model: The `PeftModel`.
        kept: What `keep` returned before.
    """
    import torch

    base = model.get_base_model() if model.active_peft_config.is_prompt_learning else model.unload()
    with torch.no_grad():
        for name, value in kept.items():
            base.get_parameter(name).copy_(value)


def write(model: Any, folder: Path, adapter: Adapter | None) -> None:
    """Save the adapter in use into `folder`; labels that its own config.json named are kept.

    Args:
        model: The `PeftModel`.
        folder: An existing folder.
        adapter: The files it was loaded from; None for a model that the caller made.
    """
    name = model.active_adapter
    apart = getattr(model.peft_config[name], "modules_to_save", None) or ()
    embeddings = [one for one in _embeddings(model.get_base_model()) if one.split(".")[-2] not in apart]
    saved = adapter is not None and any(one in adapter.brings for one in embeddings)
    with _quiet():
        # "auto" would look the base up on the hub.
        model.save_pretrained(str(folder), selected_adapters=[name], save_embedding_layers=saved)
    if name != "default":
        for path in (folder / name).iterdir():
            shutil.move(path, folder / path.name)
        (folder / name).rmdir()
    if adapter is not None and adapter.labels:
        model.get_base_model().config.save_pretrained(str(folder))


def _embeddings(base: Any) -> list[str]:
    """Return the names of the weights of the input and output embeddings."""
    names = {id(module): name for name, module in base.named_modules()}
    try:
        layers = (base.get_input_embeddings(), base.get_output_embeddings())
    except (AttributeError, NotImplementedError):  # of pictures or sound
        return []
    tables = (layer for layer in layers if getattr(getattr(layer, "weight", None), "ndim", 0) == 2)
    return [f"{names[id(layer)]}.weight" for layer in tables if id(layer) in names]


def _make_room(base: Any, adapter: Adapter, *, lent: bool) -> None:
    """Give the base as many tokens as the adapter's embeddings have, where it brings them all.

    Raises:
        OptionError: The base is the caller's.
        WeightsMismatch: It brings embeddings of another vocabulary, but not the output layer that goes with them.
    """
    import torch

    have = _embeddings(base)
    sizes = {name: adapter.brings[name][0] for name in have if name in adapter.brings}
    now = base.get_submodule(have[0].removesuffix(".weight")).weight.shape[0] if have else 0
    wanted = next(iter(sizes.values()), now)
    if wanted == now:
        return
    tied = getattr(base.config, "tie_word_embeddings", False)
    lacking = [name for name in have if name not in sizes and not tied]
    if lacking or len({*sizes.values()}) > 1:
        counts = listing(map(str, sorted({*sizes.values()})))
        raise WeightsMismatch(
            f"{printable(adapter.source)}: the adapter has embeddings of {counts} tokens for a base of {now}"
            + (f", and none for {listing(lacking)}" if lacking else "")
            + ". Pass the base it was trained on as base_model=."
        )
    if lent:
        raise OptionError(
            f"{printable(adapter.source)}: the adapter has {wanted} tokens, and the model passed as base_model= {now};"
            " it would have to grow for good. Pass its folder."
        )
    with torch.random.fork_rng(devices=[]):
        base.resize_token_embeddings(wanted, mean_resizing=False)


def _check(model: Any, adapter: Adapter, adapter_name: str, found: Any, *, strict: bool) -> None:
    unexpected = [key for key in found.unexpected_keys if not (adapter.is_prompt and "prompt" in key)]
    empty = (name for name, value in model.named_parameters() if value.is_meta and f".{adapter_name}" in name)
    missing = sorted({*found.missing_keys, *empty})
    problems = [
        f"{len(keys)} weights {what} ({listing(map(printable, keys), 6)})"
        for what, keys in (
            ("of the adapter are not in its file and would be random", missing),
            ("of its file have no place in the base", sorted(unexpected)),
        )
        if keys
    ]
    if problems:
        text = f"{printable(adapter.source)}: applied to {_name(model)}, {'; '.join(problems)}."
        if strict:
            raise WeightsMismatch(
                f"{text} Pass the base it was trained on as base_model=, or allow_missing_weights=True to get a model"
                " that is partly the base's, partly random."
            )
        logger.warning("%s Continuing, as allow_missing_weights=True asks.", text)
    if changes(model, adapter_name):
        return
    text = f"{printable(adapter.source)}: the {adapter.type} adapter changes nothing: {_NEUTRAL}"
    if not adapter.brings:
        raise WeightsMismatch(f"{text}, so every answer would be the base's. It was saved before it was trained.")
    logger.warning("%s; only %s of it differ from the base's.", text, listing(map(printable, adapter.brings), 4))


_NEUTRAL = "all its layers hold what they began with (for LoRA, B @ A is zero)"


def _name(model: Any) -> str:
    return type(model.get_base_model()).__name__


@contextmanager
def _told(adapter: Adapter, base: Any) -> Iterator[None]:
    """Tell what peft raises as our own error, with the file that decided."""
    try:
        yield
    except (ModelScopeExtError, MemoryError, ImportError):
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":
            raise
        detail = printable(" ".join(str(error).split()), 400)
        source, kind = printable(adapter.source), type(base).__name__
        if isinstance(error, KeyError):
            raise WeightsMismatch(
                f"{source}: the adapter's file lacks {detail}, which {CONFIG} says it brings (modules_to_save)."
            ) from error
        if "size mismatch" in detail or "shape" in detail:
            raise WeightsMismatch(
                f"{source}: weights of the adapter do not fit {kind}: {detail}. Pass the base it was trained on as"
                " base_model=."
            ) from error
        if "target" in detail.lower() and ("not found" in detail or "No modules" in detail):
            raise WeightsMismatch(
                f"{source}: {CONFIG}: target_modules: none of the modules to adapt is in {kind}: {detail}. Pass the"
                " base it was trained on as base_model=."
            ) from error
        raise MalformedMetadata(
            f"{source}: {CONFIG}: peft cannot apply the adapter to {kind} ({type(error).__name__}: {detail})",
            source=adapter.source,
            file=CONFIG,
        ) from error


@contextmanager
def kept_random(base: Any = None) -> Iterator[None]:
    """Put torch's random numbers back, on the CPU and where `base` is: weights are drawn before theirs are read."""
    import torch

    devices = [base.device] if base is not None and base.device.type not in ("cpu", "meta") else []
    kind = {"device_type": base.device.type} if devices else {}
    with torch.random.fork_rng(devices=devices, **kind):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Hand peft's warnings to our logger: what they say that matters is an error here."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        yield
    _log(seen)


def _log(seen: Iterable[warnings.WarningMessage]) -> None:
    for text in dict.fromkeys(str(one.message) for one in seen):
        level = logger.warning if text.startswith("Unexpected keyword arguments") else logger.debug
        level("peft: %s", printable(text, 400))
