"""Step 5 of 6: will it fit? Memory, counted from sizes and headers before a byte is fetched."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import MemoryTooSmall, ModelScopeExtError
from modelscope_ext.utils.text import listing, printable
from modelscope_ext.utils.text import size as readable

if TYPE_CHECKING:
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.models.resolution import Plan, Resolution, Weights

__all__ = ["check_memory", "counted", "memory_free", "memory_needed"]

#: Bytes of one parameter.
_WIDTHS = {
    "float64": 8, "int64": 8, "float32": 4, "int32": 4, "float16": 2, "bfloat16": 2, "int16": 2, "int8": 1, "uint8": 1,
    "bool": 1, "float8_e4m3fn": 1, "float8_e5m2": 1, "F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2,
    "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
#: Control groups limit a container's memory: version 2, then version 1 (https://docs.kernel.org/admin-guide/cgroup-v2.html).
_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes",
     "/sys/fs/cgroup/memory/memory.stat"),
)  # fmt: skip


def memory_needed(weights: Weights, config: Any = None) -> Mapping[str, int]:
    """Return bytes of weights in memory by dtype: as stored, and for the dtypes one might load in.

    Args:
        weights: The chosen files; with parameters where their headers were read.
        config: What config.json says: its dtype tells how many parameters there are where no header was read.
    """
    parameters = weights.parameters
    if parameters is None:
        width = _stored_width(weights, config)
        if width is None:
            return {"as stored": weights.bytes} if weights.bytes else {}
        parameters = weights.bytes // width
    if weights.format == "gguf":  # blocks are unpacked on loading, to a dtype of torch
        return {"as stored": weights.bytes, "float32": 4 * parameters, "bfloat16": 2 * parameters}
    stored = sum(_WIDTHS.get(dtype, 4) * count for dtype, count in weights.dtypes.items()) or weights.bytes
    widths = {"float32": 4, "bfloat16": 2, "int8": 1}
    return {"as stored": stored, **{name: width * parameters for name, width in widths.items()}}


def _stored_width(weights: Weights, config: Any) -> int | None:
    if weights.format not in ("safetensors", "pickle") or weights.quantization or not isinstance(config, Mapping):
        return None
    said = config.get("dtype", config.get("torch_dtype"))
    return _WIDTHS.get(said) if isinstance(said, str) and weights.bytes and weights.variant is None else None


def counted(weights: Weights, snapshot: Snapshot) -> Weights:
    """Return `weights` with the parameters counted in the headers of the files, where those can be read."""
    from modelscope_ext.safety.headers import read_header

    far = snapshot.remote is not None  # every header would be a request
    if weights.parameters is not None or far or not all(map(snapshot.has_text, weights.files)):
        return weights
    dtypes: dict[str, int] = {}
    for name in weights.files:
        try:
            header = read_header(
                weights.format or "", partial(snapshot.read, name),
                snapshot.sizes[name], file=name, limits=snapshot.limits, source=str(snapshot.source),
            )  # fmt: skip
        except ModelScopeExtError:  # a broken file is the load's to refuse; a plan only counts
            return weights
        if header is None:
            return weights
        for dtype, count in header.dtypes.items():
            dtypes[dtype] = dtypes.get(dtype, 0) + count
    return replace(weights, dtypes=dtypes, parameters=sum(dtypes.values())) if dtypes else weights


def memory_free(device: str | None = None) -> int | None:
    """Return the bytes of memory that can still be used, counting what the system can take back.

    Args:
        device: None or ``"cpu"`` for the machine's memory (a container's share of it), ``"cuda:0"`` for a GPU's, which
            is asked only where torch is loaded already.
    """
    if device is not None and device.startswith("cuda"):
        return _gpu_free(device)
    if device is not None and device != "cpu":
        return None
    found = [free for free in (_system_free(), *map(_group_free, _GROUPS)) if free is not None]
    return min(found, default=None)


def _gpu_free(device: str) -> int | None:
    torch = sys.modules.get("torch")
    try:
        return int(torch.cuda.mem_get_info(device)[0]) if torch is not None and torch.cuda.is_available() else None
    except (RuntimeError, AssertionError, ValueError):  # the load's to refuse: no such device
        return None


def _system_free() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _group_free(files: tuple[str, str, str]) -> int | None:
    """Return what a control group leaves: its limit less what it holds, of which cached files can be taken back."""
    most, used, stat = files
    try:
        limit = int(Path(most).read_text("ascii"))
        held = int(Path(used).read_text("ascii"))
        lines = (line.split() for line in Path(stat).read_text("ascii").splitlines())
        cached = next((int(line[1]) for line in lines if line[0] in ("inactive_file", "total_inactive_file")), 0)
    except (OSError, ValueError, IndexError):  # "max": no limit
        return None
    return max(limit - held + cached, 0)


def check_memory(
    plan: Plan,
    resolution: Resolution,
    *,
    dtype: str | None = None,
    device: str | None = None,
    device_map: Any = None,
    variants: tuple[str, ...] = (),
) -> None:
    """Refuse to fetch weights that the memory they would be loaded into cannot hold.

    Nothing is said where that is not known: of a device that cannot be asked, of quantised weights, and where
    `device_map` spreads the model over several.

    Args:
        plan: With the memory by dtype.
        resolution: The decision.
        dtype: As the caller asked; None is as stored.
        device: As the caller asked.
        device_map: As the caller asked.
        variants: Those that the model has, for the message.

    Raises:
        MemoryTooSmall: Naming what is needed, what is free, and what to do.
    """
    by_dtype = dict(plan.memory_needed)
    if device_map is not None or resolution.weights.quantization not in (None, resolution.weights.variant):
        return
    usual = "float32" if resolution.weights.format == "gguf" else "as stored"
    wanted = {"float16": "bfloat16"}.get(dtype or "", dtype or usual)
    needed = by_dtype.get(wanted, by_dtype.get("as stored"))
    free = memory_free(device)
    if needed is None or free is None or needed <= free:
        return
    fitting = {name: size for name, size in by_dtype.items() if size <= free and name in ("float32", "bfloat16")}
    smaller = [f"dtype={name!r} ({readable(size)})" for name, size in fitting.items()]
    smaller += [f"variant={name!r}" for name in variants if name != resolution.weights.variant]
    todo = f"{listing(smaller)}, " if smaller else ""
    raise MemoryTooSmall(
        f"{printable(str(resolution.source))}: its weights need {readable(needed)} of memory"
        f" {f'as {dtype}' if dtype else 'as stored'}, and {readable(free)} are free on {device or 'this machine'}."
        f" Nothing was fetched. Pass {todo}another device=, or device_map='auto' to spread it over what there is;"
        " `modelscope-ext download` fetches it all the same."
    )
