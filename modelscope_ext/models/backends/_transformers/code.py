"""Step 6 of 6, transformers: the native snippet, which shows what was decided and is the user's way out."""

from __future__ import annotations

from modelscope_ext.models.backends._transformers.tasks import ROWS, Row
from modelscope_ext.models.resolution import Resolution

__all__ = ["snippet"]

_AUTO = {
    "tokenizer": "AutoTokenizer",
    "image_processor": "AutoImageProcessor",
    "feature_extractor": "AutoFeatureExtractor",
    "processor": "AutoProcessor",
    "video_processor": "AutoVideoProcessor",
}
#: Names in a row's example call -> the import that brings them.
_IMPORTS = {"Image.": "from PIL import Image", "np.": "import numpy as np", "torch.": "import torch"}


def snippet(resolution: Resolution) -> str:
    """Return a script that loads the resolved folder with transformers and prints one answer.

    Example:
        >>> from modelscope_ext.metadata.snapshot import Source
        >>> print(snippet(Resolution(Source("local", path="m"), "pytorch", "transformers", ("fill-mask",))))
        from transformers import AutoModelForMaskedLM, AutoTokenizer
        from transformers.pipelines import FillMaskPipeline
        <BLANKLINE>
        folder = 'm'
        model = AutoModelForMaskedLM.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        pipe = FillMaskPipeline(model=model, tokenizer=tokenizer)
        print(pipe(f"This is an {tokenizer.mask_token}."))
    """
    task = next((t for t in resolution.tasks if t in ROWS), None)
    folder = str(resolution.source)
    if task is None:
        return f"from transformers import AutoModel\n\nmodel = AutoModel.from_pretrained({folder!r})"
    row = ROWS[task]
    auto = _auto(row, resolution)
    needed = (part for part in row.parts if not part.endswith("?") or auto != row.autos[0])
    needed = (part for part in needed if part != "decision_config")  # the library finds it by itself
    kinds = list(dict.fromkeys(_kind(part, row) for part in needed))
    names = sorted({auto, *(_AUTO[kind] for kind in kinds)})
    imports = [line for name, line in _IMPORTS.items() if name in row.call]
    lines = [*sorted(imports, key=lambda line: line.startswith("from")), f"from transformers import {', '.join(names)}"]
    if row.pipeline and "pipe(" in row.call:
        lines.append(f"from transformers.pipelines import {row.pipeline}")
    lines += ["", f"folder = {folder!r}", f"model = {auto}.from_pretrained(folder)"]
    lines += [f"{kind} = {_AUTO[kind]}.from_pretrained(folder)" for kind in kinds]
    if row.pipeline and "pipe(" in row.call:
        given = ", ".join(f"{kind}={kind}" for kind in ("model", *kinds))
        return "\n".join([*lines, f"pipe = {row.pipeline}({given})", f"print({row.call})"])
    return "\n".join([*lines, row.call, "print(output)"])


def _kind(part: str, row: Row) -> str:
    """Return the one kind that the row's example call names, out of ``a|b``."""
    options = part.rstrip("?").split("|")
    return next((kind for kind in reversed(options) if kind in row.call), options[-1])


def _auto(row: Row, resolution: Resolution) -> str:
    """Return the auto class whose head the architecture names, out of those that serve the task."""
    reasons = (reason for found in resolution.because.values() for reason in found)
    named = [r.value for r in reasons if r.file == "config.json" and r.key.startswith("architectures")]
    text = str(named)
    heads = {auto: auto.removeprefix("AutoModel") for auto in row.autos}
    for auto, head in heads.items():
        if head and head in text:
            return auto
    if len(row.autos) > 1 and "ForConditionalGeneration" in text:
        return row.autos[-1]
    return row.autos[0]
