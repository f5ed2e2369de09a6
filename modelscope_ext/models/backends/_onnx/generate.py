"""text-generation of the ONNX backend: a decoder graph, greedy, one token at a time.

Graphs with a cache (inputs ``past_key_values.*``, outputs ``present.*``) get each token once; graphs without are given
the whole text again at every step. A chat is written out by the folder's own template in jinja2's immutable sandbox.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelscope_ext.errors import MissingRequirement, OptionError, TemplateRefused
from modelscope_ext.models.backends._onnx.session import Bundle
from modelscope_ext.safety.reading import read_inside
from modelscope_ext.utils.text import printable

__all__ = ["count", "generate", "stream"]

_PAST, _PRESENT = "past_key_values", "present"
_DEFAULT_NEW = 256


def generate(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """One ``{"generated_text": ...}`` per prompt: the prompt and what follows, or the chat with the answer added."""
    outputs = []
    for item in inputs:
        ids = list(_steps(bundle, _prompt_ids(bundle, item, options), options))
        text = bundle.text.decode(ids, skip_special=options.get("skip_special_tokens") is not False)
        outputs.append({"generated_text": _placed(item, text, options)})
    return outputs


def stream(bundle: Bundle, item: Any, options: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text that follows the prompt in pieces, each as soon as it can no longer change."""
    skip = options.get("skip_special_tokens") is not False
    ids: list[int] = []
    given = ""
    for token in _steps(bundle, _prompt_ids(bundle, item, options), options):
        ids.append(token)
        text = bundle.text.decode(ids, skip_special=skip)
        if len(text) > len(given) and text.startswith(given) and not text.endswith("\ufffd"):
            yield text[len(given) :]
            given = text
    text = bundle.text.decode(ids, skip_special=skip)
    if len(text) > len(given) and text.startswith(given):
        yield text[len(given) :]


def count(bundle: Bundle, item: Any) -> int:
    """Return how many tokens a text or a chat has."""
    if isinstance(item, str):
        return len(bundle.text.tokenizer.encode(item).ids)
    return len(_prompt_ids(bundle, item, {}))


def _placed(item: Any, text: str, options: Mapping[str, Any]) -> Any:
    """Return the answer in the shape of the prompt."""
    if options.get("return_full_text") is False:
        return text
    if isinstance(item, str):
        return item + text
    if _continues(item, options):
        return [*item[:-1], {**item[-1], "content": item[-1]["content"] + text}]
    return [*item, {"role": "assistant", "content": text}]


def _continues(messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> bool:
    said = options.get("continue_final_message")
    return messages[-1].get("role") == "assistant" if said is None else bool(said)


def _prompt_ids(bundle: Bundle, item: Any, options: Mapping[str, Any]) -> list[int]:
    if isinstance(item, str):
        ids = bundle.text.tokenizer.encode(item).ids
    else:
        text = _written(bundle, item, _continues(item, options))
        ids = bundle.text.tokenizer.encode(text, add_special_tokens=False).ids
    if not ids:
        raise OptionError("text-generation: the prompt is empty, and the tokenizer puts nothing in front of it.")
    return list(ids)


def _steps(bundle: Bundle, ids: list[int], options: Mapping[str, Any]) -> Iterator[int]:
    """Yield the likeliest next token until the text ends or is long enough."""
    if options.get("do_sample"):
        raise OptionError('do_sample=True: the onnx backend decodes greedily. Use backend="transformers" to sample.')
    settings = {**bundle.config, **bundle.document("generation_config.json")}
    settings |= {k: v for k, v in options.items() if v is not None}
    ends = settings.get("eos_token_id")
    stop = set(ends) if isinstance(ends, list) else {ends}
    penalty = settings.get("repetition_penalty")
    memory = _memory(bundle)
    for _ in range(_room(bundle, len(ids), options, settings)):
        logits = _next(bundle, ids, memory)
        if isinstance(penalty, int | float) and penalty not in (0, 1):
            seen = sorted(set(ids))
            logits[seen] = [x / penalty if x > 0 else x * penalty for x in logits[seen]]
        token = int(logits.argmax())
        ids.append(token)
        yield token
        if token in stop:
            return


def _room(bundle: Bundle, used: int, options: Mapping[str, Any], settings: Mapping[str, Any]) -> int:
    """Return how many tokens may still be written."""
    new = options.get("max_new_tokens")
    if new is None and options.get("max_length") is not None:
        new = options["max_length"] - used
    if new is None:
        said = settings.get("max_new_tokens")
        new = said if type(said) is int else _DEFAULT_NEW
    positions = bundle.config.get("max_position_embeddings", bundle.config.get("n_positions"))
    if type(positions) is int:
        if used >= positions:
            raise OptionError(f"text-generation: the prompt has {used} tokens; the model takes fewer than {positions}.")
        new = min(new, positions - used)
    return max(int(new), 0)


def _memory(bundle: Bundle) -> dict[str, Any] | None:
    """Return the empty cache that the graph wants: input name -> array with no positions; None where it has none."""
    import numpy as np

    memory: dict[str, Any] = {}
    for name, shape in bundle.graph.shapes.items():
        if name.startswith(_PAST):
            places = [i for i, n in enumerate(shape) if not isinstance(n, int)]
            sizes = [n if isinstance(n, int) else 1 if i == places[0] else 0 for i, n in enumerate(shape)]
            memory[name] = np.zeros(sizes, bundle.graph.inputs[name])
    return memory or None


def _next(bundle: Bundle, ids: list[int], memory: dict[str, Any] | None) -> Any:
    """Return the logits of the token after `ids`, float32 [vocabulary], and bring `memory` up to date."""
    import numpy as np

    known = _known(memory)
    arrays: dict[str, Any] = {
        "input_ids": np.asarray([ids[known:]], np.int64),
        "attention_mask": np.ones((1, len(ids)), np.int64),
        "position_ids": np.arange(known, len(ids), dtype=np.int64)[None],
        "token_type_ids": np.zeros((1, len(ids) - known), np.int64),
        "use_cache_branch": np.asarray([known > 0]),
    }
    found = bundle.graph.run({**arrays, **(memory or {})})
    for name in memory or ():
        memory[name] = found[name.replace(_PAST, _PRESENT, 1)]  # type: ignore[index]
    return bundle.graph.logits(found)[0, -1].copy()


def _known(memory: Mapping[str, Any] | None) -> int:
    """Return how many positions the cache holds."""
    return 0 if not memory else int(next(iter(memory.values())).shape[-2])


def _written(bundle: Bundle, messages: Sequence[Mapping[str, Any]], continues: bool) -> str:
    """Return a chat as the model was taught to read it."""
    template, file = _template(bundle)
    try:
        import jinja2
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise MissingRequirement(
            "A chat needs jinja2 for the model's chat template. pip install 'jinja2>=3.1.6', or pass a plain prompt."
        ) from error

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = refuse
    special = {k: _plain(v) for k, v in bundle.text.config.items() if k.endswith("_token")}
    try:
        text = environment.from_string(template).render(
            messages=[dict(m) for m in messages], add_generation_prompt=not continues, **special
        )
    except jinja2.exceptions.SecurityError as error:
        raise TemplateRefused(
            f"{file}: the chat template reaches for more than text: {printable(str(error))}. It was stopped. "
            "Write the prompt yourself and pass it as a string.",
            file=file,
            field="chat_template",
        ) from error
    except Exception as error:
        raise OptionError(f"{file}: the chat template refuses these messages: {printable(str(error), 200)}.") from error
    return _until(text, str(messages[-1].get("content", ""))) if continues else text


def _until(text: str, last: str) -> str:
    """Cut what the template adds after the last message, so that the model goes on writing it."""
    at = text.rfind(last.strip())
    if at < 0:
        raise OptionError("continue_final_message: the chat template does not end with the last message's text.")
    return text[: at + len(last.rstrip())]


def _template(bundle: Bundle) -> tuple[str, str]:
    name = "chat_template.jinja"
    if (bundle.folder / name).is_file():
        return read_inside(bundle.folder, name, limits=bundle.limits).decode("utf-8"), name
    template = bundle.text.config.get("chat_template")
    if isinstance(template, list):
        named = {t.get("name"): t.get("template") for t in template if isinstance(t, Mapping)}
        template = named.get("default")
    if not isinstance(template, str):
        raise OptionError("The model has no chat template, so it takes a plain prompt (a string), not messages.")
    return template, "tokenizer_config.json"


def _plain(token: Any) -> Any:
    return token.get("content") if isinstance(token, Mapping) else token


def _tojson(value: Any, indent: int | None = None) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, indent=indent)
