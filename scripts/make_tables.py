"""Regenerate `modelscope_ext/models/data/*.json` from the libraries' own mappings.

Run with transformers, diffusers, gguf and modelscope installed::

    python scripts/make_tables.py            # writes the files
    python scripts/make_tables.py --check    # exit status 1 when they differ from what would be written

Which task an auto class stands for is decided here, in `AUTOS`; everything else is read from the libraries.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from pathlib import Path
from typing import Any, get_args

DATA = Path(__file__).resolve().parent.parent / "modelscope_ext" / "models" / "data"

#: (mapping in transformers.models.auto.modeling_auto, auto class, tasks), the most telling first: an architecture that
#: stands in several mappings is for the first of them. Tasks are Hugging Face's pipeline tags where one exists.
AUTOS = [
    ("MODEL_FOR_DECISION", "AutoModelForDecision", "decision"),
    ("MODEL_FOR_CTC", "AutoModelForCTC", "automatic-speech-recognition"),
    ("MODEL_FOR_RNNT", "AutoModelForRNNT", "automatic-speech-recognition"),
    ("MODEL_FOR_TDT", "AutoModelForTDT", "automatic-speech-recognition"),
    ("MODEL_FOR_SPEECH_SEQ_2_SEQ", "AutoModelForSpeechSeq2Seq", "automatic-speech-recognition"),
    ("MODEL_FOR_TEXT_TO_SPECTROGRAM", "AutoModelForTextToSpectrogram", "text-to-speech text-to-audio"),
    ("MODEL_FOR_TEXT_TO_WAVEFORM", "AutoModelForTextToWaveform", "text-to-speech text-to-audio"),
    ("MODEL_FOR_AUDIO_CLASSIFICATION", "AutoModelForAudioClassification", "audio-classification"),
    ("MODEL_FOR_AUDIO_FRAME_CLASSIFICATION", "AutoModelForAudioFrameClassification", "speaker-diarization"),
    ("MODEL_FOR_AUDIO_XVECTOR", "AutoModelForAudioXVector", "speaker-verification"),
    ("MODEL_FOR_SEQUENCE_CLASSIFICATION", "AutoModelForSequenceClassification", "text-classification"),
    ("MODEL_FOR_TOKEN_CLASSIFICATION", "AutoModelForTokenClassification", "token-classification"),
    ("MODEL_FOR_DOCUMENT_QUESTION_ANSWERING", "AutoModelForDocumentQuestionAnswering", "document-question-answering"),
    ("MODEL_FOR_TABLE_QUESTION_ANSWERING", "AutoModelForTableQuestionAnswering", "table-question-answering"),
    ("MODEL_FOR_QUESTION_ANSWERING", "AutoModelForQuestionAnswering", "question-answering"),
    ("MODEL_FOR_MULTIPLE_CHOICE", "AutoModelForMultipleChoice", "multiple-choice"),
    ("MODEL_FOR_NEXT_SENTENCE_PREDICTION", "AutoModelForNextSentencePrediction", "text-classification"),
    ("MODEL_FOR_RETRIEVAL", "AutoModelForRetrieval", "visual-document-retrieval"),
    ("MODEL_FOR_IMAGE_TEXT_TO_TEXT", "AutoModelForImageTextToText", "image-text-to-text"),
    ("MODEL_FOR_VISUAL_QUESTION_ANSWERING", "AutoModelForVisualQuestionAnswering", "visual-question-answering"),
    ("MODEL_FOR_MULTIMODAL_LM", "AutoModelForMultimodalLM", "any-to-any"),
    ("MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM", "AutoModelForSeq2SeqLM", "text2text-generation summarization translation"),
    ("MODEL_FOR_CAUSAL_LM", "AutoModelForCausalLM", "text-generation"),
    ("MODEL_FOR_MASKED_LM", "AutoModelForMaskedLM", "fill-mask"),
    ("MODEL_FOR_IMAGE_CLASSIFICATION", "AutoModelForImageClassification", "image-classification"),
    ("MODEL_FOR_UNIVERSAL_SEGMENTATION", "AutoModelForUniversalSegmentation", "image-segmentation"),
    ("MODEL_FOR_SEMANTIC_SEGMENTATION", "AutoModelForSemanticSegmentation", "image-segmentation"),
    ("MODEL_FOR_INSTANCE_SEGMENTATION", "AutoModelForInstanceSegmentation", "image-segmentation"),
    ("MODEL_FOR_IMAGE_SEGMENTATION", "AutoModelForImageSegmentation", "image-segmentation"),
    ("MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION", "AutoModelForZeroShotObjectDetection", "zero-shot-object-detection"),
    ("MODEL_FOR_OBJECT_DETECTION", "AutoModelForObjectDetection", "object-detection"),
    ("MODEL_FOR_MASK_GENERATION", "AutoModelForMaskGeneration", "mask-generation"),
    ("MODEL_FOR_DEPTH_ESTIMATION", "AutoModelForDepthEstimation", "depth-estimation"),
    ("MODEL_FOR_POINTMAP_ESTIMATION", "AutoModelForPointmapEstimation", "depth-estimation"),
    ("MODEL_FOR_NORMAL_ESTIMATION", "AutoModelForNormalEstimation", "image-normal-estimation"),
    ("MODEL_FOR_IMAGE_MATTING", "AutoModelForImageMatting", "image-segmentation"),
    ("MODEL_FOR_POSE_ESTIMATION", "AutoModelForPoseEstimation", "keypoint-detection"),
    ("MODEL_FOR_KEYPOINT_DETECTION", "AutoModelForKeypointDetection", "keypoint-detection"),
    ("MODEL_FOR_KEYPOINT_MATCHING", "AutoModelForKeypointMatching", "keypoint-matching"),
    ("MODEL_FOR_VIDEO_CLASSIFICATION", "AutoModelForVideoClassification", "video-classification"),
    ("MODEL_FOR_IMAGE_TO_IMAGE", "AutoModelForImageToImage", "image-to-image"),
    ("MODEL_FOR_TEXT_RECOGNITION", "AutoModelForTextRecognition", "image-to-text"),
    ("MODEL_FOR_TABLE_RECOGNITION", "AutoModelForTableRecognition", "table-recognition"),
    ("MODEL_FOR_TIME_SERIES_PREDICTION", "AutoModelForTimeSeriesPrediction", "time-series-forecasting"),
    ("MODEL_FOR_TIME_SERIES_CLASSIFICATION", "AutoModelForTimeSeriesClassification", "time-series-forecasting"),
    ("MODEL_FOR_TIME_SERIES_REGRESSION", "AutoModelForTimeSeriesRegression", "time-series-forecasting"),
    (
        "MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION",
        "AutoModelForZeroShotImageClassification",
        "zero-shot-image-classification",
    ),
    ("MODEL_FOR_CAUSAL_IMAGE_MODELING", "AutoModelForCausalImageModeling", "unconditional-image-generation"),
    ("MODEL_FOR_MASKED_IMAGE_MODELING", "AutoModelForMaskedImageModeling", "image-feature-extraction"),
    ("MODEL_FOR_AUDIO_TOKENIZATION", "AutoModelForAudioTokenization", "feature-extraction"),
    ("MODEL_FOR_IMAGE", "AutoModel", "image-feature-extraction"),
    ("MODEL_FOR_BACKBONE", "AutoBackbone", "image-feature-extraction"),
    ("MODEL_FOR_TEXT_ENCODING", "AutoModelForTextEncoding", "feature-extraction"),
    ("MODEL_FOR_PRETRAINING", "AutoModelForPreTraining", "feature-extraction"),
    ("MODEL", "AutoModel", "feature-extraction"),
]

#: diffusers' auto mappings: name -> tasks of every pipeline in it.
DIFFUSERS_AUTOS = {
    "AUTO_TEXT2IMAGE_PIPELINES_MAPPING": "text-to-image",
    "AUTO_IMAGE2IMAGE_PIPELINES_MAPPING": "image-to-image",
    "AUTO_INPAINT_PIPELINES_MAPPING": "image-inpainting image-to-image",
    "AUTO_TEXT2VIDEO_PIPELINES_MAPPING": "text-to-video",
    "AUTO_CONDITION2VIDEO_PIPELINES_MAPPING": "text-to-video",
    "AUTO_IMAGE2VIDEO_PIPELINES_MAPPING": "image-to-video",
    "AUTO_VIDEO2VIDEO_PIPELINES_MAPPING": "video-to-video",
    "AUTO_TEXT2AUDIO_PIPELINES_MAPPING": "text-to-audio",
}


def transformers_table() -> dict[str, Any]:
    """Return architecture -> auto classes and model_type -> auto classes, as indices into ``autos``."""
    import transformers
    from transformers.models.auto import configuration_auto, modeling_auto

    classes: dict[str, list[int]] = {}
    types: dict[str, list[int]] = {name: [] for name in configuration_auto.CONFIG_MAPPING_NAMES}
    for index, (mapping, _, _) in enumerate(AUTOS):
        names = getattr(modeling_auto, f"{mapping}_MAPPING_NAMES", None) or getattr(modeling_auto, f"{mapping}_NAMES")
        for model_type, value in names.items():
            for architecture in value if isinstance(value, tuple | list) else [value]:
                indices = classes.setdefault(architecture, [])
                if index not in indices:
                    indices.append(index)
            types.setdefault(model_type, []).append(index)
    return {
        "library": f"transformers {transformers.__version__}",
        "autos": [[auto, tasks.split()] for _, auto, tasks in AUTOS],
        "classes": dict(sorted(classes.items())),
        "types": dict(sorted(types.items())),
        "gguf": gguf_architectures(),
    }


def gguf_architectures() -> list[str]:
    """Return the ``general.architecture`` of GGUF files that transformers makes a language model of."""
    from gguf import MODEL_ARCH_NAMES
    from transformers.integrations.gguf import GGUF_ARCHS
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    known = {re.sub(r"[-_]", "", name) for name in (*GGUF_SUPPORTED_ARCHITECTURES, *GGUF_ARCHS)}
    return sorted(name for name in MODEL_ARCH_NAMES.values() if re.sub(r"[-_]", "", name) in known)


def unused_mappings() -> set[str]:
    """Return transformers' head mappings that `AUTOS` does not have; a test wants none."""
    from transformers.models.auto import modeling_auto

    found = {name for name in vars(modeling_auto) if re.fullmatch(r"MODEL(_FOR_\w+?)?(_MAPPING)?_NAMES", name)}
    have = {f"{mapping}{tail}" for mapping, _, _ in AUTOS for tail in ("_MAPPING_NAMES", "_NAMES")}
    return found - have


def diffusers_table() -> dict[str, Any]:
    """Return pipeline class -> tasks, what else may serve it, and the names of the classes of components, by kind."""
    import diffusers
    from diffusers.pipelines import auto_pipeline

    pipelines: dict[str, list[str]] = {}
    for mapping, tasks in DIFFUSERS_AUTOS.items():
        for cls in getattr(auto_pipeline, mapping).values():
            known = pipelines.setdefault(cls.__name__, [])
            known += [task for task in tasks.split() if task not in known]
    structure = diffusers._import_structure
    exported = {name for names in structure.values() for name in names if name.endswith("Pipeline")}
    components = {
        name
        for part in ("models", "schedulers")
        for name in structure.get(part, ())
        if name[:1].isupper() and not name.endswith(("Mixin", "Config", "Name"))
    }
    return {
        "library": f"diffusers {diffusers.__version__}",
        "pipelines": dict(sorted(pipelines.items())),
        "others": sorted(exported - set(pipelines)),
        "related": _related(auto_pipeline),
        "components": sorted(components),
        "schedulers": _schedulers(diffusers, structure),
        "own": _own_components(Path(diffusers.__file__).parent / "pipelines"),
        "transformers": _transformers_components(diffusers, exported),
    }


#: What `AutoPipelineFor...from_pipe` makes of a pipeline: mapping -> the task it is asked for.
_FROM_PIPE = {
    "AUTO_TEXT2IMAGE_PIPELINES_MAPPING": "text-to-image",
    "AUTO_IMAGE2IMAGE_PIPELINES_MAPPING": "image-to-image",
    "AUTO_INPAINT_PIPELINES_MAPPING": "image-inpainting",
}


def _related(auto_pipeline: Any) -> dict[str, dict[str, str]]:
    """Return pipeline class -> task -> the class that runs the task with the same components."""
    found: dict[str, dict[str, str]] = {}
    for mapping in _FROM_PIPE:
        for family, cls in getattr(auto_pipeline, mapping).items():
            rows = {task: getattr(auto_pipeline, name).get(family) for name, task in _FROM_PIPE.items()}
            row = {task: other.__name__ for task, other in rows.items() if other is not None}
            if len(set(row.values())) > 1:
                found.setdefault(cls.__name__, row)
    return dict(sorted(found.items()))


def _schedulers(diffusers: Any, structure: dict[str, Any]) -> dict[str, list[str]]:
    """Return scheduler class -> those that can be made of its configuration; a list that all share is named ``*``."""
    shared = sorted(one.name for one in diffusers.schedulers.KarrasDiffusionSchedulers)
    found = {"*": shared}
    for name in sorted({*structure["schedulers"], *shared}):
        cls = getattr(diffusers, name)
        # Those that need a further library may be stand-ins without the list; all of them are of the large family.
        others = shared if ".dummy_" in cls.__module__ else sorted(getattr(cls, "_compatibles", ()))
        if name.endswith("Scheduler"):
            found[name] = ["*"] if others == shared else others
    return found


_OF_COMPONENTS = ("ModelMixin", "PreTrainedModel", "PreTrainedTokenizer", "SchedulerMixin", "BaseImageProcessor")


def _own_components(folder: Path) -> dict[str, list[str]]:
    """Return module of a pipeline -> the component classes that are defined in it, read without importing it."""
    bases: dict[str, tuple[str, list[str]]] = {}
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                names = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
                bases[node.name] = (file.parent.name, names)

    def is_component(name: str, depth: int = 0) -> bool:
        return name.endswith(_OF_COMPONENTS) or (
            depth < 4 and name in bases and any(is_component(base, depth + 1) for base in bases[name][1])
        )

    found: dict[str, list[str]] = {}
    for name, (module, _) in sorted(bases.items()):
        if is_component(name) and not name.endswith(_OF_COMPONENTS):
            found.setdefault(module, []).append(name)
    return dict(sorted(found.items()))


#: Tokenizers without a class of their own, and what old folders call CLIPImageProcessor.
_GENERAL = {"PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend", "CLIPFeatureExtractor"}
_OF_TEXT = (
    "Tokenizer", "TokenizerFast", "Processor", "ProcessorFast", "ProcessorPil", "FeatureExtractor", "EncoderModel",
)  # fmt: skip


def _transformers_components(diffusers: Any, pipelines: set[str]) -> list[str]:
    """Return the classes of transformers that pipelines take, and all its tokenizers and processors."""
    import transformers

    found = {name for name in dir(transformers) if name[:1].isupper() and name.endswith(_OF_TEXT)}
    for name in pipelines:
        types = getattr(getattr(diffusers, name), "_get_signature_types", dict)()
        for kinds in types.values():
            for kind in (one for outer in kinds for one in (outer, *get_args(outer)) if isinstance(one, type)):
                if kind.__module__.startswith("transformers.models."):
                    found.add(kind.__name__.removesuffix("Pil"))
    found = {name for name in found if not name.startswith(("PreTrained", "Base"))}
    return sorted(found | _GENERAL)


def modelscope_table() -> dict[str, Any]:
    """Return the model and pipeline types of ModelScope's own index: for each task, the number of its needs."""
    import modelscope
    from modelscope.utils.ast_utils import load_index
    from modelscope_imports import needs_of

    found: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {"models": {}, "pipelines": {}}
    for (group, task, name), entry in load_index()["index"].items():
        kind = {"MODELS": "models", "PIPELINES": "pipelines"}.get(group)
        if kind and task != "default":
            found[kind].setdefault(name, {})[task] = needs_of(entry["module"], name)
    needs = sorted({one for rows in found.values() for tasks in rows.values() for one in tasks.values()})
    numbers = {one: number for number, one in enumerate(needs)}
    numbered = {
        kind: {
            name: {task: numbers[one] for task, one in sorted(tasks.items())} for name, tasks in sorted(rows.items())
        }
        for kind, rows in found.items()
    }
    return {"library": f"modelscope {modelscope.__version__}", **numbered, "needs": [list(one) for one in needs]}


def render(table: dict[str, Any]) -> str:
    """Return JSON with one line for each entry of the big maps, so that a new version's changes can be read."""
    lines = []
    for key, value in table.items():
        if isinstance(value, dict):
            rows = [f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'))}" for k, v in value.items()]
            lines.append(f"{json.dumps(key)}:{{\n" + ",\n".join(rows) + "\n}")
        elif isinstance(value, list):
            lines.append(
                f"{json.dumps(key)}:[\n" + ",\n".join(json.dumps(v, separators=(",", ":")) for v in value) + "\n]"
            )
        else:
            lines.append(f"{json.dumps(key)}:{json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


TABLES = {
    "transformers.json": transformers_table,
    "diffusers.json": diffusers_table,
    "modelscope.json": modelscope_table,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    args = parser.parse_args()
    DATA.mkdir(parents=True, exist_ok=True)
    stale = []
    for name, make in TABLES.items():
        text = render(make())
        path = DATA / name
        if args.check:
            if not path.exists() or path.read_text("utf-8") != text:
                stale.append(name)
        else:
            path.write_text(text, "utf-8")
            print(f"{name}: {len(text)} bytes")
    if stale:
        print(f"Out of date: {', '.join(stale)}. Run: python scripts/make_tables.py", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
