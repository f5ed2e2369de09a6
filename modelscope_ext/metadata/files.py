"""Which files are read for evidence: a table of names, so that a resolve parses only what can decide."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["CARD", "CARDS", "DECIDING", "nested_to_read", "root_to_read", "worth_a_request", "yaml_may_decide"]

CARD = "README.md"
#: As people spell it; the first that is there is read.
CARDS = (CARD, "readme.md", "Readme.md")

#: Broken, these are an error; configuration.json is read before them.
DECIDING = ("config.json", "model_index.json", "modules.json", "adapter_config.json")

#: Broken, these are a finding. Read wherever they lie.
_WANTED = frozenset(
    ("generation_config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json",
     "video_preprocessor_config.json", "image_processor_config.json", "feature_extractor_config.json",
     "config_sentence_transformers.json", "sentence_bert_config.json", "genai_config.json", "mlc-chat-config.json",
     "gliner_config.json", "quantize_config.json", "quant_config.json", "params.json", "model_config.json",
     "config_setfit.json", "modular_model_index.json", "open_clip_config.json", "scheduler_config.json",
     "mindspore_model.ckpt.index.json", "task.json")
)  # fmt: skip
_NESTED = _WANTED | {"config.json", "model_index.json", "adapter_config.json", "modules.json", "configuration.json"}
_YAML_NAMES = frozenset(
    ("config.yaml", "config.yml", "hyperparams.yaml", "hyperparams.yml", "configuration.yaml", "model.yaml",
     "inference.yml", "inference.yaml", "params.yaml", "model_config.yaml", "train.yaml", "args.yaml")
)  # fmt: skip
_RUN_YAML = re.compile(rb"^(?:trainer|model|auto_register|run_mode|pretrained_model_dir):", re.MULTILINE)
#: They decide nothing; what they say is looked at where it costs nothing, and by who needs it.
_BESIDE = frozenset(("tokenizer_config.json", "generation_config.json"))
_MOST_REQUESTED = 2**16
_CHECKPOINT = re.compile(r"checkpoint-\d+$|global_step\d+$|epoch[-_=]?\d+$")
_MOST_NESTED = 100
_MOST_YAML = 24


def root_to_read(basenames: Iterable[str]) -> list[str]:
    """Return the optional files to read in the model's own folder, sorted.

    Example:
        >>> root_to_read({"tokenizer_config.json", "vocab.json", "run.yaml"})
        ['run.yaml', 'tokenizer_config.json']
    """
    found = []
    yaml = 0
    for name in sorted(basenames):
        if name in _WANTED or (name.endswith(".index.json") and not name.startswith(".")):
            found.append(name)
        elif name.endswith((".yaml", ".yml")) and not name.startswith("."):
            yaml += 1
            if yaml <= _MOST_YAML or name in _YAML_NAMES:
                found.append(name)
    return found


def worth_a_request(name: str, size: int) -> bool:
    """Return whether an optional file of `size` bytes is fetched for evidence: it may decide, and is small.

    Example:
        >>> worth_a_request("preprocessor_config.json", 400), worth_a_request("tokenizer_config.json", 400)
        (True, False)
    """
    return name.rpartition("/")[2] not in _BESIDE and size <= _MOST_REQUESTED


def nested_to_read(names: Iterable[str], root_speaks: bool) -> list[str]:
    """Return the metadata files to read below the model's own folder, the shallow ones first.

    Checkpoints of a training are left out where the model's own folder has metadata, and so are a third folder's depth
    and all beyond a hundred files.

    Example:
        >>> nested_to_read(["unet/config.json", "checkpoint-5/config.json"], True)
        ['unet/config.json']
    """
    return list(_nested(names, root_speaks))[:_MOST_NESTED]


def _nested(names: Iterable[str], root_speaks: bool) -> Iterator[str]:
    deeper = []
    for name in names:
        folder, slash, base = name.rpartition("/")
        if not slash or base not in _NESTED:
            continue
        if root_speaks and _CHECKPOINT.match(folder.partition("/")[0]):
            continue
        depth = folder.count("/")
        if depth == 0:
            yield name
        elif depth == 1:
            deeper.append(name)
    yield from deeper


def yaml_may_decide(name: str, data: bytes) -> bool:
    """Return whether a YAML file can say something about a model: by its name, or by the keys at its left margin.

    Example:
        >>> yaml_may_decide("docker-compose.yml", b"services:")
        False
    """
    return name in _YAML_NAMES or _RUN_YAML.search(data) is not None
