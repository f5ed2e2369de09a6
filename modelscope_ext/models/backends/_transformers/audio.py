"""Step 6 of 6, transformers: the tasks whose input or output is sound.

Files are read by soundfile and resampled by scipy, so that neither ffmpeg nor torchaudio is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelscope_ext.errors import OptionError, RedirectRefused
from modelscope_ext.models.backends._transformers.inputs import labels_of, waveform
from modelscope_ext.models.backends._transformers.run import Outcome, Session, same
from modelscope_ext.models.backends._transformers.tasks import GENERATION
from modelscope_ext.utils.text import listing, printable

__all__ = ["classify", "speak", "transcribe", "zero_shot"]


def classify(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give a recording its likeliest labels, five unless `top_k` says otherwise."""
    if "top_k" in options and options["top_k"] is None:
        options = {**options, "top_k": session.model.config.num_labels}
    return _heard(session, items, options), same


def zero_shot(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give labels that the caller names their scores for a recording."""
    return _heard(session, items, {**options, "candidate_labels": labels_of(session.task, options)}), same


def transcribe(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Write down what is said, with `return_timestamps` also when (True, ``"word"``; CTC: ``"char"``).

    A long recording is heard in pieces of `chunk_length_s` seconds that overlap by `stride_length_s`; Whisper walks
    through one by itself.
    """
    generates = session.model.can_generate()
    if not generates:
        useless = sorted({"language", "return_language", *GENERATION} & set(options))
        if useless:
            raise OptionError(
                f"{session.task}: {type(session.model).__name__} spells what it hears and generates nothing: leave out"
                f" {listing(useless)}"
            )
        if options.get("return_timestamps") is True:
            options = {**options, "return_timestamps": "word"}
    try:
        natives = _heard(session, items, options)
    except ValueError as error:
        raise OptionError(f"{session.task}: {printable(str(error), 300)}") from error
    stamped = bool(options.get("return_timestamps", getattr(_generation(session), "return_timestamps", False)))

    def convert(native: Any, _item: Any) -> Any:
        plain = same(native, None)
        out = {"text": plain["text"]}
        if options.get("return_language"):
            out["language"] = next((c["language"] for c in plain.get("chunks", ()) if c.get("language")), None)
        if stamped:
            out["chunks"] = plain.get("chunks", [])
        return out

    return natives, convert


def _generation(session: Session) -> Any:
    return getattr(session.model, "generation_config", None)


def _heard(session: Session, items: Sequence[Any], options: dict[str, Any]) -> list[Any]:
    extractor = session.part("feature_extractor")
    sounds = [waveform(item, extractor.sampling_rate) for item in items]
    # Without a mask a model would hear the padding, and a CTC model writes down what it hears there in any case.
    mixes = getattr(extractor, "return_attention_mask", False) and (
        session.model.can_generate() or session.task != "automatic-speech-recognition"
    )
    return session.run_alike(sounds, (lambda _: None) if mixes else len, **options)


def speak(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Speak or play a text. Models that draw random numbers give the same sound for the same `seed`."""
    import numpy as np

    forward = dict(options.get("forward_params") or {})
    forward |= {k: options[k] for k in ("speaker_id", "speaker_embeddings") if options.get(k) is not None}
    keywords: dict[str, Any] = {"forward_params": forward} if forward else {}
    if options.get("generate_kwargs"):
        keywords["generate_kwargs"] = dict(options["generate_kwargs"])
    pipe = _speaking_pipe(session, options.get("vocoder"))
    natives = [pipe(item, **keywords) for item in items]

    def convert(native: Any, _item: Any) -> Any:
        sound = np.asarray(native["audio"], dtype=np.float32)
        return {"audio": sound.squeeze(), "sampling_rate": int(native["sampling_rate"])}

    return natives, convert


def _speaking_pipe(session: Session, vocoder: Any) -> Any:
    """Return the pipeline; a model that writes spectrograms needs a vocoder, which transformers would download."""
    from transformers import MODEL_FOR_TEXT_TO_SPECTROGRAM_MAPPING
    from transformers.pipelines import TextToAudioPipeline

    spectrogram = type(session.model) in MODEL_FOR_TEXT_TO_SPECTROGRAM_MAPPING.values()
    if not spectrogram:
        return session.pipe()
    if vocoder is None:
        raise RedirectRefused(
            f"{type(session.model).__name__} writes spectrograms, and the vocoder that makes sound of them is another "
            "model (nothing was opened). Load it and pass vocoder=, e.g. vocoder="
            "transformers.SpeechT5HifiGan.from_pretrained(folder).",
            grant="vocoder",
        )
    tokenizer = session.part("tokenizer")
    return TextToAudioPipeline(
        model=session.model, tokenizer=tokenizer, vocoder=vocoder, task=session.task, device=session.device
    )
