"""From sounds to what an audio graph hears: the waveform itself, or its log-mel spectrogram, with numpy only.

The arithmetic is that of transformers' feature extractors. Waveforms are equal bit by bit; spectrograms within 1e-4,
since those are computed there by torch where it is installed, here by numpy's FFT.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelscope_ext.errors import BackendNotLoadable, LimitExceeded, MalformedMetadata
from modelscope_ext.utils.text import listing, printable

__all__ = ["EXTRACTORS", "Extractor"]

FILE = "preprocessor_config.json"

#: The most samples, frames or bins that a settings file may ask for.
_MOST = 2**26


@dataclass(frozen=True)
class Extractor:
    """What a folder says of how sounds are prepared, completed by the extractor's own assumptions.

    Attributes:
        name: The extractor's class name in transformers.
        values: Its settings.
    """

    name: str
    values: Mapping[str, Any]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Extractor:
        """Read the parsed settings.

        Raises:
            BackendNotLoadable: An extractor that this backend does not know.
            MalformedMetadata: A value has the wrong type.
            LimitExceeded: More numbers than any real extractor makes.
        """
        said = str(document.get("feature_extractor_type"))
        if said not in EXTRACTORS:
            raise BackendNotLoadable(
                f"{FILE}: feature_extractor_type is {printable(said)}; the onnx backend prepares sounds as one of "
                f'{listing(EXTRACTORS)}. Use backend="transformers" (it needs torch).'
            )
        usual = EXTRACTORS[said][1]
        values = {**usual, **{key: document[key] for key in usual if document.get(key) is not None}}
        for key, value in values.items():
            kind = type(usual[key])
            if not isinstance(value, int | float if kind is float else kind) or isinstance(value, bool) != (
                kind is bool
            ):
                expected = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
                raise MalformedMetadata(
                    f"{FILE}: {key} should be {expected}, found {printable(value)}.", file=FILE, field=key
                )
            if kind is int and not 0 < value <= _MOST:
                raise LimitExceeded(f"{FILE}: {key}={value} is not between 1 and {_MOST}.", file=FILE, field=key)
        return cls(said, values)

    @property
    def rate(self) -> int:
        """Samples a second, in hertz."""
        return int(self.values["sampling_rate"])

    def prepared(self, samples: Any) -> Any:
        """Return what the graph hears of one recording (float32 [samples], at `rate`), without the batch."""
        import numpy as np

        found = EXTRACTORS[self.name][0](samples, self.values)
        return np.ascontiguousarray(found, dtype=np.float32)


def _waveform(samples: Any, values: Mapping[str, Any]) -> Any:
    import numpy as np

    return (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7) if values["do_normalize"] else samples


def _kaldi(samples: Any, values: Mapping[str, Any]) -> Any:
    """Return [frames, bins] as Kaldi's filter banks have it, cut or padded to `max_length` frames (AST)."""
    import numpy as np

    rate, bins = values["sampling_rate"], values["num_mel_bins"]
    frames = _frames(samples.astype(np.float64), 400, 160)
    frames = frames - frames.mean(axis=1, keepdims=True)
    emphasised = frames - 0.97 * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    filters = _filters(257, bins, 20.0, float(rate // 2), rate, _KALDI, inside=True)
    power = _power(emphasised * np.hanning(400), 512)
    found = np.log(np.maximum(1.192092955078125e-07, power @ filters)).astype(np.float32)
    whole = np.zeros((values["max_length"], bins), np.float32)
    count = min(len(found), len(whole))
    whole[:count] = found[:count]
    return (whole - values["mean"]) / (values["std"] * 2) if values["do_normalize"] else whole


def _whisper(samples: Any, values: Mapping[str, Any]) -> Any:
    """Return [bins, frames] of `chunk_length` seconds, as Whisper hears."""
    import numpy as np

    width, hop, rate = values["n_fft"], values["hop_length"], values["sampling_rate"]
    count = values["chunk_length"] * rate
    if count > _MOST:
        raise LimitExceeded(f"{FILE}: chunk_length asks for {count} samples.", file=FILE, field="chunk_length")
    whole = np.full(count, values["padding_value"], np.float64)
    whole[: len(samples)] = samples[:count]
    frames = _frames(np.pad(whole, width // 2, mode="reflect"), width, hop)[:-1]
    filters = _filters(1 + width // 2, values["feature_size"], 0.0, 8000.0, rate, _SLANEY)
    found = np.log10(np.maximum(1e-10, _power(frames * np.hanning(width + 1)[:-1], width) @ filters)).T
    return ((np.maximum(found, found.max() - 8.0) + 4.0) / 4.0).astype(np.float32)


def _frames(samples: Any, width: int, hop: int) -> Any:
    """Return overlapping pieces, [frames, width]; a recording shorter than one piece has none."""
    import numpy as np

    if len(samples) < width:
        return np.zeros((0, width))
    return np.lib.stride_tricks.sliding_window_view(samples, width)[::hop]


def _power(frames: Any, width: int) -> Any:
    import numpy as np

    return np.abs(np.fft.rfft(frames, width)) ** 2


@dataclass(frozen=True)
class _Scale:
    to_mel: Callable[[Any], Any]
    to_hertz: Callable[[Any], Any]
    even: bool  # each filter weighs the same


def _kaldi_mel(hertz: Any) -> Any:
    import numpy as np

    return 1127.0 * np.log(1.0 + np.asarray(hertz) / 700.0)


def _kaldi_hertz(mel: Any) -> Any:
    import numpy as np

    return 700.0 * (np.exp(np.asarray(mel) / 1127.0) - 1.0)


def _slaney_mel(hertz: Any) -> Any:
    import numpy as np

    hertz = np.asarray(hertz, np.float64)
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + np.log(np.maximum(hertz, 1000) / 1000) * 27 / np.log(6.4))


def _slaney_hertz(mel: Any) -> Any:
    import numpy as np

    mel = np.asarray(mel, np.float64)
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(np.log(6.4) / 27 * (np.maximum(mel, 15) - 15)))


_KALDI = _Scale(_kaldi_mel, _kaldi_hertz, even=False)
_SLANEY = _Scale(_slaney_mel, _slaney_hertz, even=True)


def _filters(
    bins: int, count: int, least: float, most: float, rate: int, scale: _Scale, *, inside: bool = False
) -> Any:
    """Return triangular filters, float64 [bins, count], between `least` and `most` hertz.

    With `inside` their flanks are straight on the mel scale, else in hertz.
    """
    import numpy as np

    mels = np.linspace(scale.to_mel(least), scale.to_mel(most), count + 2)
    hertz = scale.to_hertz(mels)
    if inside:
        corners, places = mels, scale.to_mel(rate / ((bins - 1) * 2) * np.arange(bins))
    else:
        corners, places = hertz, np.linspace(0, rate // 2, bins)
    steps, slopes = np.diff(corners), corners[None, :] - places[:, None]
    found = np.maximum(0, np.minimum(-slopes[:, :-2] / steps[:-1], slopes[:, 2:] / steps[1:]))
    return found * (2.0 / (hertz[2:] - hertz[:-2])) if scale.even else found


#: Extractor -> what prepares one recording, and what the extractor assumes where the file is silent.
EXTRACTORS: Mapping[str, tuple[Callable[[Any, Mapping[str, Any]], Any], Mapping[str, Any]]] = {
    "ASTFeatureExtractor": (
        _kaldi,
        {
            "sampling_rate": 16000,
            "num_mel_bins": 128,
            "max_length": 1024,
            "do_normalize": True,
            "mean": -4.2677393,
            "std": 4.5689974,
        },
    ),
    "Wav2Vec2FeatureExtractor": (_waveform, {"sampling_rate": 16000, "do_normalize": True}),
    "WhisperFeatureExtractor": (
        _whisper,
        {
            "sampling_rate": 16000,
            "feature_size": 80,
            "hop_length": 160,
            "chunk_length": 30,
            "n_fft": 400,
            "padding_value": 0.0,
        },
    ),
}
