"""What transformers serves, as one table: task -> auto classes, parts, runner, options. Imports nothing.

The table is complete: a test compares it with transformers' own mappings, and whatever is neither in `ROWS` nor, with
its reason, in `NOT_SERVED` fails it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from modelscope_ext.utils.record import Record, dataclass

__all__ = ["GENERATION", "NOT_SERVED", "NOT_SERVED_MAPPINGS", "ROWS", "Row"]

#: What `generate()` takes and users ask for; each is a field of transformers' GenerationConfig, except `seed`, which is
#: ours: it sets torch's random numbers for this call only.
GENERATION: tuple[str, ...] = (
    *("max_new_tokens", "max_length", "min_new_tokens", "min_length", "do_sample", "temperature", "top_k", "top_p"),
    *("min_p", "typical_p", "num_beams", "num_return_sequences", "repetition_penalty", "length_penalty"),
    *("no_repeat_ngram_size", "early_stopping", "stop_strings", "bad_words_ids", "forced_bos_token_id"),
    *("eos_token_id", "pad_token_id", "use_cache", "seed"),
)

_CHAT = ("return_full_text", "continue_final_message", "skip_special_tokens", "tools", "stop_sequence")
_SEQ2SEQ = ("truncation", "clean_up_tokenization_spaces", "prefix", *GENERATION)


@dataclass(frozen=True)
class Row(Record):
    """How one task is served.

    Attributes:
        autos: transformers' auto classes that can load a model for it, in the order in which they are tried; a model's
            own class where no auto class leads to it.
        parts: What the model cannot work without: ``tokenizer``, ``image_processor``, ``feature_extractor``,
            ``processor`` or ``video_processor``; ``a|b`` where either will do.
        run: ``"module.function"`` inside this package.
        pipeline: transformers' own pipeline class, where it still has one.
        options: The keywords of a call.
        call: The example call of the native snippet, in terms of ``pipe``, or of ``model`` and the parts.
    """

    autos: tuple[str, ...]
    parts: tuple[str, ...]
    run: str
    pipeline: str | None = None
    options: tuple[str, ...] = ()
    call: str = ""


_TEXT = 'pipe("This is an example.")'
_IMAGE = 'pipe(Image.new("RGB", (64, 64)))'
_SOUND = "pipe(np.zeros(16000, dtype=np.float32))"
_SEQ2SEQ_CALL = """inputs = tokenizer("This is an example.", return_tensors="pt")
output = tokenizer.batch_decode(model.generate(**inputs), skip_special_tokens=True)"""
_CAPTION_CALL = """inputs = image_processor(Image.new("RGB", (64, 64)), return_tensors="pt")
output = tokenizer.batch_decode(model.generate(**inputs), skip_special_tokens=True)"""

ROWS: Mapping[str, Row] = MappingProxyType(
    {
        # text
        "text-classification": Row(
            ("AutoModelForSequenceClassification",),
            ("tokenizer",),
            "text.classify",
            "TextClassificationPipeline",
            ("top_k", "function_to_apply", "truncation", "padding", "max_length"),
            _TEXT,
        ),
        "token-classification": Row(
            ("AutoModelForTokenClassification",),
            ("tokenizer",),
            "text.tag",
            "TokenClassificationPipeline",
            ("aggregation_strategy", "ignore_labels", "stride", "is_split_into_words", "delimiter"),
            _TEXT,
        ),
        "fill-mask": Row(
            ("AutoModelForMaskedLM",),
            ("tokenizer",),
            "text.fill",
            "FillMaskPipeline",
            ("top_k", "targets", "tokenizer_kwargs"),
            'pipe(f"This is an {tokenizer.mask_token}.")',
        ),
        "text-generation": Row(
            ("AutoModelForCausalLM",),
            ("tokenizer",),
            "text.generate",
            "TextGenerationPipeline",
            (*_CHAT, "prefix", "handle_long_generation", "documents", "add_special_tokens", *GENERATION),
            'pipe("This is an example", do_sample=False)',
        ),
        "feature-extraction": Row(
            ("AutoModel",),
            ("tokenizer",),
            "text.features",
            "FeatureExtractionPipeline",
            ("truncation", "max_length"),
            _TEXT,
        ),
        "zero-shot-classification": Row(
            ("AutoModelForSequenceClassification",),
            ("tokenizer",),
            "text.zero_shot",
            "ZeroShotClassificationPipeline",
            ("candidate_labels", "hypothesis_template", "multi_label"),
            'pipe("This is an example.", candidate_labels=["science", "sport"])',
        ),
        "text-ranking": Row(
            ("AutoModelForSequenceClassification",),
            ("tokenizer",),
            "text.rank",
            None,
            ("top_k", "function_to_apply", "max_length"),
            """inputs = tokenizer(["the question"], ["a document"], return_tensors="pt", truncation=True)
output = model(**inputs).logits[:, 0].sigmoid().tolist()""",
        ),
        "multiple-choice": Row(
            ("AutoModelForMultipleChoice",),
            ("tokenizer",),
            "text.choose",
            None,
            ("max_length",),
            """inputs = tokenizer(["the question"] * 2, ["one", "two"], return_tensors="pt", padding=True)
output = model(**{k: v.unsqueeze(0) for k, v in inputs.items()}).logits.softmax(-1).tolist()""",
        ),
        "question-answering": Row(
            ("AutoModelForQuestionAnswering",),
            ("tokenizer",),
            "qa.answer",
            None,
            ("top_k", "doc_stride", "max_seq_len", "max_answer_len", "handle_impossible_answer"),
            """inputs = tokenizer("Who lives in Paris?", "Mary lives in Paris.", return_tensors="pt")
scores = model(**inputs)
start, end = int(scores.start_logits.argmax()), int(scores.end_logits.argmax())
output = tokenizer.decode(inputs["input_ids"][0][start : end + 1])""",
        ),
        "table-question-answering": Row(
            ("AutoModelForTableQuestionAnswering", "AutoModelForSeq2SeqLM"),
            ("tokenizer",),
            "qa.answer_table",
            "TableQuestionAnsweringPipeline",
            ("sequential", "padding", "truncation"),
            'pipe({"table": {"city": ["Paris", "London"], "size": ["2", "9"]}, "query": "How many?"})',
        ),
        "decision": Row(
            ("AutoModelForCausalLM", "AutoModelForDecision"),
            ("tokenizer", "decision_config"),
            "decide.decide",
            "DecisionPipeline",
            (),
            """pipe({"state": "This is an example.", "questions": {
    "example": {"type": "noul", "instructions": "Is it one?"}}})""",
        ),
        "text2text-generation": Row(
            ("AutoModelForSeq2SeqLM",), ("tokenizer",), "seq2seq.text_to_text", None, _SEQ2SEQ, _SEQ2SEQ_CALL
        ),
        "translation": Row(
            ("AutoModelForSeq2SeqLM",),
            ("tokenizer",),
            "seq2seq.translate",
            None,
            ("src_lang", "tgt_lang", *_SEQ2SEQ),
            _SEQ2SEQ_CALL,
        ),
        "summarization": Row(
            ("AutoModelForSeq2SeqLM",), ("tokenizer",), "seq2seq.summarize", None, _SEQ2SEQ, _SEQ2SEQ_CALL
        ),
        # images and video
        "image-classification": Row(
            ("AutoModelForImageClassification",),
            ("image_processor",),
            "vision.classify",
            "ImageClassificationPipeline",
            ("top_k", "function_to_apply"),
            _IMAGE,
        ),
        "image-feature-extraction": Row(
            ("AutoModel",),
            ("image_processor",),
            "vision.features",
            "ImageFeatureExtractionPipeline",
            ("pool",),
            _IMAGE,
        ),
        "image-segmentation": Row(
            (
                "AutoModelForImageSegmentation",
                "AutoModelForSemanticSegmentation",
                "AutoModelForUniversalSegmentation",
                "AutoModelForInstanceSegmentation",
            ),
            ("image_processor",),
            "vision.segment",
            "ImageSegmentationPipeline",
            ("subtask", "threshold", "mask_threshold", "overlap_mask_area_threshold"),
            _IMAGE,
        ),
        "object-detection": Row(
            ("AutoModelForObjectDetection",),
            ("image_processor",),
            "vision.detect",
            "ObjectDetectionPipeline",
            ("threshold",),
            _IMAGE,
        ),
        "depth-estimation": Row(
            ("AutoModelForDepthEstimation",),
            ("image_processor",),
            "vision.depth",
            "DepthEstimationPipeline",
            (),
            _IMAGE,
        ),
        "image-to-image": Row(
            ("AutoModelForImageToImage",),
            ("image_processor",),
            "vision.enlarge",
            None,
            (),
            """inputs = image_processor(Image.new("RGB", (64, 64)), return_tensors="pt")
output = model(**inputs).reconstruction.shape""",
        ),
        "keypoint-detection": Row(
            ("AutoModelForKeypointDetection",),
            ("image_processor",),
            "vision.keypoints",
            None,
            ("threshold",),
            """inputs = image_processor(Image.new("RGB", (64, 64)), return_tensors="pt")
output = model(**inputs).keypoints.shape""",
        ),
        "keypoint-matching": Row(
            ("AutoModelForKeypointMatching",),
            ("image_processor",),
            "vision.match",
            "KeypointMatchingPipeline",
            ("threshold",),
            'pipe([Image.new("RGB", (64, 64)), Image.new("RGB", (64, 64), "white")])',
        ),
        "mask-generation": Row(
            ("AutoModelForMaskGeneration",),
            ("image_processor",),
            "vision.masks",
            "MaskGenerationPipeline",
            (
                *("points_per_batch", "points_per_crop", "crops_n_layers", "crop_overlap_ratio", "pred_iou_thresh"),
                *("crop_n_points_downscale_factor", "crops_nms_thresh", "stability_score_thresh"),
                *("stability_score_offset", "mask_threshold"),
            ),
            """inputs = image_processor(Image.new("RGB", (64, 64)), return_tensors="pt")
output = model.get_image_embeddings(inputs["pixel_values"]).shape""",
        ),
        "video-classification": Row(
            ("AutoModelForVideoClassification",),
            ("video_processor|image_processor",),
            "vision.classify_video",
            None,
            ("top_k", "function_to_apply", "num_frames", "frame_sampling_rate"),
            """inputs = image_processor([Image.new("RGB", (64, 64))] * model.config.num_frames, return_tensors="pt")
output = model(**inputs).logits.softmax(-1).tolist()""",
        ),
        "zero-shot-image-classification": Row(
            ("AutoModelForZeroShotImageClassification",),
            ("tokenizer", "image_processor"),
            "vision.zero_shot",
            "ZeroShotImageClassificationPipeline",
            ("candidate_labels", "hypothesis_template", "tokenizer_kwargs"),
            'pipe(Image.new("RGB", (64, 64)), candidate_labels=["a cat", "a dog"])',
        ),
        "zero-shot-object-detection": Row(
            ("AutoModelForZeroShotObjectDetection",),
            ("tokenizer", "image_processor"),
            "vision.zero_shot_detect",
            "ZeroShotObjectDetectionPipeline",
            ("candidate_labels", "threshold", "top_k"),
            'pipe(Image.new("RGB", (64, 64)), candidate_labels=["a cat", "a dog"])',
        ),
        # images and text
        "document-question-answering": Row(
            ("AutoModelForDocumentQuestionAnswering", "AutoModelForImageTextToText"),
            ("tokenizer", "image_processor?"),
            "qa.answer_document",
            "DocumentQuestionAnsweringPipeline",
            (
                *("top_k", "doc_stride", "max_answer_len", "max_seq_len", "max_question_len", "lang"),
                *("handle_impossible_answer", "tesseract_config"),
            ),
            'pipe(image=Image.new("RGB", (64, 64)), question="Who?", word_boxes=[("Mary", [10, 10, 90, 40])])',
        ),
        "visual-question-answering": Row(
            ("AutoModelForVisualQuestionAnswering", "AutoModelForImageTextToText"),
            ("processor",),
            "multimodal.answer_image",
            None,
            ("top_k", *(name for name in GENERATION if name != "top_k")),
            """inputs = processor(Image.new("RGB", (64, 64)), "How many?", return_tensors="pt")
output = model.generate(**inputs) if model.can_generate() else model(**inputs).logits.sigmoid().tolist()""",
        ),
        "image-to-text": Row(
            ("AutoModelForImageTextToText",),
            ("processor|image_processor", "processor|tokenizer"),
            "multimodal.caption",
            None,
            ("prompt", *GENERATION),
            _CAPTION_CALL,
        ),
        "image-text-to-text": Row(
            ("AutoModelForImageTextToText",),
            ("processor",),
            "multimodal.converse",
            "ImageTextToTextPipeline",
            (*_CHAT, *GENERATION),
            """pipe(text=[{"role": "user", "content": [
    {"type": "image", "image": Image.new("RGB", (64, 64))}, {"type": "text", "text": "What is this?"}]}])""",
        ),
        "any-to-any": Row(
            ("AutoModelForMultimodalLM",),
            ("processor",),
            "multimodal.converse",
            None,
            (*_CHAT, *GENERATION),
            """inputs = processor.apply_chat_template(
    [{"role": "user", "content": [{"type": "text", "text": "What is this?"}]}],
    add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt")
output = processor.batch_decode(model.generate(**inputs), skip_special_tokens=True)""",
        ),
        "video-text-to-text": Row(
            ("AutoModelForImageTextToText", "AutoModelForMultimodalLM"),
            ("processor",),
            "multimodal.converse",
            None,
            ("num_frames", "frame_sampling_rate", *_CHAT, *GENERATION),
            """content = [{"type": "image", "image": Image.new("RGB", (64, 64), color)} for color in ("red", "blue")]
content.append({"type": "text", "text": "What happens?"})
inputs = processor.apply_chat_template(
    [{"role": "user", "content": content}],
    add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt")
output = processor.batch_decode(model.generate(**inputs), skip_special_tokens=True)""",
        ),
        "visual-document-retrieval": Row(
            ("ColPaliForRetrieval", "ColQwen2ForRetrieval", "ColModernVBertForRetrieval"),
            ("processor",),
            "multimodal.rank_pages",
            None,
            ("top_k",),
            """query = model(**processor.process_queries(text=["the question"], return_tensors="pt")).embeddings
page = model(**processor.process_images(images=[Image.new("RGB", (64, 64))], return_tensors="pt")).embeddings
output = processor.score_retrieval(query, page).tolist()""",
        ),
        "audio-text-to-text": Row(
            ("AutoModelForMultimodalLM",),
            ("processor",),
            "multimodal.converse",
            None,
            (*_CHAT, *GENERATION),
            """inputs = processor(text="What is this?", return_tensors="pt")
output = processor.batch_decode(model.generate(**inputs), skip_special_tokens=True)""",
        ),
        # sound
        "audio-classification": Row(
            ("AutoModelForAudioClassification",),
            ("feature_extractor",),
            "audio.classify",
            "AudioClassificationPipeline",
            ("top_k", "function_to_apply"),
            _SOUND,
        ),
        "automatic-speech-recognition": Row(
            ("AutoModelForCTC", "AutoModelForTDT", "AutoModelForRNNT", "AutoModelForSpeechSeq2Seq"),
            ("feature_extractor", "tokenizer"),
            "audio.transcribe",
            "AutomaticSpeechRecognitionPipeline",
            (
                *("return_timestamps", "return_language", "chunk_length_s", "stride_length_s", "language"),
                *GENERATION,
            ),
            _SOUND,
        ),
        "zero-shot-audio-classification": Row(
            ("AutoModel",),
            ("feature_extractor", "tokenizer"),
            "audio.zero_shot",
            "ZeroShotAudioClassificationPipeline",
            ("candidate_labels", "hypothesis_template"),
            'pipe(np.zeros(16000, dtype=np.float32), candidate_labels=["rain", "a bird"])',
        ),
        "text-to-audio": Row(
            ("AutoModelForTextToWaveform", "AutoModelForTextToSpectrogram"),
            ("processor|tokenizer",),
            "audio.speak",
            "TextToAudioPipeline",
            ("speaker_id", "speaker_embeddings", "vocoder", "forward_params", "generate_kwargs", "seed"),
            _TEXT,
        ),
        "text-to-speech": Row(
            ("AutoModelForTextToWaveform", "AutoModelForTextToSpectrogram"),
            ("processor|tokenizer",),
            "audio.speak",
            "TextToAudioPipeline",
            ("speaker_id", "speaker_embeddings", "vocoder", "forward_params", "generate_kwargs", "seed"),
            _TEXT,
        ),
        # numbers
        "time-series-forecasting": Row(
            ("AutoModelForTimeSeriesPrediction",),
            (),
            "text.forecast",
            None,
            ("frequency",),
            """output = model(past_values=[torch.sin(torch.arange(64.0))], freq=[0]).mean_predictions.tolist()""",
        ),
    }
)

#: Tasks that transformers has pipelines or classes for and that are not served, and why. Their models can be loaded.
NOT_SERVED: Mapping[str, str] = MappingProxyType(
    {
        "image-normal-estimation": "Sapiens and TIPS only, without a pipeline in transformers",
        "speaker-diarization": "needs a clustering step that the folder does not hold",
        "speaker-verification": "compares two recordings against a threshold that the folder does not hold",
        "table-recognition": "PaddleOCR's table recogniser: a part of an OCR chain that no single folder holds",
        "unconditional-image-generation": "ImageGPT only, which answers with colour clusters; diffusers serves it",
    }
)

#: Auto mappings that serve no task here, and why.
NOT_SERVED_MAPPINGS: Mapping[str, str] = MappingProxyType(
    {
        "MODEL_FOR_PRETRAINING_MAPPING_NAMES": "for training; inference uses the head's own mapping",
        "MODEL_FOR_IMAGE_MAPPING_NAMES": "bare encoders: image-feature-extraction by AutoModel",
        "MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES": "text encoders inside diffusion pipelines",
        "MODEL_FOR_BACKBONE_MAPPING_NAMES": "a part of other models, without an output of its own",
        "MODEL_FOR_MASKED_IMAGE_MODELING_MAPPING_NAMES": "for training",
        "MODEL_FOR_CAUSAL_IMAGE_MODELING_MAPPING_NAMES": NOT_SERVED["unconditional-image-generation"],
        "MODEL_FOR_NEXT_SENTENCE_PREDICTION_MAPPING_NAMES": "for training; no task name exists for it",
        "MODEL_FOR_RETRIEVAL_MAPPING_NAMES": "no auto class reads it; visual-document-retrieval names the classes",
        "MODEL_FOR_TEXT_RECOGNITION_MAPPING_NAMES": "PaddleOCR's line recogniser: a part of an OCR chain that no "
        "single folder holds",
        "MODEL_FOR_TABLE_RECOGNITION_MAPPING_NAMES": NOT_SERVED["table-recognition"],
        "MODEL_FOR_AUDIO_FRAME_CLASSIFICATION_MAPPING_NAMES": NOT_SERVED["speaker-diarization"],
        "MODEL_FOR_AUDIO_XVECTOR_MAPPING_NAMES": NOT_SERVED["speaker-verification"],
        "MODEL_FOR_AUDIO_TOKENIZATION_NAMES": "codecs: a part of other models",
        "MODEL_FOR_TIME_SERIES_CLASSIFICATION_MAPPING_NAMES": "inputs are windows of a layout that only the training "
        "script knows",
        "MODEL_FOR_TIME_SERIES_REGRESSION_MAPPING_NAMES": "inputs are windows of a layout that only the training "
        "script knows",
        "MODEL_FOR_IMAGE_MATTING_MAPPING_NAMES": "needs a trimap drawn by hand beside the image",
        "MODEL_FOR_NORMAL_ESTIMATION_MAPPING_NAMES": NOT_SERVED["image-normal-estimation"],
        "MODEL_FOR_POINTMAP_ESTIMATION_MAPPING_NAMES": "Sapiens only: no task of transformers' pipelines",
        "MODEL_FOR_POSE_ESTIMATION_MAPPING_NAMES": "needs the boxes of a person detector, another model",
    }
)
