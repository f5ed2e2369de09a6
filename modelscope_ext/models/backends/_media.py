"""Step 6 of 6: from what people give as images, sounds and videos to arrays; backends that read them share it.

Sound files are read by soundfile and resampled by scipy, videos are decoded by PyAV; each is asked for by name where it
is first needed. Nothing here imports a framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from modelscope_ext.errors import MissingRequirement, OptionError
from modelscope_ext.models.inputs import KINDS
from modelscope_ext.models.media import read_audio
from modelscope_ext.utils.text import printable

__all__ = ["frames", "labels_of", "need", "rgb", "waveform"]

#: Import name -> pip name, where they differ.
_PIP = {"PIL": "pillow", "sklearn": "scikit-learn"}


def need(module: str, purpose: str) -> Any:
    """Import and return `module`, or say what needs it and how it is installed.

    Example:
        >>> need("json", "doctests").dumps([1])
        '[1]'
    """
    try:
        return import_module(module)
    except ImportError as error:
        root = module.partition(".")[0]
        raise MissingRequirement(f"{purpose} needs the package {root}: pip install {_PIP.get(root, root)}") from error


def rgb(item: Any) -> Any:
    """Return one image as a PIL image of three channels; a path, bytes or an array will do too."""
    image = KINDS["image"].bring(item)
    return image if image.mode == "RGB" else image.convert("RGB")


def waveform(item: Any, rate: int) -> Any:
    """Return one recording as a float32 array of one channel at `rate` samples a second.

    Args:
        item: A path, or ``{"raw": array, "sampling_rate": hertz or None}``; None means `rate`.
        rate: What the model hears, in hertz.
    """
    import numpy as np

    item = KINDS["audio"].bring(item)
    if isinstance(item, str):
        item = read_audio(item, item)
    samples, given = np.asarray(item["raw"], dtype=np.float32), item.get("sampling_rate") or rate
    return samples if given == rate else _resampled(samples, int(given), rate)


def _resampled(samples: Any, given: int, rate: int) -> Any:
    from math import gcd

    import numpy as np

    signal = need("scipy.signal", f"resampling audio from {given} to {rate} hertz")
    step = gcd(given, rate)
    return np.ascontiguousarray(signal.resample_poly(samples, rate // step, given // step), dtype=np.float32)


def frames(item: Any, count: int, every: int) -> list[Any]:
    """Return `count` frames of one video, each `every`-th from its start, the last ones repeated where it is short."""
    import numpy as np

    video = KINDS["video"].bring(item)
    if isinstance(video, str | bytes):
        video = _decoded(video, count * every)
    if not len(video):
        raise OptionError("the video has no frames")
    last = min(len(video), count * every) - 1
    return [_pixels(video[i]) for i in np.linspace(0, last, num=count, dtype=np.int64)]


def _pixels(frame: Any) -> Any:
    """Return one frame as a uint8 array [height, width, 3]."""
    import numpy as np

    return np.asarray(rgb(frame)) if hasattr(frame, "convert") else frame


def _decoded(video: str | bytes, most: int) -> list[Any]:
    """Return the first frames of a video file, at most `most`."""
    from io import BytesIO

    av = need("av", "reading a video file")
    try:
        with av.open(BytesIO(video) if isinstance(video, bytes) else video) as container:
            found = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
            return [frame for _, frame in zip(range(most), found, strict=False)]
    except (OSError, ValueError, IndexError) as error:
        raise OptionError(f"not a video that can be read ({printable(str(error))})") from error


def labels_of(task: str, options: Mapping[str, Any]) -> list[str]:
    """Return the candidate labels of a zero-shot call as a list; one string may hold several, separated by commas."""
    labels = options.get("candidate_labels")
    if isinstance(labels, str):
        labels = [label.strip() for label in labels.split(",") if label.strip()]
    if not labels or not all(isinstance(label, str) for label in labels):
        raise OptionError(f"{task} needs candidate_labels, a list of str, e.g. candidate_labels=['sport', 'science']")
    return list(labels)
