"""The names of tasks: Hugging Face's pipeline tags are canonical, every other spelling is an alias.

A task that only ModelScope knows keeps its name. Sources: https://huggingface.co/tasks (the tags), the constants of
ModelScope's `Tasks` (facts only), and the spellings found in real model folders.

Example:
    >>> canonical("TTS"), canonical("image_classification"), canonical("chatbot"), canonical("others")
    ('text-to-speech', 'image-classification', 'text-generation', None)
    >>> Tasks.auto_speech_recognition
    'automatic-speech-recognition'
    >>> TASKS["fill-mask"]
    'nlp'
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from modelscope_ext.errors import OptionError
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["ALIASES", "TASKS", "Tasks", "UnknownTask", "canonical", "canonical_all"]


class UnknownTask(OptionError, AttributeError):
    """A task name that nobody knows; the message has the nearest one."""


#: Hugging Face's tags (and those its libraries' pipelines add) by modality.
_TAGS = {
    "nlp": "feature-extraction fill-mask question-answering sentence-similarity summarization"
    " table-question-answering table-to-text text-classification text-generation text-ranking text2text-generation"
    " token-classification translation zero-shot-classification multiple-choice decision",
    "cv": "depth-estimation image-classification image-feature-extraction image-segmentation image-to-3d"
    " image-to-image image-to-video keypoint-detection keypoint-matching mask-generation object-detection"
    " text-to-3d unconditional-image-generation video-classification video-to-video zero-shot-image-classification"
    " zero-shot-object-detection",
    "audio": "audio-classification audio-to-audio automatic-speech-recognition text-to-audio text-to-speech"
    " voice-activity-detection zero-shot-audio-classification",
    "multi-modal": "any-to-any audio-text-to-text document-question-answering image-text-to-image image-text-to-text"
    " image-text-to-video image-to-text text-to-image text-to-video video-text-to-text visual-document-retrieval"
    " visual-question-answering",
    "tabular": "tabular-classification tabular-regression tabular-to-text time-series-forecasting",
    "control": "reinforcement-learning robotics",
    "other": "graph-ml",
}

#: Tasks that only ModelScope has a name for, by its own fields.
_MODELSCOPE = {
    "cv": "ocr-detection ocr-recognition table-recognition lineless-table-recognition license-plate-detection"
    " card-detection-correction animal-recognition face-detection face-liveness face-quality-assessment card-detection"
    " face-recognition facial-expression-recognition face-processing-base face-attribute-recognition face-2d-keypoints"
    " facial-68ldk-detection human-detection human-object-interaction face-image-generation body-2d-keypoints"
    " body-3d-keypoints hand-2d-keypoints general-recognition human-wholebody-keypoint"
    " pedestrian-attribute-recognition video-object-detection image-fewshot-detection object-detection-3d"
    " image-driving-perception dense-optical-flow-estimation image-normal-estimation indoor-layout-estimation"
    " video-depth-estimation panorama-depth-estimation portrait-matting universal-matting text-driven-segmentation"
    " shop-segmentation hand-static face-human-hand-detection face-emotion product-segmentation image-matching"
    " image-local-feature-matching image-quality-assessment-degradation human-normal-estimation crowd-counting"
    " skin-retouching image-super-resolution image-super-resolution-pasd image-debanding image-colorization"
    " image-color-enhancement image-denoising image-deblurring image-portrait-enhancement image-inpainting"
    " image-paintbyexample image-skychange image-demoireing image-editing image-style-transfer"
    " image-portrait-stylization image-body-reshaping image-face-fusion product-retrieval-embedding"
    " controllable-image-generation text-to-360panorama-image image-try-on human-image-generation"
    " image-view-transform live-category action-recognition action-detection video-category video-embedding"
    " virtual-try-on movie-scene-segmentation language-guided-video-summarization video-text-retrieval"
    " video-object-segmentation referring-video-object-segmentation video-human-matting video-panoptic-segmentation"
    " video-instance-segmentation video-inpainting video-frame-interpolation video-stabilization"
    " video-super-resolution video-deinterlace video-colorization video-single-object-tracking"
    " video-multi-object-tracking video-summarization image-reid-person pointcloud-sceneflow-estimation"
    " image-multi-view-depth-estimation content-check face-reconstruction head-reconstruction text-to-head"
    " human-reconstruction text-texture-generation image-quality-assessment-mos motion-generation nerf-recon-acc"
    " nerf-recon-4k nerf-recon-vq-compression surface-recon-common human3d-render human3d-animation"
    " image-control-3d-portrait self-supervised-depth-completion vision-efficient-tuning bad-image-detecting"
    " image-quality-assessment",
    "nlp": "relation-extraction competency-aware-translation transformer-crf fid-dialogue task-oriented-conversation"
    " dialog-intent-prediction dialog-state-tracking code-translation backbone text-error-correction word-alignment"
    " faq-question-answering information-extraction document-segmentation extractive-summarization"
    " translation-evaluation sudoku text2sql siamese-uie document-grounded-dialog-retrieval"
    " document-grounded-dialog-rerank document-grounded-dialog-generate task-template",
    "audio": "speech-signal-process speech-separation acoustic-echo-cancellation acoustic-noise-suppression"
    " keyword-spotting inverse-text-processing speaker-verification speech-language-recognition speaker-diarization"
    " audio-quantization language-score-prediction speech-timestamp speaker-diarization-dialogue-detection"
    " speaker-diarization-semantic-speaker-turn-detection emotion-recognition speech-super-resolution"
    " voice-conversion",
    "multi-modal": "visual-grounding multi-modal-embedding text-video-retrieval generative-multi-modal-embedding"
    " multi-modal-similarity visual-entailment video-multi-modal-embedding image-text-retrieval document-vl-embedding"
    " video-captioning video-temporal-grounding efficient-diffusion-tuning",
    "science": "protein-structure",
}

#: Other spelling (lower case, hyphens) -> canonical name; an empty name means that the spelling says nothing.
_ALIASES = {
    # ModelScope's names for what a tag exists for
    "text-classification": "nli sentiment-classification sentiment-analysis text-matching sequence-classification",
    "token-classification": "named-entity-recognition ner part-of-speech word-segmentation punctuation"
    " punctuation-restoration pos-tagging",
    "sentence-similarity": "sentence-embedding sentence-embeddings text-embedding text-embeddings embedding embeddings"
    " semantic-search",
    "zero-shot-classification": "zero-shot zero-shot-text-classification",
    "text-generation": "chat chatbot chatting conversation conversational dialogue llm text-to-text code-generation"
    " language-modeling causal-lm causal-language-modeling instruction-following completion text-completion",
    "summarization": "text-summarization abstractive-summarization",
    "question-answering": "machine-reading-comprehension extractive-question-answering extractive-qa qa",
    "text2text-generation": "seq2seq seq2seq-lm",
    "translation": "machine-translation nmt",
    "text-ranking": "rerank reranker reranking passage-ranking text-reranking",
    "fill-mask": "masked-lm masked-language-modeling",
    "automatic-speech-recognition": "auto-speech-recognition asr speech-recognition speech-to-text stt transcription",
    "text-to-speech": "tts speech-synthesis",
    "text-to-audio": "text-to-music music-generation",
    "voice-activity-detection": "vad",
    "audio-classification": "audio-tagging sound-event-detection",
    "image-classification": "image-multilabel-classification image-classification-imagenet"
    " image-classification-dailylife",
    "object-detection": "image-object-detection domain-specific-object-detection",
    "zero-shot-object-detection": "open-vocabulary-detection open-vocabulary-object-detection",
    "image-segmentation": "semantic-segmentation instance-segmentation panoptic-segmentation"
    " image-semantic-segmentation image-instance-segmentation image-panoptic-segmentation",
    "depth-estimation": "image-depth-estimation monocular-depth-estimation",
    "image-feature-extraction": "image-embedding image-embeddings",
    "image-to-image": "image-to-image-translation image-to-image-generation img2img",
    "image-inpainting": "inpainting inpaint",
    "image-super-resolution": "super-resolution",
    "text-to-image": "text-to-image-synthesis text-to-image-generation image-generation txt2img text2image"
    " pose-driven-image-generation",
    "text-to-video": "text-to-video-synthesis text-to-video-generation video-generation txt2video text2video"
    " texttovideo",
    "image-to-video": "talking-head image-to-video-generation img2video",
    "image-to-3d": "image-to-3d-generation",
    "text-to-3d": "text-to-3d-generation",
    "image-to-text": "image-captioning image-caption ocr optical-character-recognition text-recognition",
    "image-text-to-text": "multimodal-dialogue multi-modal-dialogue visual-language-model vision-language vlm mllm"
    " multimodal-llm image-chat visual-chat",
    "video-text-to-text": "video-question-answering",
    "visual-question-answering": "vqa",
    "document-question-answering": "docvqa doc-vqa",
    "video-classification": "video-recognition",
    "keypoint-detection": "pose-estimation",
    "time-series-forecasting": "timeseries-forecasting time-series-prediction",
    "reinforcement-learning": "deep-reinforcement-learning rl",
    "": "other others none null unknown undefined n/a na misc task",
}

#: Canonical task -> modality: ``"nlp"``, ``"cv"``, ``"audio"``, ``"multi-modal"``, ``"tabular"``, ...
TASKS: Mapping[str, str] = MappingProxyType(
    {task: field for table in (_TAGS, _MODELSCOPE) for field, names in table.items() for task in names.split()}
    | {"text-generation": "nlp"}
)

#: Other spelling -> canonical task; an empty string for spellings that name no task.
ALIASES: Mapping[str, str] = MappingProxyType({alias: to for to, names in _ALIASES.items() for alias in names.split()})

#: Names of ModelScope's `Tasks` whose value does not follow from the attribute's name.
_ATTRIBUTES = {"vop_retrieval": "video-text-retrieval"}

_SLUG = re.compile(r"[a-z0-9]+(?:[-.+][a-z0-9]+){0,7}")
_SEPARATORS = re.compile(r"[\s_/]+")


def canonical(spelling: object, *, strict: bool = False) -> str | None:
    """Return the canonical name of the task that `spelling` means, or None when it names none.

    Capitals, underscores and blanks do not matter. A well-formed name that no table has is taken as a task of its own
    (anybody may register one), prose is not.

    Args:
        spelling: A task as it stands in a file or an argument.
        strict: Raise for a name that no table has.

    Raises:
        UnknownTask: With `strict`, for a name that is neither canonical nor an alias.

    Example:
        >>> canonical("Text Classification"), canonical("rex-uninlu"), canonical("Strategic Reasoning Models")
        ('text-classification', 'rex-uninlu', None)
    """
    if not isinstance(spelling, str):
        if strict:
            raise UnknownTask(f"task must be a str, not {type(spelling).__name__}: {printable(spelling)}")
        return None
    name = _SEPARATORS.sub("-", spelling.strip().lower()).strip("-")
    alias = ALIASES.get(name)
    if alias is not None:
        name = alias
    if name in TASKS:
        return name
    if strict:
        known = [*TASKS, *(alias for alias, to in ALIASES.items() if to)]
        raise UnknownTask(
            f"Unknown task {printable(spelling)!r}.{did_you_mean(name, known)} "
            f"Known: {listing(TASKS)}; `modelscope-ext list tasks` shows all."
        )
    is_prose = " " in spelling.strip()
    return name if name and not is_prose and len(name) <= 64 and _SLUG.fullmatch(name) else None


def canonical_all(spellings: object) -> tuple[str, ...]:
    """Return the canonical names of a string or a list of strings, each once, what names no task left out.

    Example:
        >>> canonical_all(["chat", "text-generation", "others", 3, "ASR"])
        ('text-generation', 'automatic-speech-recognition')
    """
    items = spellings if isinstance(spellings, list | tuple) else [spellings]
    found = (canonical(item) for item in items if isinstance(item, str))
    return tuple(dict.fromkeys(task for task in found if task))


class _TaskNames(type):
    """Turns attribute access into a look-up, so that `Tasks` needs no second list of names."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        spelling = _ATTRIBUTES.get(name, name.replace("_", "-"))
        if spelling == "other":  # ModelScope has a constant for "no task of these"
            return spelling
        task = ALIASES.get(spelling) or spelling
        if task in TASKS:
            return task
        near = did_you_mean(name, dir(cls))
        raise UnknownTask(f"Tasks has no {printable(name)!r}.{near} `modelscope-ext list tasks` shows all.")

    def __dir__(cls) -> list[str]:
        names = [*TASKS, *(alias for alias, to in ALIASES.items() if to)]
        return sorted({name.replace("-", "_") for name in names} | set(_ATTRIBUTES))

    def __iter__(cls) -> Iterator[str]:
        return iter(TASKS)

    def __contains__(cls, task: object) -> bool:
        return task in TASKS

    def __len__(cls) -> int:
        return len(TASKS)


class Tasks(metaclass=_TaskNames):
    """The tasks as constants, with ModelScope's names: `Tasks.text_classification == "text-classification"`.

    Iterating gives the canonical names.

    Example:
        >>> Tasks.image_captioning, "fill-mask" in Tasks, Tasks.find_field_by_task("fill-mask")
        ('image-to-text', True, 'nlp')
    """

    @staticmethod
    def find_field_by_task(task_name: str) -> str | None:
        """Return the modality of a task in any spelling, or None."""
        return TASKS.get(canonical(task_name) or "")
