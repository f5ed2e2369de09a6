"""Step 6 of 6, ModelScope: the native snippet, which shows what was decided and is the user's way out."""

from __future__ import annotations

from modelscope_ext.models.resolution import Resolution

__all__ = ["snippet"]

_LINES = """\
import os

from modelscope.pipelines import pipeline
{imports}
folder = os.path.abspath({folder!r})
pipe = pipeline({task!r}, model=folder, device="cpu"{more})
output = pipe({call})
"""
#: Task -> an input.
_INPUTS = {
    "fill-mask": '"This is a [MASK]."',
    "text-to-image": '{"text": "a cat", "num_inference_steps": 20}',
}
_TEXTS = ("text-", "token-", "document-", "sentence-", "fill-", "zero-shot-classification", "translation")


def snippet(resolution: Resolution) -> str:
    """Return a script that loads the resolved folder with modelscope and runs one input.

    Example:
        >>> from modelscope_ext.metadata.snapshot import Source
        >>> print(snippet(Resolution(Source("local", path="m"), "pytorch", "modelscope", ("image-denoising",))))
        import os
        <BLANKLINE>
        from modelscope.pipelines import pipeline
        <BLANKLINE>
        folder = os.path.abspath('m')
        pipe = pipeline('image-denoising', model=folder, device="cpu")
        output = pipe("picture.png")
        <BLANKLINE>
    """
    task = resolution.default_task or ""
    named = next((r for r in resolution.because.get("tasks", ()) if r.file == "configuration.json"), None)
    spelled = named.value if named is not None and isinstance(named.value, str) else task
    call = _INPUTS.get(task) or ('"This is an example."' if task.startswith(_TEXTS) else '"picture.png"')
    imports, more = "", ""
    if task == "document-segmentation":
        imports = "from modelscope.preprocessors import DocumentSegmentationTransformersPreprocessor\n"
        more = ", preprocessor=DocumentSegmentationTransformersPreprocessor(folder, 512)"
    folder = resolution.source.path or resolution.source.repo or "."
    return _LINES.format(imports=imports, folder=folder, task=spelled, more=more, call=call)
