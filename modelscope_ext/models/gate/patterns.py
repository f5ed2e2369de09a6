"""Step 5 of 6, gate A: regular expressions in a model's files must be ones that cannot run for ever.

peft matches `target_modules` and the keys of `rank_pattern` against every module's name with Python's `re`, which
tries all ways to split a text between nested repeats: ``(a+)+X`` takes years. Here a pattern is only read, not run.
"""

from __future__ import annotations

import re

__all__ = ["fault_of_pattern", "repeats_in_repeats"]

_LONGEST = 8192
_MOST_REPEATS = 32
_MOST_IN_A_ROW = 2
_ATOM = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[^\\]", re.DOTALL)
_REPEAT = re.compile(r"([*+]|\{(\d*),(\d*)\}|\{\d+\}|\?)[?+]?")
_GROUP = re.compile(r"\?(?:[:=!>]|<[=!]|P?<\w+>|[aiLmsux-]+[:)])")
_FEW = 8  # a repeat of at most so many is no loop


def fault_of_pattern(pattern: str) -> str | None:
    """Return why `pattern` is refused, or None.

    Example:
        >>> fault_of_pattern(r".*\\.(q_proj|v_proj)$") is None
        True
        >>> fault_of_pattern("(a+)+X")
        'a repeat inside a repeated group'
    """
    if len(pattern) > _LONGEST:
        return f"longer than {_LONGEST} characters"
    fault = _scan(pattern)
    if fault is not None:
        return fault
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError, ValueError) as error:
        return f"not a regular expression ({error})"
    return None


def repeats_in_repeats(pattern: str) -> bool:
    r"""Whether an endless repeat stands inside a group that is repeated endlessly; a choice there is fine.

    For the dialects of others, of which not every pattern can be compiled here.

    Example:
        >>> repeats_in_repeats(r"(\p{L}+)+X"), repeats_in_repeats(r"(?:'s|'t)*\p{N}{1,3}| ?[^\s]+\s*")
        (True, False)
    """
    stack, at = [False], 0
    while at < len(pattern):
        found = _ATOM.match(pattern, at)
        if found is None:
            return False
        atom, at = found.group(), found.end()
        if atom == "(":
            stack.append(False)
            ahead = _GROUP.match(pattern, at)
            at = ahead.end() if ahead else at
            continue
        inner = stack.pop() if atom == ")" and len(stack) > 1 else False
        repeat = _REPEAT.match(pattern, at)
        endless = repeat is not None and _endless(repeat)
        at = repeat.end() if repeat is not None and atom != "|" else at
        if endless and inner:
            return True
        stack[-1] = stack[-1] or endless or inner
    return False


def _scan(pattern: str) -> str | None:
    """Walk over the pattern once; the stack holds whether each open group has a repeat or a choice in it."""
    stack = [False]
    at = repeats = 0
    row = 0  # endless repeats that stand side by side, up to here
    while at < len(pattern):
        found = _ATOM.match(pattern, at)
        if found is None:
            return "an escape without a character"
        atom, at = found.group(), found.end()
        inner = False
        if atom == "(":
            stack.append(False)
            ahead = _GROUP.match(pattern, at)
            at = ahead.end() if ahead else at
            row = 0
            continue
        if atom == ")":
            if len(stack) == 1:
                return "an unbalanced parenthesis"
            inner = stack.pop()
            stack[-1] = stack[-1] or inner
        elif atom == "|":
            stack[-1], row = True, 0
            continue
        repeat = _REPEAT.match(pattern, at)
        if repeat is None:
            row = 0
            continue
        at = repeat.end()
        if not _endless(repeat):
            stack[-1] = stack[-1] or repeat.group(1) == "?"
            row = 0
            continue
        repeats += 1
        if inner:
            return "a repeat inside a repeated group"
        stack[-1], row = True, row + 1
        if row > _MOST_IN_A_ROW:
            return f"more than {_MOST_IN_A_ROW} repeats side by side"
    if repeats > _MOST_REPEATS:
        return f"more than {_MOST_REPEATS} repeats"
    return None


def _endless(repeat: re.Match[str]) -> bool:
    kind, most = repeat.group(1), repeat.group(3)
    if kind in ("*", "+"):
        return True
    if "," in kind:
        return not most or int(most[:6]) > _FEW
    return kind != "?" and int(kind[1:-1][:6]) > _FEW
