"""The tokenizer of a mindformers folder: one of mindformers' own classes, from a closed table, made from local files.

mindformers' ``from_pretrained`` asks a hub for each file that a folder lacks; so a tokenizer is made directly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelscope_ext.errors import MalformedMetadata, NotAModel, OptionError, TemplateRefused
from modelscope_ext.models.backends._mindformers.settings import Settings
from modelscope_ext.safety.grants import Grants
from modelscope_ext.safety.reading import parse_json, read_inside
from modelscope_ext.utils.text import printable

__all__ = ["decode", "encode", "generation_of", "load_tokenizer"]

_FAST = ("mindformers.models.tokenization_utils_fast", "PreTrainedTokenizerFast")
_LLAMA = ("mindformers.models.llama", "LlamaTokenizerFast")
_SLOW = ("mindformers.models.llama", "LlamaTokenizer")
#: `tokenizer_class` -> the class for a tokenizer.json; any other is a plain one, which does just what the file says.
_CLASSES: Mapping[str, tuple[str, str]] = {"LlamaTokenizer": _LLAMA, "LlamaTokenizerFast": _LLAMA}
#: Keys of tokenizer_config.json that are passed on, and the types they may have.
_KEYS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), (str, dict)),
    **dict.fromkeys(("clean_up_tokenization_spaces", "add_bos_token", "add_eos_token", "legacy"), (bool,)),
    "additional_special_tokens": (list,),
}
_ONLY_LLAMA = ("add_bos_token", "add_eos_token")


def load_tokenizer(folder: Path, source: str, grants: Grants) -> Any:
    """Make the folder's tokenizer.

    Raises:
        NotAModel: There is neither tokenizer.json nor tokenizer.model.
        MalformedMetadata: A file that mindformers cannot read.
    """
    from modelscope_ext.models.backends._mindformers.library import imported

    config = _json(folder, "tokenizer_config.json", source, grants)
    given = {key: _token(config[key]) for key, kinds in _KEYS.items() if isinstance(config.get(key), kinds)}
    if (folder / "tokenizer.json").is_file():
        file, place = "tokenizer.json", _CLASSES.get(str(config.get("tokenizer_class")), _FAST)
        given["tokenizer_file"] = str(folder / file)
    elif (folder / "tokenizer.model").is_file():
        file, place = "tokenizer.model", _SLOW
        given["vocab_file"] = str(folder / file)
    else:
        raise NotAModel(
            f"{printable(source)}: there is no tokenizer: expected tokenizer.json or tokenizer.model beside the"
            " weights. Copy it from the original model, or pass tokenizer="
        )
    for key in _KEYS:
        if (key in _ONLY_LLAMA and place is _FAST) or (key == "legacy" and place is not _SLOW):
            given.pop(key, None)
    template = _template(folder, config, source, grants)
    kind = getattr(imported(place[0]), place[1])
    try:
        tokenizer = kind(**given)
    except Exception as error:
        raise MalformedMetadata(
            f"{printable(source)}: {file}: mindformers cannot read it: {printable(str(error), 200)}",
            file=file,
            source=source,
        ) from error
    tokenizer.chat_template = template
    return tokenizer


#: Keys of generation_config.json that mindformers has as well.
_GENERATION = (
    "max_new_tokens", "max_length", "min_length", "min_new_tokens", "do_sample", "temperature", "top_k", "top_p",
    "repetition_penalty", "eos_token_id",
)  # fmt: skip
#: Those that mindformers' settings have, where there is no generation_config.json.
_IN_SETTINGS = ("do_sample", "top_k", "top_p", "repetition_penalty", "eos_token_id")


def generation_of(folder: Path, settings: Settings, source: str, grants: Grants) -> dict[str, Any]:
    """Return how the model itself wants text to be generated."""
    name = "generation_config.json"
    said = _json(folder, name, source, grants)
    if said:
        return {key: said[key] for key in _GENERATION if said.get(key) is not None}
    return {key: settings.values[key] for key in _IN_SETTINGS if key in settings.values}


def _json(folder: Path, name: str, source: str, grants: Grants) -> Mapping[str, Any]:
    if not (folder / name).is_file():
        return {}
    data = read_inside(folder, name, limits=grants.limits, source=source)
    document = parse_json(data, file=name, limits=grants.limits, source=source)
    return document if isinstance(document, Mapping) else {}


def _token(value: Any) -> Any:
    """Return a token as its text; tokenizer_config.json may have it with how it is stripped."""
    if isinstance(value, Mapping):
        return str(value.get("content", ""))
    return [_token(one) for one in value] if isinstance(value, list) else value


def _template(folder: Path, config: Mapping[str, Any], source: str, grants: Grants) -> str | None:
    name = "chat_template.jinja"
    if (folder / name).is_file():
        return read_inside(folder, name, limits=grants.limits, source=source).decode("utf-8", "replace")
    template = config.get("chat_template")
    if isinstance(template, list):  # several by name
        named = {str(one.get("name")): one.get("template") for one in template if isinstance(one, Mapping)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def encode(tokenizer: Any, item: Any, options: Mapping[str, Any]) -> list[int]:
    """Return the tokens of a text, or of a chat as the model's own template writes it.

    Raises:
        OptionError: A chat without a template, or a text without tokens.
        TemplateRefused: A template that reaches for more than text.
    """
    special = options.get("add_special_tokens")
    if isinstance(item, str):
        text, special = item, True if special is None else special
    else:
        text, special = _rendered(tokenizer, item), False if special is None else special
    tokens = [int(one) for one in tokenizer(text, add_special_tokens=special)["input_ids"]]
    if not tokens:
        raise OptionError("text-generation: an input without any token: give at least one word")
    return tokens


def _rendered(tokenizer: Any, messages: Sequence[Mapping[str, Any]]) -> str:
    if getattr(tokenizer, "chat_template", None) is None:
        raise OptionError(
            "a chat was given, and the model has no chat template (chat_template.jinja, or chat_template in"
            " tokenizer_config.json): give it a text"
        )
    more = messages[-1].get("role") != "assistant"
    try:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=more))
    except Exception as error:
        if type(error).__name__ == "SecurityError":
            raise TemplateRefused(
                f"the chat template reaches for more than text: {printable(str(error), 200)}",
                file="tokenizer_config.json",
                field="chat_template",
            ) from error
        raise OptionError(f"the chat template refuses this chat: {printable(str(error), 200)}") from error


def decode(tokenizer: Any, tokens: Sequence[int], options: Mapping[str, Any]) -> str:
    """Return the text of tokens."""
    skip = options.get("skip_special_tokens")
    return str(tokenizer.decode([int(one) for one in tokens], skip_special_tokens=True if skip is None else skip))
