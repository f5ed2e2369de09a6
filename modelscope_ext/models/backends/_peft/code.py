"""Step 6 of 6, peft: the native snippet, which shows what was decided and is the user's way out."""

from __future__ import annotations

from modelscope_ext.models.backends._transformers.code import snippet as of_transformers
from modelscope_ext.models.resolution import Resolution

__all__ = ["snippet"]


def snippet(resolution: Resolution) -> str:
    """Return a script that loads base and adapter with transformers and peft and prints one answer.

    Example:
        >>> from modelscope_ext.metadata.snapshot import Source
        >>> print(snippet(Resolution(Source("local", path="m"), "pytorch", "peft", ("fill-mask",))))
        from transformers import AutoModelForMaskedLM, AutoTokenizer
        from transformers.pipelines import FillMaskPipeline
        from peft import PeftConfig, PeftModel
        <BLANKLINE>
        adapter = 'm'
        folder = PeftConfig.from_pretrained(adapter).base_model_name_or_path  # the model it was trained on
        model = AutoModelForMaskedLM.from_pretrained(folder)
        model = PeftModel.from_pretrained(model, adapter)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        pipe = FillMaskPipeline(model=model, tokenizer=tokenizer)
        print(pipe(f"This is an {tokenizer.mask_token}."))
    """
    lines, loaded = [], False
    for line in of_transformers(resolution).splitlines():
        if line == f"folder = {str(resolution.source)!r}":
            lines += [
                f"adapter = {str(resolution.source)!r}",
                "folder = PeftConfig.from_pretrained(adapter).base_model_name_or_path  # the model it was trained on",
            ]
        elif line.startswith("model = ") and not loaded:
            loaded = True
            lines += [line.replace(repr(str(resolution.source)), "folder")]
            lines += ["model = PeftModel.from_pretrained(model, adapter)"]
        elif line == "" and not any("peft" in one for one in lines):
            lines += ["from peft import PeftConfig, PeftModel", ""]
        else:
            lines.append(line)
    return "\n".join(lines)
