"""Devices and dtypes: this package's words for them in MindSpore's.

MindSpore runs on one device per process. Its CPU side computes in float32 and float16 only: weights in bfloat16 are
read as float32, which holds every such value exactly.
"""

from __future__ import annotations

import re
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backends._mindspore.cpu import install
from modelscope_ext.models.backends._mindspore.lazy import ms
from modelscope_ext.utils.text import listing, printable

__all__ = ["compute_dtype", "dtype_name", "start"]

_ASCEND = re.compile(r"(?:npu|ascend)(?::(\d+))?")
_FLOATS = ("float32", "float16", "bfloat16", "float64")


def start(device: Any = None) -> str:
    """Choose the process's device, put the CPU replacements in place where it is the CPU, and return its name.

    To be called before mindone or mindformers is imported, and again with every load.

    Args:
        device: ``"cpu"``, ``"npu"`` or ``"npu:1"``; None takes an Ascend card where there is one, else the CPU.

    Returns:
        ``"cpu"`` or ``"npu:<number>"``.

    Raises:
        OptionError: A device that MindSpore cannot use here, or another one than the process uses already.
    """
    name, number = _named(device)
    current, index = ms.get_context("device_target"), ms.get_context("device_id")
    try:
        if name == "CPU":
            ms.set_device("CPU")
            # The queue hands every kernel to another thread, and each look at a result waits for that thread: on two
            # busy cores a token of a tiny model took ten times as long. Has an effect before the first kernel only.
            ms.runtime.launch_blocking()
        elif (current, index) != (name, number):
            ms.set_device(name, number)
    except RuntimeError as error:
        has = ["cpu", *(f"npu:{i}" for i in range(_cards()))]
        raise OptionError(
            f"device={printable(repr(device))} cannot be used here: MindSpore has {listing(has)} on this machine, and"
            f" one device per process (now {current}). Leave device= out to take what there is."
        ) from error
    install(name)
    return "cpu" if name == "CPU" else f"npu:{number}"


def _named(device: Any) -> tuple[str, int]:
    if device is None:
        return ("Ascend", int(ms.get_context("device_id"))) if _cards() else ("CPU", 0)
    if str(device) == "cpu":
        return "CPU", 0
    found = _ASCEND.fullmatch(str(device))
    if found is None:
        raise OptionError(
            f"device={printable(repr(device))}: MindSpore runs on 'cpu' and on Ascend cards ('npu', 'npu:1'). Leave"
            " device= out to take what there is."
        )
    return "Ascend", int(found[1] or 0)


def _cards() -> int:
    try:
        return int(ms.hal.device_count("Ascend"))
    except (ValueError, RuntimeError):  # this build of MindSpore has no Ascend side
        return 0


def compute_dtype(name: str | None, device: str, *, default: str = "float32") -> tuple[Any, str]:
    """Return the dtype to load weights in, and why it is not the one that was meant, where it is not.

    Args:
        name: The caller's dtype, by this package's name; None or ``"auto"`` means `default`.
        device: What `start` returned.
        default: The dtype of the checkpoint.

    Raises:
        OptionError: A dtype that is none for weights, or that the CPU cannot compute in.
    """
    asked = None if name in (None, "auto") else name
    wanted = asked or default
    if wanted not in _FLOATS:
        if asked is not None:
            raise OptionError(f"dtype={printable(repr(name))}: expected one of {listing(_FLOATS)} for weights")
        return ms.float32, ""
    if device == "cpu" and wanted == "bfloat16":
        if asked is not None:
            raise OptionError(
                "dtype='bfloat16': MindSpore cannot compute in bfloat16 on a CPU. Pass dtype='float32', which holds"
                " every bfloat16 value exactly, or 'float16'."
            )
        return ms.float32, "bfloat16 weights are computed in float32: MindSpore's CPU side has no bfloat16"
    return getattr(ms, wanted), ""


def dtype_name(dtype: Any) -> str:
    """Return this package's name of a dtype of MindSpore.

    Example:
        >>> dtype_name("Float32")
        'float32'
    """
    return str(dtype).rpartition(".")[2].lower()
