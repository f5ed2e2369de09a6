"""How the libraries that are recognised but not loaded here load a model themselves: the way out, as data.

Step 4 of 6, used by `explain.code`. ``{model}`` stands for the model's folder or name, ``{file}`` for its first weight
file, ``{task}`` for its task, each as a Python literal. A library is left out where a line of code is not enough, or
where loading runs code that a stranger pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelscope_ext.models.resolution import Resolution

__all__ = ["SNIPPETS", "native_snippet"]

#: Backend, or ``backend/task`` -> its own words.
SNIPPETS: Mapping[str, str] = {
    "audiocraft": "from audiocraft.models import MusicGen\n\nmodel = MusicGen.get_pretrained({model})\n",
    "bertopic": "from bertopic import BERTopic\n\nmodel = BERTopic.load({model})\n",
    "catboost": "from catboost import CatBoost\n\nmodel = CatBoost().load_model({file})\n",
    "chronos": "from chronos import BaseChronosPipeline\n\nmodel = BaseChronosPipeline.from_pretrained({model})\n",
    "coreml": "import coremltools\n\nmodel = coremltools.models.MLModel({file})\n",
    "ctranslate2/translation": "import ctranslate2\n\nmodel = ctranslate2.Translator({model})\n",
    "ctranslate2/text-generation": "import ctranslate2\n\nmodel = ctranslate2.Generator({model})\n",
    "ctranslate2/automatic-speech-recognition": (
        "from faster_whisper import WhisperModel  # pip install faster-whisper\n\nmodel = WhisperModel({model})\n"
    ),
    "diffusers": "from diffusers import DiffusionPipeline\n\npipe = DiffusionPipeline.from_pretrained({model})\n",
    "fasttext": "import fasttext\n\nmodel = fasttext.load_model({file})\n",
    "funasr": "from funasr import AutoModel\n\nmodel = AutoModel(model={model})\n",
    "gguf/text-generation": "from llama_cpp import Llama\n\nmodel = Llama(model_path={file})\n",
    "gliner": "from gliner import GLiNER\n\nmodel = GLiNER.from_pretrained({model})\n",
    "lightgbm": "import lightgbm\n\nmodel = lightgbm.Booster(model_file={file})\n",
    "mindformers": "from mindformers import AutoModel\n\nmodel = AutoModel.from_pretrained({model})\n",
    "mistral-inference": (
        "from mistral_inference.transformer import Transformer\n\nmodel = Transformer.from_folder({model})\n"
    ),
    "mlc-llm": "from mlc_llm import MLCEngine\n\nengine = MLCEngine({model})\n",
    "mlx/text-generation": "from mlx_lm import load\n\nmodel, tokenizer = load({model})\n",
    "model2vec": "from model2vec import StaticModel\n\nmodel = StaticModel.from_pretrained({model})\n",
    "onnxruntime-genai": "import onnxruntime_genai\n\nmodel = onnxruntime_genai.Model({model})\n",
    "open-clip": (
        'import open_clip\n\nmodel, _, preprocess = open_clip.create_model_and_transforms("local-dir:" + {model})\n'
    ),
    "openvino/text-generation": (
        "from optimum.intel import OVModelForCausalLM\n\nmodel = OVModelForCausalLM.from_pretrained({model})\n"
    ),
    "paddlenlp": "from paddlenlp.transformers import AutoModel\n\nmodel = AutoModel.from_pretrained({model})\n",
    "pyannote-audio": "from pyannote.audio import Pipeline\n\npipe = Pipeline.from_pretrained({model})\n",
    "pylate": "from pylate import models\n\nmodel = models.ColBERT(model_name_or_path={model})\n",
    "setfit": "from setfit import SetFitModel\n\nmodel = SetFitModel.from_pretrained({model})\n",
    "spacy": "import spacy\n\nnlp = spacy.load({model})\n",
    "span-marker": "from span_marker import SpanMarkerModel\n\nmodel = SpanMarkerModel.from_pretrained({model})\n",
    "tensorflow": "import tensorflow\n\nmodel = tensorflow.saved_model.load({model})\n",
    "tflite": "from ai_edge_litert.interpreter import Interpreter\n\nmodel = Interpreter(model_path={file})\n",
    "timm": 'import timm\n\nmodel = timm.create_model("local-dir:" + {model}, pretrained=True)\n',
    "ultralytics": "from ultralytics import YOLO\n\nmodel = YOLO({file})\n",
    "vllm": "from vllm import LLM\n\nmodel = LLM(model={model})\n",
    "xgboost": "import xgboost\n\nmodel = xgboost.Booster(model_file={file})\n",
}


def native_snippet(resolution: Resolution) -> str:
    """Return the lines that load the model with its own library, or nothing where none are known or they don't fit.

    Example:
        >>> from modelscope_ext.models.resolution import Resolution, Source
        >>> print(native_snippet(Resolution(Source("local", path="here"), "pytorch", "spacy")), end="")
        import spacy
        <BLANKLINE>
        nlp = spacy.load('here')
    """
    text = SNIPPETS.get(f"{resolution.backend}/{resolution.default_task}") or SNIPPETS.get(resolution.backend, "")
    whole = resolution.backend != "diffusers" or any(
        reason.file == "model_index.json" for reason in resolution.because.get("backend", ())
    )
    needs_file, needs_task = "{file}" in text, "{task}" in text
    files = resolution.weights.files
    if not whole or (needs_file and not files) or (needs_task and resolution.default_task is None):
        return ""
    place = str(resolution.source.path or resolution.source)
    file = f"{place}/{files[0]}" if files else ""
    values = {"model": place, "file": file, "task": resolution.default_task}
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", repr(value))
    return text
