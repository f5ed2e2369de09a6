"""Step 6 of 6, mindone: the native snippet, which shows what was decided and is the user's way out."""

from __future__ import annotations

from modelscope_ext.models.backends._mindone.tasks import PIPELINES, ROWS
from modelscope_ext.models.resolution import Resolution

__all__ = ["snippet"]

_RANKING = """\
tokenizer = AutoTokenizer.from_pretrained(folder)
model = mindone.transformers.AutoModelForSequenceClassification.from_pretrained(folder).set_train(False)
inputs = tokenizer(["the question"], ["a document"], return_tensors="np", truncation=True)
print(model(**{name: mindspore.Tensor(value) for name, value in inputs.items()}).logits)"""
_EXAMPLES = {
    "fill-mask": 'pipe(f"This is an {pipe.tokenizer.mask_token}.")',
    "question-answering": 'pipe(question="Who lives in Paris?", context="Mary lives in Paris.")',
}
_CALLS = {
    "text-to-image": 'pipe("a red house", num_inference_steps=30)',
    "image-to-image": 'pipe("a red house", image=Image.new("RGB", (64, 64), "red"), num_inference_steps=30)',
    "unconditional-image-generation": "pipe(num_inference_steps=30)",
}
#: What a CPU needs before mindone is imported; on an Ascend card it does nothing.
_START = "from modelscope_ext.models.backends._mindspore.device import start\n\nstart()  # replaces what a CPU lacks\n"


def snippet(resolution: Resolution) -> str:
    """Return a script that loads the resolved folder with mindone and prints one answer.

    Example:
        >>> from modelscope_ext.metadata.snapshot import Source
        >>> print(snippet(Resolution(Source("local", path="m"), "mindspore", "mindone", ("text-classification",))))
        from modelscope_ext.models.backends._mindspore.device import start
        <BLANKLINE>
        start()  # replaces what a CPU lacks
        import mindone.transformers
        <BLANKLINE>
        pipe = mindone.transformers.pipeline('text-classification', model='m')
        print(pipe("This is an example."))
    """
    folder = str(resolution.source.path or resolution.source)
    task = next((task for task in resolution.tasks if task in ROWS or task in PIPELINES), None)
    if task is not None and task in PIPELINES:
        variant = f", variant={resolution.weights.variant!r}" if resolution.weights.variant else ""
        picture = "from PIL import Image\n" if "Image." in _CALLS[task] else ""
        return (
            f"{_START}{picture}import mindone.diffusers\n\n"
            f"pipe = mindone.diffusers.DiffusionPipeline.from_pretrained({folder!r}{variant}, use_safetensors=True)\n"
            f"print({_CALLS[task]}[0][0])"
        )
    if task is None:
        line = f"model = mindone.transformers.AutoModel.from_pretrained({folder!r})"
        return f"{_START}import mindone.transformers\n\n{line}"
    row = ROWS[task]
    if row.pipeline is None and task not in _EXAMPLES:
        head = "import mindone.transformers\nimport mindspore\nfrom transformers import AutoTokenizer\n"
        return f"{_START}{head}\nfolder = {folder!r}\n{_RANKING}"
    picture = "from PIL import Image\n" if "Image." in row.call else ""
    return (
        f"{_START}{picture}import mindone.transformers\n\n"
        f"pipe = mindone.transformers.pipeline({task!r}, model={folder!r})\n"
        f"print({_EXAMPLES.get(task, row.call)})"
    )
