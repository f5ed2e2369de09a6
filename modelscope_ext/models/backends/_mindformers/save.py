"""Writing a model of mindformers: config.json and ``mindspore_model.ckpt``, each tensor in the dtype it came in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelscope_ext.models.backend import Loaded
from modelscope_ext.models.backends._mindformers.arrays import to_bytes
from modelscope_ext.models.backends._mindformers.tables import ARCHITECTURES
from modelscope_ext.models.convert.tensors import DTYPES, Stored, shards
from modelscope_ext.models.convert.writers import FORMATS, write_weights

__all__ = ["save"]

_SHARD = 2 * 10**9
_CACHES = ("key_cache", "value_cache")
#: Files of the tokenizer and of generation that are copied as they are.
_BESIDE = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja", "generation_config.json",
)  # fmt: skip


def save(loaded: Loaded, folder: Path) -> None:
    """Write the model into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    cell = loaded.native
    dtypes: Mapping[str, str] = loaded.parts.get("dtypes") or {}
    parameters = {p.name: p for p in cell.get_parameters() if not p.name.endswith(_CACHES)}
    stored = [
        Stored(name, dtypes.get(name) or _dtype(one), tuple(one.shape), "", ()) for name, one in parameters.items()
    ]

    def pieces(tensor: Stored) -> Iterator[memoryview]:
        import mindspore

        value = parameters[tensor.name]
        if value.dtype == mindspore.bfloat16:
            value = value.astype(mindspore.float32)
        yield to_bytes(value.asnumpy(), tensor.dtype)

    parts = [[(tensor.name, tensor) for tensor in shard] for shard in shards(stored, _SHARD)]
    for old in folder.glob("mindspore_model*.ckpt*"):
        old.unlink()
    write_weights(folder, FORMATS["mindspore"], parts, pieces, lambda _tensor, _count: None)
    (folder / "config.json").write_text(json.dumps(_config(loaded, dtypes), indent=2) + "\n", encoding="utf-8")
    _beside(loaded, folder)


def _config(loaded: Loaded, dtypes: Mapping[str, str]) -> dict[str, Any]:
    """Return config.json: what the folder said, not what a CPU made of it, with the dtypes that it left out."""
    name = type(loaded.native).__name__
    row = ARCHITECTURES[name]
    settings = loaded.parts.get("settings")
    if settings is not None:
        values = dict(settings.values)
        usual = max(set(dtypes.values()), key=list(dtypes.values()).count) if dtypes else "float32"
        values["param_init_type"] = usual
        values.setdefault("compute_dtype", usual)
        if loaded.parts.get("asked_dtype"):
            values["compute_dtype"] = usual
    else:
        given = vars(loaded.native.config)
        values = {key: _plain(given[key]) for key in row.keys if given.get(key) is not None}
    return {"architectures": [name], "model_type": row.model_type, "mindformers_version": "1.8.0", **values}


def _plain(value: Any) -> Any:
    from modelscope_ext.models.backends._mindspore.device import dtype_name

    return value if isinstance(value, str | int | float | bool | list | dict) else dtype_name(value)


def _dtype(parameter: Any) -> str:
    from modelscope_ext.models.backends._mindspore.device import dtype_name

    name = dtype_name(parameter.dtype)
    return name if name in DTYPES else "float32"


def _beside(loaded: Loaded, folder: Path) -> None:
    source, tokenizer = loaded.parts.get("folder"), loaded.parts.get("tokenizer")
    if source is None or loaded.parts.get("own_tokenizer"):
        if tokenizer is not None:
            tokenizer.save_pretrained(str(folder))
        return
    for name in _BESIDE:
        if (source / name).is_file() and (folder / name).resolve() != (source / name).resolve():
            shutil.copyfile(source / name, folder / name)
