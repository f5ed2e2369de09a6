"""The same in onnxruntime's own words: a script for each kind of task, which runs without this package."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["snippet"]

_SESSION = """\
folder = {folder!r}
session = onnxruntime.InferenceSession(f"{{folder}}/{file}", providers=["CPUExecutionProvider"])
"""

_WORDS = """\
words = Tokenizer.from_file(f"{{folder}}/tokenizer.json").encode({text})
arrays = {{"input_ids": words.ids, "attention_mask": words.attention_mask, "token_type_ids": words.type_ids}}
arrays = {{name: np.array({nested}) for name, values in arrays.items()}}
"""

_PIXELS = """\
settings = json.loads(Path(folder, "preprocessor_config.json").read_text(encoding="utf-8"))
size = settings.get("crop_size" if settings.get("do_center_crop") else "size") or {{}}
height, width = (size.get(side, size.get("shortest_edge", 224)) for side in ("height", "width"))
image = Image.new("RGB", (64, 64)).resize((width, height), settings.get("resample", 2))
pixels = np.asarray(image, np.float32).transpose(2, 0, 1) * settings.get("rescale_factor", 1 / 255)
if "image_mean" in settings:
    mean, std = (np.float32(settings[key]).reshape(3, 1, 1) for key in ("image_mean", "image_std"))
    pixels = (pixels - mean) / std
pixels = np.float32(pixels)[None]
"""

_SOUND = """\
settings = json.loads(Path(folder, "preprocessor_config.json").read_text(encoding="utf-8"))
sound = np.zeros((1, settings["sampling_rate"]), np.float32)
"""

_RUN = """\
wanted = {{i.name for i in session.get_inputs()}}
output = session.run(None, {{name: array for name, array in arrays.items() if name in wanted}})
"""

_IMPORT_NUMPY = "import numpy as np\nimport onnxruntime\n"
_IMPORT_WORDS = "from tokenizers import Tokenizer\n"
_IMPORT_FILES = "import json\nfrom pathlib import Path\n\n"
_IMPORT_IMAGE = "from PIL import Image\n"

#: Kind -> imports, what prepares the arrays, and the text that goes in.
_KINDS: Mapping[str, tuple[str, str]] = {
    "text": (f"{_IMPORT_NUMPY}{_IMPORT_WORDS}", _WORDS),
    "image": (
        f"{_IMPORT_FILES}{_IMPORT_NUMPY}{_IMPORT_IMAGE}",
        _PIXELS + 'arrays = {{"pixel_values": pixels, "pixel_mask": np.ones((1, height, width), np.int64)}}\n',
    ),
    "both": (
        f"{_IMPORT_FILES}{_IMPORT_NUMPY}{_IMPORT_IMAGE}{_IMPORT_WORDS}",
        _WORDS + _PIXELS + 'arrays["pixel_values"] = pixels\n',
    ),
    "sound": (
        f"{_IMPORT_FILES}{_IMPORT_NUMPY}",
        _SOUND + 'arrays = {{"input_values": sound, "attention_mask": np.ones(sound.shape, np.int64)}}\n',
    ),
}

#: Tasks whose example is not one text.
_TASKS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("image-classification", "image-feature-extraction", "image-segmentation", "object-detection"),
            *("depth-estimation", "image-to-image"),
        ),
        "image",
    ),
    "zero-shot-image-classification": "both",
    "audio-classification": "sound",
    "automatic-speech-recognition": "sound",
}
_TEXTS: Mapping[str, str] = {
    "question-answering": '"Who lives in Paris?", "Mary lives in Paris."',
    "multiple-choice": '"Who lives in Paris?", "Mary."',
}


def snippet(task: str | None, folder: str, file: str) -> str:
    """Return the script for a task; any that is not known gets the one for texts.

    Args:
        task: A task of the backend.
        folder: The model's folder.
        file: The ONNX file in it.
    """
    imports, prepared = _KINDS[_TASKS.get(task or "", "text")]
    values = {"folder": folder, "file": file, "text": _TEXTS.get(task or "", '"This is an example."')}
    nested = "[[values]]" if task == "multiple-choice" else "[values]"
    return f"{imports}\n{(_SESSION + prepared + _RUN).format(**values, nested=nested)}"
