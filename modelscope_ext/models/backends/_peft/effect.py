"""Step 5 of 6, peft: does an adapter change anything? peft loads one that does not without a word.

Each kind of adapter has its own neutral element: low-rank products that are zero, factors that are one, rotations by
nothing. A layer is asked by that; the first that changes something settles it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from modelscope_ext.models.backends._peft.adapter import PROMPTS

__all__ = ["changes"]


def changes(model: Any, adapter_name: str) -> bool:
    """Whether the adapter, as it is applied, changes what its layers compute.

    Args:
        model: The `PeftModel`.
        adapter_name: The adapter's name in it.
    """
    import torch

    kind = str(model.peft_config[adapter_name].peft_type.value)
    if kind in PROMPTS:
        return True  # tokens that are added are never nothing
    with torch.no_grad():
        return any(_CHANGES[kind](layer, adapter_name) for layer in _layers(model, adapter_name))


def _layers(model: Any, adapter_name: str) -> Iterator[Any]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in model.modules():
        held = getattr(module, "adapter_layer_names", ())
        if isinstance(module, BaseTunerLayer) and any(adapter_name in (getattr(module, n, None) or ()) for n in held):
            yield module


def _adds(layer: Any, name: str) -> bool:
    """LoRA and its like: a matrix is added to the weights."""
    return bool(layer.get_delta_weight(name).any()) or _rescales(layer, name) or _adds_bias(layer, name)


def _rescales(layer: Any, name: str) -> bool:
    """DoRA: the length of each row of the weights is replaced."""
    vectors = getattr(layer, "lora_magnitude_vector", None) or {}
    if name not in vectors:
        return False
    weight, length = layer.get_base_layer().weight, vectors[name].weight.flatten()
    if not weight.is_floating_point():
        return True  # quantised: what it was is not to be seen here
    norms = (weight.flatten(1).norm(dim=1), weight.transpose(0, 1).flatten(1).norm(dim=1))
    return not any(n.shape == length.shape and bool(n.isclose(length.to(n.dtype), rtol=1e-3).all()) for n in norms)


def _adds_bias(layer: Any, name: str) -> bool:
    """LoRA with a bias of its own."""
    held = getattr(layer, "lora_B", None) or {}
    bias = getattr(held[name], "bias", None) if name in held else None
    return bias is not None and bool(bias.any())


def _multiplies(layer: Any, name: str) -> bool:
    """IA3: activations are multiplied by factors."""
    return bool((layer.ia3_l[name] != 1).any())


def _rotates(layer: Any, name: str) -> bool:
    """OFT and BOFT: weights are rotated by what is learned, and scaled."""
    angles = [getattr(layer, held, None) or {} for held in ("oft_R", "oft_embedding_R", "boft_R")]
    parts = (value for held in angles if name in held for value in _values(held[name]))
    scales = getattr(layer, "boft_s", None) or {}
    return any(bool(value.any()) for value in parts) or (name in scales and bool((scales[name] != 1).any()))


def _values(held: Any) -> list[Any]:
    return list(held.parameters()) if hasattr(held, "parameters") else [held]


def _reflects(layer: Any, name: str) -> bool:
    """HRA: weights are multiplied by a chain of reflections, which may cancel out."""
    import torch

    chain = layer.get_delta_weight(name)
    return not bool(chain.isclose(torch.eye(len(chain), dtype=chain.dtype, device=chain.device), atol=1e-6).all())


def _replaces(layer: Any, name: str) -> bool:
    """Layer norms that were trained on take the place of the base's."""
    ours, theirs = layer.ln_tuning_layers[name], layer.get_base_layer()
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    return any(bool((new != old).any()) for new, old in pairs)


_CHANGES: Mapping[str, Callable[[Any, str], bool]] = {
    **dict.fromkeys(("LORA", "ADALORA", "LOHA", "LOKR", "VERA", "FOURIERFT"), _adds),
    "IA3": _multiplies,
    "OFT": _rotates,
    "BOFT": _rotates,
    "HRA": _reflects,
    "LN_TUNING": _replaces,
}
