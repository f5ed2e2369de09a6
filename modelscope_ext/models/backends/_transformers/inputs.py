"""Step 6 of 6, transformers: images, sounds, videos and tables in the form its processors take. Nothing is fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelscope_ext.models.backends._media import frames, labels_of, need, rgb, waveform
from modelscope_ext.models.inputs import KINDS

__all__ = ["frames", "labels_of", "messages", "need", "rgb", "waveform"]


def messages(
    item: Any, rate: int | None = None, look: Callable[[Any], list[Any]] | None = None
) -> list[dict[str, Any]] | None:
    """Return the chat in one input with its images and sounds opened, or None where the input is no chat.

    Args:
        item: A list of messages, or a dict with ``messages``, or with such a list under ``text``.
        rate: What the model hears, in hertz; None for a model without ears.
        look: Turns a video into the pictures that stand for it.
    """
    chat = item
    if isinstance(item, Mapping):
        chat = item.get("messages", item.get("text"))
    if not isinstance(chat, list) or not chat or not all(isinstance(m, Mapping) and "role" in m for m in chat):
        return None
    return [{**message, "content": _opened(message.get("content"), rate, look)} for message in chat]


def _opened(content: Any, rate: int | None, look: Callable[[Any], list[Any]] | None) -> Any:
    if not isinstance(content, list):
        return content
    return [one for piece in content for one in _opened_piece(piece, rate, look)]


def _opened_piece(piece: Any, rate: int | None, look: Callable[[Any], list[Any]] | None) -> list[Any]:
    kind = piece.get("type") if isinstance(piece, Mapping) else None
    if kind not in ("image", "audio", "video"):
        return [piece]
    given = next((piece[k] for k in (kind, "path", "url") if piece.get(k) is not None), None)
    if given is None:
        return [{"type": kind}]
    if kind == "video" and look is not None:
        return [{"type": "image", "image": picture} for picture in look(given)]
    if kind == "audio" and rate is not None:
        return [{"type": kind, "audio": waveform(given, rate)}]
    return [{"type": kind, kind: rgb(given) if kind == "image" else KINDS[kind].bring(given)}]
