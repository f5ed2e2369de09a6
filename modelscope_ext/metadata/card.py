"""The front matter of a README.md: found wherever people put it, read within limits, never an exception."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from modelscope_ext.errors import SafetyError
from modelscope_ext.safety.finding import Finding
from modelscope_ext.safety.limits import DEFAULT_LIMITS, Limits
from modelscope_ext.safety.reading import parse_yaml
from modelscope_ext.utils.text import printable

__all__ = ["CARD_BYTES", "find_blocks", "is_cut", "read_card"]

#: Bytes of a README that are looked at; front matter stands at its beginning.
CARD_BYTES = 4 * 2**20

_FENCE = re.compile(rb"^---[ \t]*\r?$", re.MULTILINE)
_COMMENT = re.compile(rb"\s*<!--")
_TOP_KEY = re.compile(rb"^[A-Za-z_]", re.MULTILINE)
_LONG = 8192  # bytes of `model-index` (evaluation results) beyond which it is left out


def read_card(
    data: bytes, *, file: str = "README.md", limits: Limits = DEFAULT_LIMITS
) -> tuple[Mapping[str, Any], tuple[Finding, ...]]:
    """Return the front matter as a dict ({} if there is none) and what was wrong with it.

    Args:
        data: The beginning of the README.
        file: Its name, for findings.
        limits: What is too large.

    Returns:
        The keys of the first block, and those of a second one directly below that the first does not have. Long
        ``model-index`` entries (evaluation results) are left out.

    Example:
        >>> read_card(b"---\\nlibrary_name: diffusers\\n---\\n# Title")
        ({'library_name': 'diffusers'}, ())
        >>> card, findings = read_card(b"---\\n{broken: [\\n---\\n")
        >>> card, findings[0].code
        ({}, 'card-malformed')
    """
    card: dict[str, Any] = {}
    findings: list[Finding] = []
    for block in find_blocks(data):
        try:
            value = parse_yaml(_without_results(block), file=file, limits=limits, scalar_keys=True)
        except SafetyError as error:
            findings.append(
                Finding("card-malformed", "warning", file, None, f"the front matter cannot be read: {error}")
            )
            continue
        if isinstance(value, dict):
            for key, item in value.items():
                card.setdefault(str(key), item)
        elif value is not None:
            findings.append(
                Finding(
                    "card-malformed", "warning", file, None,
                    f"{printable(file)}: the front matter is a {type(value).__name__}; expected keys and values.",
                )
            )  # fmt: skip
    return card, tuple(findings)


def find_blocks(data: bytes) -> list[bytes]:
    """Return the first block of front matter, and a second one if it follows directly.

    Accepted: a byte order mark and blank lines before it, and a block inside a leading HTML comment.

    Example:
        >>> find_blocks(b"<!-- for the hub" + bytes([10]) + b"---\\na: 1\\n---\\n-->")
        [b'a: 1\\n']
    """
    text = data[3:] if data.startswith(b"\xef\xbb\xbf") else data
    first = _FENCE.search(text)
    if first is None:
        return []
    before = text[: first.start()]
    comment = _COMMENT.match(before)
    if before.strip() and not (comment and b"-->" not in before):
        return []
    blocks: list[bytes] = []
    start = first
    while len(blocks) < 2:
        end = _FENCE.search(text, start.end())
        if end is None:
            break
        blocks.append(text[start.end() : end.start()].lstrip(b"\r\n"))
        following = _FENCE.search(text, end.end())
        if following is None or text[end.end() : following.start()].strip():
            break
        start = following
    return blocks


def is_cut(data: bytes) -> bool:
    """Return whether front matter begins in `data`, the beginning of a README, and does not end there.

    Example:
        >>> is_cut(b"---\\na: 1\\n"), is_cut(b"---\\na: 1\\n---\\n"), is_cut(b"# Title")
        (True, False, False)
    """
    return _FENCE.search(data.removeprefix(b"\xef\xbb\xbf")) is not None and not find_blocks(data)


def _without_results(block: bytes) -> bytes:
    """Drop a long ``model-index``: thousands of lines of evaluation results, which decide nothing here."""
    if len(block) < _LONG:
        return block
    start = block.find(b"\nmodel-index:") + 1
    if not start and not block.startswith(b"model-index:"):
        return block
    after = _TOP_KEY.search(block, start + 12)
    end = after.start() if after else len(block)
    return block if end - start < _LONG else block[:start] + block[end:]
