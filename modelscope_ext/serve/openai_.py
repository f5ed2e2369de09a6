"""OpenAI's addresses: chats, completions, embeddings, and the list of models.

https://platform.openai.com/docs/api-reference. Whatever else a model takes (`repetition_penalty`, ...) is a key of the
request as well, as in other servers of this interface.
"""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

from modelscope_ext.serve.call import Call
from modelscope_ext.serve.documents import object_
from modelscope_ext.serve.hosted import Hosted
from modelscope_ext.serve.intake import OPTIONS
from modelscope_ext.serve.refusal import Refused
from modelscope_ext.serve.settings import Settings
from modelscope_ext.serve.stops import cut, cut_stream

__all__ = ["CHATS", "chat", "chat_schema", "complete", "complete_schema", "embed", "embed_schema", "listed"]

#: Tasks that answer chats.
CHATS = frozenset(("text-generation", "image-text-to-text", "audio-text-to-text", "any-to-any", "video-text-to-text"))

#: Keys that clients send and that mean nothing to one model on one machine.
_IGNORED = (
    *("user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls"),
    *("reasoning_effort", "verbosity", "prompt_cache_retention"),
)
#: Key -> values that ask for nothing; any other is refused, because the answer would not be what was asked for.
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "logit_bias": (None, {}),
    "logprobs": (None, False, 0),
    "top_logprobs": (None, 0),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "prediction": (None,),
    "web_search_options": (None,),
    "suffix": (None, ""),
    "best_of": (None, 1),
    "echo": (None, False),
}

_TEXT = {"type": "string"}
_NULL = {"type": "null"}
_STOP = {"anyOf": [_NULL, _TEXT, {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 4}]}


# Schemas


def _common(names: list[str], settings: Settings) -> dict[str, Any]:
    own = {name: {"anyOf": [_NULL, option.schema(settings)]} for name, option in OPTIONS.items() if name != "prompt"}
    tokens = {"anyOf": [_NULL, {"type": "integer", "minimum": 1, "maximum": settings.max_tokens}]}
    free: dict[str, Any] = {name: {} for name in (*_IGNORED, *_NEUTRAL)}
    return {
        **free,
        **own,
        "model": {"type": "string", "enum": names},
        "max_tokens": tokens,
        "temperature": {"anyOf": [_NULL, {"type": "number", "minimum": 0, "maximum": 100}]},
        "n": {"anyOf": [_NULL, {"type": "integer", "minimum": 1, "maximum": 8}]},
        "stop": _STOP,
        "stream": {"anyOf": [_NULL, {"type": "boolean"}]},
        "stream_options": {"anyOf": [_NULL, {"type": "object"}]},
    }


def chat_schema(names: list[str], settings: Settings) -> dict[str, Any]:
    """Return the schema of a request for a chat."""
    part = object_(("type",), open=True, type=_TEXT)
    content = {"anyOf": [_NULL, _TEXT, {"type": "array", "items": part, "maxItems": settings.max_items}]}
    message = object_(("role",), open=True, role={"type": "string", "minLength": 1}, content=content)
    messages = {"type": "array", "items": message, "minItems": 1, "maxItems": settings.max_items}
    common = _common(names, settings)
    return object_(("model", "messages"), **common, messages=messages, max_completion_tokens=common["max_tokens"])


def complete_schema(names: list[str], settings: Settings) -> dict[str, Any]:
    """Return the schema of a request for a completion."""
    texts = {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": settings.max_items}
    return object_(("model", "prompt"), **_common(names, settings), prompt={"anyOf": [_TEXT, texts]})


def embed_schema(names: list[str], settings: Settings) -> dict[str, Any]:
    """Return the schema of a request for vectors."""
    texts = {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": settings.max_items}
    names_of_own = ("normalize_embeddings", "prompt", "prompt_name")
    own: dict[str, Any] = {name: {"anyOf": [_NULL, OPTIONS[name].schema(settings)]} for name in names_of_own}
    return object_(
        ("model", "input"),
        model={"type": "string", "enum": names},
        input={"anyOf": [_TEXT, texts]},
        encoding_format={"anyOf": [_NULL, {"type": "string", "enum": ["float", "base64"]}]},
        dimensions={"anyOf": [_NULL, {"type": "integer", "minimum": 1, "maximum": 2**16}]},
        user={"anyOf": [_NULL, _TEXT]},
        **own,
    )


# Addresses


async def listed(call: Call) -> dict[str, Any]:
    """Answer ``GET /v1/models``."""
    rows = [
        {"id": one.name, "object": "model", "created": one.since, "owned_by": "modelscope-ext", "task": one.task}
        for one in call.models.values()
    ]
    return {"object": "list", "data": rows}


async def chat(call: Call) -> Any:
    """Answer ``POST /v1/chat/completions``."""
    model, body = _model(call, CHATS, "chats"), call.body
    item = await model.sealed(body["messages"] if model.streams else {"messages": body["messages"]})
    options = _generation(model, body, ("messages", "max_completion_tokens"))
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model.name}
    if body.get("stream"):
        return await _streamed(call, model, item, options, {**head, "object": "chat.completion.chunk"}, _delta)
    answers = await _generated(model, [item], options, body)
    choices = [
        {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": end, "logprobs": None}
        for i, (text, end) in enumerate(answers[0][0])
    ]
    return {**head, "object": "chat.completion", "choices": choices, **_usage([answers[0][1]])}


async def complete(call: Call) -> Any:
    """Answer ``POST /v1/completions``."""
    model, body = _model(call, frozenset(("text-generation",)), "completions"), call.body
    prompts = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
    items = [await model.sealed(prompt) for prompt in prompts]
    options = _generation(model, body, ("prompt",))
    head = {"id": f"cmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model.name}
    head["object"] = "text_completion"
    if body.get("stream"):
        if len(items) != 1:
            raise Refused(400, "prompt: one prompt can be streamed at a time", "prompt")
        return await _streamed(call, model, items[0], options, head, _piece)
    answers = await _generated(model, items, options, body)
    flat = [one for several, _ in answers for one in several]
    choices = [{"index": i, "text": text, "finish_reason": end, "logprobs": None} for i, (text, end) in enumerate(flat)]
    return {**head, "choices": choices, **_usage([counts for _, counts in answers])}


async def embed(call: Call) -> Any:
    """Answer ``POST /v1/embeddings``."""
    model, body = _model(call, frozenset(("feature-extraction",)), "embeddings"), call.body
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    own = {name: body[name] for name in ("normalize_embeddings", "prompt", "prompt_name") if name in body}
    if body.get("dimensions") is not None:
        if not model.takes("truncate_dim"):
            raise Refused(400, f"dimensions: {model.name} gives vectors of one width only; leave it out", "dimensions")
        own["truncate_dim"] = body["dimensions"]
    options = model.options(own)
    items = [await model.sealed(text) for text in texts]
    found = await model.ask(items, options, lambda item, answer: (_vector(answer), model.count(item)))
    as_text = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": i, "embedding": _base64(vector) if as_text else vector.tolist()}
        for i, (vector, _) in enumerate(found)
    ]
    counts = [count for _, count in found]
    usage = {} if None in counts else {"usage": {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}}
    return {"object": "list", "model": model.name, "data": data, **usage}


def _vector(answer: Any) -> Any:
    """Return one float32 vector; where a model gives one for each token, their mean."""
    import numpy as np

    array = np.asarray(answer, dtype=np.float32)
    return array if array.ndim == 1 else array.reshape(-1, array.shape[-1]).mean(axis=0)


def _base64(vector: Any) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")


# Generation


def _model(call: Call, tasks: frozenset[str], what: str) -> Hosted:
    model = call.model(call.body["model"])
    if model.task not in tasks:
        able = [one.name for one in call.models.values() if one.task in tasks]
        said = f"these do: {', '.join(able)}" if able else "no model of this server does"
        raise Refused(400, f"{model.name} is for {model.task} and answers no {what}; {said}", "model")
    return model


def _generation(model: Hosted, body: Mapping[str, Any], own: tuple[str, ...]) -> dict[str, Any]:
    """Return the options of the call that OpenAI's keys, and the model's own, ask for."""
    for name, values in _NEUTRAL.items():
        if name in body and body[name] not in values:
            raise Refused(400, f"{name} is not supported by this server; leave it out", name)
    skipped = {
        *own,
        *_IGNORED,
        *_NEUTRAL,
        "model",
        "max_tokens",
        "n",
        "stop",
        "stream",
        "stream_options",
        "temperature",
    }
    given = {name: value for name, value in body.items() if name not in skipped and value is not None}
    most = body.get("max_completion_tokens") or body.get("max_tokens")
    if most is not None:
        given.setdefault("max_new_tokens", most)
    if (body.get("n") or 1) > 1:
        given.setdefault("num_return_sequences", body["n"])
    temperature = body.get("temperature")
    if temperature:
        given |= {"temperature": temperature, "do_sample": given.get("do_sample", True)}
    elif temperature == 0 and model.takes("do_sample"):
        given["do_sample"] = False
    elif given.get("top_p", 1) != 1:
        given.setdefault("do_sample", True)
    given = {name: value for name, value in given.items() if name != "top_p" or value != 1}
    options = model.options(given)
    if model.takes("return_full_text"):
        options["return_full_text"] = False
    return options


async def _generated(
    model: Hosted, items: list[Any], options: Mapping[str, Any], body: Mapping[str, Any]
) -> list[tuple[list[tuple[str, str]], tuple[int | None, int | None]]]:
    """Return for each input its texts, each with why it ended, and the tokens of the input and of all texts."""
    stops = _stops(body)

    def told(item: Any, answer: Any) -> Any:
        texts = [_text(one) for one in (answer if isinstance(answer, list) else [answer])]
        counts = [model.count(text) for text in texts]
        out = []
        for text, count in zip(texts, counts, strict=True):
            short, stopped = cut(text, stops)
            full = not stopped and count is not None and count >= options.get("max_new_tokens", float("inf"))
            out.append((short, "length" if full else "stop"))
        return out, (model.count(item), None if None in counts else sum(count or 0 for count in counts))

    return await model.ask(items, options, told)


def _text(answer: Any) -> str:
    text = answer["generated_text"] if isinstance(answer, Mapping) else answer
    if isinstance(text, list):  # a whole chat; the answer is its last message
        text = text[-1].get("content", "") if text else ""
    return text if isinstance(text, str) else str(text)


def _stops(body: Mapping[str, Any]) -> list[str]:
    stop = body.get("stop")
    return [stop] if isinstance(stop, str) and stop else list(stop or ())


def _usage(counts: list[tuple[int | None, int | None]]) -> dict[str, Any]:
    """Return the tokens read and written, as the model's tokenizer counts their texts; nothing where it cannot."""
    if any(None in pair for pair in counts):
        return {}
    read, wrote = (sum(pair[i] or 0 for pair in counts) for i in (0, 1))
    return {"usage": {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote}}


# Streams


def _delta(piece: str | None, end: str | None, first: bool) -> dict[str, Any]:
    delta = ({"role": "assistant"} if first else {}) | ({} if piece is None else {"content": piece})
    return {"index": 0, "delta": delta, "finish_reason": end, "logprobs": None}


def _piece(piece: str | None, end: str | None, first: bool) -> dict[str, Any]:
    return {"index": 0, "text": piece or "", "finish_reason": end, "logprobs": None}


async def _streamed(
    call: Call, model: Hosted, item: Any, options: dict[str, Any], head: Mapping[str, Any], shape: Any
) -> Any:
    """Return the events of a streamed answer; what goes wrong before its first piece is an ordinary error."""
    body = call.body
    if not model.streams:
        raise Refused(400, f"stream: {model.task} gives whole answers; leave it out", "stream")
    if (body.get("n") or 1) > 1:
        raise Refused(400, "n: one answer can be streamed at a time", "n")
    options.pop("return_full_text", None)
    counted = bool((body.get("stream_options") or {}).get("include_usage"))
    pieces = cut_stream(model.stream(item, options), _stops(body))
    first = await call.within(anext_or_none(pieces))
    return call.events(_events(model, item, options, head, shape, pieces, first, counted))


async def anext_or_none(pieces: AsyncIterator[str]) -> str | None:
    """Return the next piece, None at the end."""
    async for piece in pieces:
        return piece
    return None


async def _events(
    model: Hosted,
    item: Any,
    options: Mapping[str, Any],
    head: Mapping[str, Any],
    shape: Any,
    pieces: AsyncIterator[str],
    first: str | None,
    counted: bool,
) -> AsyncIterator[dict[str, Any]]:
    said = first or ""
    yield {**head, "choices": [shape(first or "", None, True)]}
    async for piece in pieces:
        said += piece
        yield {**head, "choices": [shape(piece, None, False)]}
    wrote = await model.in_thread(lambda: model.count(said))
    full = wrote is not None and wrote >= options.get("max_new_tokens", float("inf"))
    yield {**head, "choices": [shape(None, "length" if full else "stop", False)]}
    if counted:
        read = await model.in_thread(lambda: model.count(item))
        yield {**head, "choices": [], **_usage([(read, wrote)])}
