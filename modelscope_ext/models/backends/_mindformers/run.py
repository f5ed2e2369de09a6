"""Step 6 of 6, mindformers: text generation as its ``text_generation`` pipeline does it, in this package's schema.

On a CPU mindformers computes without a cache, over a buffer of the whole ``seq_length``, and takes every token that
equals the one it pads with for padding. So for the time of a call the buffer is as long as the call needs, and only
what lies behind a prompt, which the causal mask hides anyway, counts as padding.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backend import Loaded
from modelscope_ext.models.backends._mindformers.tokens import decode, encode

__all__ = ["CALL_OPTIONS", "generate", "stream", "texts"]

#: Options that go to mindformers' ``generate``.
_GENERATION = (
    "min_length", "min_new_tokens", "do_sample", "temperature", "top_k", "top_p", "repetition_penalty", "eos_token_id",
    "output_logits", "output_scores",
)  # fmt: skip
_LENGTH = ("max_new_tokens", "max_length")
CALL_OPTIONS = (
    *_LENGTH, *_GENERATION, "seed", "return_full_text", "add_special_tokens", "skip_special_tokens",
)  # fmt: skip

#: New tokens where neither the model nor the caller says how many.
_NEW_TOKENS = 256


def generate(loaded: Loaded, items: Sequence[Any], size: int, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Continue each text or chat.

    Args:
        loaded: The model and its parts.
        items: Texts and chats.
        size: How many run at once.
        options: Those of `CALL_OPTIONS`.

    Returns:
        For each item its prompt's tokens, and what mindformers gave: sequences, and logits and scores where asked for.
    """
    tokenizer = _tokenizer(loaded)
    prompts = [encode(tokenizer, item, options) for item in items]
    found: list[dict[str, Any]] = []
    for start in range(0, len(prompts), size):
        found += _batch(loaded, prompts[start : start + size], options)
    return found


def _tokenizer(loaded: Loaded) -> Any:
    tokenizer = loaded.parts.get("tokenizer")
    if tokenizer is None:
        raise OptionError("text-generation needs a tokenizer of mindformers: pass it as preprocessor=.")
    return tokenizer


def _batch(
    loaded: Loaded, prompts: Sequence[Sequence[int]], options: Mapping[str, Any], streamer: Any = None
) -> list[dict[str, Any]]:
    import numpy as np

    longest = max(map(len, prompts))
    keywords, room = _keywords(loaded, longest, options)
    vocabulary = int(loaded.native.config.vocab_size)
    if any(max(prompt) >= vocabulary for prompt in prompts):
        raise OptionError(
            f"the tokenizer gives token {max(map(max, prompts))}, and the model's vocabulary has {vocabulary}: the"
            " tokenizer belongs to another model"
        )
    pad = _padding(prompts, vocabulary)
    padded: Any = np.full((len(prompts), longest), pad, np.int32)
    for line, prompt in zip(padded, prompts, strict=True):
        line[: len(prompt)] = prompt
    with _lock(loaded), _fitted(loaded, room), _seeded(options.get("seed")):
        made = loaded.native.generate(
            padded, pad_token_id=pad, return_dict_in_generate=True, streamer=streamer, **keywords
        )
    found = []
    for number, prompt in enumerate(prompts):
        row = {"prompt": list(prompt), "sequences": np.asarray(made["sequences"][number])}
        for name in ("logits", "scores"):
            if options.get(f"output_{name}"):
                new = len(row["sequences"]) - len(prompt)
                row[name] = np.stack([np.asarray(step)[number] for step in made[name][:new]])
        found.append(row)
    return found


def _keywords(loaded: Loaded, longest: int, options: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Return keywords for mindformers' ``generate``, and how many tokens prompt and answer take at most.

    What the caller says comes first, then the model's generation_config.json, then its settings; where nobody says
    anything the likeliest token is taken, and there are 256 of them at most.
    """
    said = {**loaded.parts.get("generation", {}), **{k: v for k, v in options.items() if v is not None}}
    keywords: dict[str, Any] = {name: said[name] for name in _GENERATION if name in said}
    keywords.setdefault("do_sample", False)
    ends = keywords.get("eos_token_id", getattr(loaded.native.config, "eos_token_id", None))
    keywords["eos_token_id"] = list(ends) if isinstance(ends, list | tuple) else [] if ends is None else [ends]
    most = int(loaded.native.config.seq_length)
    if longest >= most:
        raise OptionError(
            f"text-generation: an input of {longest} tokens, and there is room for {most} with the answer: shorten it,"
            f" or load the model with seq_length={longest + _NEW_TOKENS}"
        )
    asked = {name: options[name] for name in _LENGTH if options.get(name) is not None}
    for name, value in asked.items():
        if type(value) is not int or value < 1:
            raise OptionError(f"{name}={value!r}: expected a whole number of at least 1")
    if "max_new_tokens" in asked:
        total = longest + asked["max_new_tokens"]
    elif "max_length" in asked:
        total = asked["max_length"]
        if total <= longest:
            raise OptionError(f"max_length={total}: an input has {longest} tokens already; pass max_new_tokens")
    else:
        meant = said.get("max_new_tokens") or (said["max_length"] - longest if "max_length" in said else _NEW_TOKENS)
        total = min(longest + max(int(meant), 1), most)
        asked = {"max_new_tokens": total - longest}
    if total > most:
        raise OptionError(
            f"text-generation: {total} tokens with the answer, and there is room for {most}: ask for fewer, or load the"
            f" model with seq_length={total}"
        )
    if "max_length" in asked and "max_new_tokens" not in asked:
        keywords["max_length"] = total
    else:
        keywords["max_new_tokens"] = total - longest
    return keywords, total


def _padding(prompts: Sequence[Sequence[int]], vocabulary: int) -> int:
    """Return a token to pad with: mindformers finds a prompt's end by it, so no prompt may end with it, nor hold it."""
    held = {token for prompt in prompts for token in prompt}
    ends = {prompt[-1] for prompt in prompts}
    free = (one for used in (held, ends) for one in range(vocabulary) if one not in used)
    return next(free, vocabulary - 1)


@contextmanager
def _lock(loaded: Loaded) -> Iterator[None]:
    """Let one call at a time change the network's settings."""
    with loaded.parts.setdefault("lock", threading.RLock()):
        yield


@contextmanager
def _fitted(loaded: Loaded, room: int) -> Iterator[None]:
    """Fit the buffer and the mask to one call, where mindformers computes without a cache on a CPU."""
    cell = loaded.native
    mask = getattr(getattr(cell, "model", None), "casual_mask", None)
    if loaded.device != "cpu" or mask is None or cell.config.use_past:
        yield
        return
    before = (cell.config.seq_length, mask.pad_token_id, mask.is_pynative)
    cell.config.seq_length, mask.pad_token_id, mask.is_pynative = room, -1, True
    try:
        yield
    finally:
        cell.config.seq_length, mask.pad_token_id, mask.is_pynative = before


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Set numpy's random numbers, by which mindformers samples, and put them back; None changes nothing."""
    if seed is None:
        yield
        return
    import numpy as np

    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)


def texts(
    loaded: Loaded, items: Sequence[Any], natives: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
) -> Any:
    """Return the answers in the task's schema: the whole text, or only the new part with ``return_full_text=False``."""
    tokenizer = _tokenizer(loaded)
    whole = options.get("return_full_text")
    found: list[dict[str, Any]] = []
    for item, native in zip(items, natives, strict=True):
        prompt = native["prompt"]
        told = decode(tokenizer, native["sequences"], options)[len(decode(tokenizer, prompt, options)) :]
        if whole is False:
            found.append({"generated_text": told})
        elif isinstance(item, str):
            found.append({"generated_text": item + told})
        elif item[-1].get("role") == "assistant":
            last = {**item[-1], "content": item[-1]["content"] + told}
            found.append({"generated_text": [*item[:-1], last]})
        else:
            found.append({"generated_text": [*item, {"role": "assistant", "content": told}]})
    return found


class _Stopped(Exception):
    """The caller has closed the stream."""


class _Streamer:
    """Takes tokens from mindformers' ``generate`` as they are made."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[Any] = SimpleQueue()
        self.stopped = threading.Event()
        self._prompt = True

    def put(self, value: Any) -> None:
        """Take the prompt first, then one token at a time."""
        if self.stopped.is_set():
            raise _Stopped
        if not self._prompt:
            self.queue.put(int(value))
        self._prompt = False

    def end(self) -> None:
        """Nothing: the thread that generates says when it has ended."""


def stream(loaded: Loaded, item: Any, options: Mapping[str, Any]) -> Iterator[str]:
    """Yield the new text piece by piece; the thread that generates ends with the iterator."""
    tokenizer = _tokenizer(loaded)
    prompt = encode(tokenizer, item, options)
    streamer, failure = _Streamer(), []

    def work() -> None:
        from modelscope_ext.models.backends._mindspore.quiet import quiet

        try:
            with quiet():
                _batch(loaded, [prompt], options, streamer)
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001  it is raised again in the caller's thread
            failure.append(error)
        finally:
            streamer.queue.put(None)

    thread = threading.Thread(target=work, name="text-generation", daemon=True)
    thread.start()
    tokens, told = list(prompt), decode(tokenizer, prompt, options)
    try:
        while (token := streamer.queue.get()) is not None:
            tokens.append(token)
            text = decode(tokenizer, tokens, options)
            if text.endswith("\ufffd"):  # half a character
                continue
            if len(text) > len(told):
                yield text[len(told) :]
                told = text
    finally:
        streamer.stopped.set()
        thread.join()
    if failure:
        raise failure[0]
