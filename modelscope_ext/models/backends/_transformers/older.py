"""Step 5 of 6, transformers 4.57, on which MindSpore's libraries build: what transformers 5 writes, in its words.

transformers 5 keeps the settings of rotary embeddings in ``rope_parameters``; 4.57 would pass over that key and compute
with its defaults, without a word.
"""

from __future__ import annotations

from typing import Any

from modelscope_ext.errors import BackendNotLoadable
from modelscope_ext.models.backends._transformers.folder import Folder

__all__ = ["in_older_words"]


def in_older_words(config: Any, folder: Folder) -> Any:
    """Return transformers' configuration of a folder, as the installed release means it.

    Args:
        config: Read from the folder.
        folder: Its `raw` is config.json as it stands.

    Raises:
        BackendNotLoadable: Settings that the installed release has no words for.
    """
    import transformers

    if not transformers.__version__.startswith("4."):
        return config
    found = folder.raw.get("rope_parameters")
    if found is None or hasattr(config, "rope_theta") is False:
        return config
    if not isinstance(found, dict) or any(isinstance(value, dict) for value in found.values()):
        raise BackendNotLoadable(
            f"{folder.name}: config.json: rope_parameters: of a form that transformers 5 writes and transformers"
            f" {transformers.__version__} has no words for. Load it with transformers 5, in an environment without"
            " mindone."
        )
    if "rope_theta" not in folder.raw and "rope_theta" in found:
        config.rope_theta = found["rope_theta"]
    scaling = {key: value for key, value in found.items() if key != "rope_theta"}
    if "rope_scaling" not in folder.raw and scaling.get("rope_type", "default") != "default":
        config.rope_scaling = scaling
    return config
