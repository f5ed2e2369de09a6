"""Texts that end an answer, cut off whole answers and off streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

__all__ = ["cut", "cut_stream"]


def cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """Return what stands before the first of `stops`, and whether there was one.

    Example:
        >>> cut("one. two.", ["."]), cut("one", ["."])
        (('one', True), ('one', False))
    """
    places = [at for stop in stops if (at := text.find(stop)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


async def cut_stream(pieces: AsyncIterator[str], stops: Sequence[str]) -> AsyncIterator[str]:
    """Yield the pieces up to the first of `stops`; what may be its beginning is held back."""
    held = ""
    try:
        async for piece in pieces:
            held, stopped = cut(held + piece, stops)
            keep = 0 if stopped else _begun(held, stops)
            if out := held[: len(held) - keep]:
                yield out
            held = held[len(held) - keep :] if keep else ""
            if stopped:
                return
        if held:
            yield held
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()


def _begun(text: str, stops: Sequence[str]) -> int:
    """Return how many characters at the end of `text` may be the beginning of one of `stops`."""
    longest = max(map(len, stops), default=1) - 1
    return next((n for n in range(min(longest, len(text)), 0, -1) if any(s.startswith(text[-n:]) for s in stops)), 0)
