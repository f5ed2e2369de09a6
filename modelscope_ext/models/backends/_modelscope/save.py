"""Step 5 of 6, ModelScope: a loaded model is written as it was read, with the values its network has now.

ModelScope's own `save_pretrained` writes names that some of its own classes do not find again. So each checkpoint keeps
its file name and its structure, and only the tensors in it that the network has under their name are replaced.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelscope_ext.errors import ModelScopeExtError
from modelscope_ext.models.backend import Loaded

__all__ = ["save"]


def save(loaded: Loaded, folder: Path) -> None:
    """Write the staged files into `folder`, their weights brought up to date.

    Raises:
        ModelScopeExtError: The model was made by the caller, so that its files are not known.
    """
    stage = loaded.parts.get("stage")
    if stage is None:
        raise ModelScopeExtError("a model that was not loaded here is saved by ModelScope's own save_pretrained")
    network = loaded.native
    for path in sorted(stage.folder.rglob("*")):
        name = path.relative_to(stage.folder).as_posix()
        target = folder / name
        if not path.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if name in loaded.parts["weights"]:
            _write(path, target, _state(network, name))
        else:
            shutil.copyfile(path, target)


def _state(network: Any, name: str) -> Mapping[str, Any]:
    """Return the tensors of the network that the file belongs to: in a pipeline, the component of its folder."""
    owner = network if hasattr(network, "state_dict") else getattr(network, name.partition("/")[0], None)
    return dict(owner.state_dict()) if owner is not None and hasattr(owner, "state_dict") else {}


def _write(source: Path, target: Path, state: Mapping[str, Any]) -> None:
    if source.suffix == ".safetensors":
        from safetensors import safe_open
        from safetensors.torch import load_file, save_file

        with safe_open(str(source), framework="pt") as file:
            metadata = file.metadata()
        save_file(_renewed(load_file(str(source)), state), str(target), metadata=metadata)
        return
    import torch

    torch.save(_renewed(torch.load(source, map_location="cpu", weights_only=True), state), target)


def _renewed(value: Any, state: Mapping[str, Any]) -> Any:
    """Return a checkpoint's structure with each tensor that the network has, under its name or a longer one, as now."""
    import torch

    ends: dict[str, list[str]] = {}
    for key in state:
        parts = key.split(".")
        for start in range(len(parts)):
            ends.setdefault(".".join(parts[start:]), []).append(key)

    def renew(inner: Any) -> Any:
        if not isinstance(inner, Mapping):
            return inner
        made: Any = type(inner)()
        for key, one in inner.items():
            name = str(key).removeprefix("module.")
            fits = [full for full in ends.get(name, ()) if state[full].shape == getattr(one, "shape", None)]
            exact = [full for full in fits if full == name] or fits
            renewable = isinstance(one, torch.Tensor) and len(exact) == 1
            made[key] = state[exact[0]].detach().cpu().to(one.dtype).contiguous().clone() if renewable else renew(one)
        return made

    return renew(value)
