"""Step 6 of 6: pictures in motion and sounds as files that browsers and players know."""

from __future__ import annotations

from typing import Any

__all__ = ["animated", "wav"]


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
