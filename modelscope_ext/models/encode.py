"""Step 6 of 6: pictures, videos and sounds of answers as files that browsers and players know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelscope_ext.models.media import is_image

__all__ = ["animated", "wav", "with_media"]

#: Frames a second of a video whose model does not say.
_FPS = 8.0


def with_media(answer: Any, put: Callable[[bytes, str], str]) -> Any:
    """Return an answer with each image, mask, video and sound replaced by what `put` returns for it.

    Args:
        answer: Of a model.
        put: Called with the bytes of a file and their kind: ``image/png``, ``image/apng`` or ``audio/wav``.

    Example:
        >>> from PIL import Image
        >>> with_media({"depth": Image.new("L", (2, 2)), "score": 0.5}, lambda data, kind: kind)
        {'depth': 'image/png', 'score': 0.5}
    """
    if is_image(answer):
        return put(_png(answer), "image/png")
    if isinstance(answer, Mapping):
        rate, frames = answer.get("sampling_rate"), answer.get("frames")
        if isinstance(rate, int) and hasattr(answer.get("audio"), "dtype"):
            return {**answer, "audio": put(wav(answer["audio"], rate), "audio/wav")}
        if isinstance(frames, list) and frames and all(map(is_image, frames)):
            return {**answer, "frames": put(animated(frames, answer.get("fps") or _FPS), "image/apng")}
        return {key: with_media(value, put) for key, value in answer.items()}
    if isinstance(answer, list | tuple):
        return [with_media(value, put) for value in answer]
    if str(getattr(answer, "dtype", "")) == "bool" and getattr(answer, "ndim", 0) == 2:
        return put(_mask(answer), "image/png")
    return answer


def _png(image: Any) -> bytes:
    from io import BytesIO

    data = BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def _mask(array: Any) -> bytes:
    from PIL import Image

    return _png(Image.fromarray(array))


def animated(frames: list[Any], fps: float) -> bytes:
    """Return PIL images as an animated PNG, which keeps every pixel; browsers and most viewers play it.

    Args:
        frames: At least one image.
        fps: Frames a second.

    Example:
        >>> from PIL import Image
        >>> animated([Image.new("RGB", (2, 2), color) for color in ("red", "blue")], 4)[37:41]
        b'acTL'
    """
    from io import BytesIO

    data = BytesIO()
    frames[0].save(data, "PNG", save_all=True, append_images=frames[1:], duration=1000 / fps, loop=0)
    return data.getvalue()


def wav(samples: Any, rate: int) -> bytes:
    """Return samples in -1..1, shape [time] or [channels, time], as a 16-bit WAV file of `rate` hertz.

    Example:
        >>> import numpy as np
        >>> wav(np.zeros(8, "float32"), 16000)[:4]
        b'RIFF'
    """
    import wave
    from io import BytesIO

    import numpy as np

    array = np.asarray(samples, dtype=np.float32)
    array = array.reshape(1, -1) if array.ndim == 1 else array.reshape(-1, array.shape[-1])
    whole = np.round(np.nan_to_num(array).clip(-1, 1) * 32767).astype("<i2")
    data = BytesIO()
    with wave.open(data, "wb") as stream:
        stream.setnchannels(whole.shape[0])
        stream.setsampwidth(2)
        stream.setframerate(rate)
        stream.writeframes(whole.T.tobytes())
    return data.getvalue()
