"""Did every weight arrive? transformers fills what is missing with random numbers and warns; here that is an error.

What is left over in the checkpoint is tolerated where it belongs to a head or a pooler that the chosen class does not
have, and refused where it shows that the model is smaller than its checkpoint: further layers, or parameters inside a
module that has its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from modelscope_ext.errors import OptionError, WeightsMismatch
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import listing, printable

__all__ = ["check_cross_encoder", "check_weights", "drop_random_pooler", "left_over", "warn_of_another_head"]

_ADVICE = (
    "Pick a task this checkpoint was trained for, or pass allow_missing_weights=True to get a model whose missing "
    "weights are random."
)


def check_weights(
    model: Any, info: Mapping[str, Any], name: str, auto: str, *, strict: bool, supplied: Collection[str] = ()
) -> None:
    """Raise when weights are missing, left over or of another shape.

    Args:
        model: The loaded model.
        info: What the library says about loading (``output_loading_info=True``).
        name: How the user named the model.
        auto: The auto class that loaded it.
        strict: False to log a warning instead (`allow_missing_weights=True`).
        supplied: Names of weights that something else brings afterwards.

    Raises:
        WeightsMismatch: With the names of the weights, and what to do.
    """
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    missing = sorted(set(info.get("missing_keys") or ()) - tied - set(supplied))
    odd = sorted(_shapes(entry) for entry in info.get("mismatched_keys") or () if entry[0] not in supplied)
    missing = [key for key in missing if key not in {entry.partition(" ")[0] for entry in odd}]
    extra = left_over(model, info.get("unexpected_keys") or ())
    problems = [
        f"{len(keys)} {what} ({listing(map(printable, keys), 6)})"
        for what, keys in (
            ("weights are not in the checkpoint and would be random", missing),
            ("weights of the checkpoint have another shape than config.json says", odd),
            ("weights of the checkpoint have no place in the model", extra),
        )
        if keys
    ]
    if not problems:
        return
    message = f"{name}: loaded by {auto} as {type(model).__name__}, {'; '.join(problems)}."
    if strict:
        raise WeightsMismatch(f"{message} {_ADVICE}")
    logger.warning("%s Continuing, as allow_missing_weights=True asks.", message)


def warn_of_another_head(model: Any, named: Iterable[str], name: str, task: str | None) -> None:
    """Log a warning where all weights are there, but were trained for another head, whose tensors have the same names.

    Args:
        model: The loaded model.
        named: `architectures` of config.json.
        name: How the user named the model.
        task: The task whose head was loaded.
    """
    others = [one for one in named if one != type(model).__name__]
    is_base = getattr(model, "base_model", None) is model
    if task is None or is_base or not others or type(model).__name__ in named:
        return
    logger.warning(
        "%s: config.json: architectures names %s; for %s it was loaded as %s, whose head has weights of the same "
        "names. Its answers mean something only if it was trained for that as well.",
        name,
        listing(map(printable, others), 3),
        task,
        type(model).__name__,
    )


def check_cross_encoder(config: Any) -> None:
    """Raise OptionError unless a classifier has the one label that makes it a ranker."""
    if config.num_labels != 1:
        raise OptionError(
            f"text-ranking needs a cross-encoder, a classifier with one label; config.json has {config.num_labels} "
            f"({listing(map(printable, config.id2label.values()), 6)}). Pass task='text-classification'."
        )


def left_over(model: Any, keys: Iterable[str]) -> list[str]:
    """Return those of the checkpoint's unexpected `keys` that show that the model is not what was saved."""
    if getattr(model, "hf_quantizer", None) is not None:
        return []  # quantisers keep scales and zero points beside the weights
    modules = dict(model.named_modules())
    base = getattr(model, "base_model_prefix", "")
    return sorted(key for key in keys if _is_inside(modules, key) or _is_inside(modules, key.removeprefix(f"{base}.")))


def _is_inside(modules: Mapping[str, Any], key: str) -> bool:
    """Whether the deepest module of the model on the path of `key` is a list of layers or has weights of its own."""
    parent = key
    while "." in parent:
        parent = parent.rpartition(".")[0]
        module = modules.get(parent)
        if module is not None:
            is_list = type(module).__name__ in ("ModuleList", "ModuleDict") and bool(len(module))
            return is_list or bool(module._parameters)
    return False


#: Tasks whose answers do not pass through an encoder's pooler.
_WITHOUT_POOLER = frozenset(
    ("feature-extraction", "image-feature-extraction", "image-to-text", "document-question-answering", None)
)


def drop_random_pooler(model: Any, info: dict[str, Any], task: str | None) -> None:
    """Take a pooler without weights off an encoder whose answers do not pass through it.

    Checkpoints of masked language models and of encoder-decoders for pictures have no pooler, and transformers would
    add a random one. Without it `pooler_output` is None, which is the truth.
    """
    if task not in _WITHOUT_POOLER:
        return
    missing = set(info.get("missing_keys") or ())
    paths = {key[: key.index("pooler.")] for key in missing if key.startswith("pooler.") or ".pooler." in key}
    for path in paths:
        parent = model.get_submodule(path.rstrip("."))
        keys = {f"{path}pooler.{name}" for name, _ in parent.pooler.named_parameters()}
        if keys <= missing:
            parent.pooler = None
            missing -= keys
    info["missing_keys"] = missing


def _shapes(entry: Any) -> str:
    """Return one mismatch, which transformers gives as a name and two shapes, as text."""
    name, theirs, ours = entry
    return f"{name} is {tuple(theirs)}, not {tuple(ours)}"
