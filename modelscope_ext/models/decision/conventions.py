"""Naming conventions of transformers and of those who copy it, as data; `heads` applies them.

Exact class names come from transformers' own mappings (`tables`); here is what those mappings can't say.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "ALSO",
    "AUDIO_KEYS",
    "AUTO_MAP",
    "CLASSIFIERS",
    "ENDINGS",
    "FAMILIES",
    "GENERAL",
    "HEADLESS",
    "MAKES_KEYS",
    "NARROWER",
    "PARTS",
    "PLAIN_TEXT",
    "SEQ2SEQ",
    "SHAPES",
    "USUAL",
    "VISION_KEYS",
    "WRITES_KEYS",
]


def _each(names: str, tasks: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(names.split(), tuple(tasks.split()))


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


#: Classes that are loaded by a general auto class but made for something narrower (the hub's own tags of them).
NARROWER: Mapping[str, tuple[str, ...]] = {
    **_each(
        "BlipForConditionalGeneration GitForCausalLM Pix2StructForConditionalGeneration"
        " PPFormulaNetForConditionalGeneration VisionEncoderDecoderModel",
        "image-to-text image-text-to-text",
    ),
    **_each("MusicgenForConditionalGeneration MusicgenMelodyForConditionalGeneration", "text-to-audio"),
    **_each(
        "AudioFlamingo3ForConditionalGeneration MusicFlamingoForConditionalGeneration"
        " Qwen2AudioForConditionalGeneration",
        "audio-text-to-text",
    ),
    **_each("Qwen2_5OmniForConditionalGeneration Qwen2_5OmniModel Qwen3OmniMoeForConditionalGeneration", "any-to-any"),
    **_each("PI0ForConditionalGeneration", "robotics"),
    **_each(
        "LlavaNextVideoForConditionalGeneration VideoLlavaForConditionalGeneration"
        " InstructBlipVideoForConditionalGeneration VideoLlama3ForConditionalGeneration",
        "video-text-to-text image-text-to-text",
    ),
    **_each("DiaForConditionalGeneration", "text-to-speech text-to-audio"),
    **_each("Sam2VideoModel Sam3VideoModel EdgeTamVideoModel", "mask-generation"),
    **_each("ClapModel", "feature-extraction zero-shot-audio-classification"),
    **_each("ViltForQuestionAnswering", "visual-question-answering"),
    **_each("EsmForProteinFolding", "protein-structure"),
    **_each("DecisionTransformerModel TrajectoryTransformerModel", "reinforcement-learning"),
    **_each(
        "SeamlessM4TModel SeamlessM4Tv2Model SeamlessM4TForSpeechToText SeamlessM4Tv2ForSpeechToText",
        "automatic-speech-recognition translation text-to-speech",
    ),
}

#: Encoder-decoder families that are trained for one text-to-text task.
SEQ2SEQ: Mapping[str, str] = {
    **dict.fromkeys(("marian", "m2m_100", "nllb-moe", "fsmt"), "translation"),
    **dict.fromkeys(("pegasus", "pegasus_x", "bigbird_pegasus"), "summarization"),
}

#: Text models whose vocabulary size is known by family.
PLAIN_TEXT = frozenset(("LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"))

#: Parts of class names -> task, looked for before the endings.
PARTS: tuple[tuple[str, str], ...] = (
    ("TTS", "text-to-speech"),
    ("TextToSpeech", "text-to-speech"),
    ("Rerank", "text-ranking"),
    ("MusicGen", "text-to-audio"),
    ("ForGraph", "graph-ml"),
)

#: Sizes in a config that names neither class nor type -> task.
SHAPES: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset(("type_vocab_size", "hidden_size", "num_hidden_layers")), "fill-mask"),
    (frozenset(("d_kv", "d_ff", "relative_attention_num_buckets")), "text2text-generation"),
    (frozenset(("n_embd", "n_head", "n_layer", "n_positions")), "text-generation"),
    (frozenset(("num_key_value_heads", "hidden_size", "rms_norm_eps")), "text-generation"),
)

#: Ends of class names -> task, for classes that transformers does not have, in this order. ``{chat}`` is a language
#: model that may also see or hear, ``{encoder}`` a model without a head: both depend on the other keys of the config.
ENDINGS: tuple[tuple[tuple[str, ...], str], ...] = tuple(
    (tuple(endings.split()), task)
    for endings, task in (
        ("ForTokenClassification ForPunctuationClassification ForNER CRF", "token-classification"),
        ("ForSequenceClassification ForTextClassification SequenceClassifier RewardModel", "text-classification"),
        ("ForReranking ForRanking ForRerank Reranker", "text-ranking"),
        ("ForZeroShotClassification", "zero-shot-classification"),
        ("ForDocumentQuestionAnswering", "document-question-answering"),
        ("ForVisualQuestionAnswering", "visual-question-answering"),
        ("ForTableQuestionAnswering", "table-question-answering"),
        ("ForQuestionAnswering ForExtractiveQA", "question-answering"),
        ("ForMultipleChoice", "multiple-choice"),
        ("ForNextSentencePrediction", "text-classification"),
        ("ForMaskedLM WithLMHeadModel", "fill-mask"),
        ("ForCTC ForSpeechToText ForASR ForRNNT ForTDT ForSpeechSeq2Seq", "automatic-speech-recognition"),
        ("ForSpeechToSpeech", "audio-to-audio"),
        ("ForTextToSpeech TTS TextToSpeech ForTextToWaveform HifiGan Vocoder", "text-to-speech"),
        ("ForAudioClassification ForSpeechClassification ForAudioFrameClassification", "audio-classification"),
        ("ForXVector", "speaker-verification"),
        ("ForVideoClassification", "video-classification"),
        ("ForImageClassification ForImageClassificationWithTeacher", "image-classification"),
        ("ForZeroShotObjectDetection", "zero-shot-object-detection"),
        ("ForObjectDetection ForDetection", "object-detection"),
        ("Segmentation", "image-segmentation"),
        ("ForMaskGeneration", "mask-generation"),
        ("ForDepthEstimation", "depth-estimation"),
        ("ForPoseEstimation ForKeypointDetection", "keypoint-detection"),
        ("ForKeypointMatching", "keypoint-matching"),
        ("ForImageToImage ForImageSuperResolution ForSuperResolution", "image-to-image"),
        ("ForImageCaptioning ForImageToText", "image-to-text"),
        (
            "ForPrediction ForForecasting ForTimeSeriesPrediction ForTimeSeriesForecasting ForTimeSeriesClassification",
            "time-series-forecasting",
        ),
        ("ForRetrieval", "visual-document-retrieval"),
        ("ForEmbedding ForEmbeddings ForTextEmbedding ForSentenceEmbedding EmbeddingModel", "feature-extraction"),
        ("ForImageTextRetrieval ForZeroShotImageClassification", "zero-shot-image-classification"),
        ("ForSeq2SeqLM", "text2text-generation"),
        ("ForVisionText2Text ForImageTextToText", "image-text-to-text"),
        ("ForAudioTextToText", "audio-text-to-text"),
        ("ForActionPrediction ForRobotics VLA ForPolicy", "robotics"),
        (
            "ForCausalLM LMHeadModel LMHead ForConditionalGeneration ForGeneration ForChat ChatModel LM VL V",
            "{chat}",
        ),
        ("ForPreTraining Model Encoder Backbone Bert Embedder", "{encoder}"),
    )
)

#: Keys of `auto_map`, the likeliest first -> what they say.
AUTO_MAP: tuple[tuple[str, str], ...] = (
    ("AutoModelForCausalLM", "{chat}"),
    ("AutoModelForSequenceClassification", "text-classification"),
    ("AutoModelForTokenClassification", "token-classification"),
    ("AutoModelForQuestionAnswering", "question-answering"),
    ("AutoModelForImageClassification", "image-classification"),
    ("AutoModelForObjectDetection", "object-detection"),
    ("AutoModelForImageSegmentation", "image-segmentation"),
    ("AutoModelForAudioClassification", "audio-classification"),
    ("AutoModelForCTC", "automatic-speech-recognition"),
    ("AutoModelForSpeechSeq2Seq", "automatic-speech-recognition"),
    ("AutoModelForTextToWaveform", "text-to-speech"),
    ("AutoModelForVision2Seq", "image-text-to-text"),
    ("AutoModelForImageTextToText", "image-text-to-text"),
    ("AutoModelForMaskedLM", "fill-mask"),
    ("AutoModelForSeq2SeqLM", "{chat}"),
    ("AutoModel", "{encoder}"),
)

#: What a model of this task may also be tagged or declared as; the tasks of its auto classes are added.
ALSO: Mapping[str, frozenset[str]] = {
    "text-generation": _words(
        "text-to-speech text-to-audio text-ranking feature-extraction sentence-similarity translation summarization",
        "image-text-to-text audio-text-to-text any-to-any time-series-forecasting automatic-speech-recognition",
        "text-error-correction text2sql code-translation text-to-image",
    ),
    "text2text-generation": _words(
        "translation summarization question-answering text-generation text-ranking text-classification",
        "time-series-forecasting feature-extraction sentence-similarity zero-shot-classification text2sql",
        "table-question-answering text-error-correction text-to-audio text-to-speech token-classification",
    ),
    "translation": _words("text2text-generation text-generation summarization"),
    "summarization": _words("text2text-generation text-generation translation"),
    "image-text-to-text": _words(
        "image-to-text visual-question-answering document-question-answering video-text-to-text any-to-any",
        "visual-document-retrieval feature-extraction sentence-similarity text-ranking text-generation robotics",
        "audio-text-to-text image-feature-extraction zero-shot-image-classification object-detection",
        "zero-shot-object-detection image-segmentation visual-grounding image-text-to-image text-to-image",
        "automatic-speech-recognition",
    ),
    "image-to-text": _words(
        "image-text-to-text visual-question-answering document-question-answering ocr-recognition text-generation",
        "table-recognition",
    ),
    "audio-text-to-text": _words(
        "automatic-speech-recognition any-to-any audio-classification text-generation text-to-speech text-to-audio"
    ),
    "video-text-to-text": _words("image-text-to-text any-to-any video-classification text-generation"),
    "any-to-any": _words(
        "image-text-to-text audio-text-to-text video-text-to-text text-generation text-to-speech text-to-image",
        "automatic-speech-recognition text-to-audio",
    ),
    "fill-mask": _words("feature-extraction sentence-similarity text-ranking protein-structure"),
    "text-classification": _words("zero-shot-classification text-ranking sentence-similarity audio-classification"),
    "sentence-similarity": _words(
        "feature-extraction text-ranking text-classification zero-shot-classification image-feature-extraction",
        "visual-document-retrieval multi-modal-embedding",
    ),
    "text-ranking": _words("text-classification sentence-similarity zero-shot-classification"),
    "automatic-speech-recognition": _words(
        "translation audio-text-to-text audio-classification speech-language-recognition speech-timestamp"
    ),
    "audio-classification": _words(
        "speaker-verification emotion-recognition voice-activity-detection keyword-spotting",
        "speech-language-recognition zero-shot-audio-classification",
    ),
    "text-to-speech": _words("text-to-audio audio-to-audio voice-conversion"),
    "text-to-audio": _words("text-to-speech audio-to-audio"),
    "image-classification": _words(
        "image-feature-extraction image-quality-assessment zero-shot-image-classification",
        "facial-expression-recognition",
    ),
    "zero-shot-image-classification": _words(
        "feature-extraction image-feature-extraction sentence-similarity visual-document-retrieval",
        "multi-modal-embedding image-to-text zero-shot-classification",
    ),
    "image-segmentation": _words("mask-generation object-detection universal-matting portrait-matting"),
    "mask-generation": _words("image-segmentation image-feature-extraction"),
    "zero-shot-object-detection": _words("object-detection visual-grounding"),
    "object-detection": _words("image-segmentation table-recognition"),
    "depth-estimation": _words("image-to-image image-normal-estimation"),
    "visual-document-retrieval": _words("feature-extraction text-ranking sentence-similarity image-text-to-text"),
    "text-to-image": _words("image-to-image image-inpainting unconditional-image-generation text-to-3d image-editing"),
    "text-to-video": _words("image-to-video video-to-video text-to-image image-text-to-video any-to-any"),
    "image-to-video": _words("text-to-video video-to-video image-text-to-video"),
    "image-to-image": _words("image-text-to-image image-super-resolution image-inpainting image-editing text-to-image"),
    "image-inpainting": _words("image-to-image image-editing"),
}

#: A model without a head says little about its task, so a tag may say nearly anything.
HEADLESS = frozenset(("feature-extraction", "image-feature-extraction"))

#: Auto classes that load a model without saying what it is for.
GENERAL = frozenset(("AutoModel", "AutoModelForPreTraining"))

#: Keys of config.json that only a model that sees, or hears, has.
VISION_KEYS = _words(
    "vision_config visual vision_tower mm_vision_tower vision_model vit_config vision_cfg image_token_id",
    "image_token_index visual_tokenizer_config mm_projector_type mm_use_im_start_end vision_encoder_config",
    "img_processor embd_layer vision_backbone aligner_config vision_feature_layer vision_start_token_id",
    "vision_tower_cfg vision_select_layer im_patch_token image_token_len visual_tokenizer",
)
AUDIO_KEYS = _words(
    "audio_config audio_encoder_config audio_tower audio_model_id audio_token_index audio_token_id speech_config",
    "speech_encoder_config audio_encoder whisper_config mm_audio_tower audio_processor audio",
)

#: Keys of a model that also makes pictures or sound, beside its text.
MAKES_KEYS = _words(
    "gen_vision_config gen_head_config talker_config token2wav_config tts_config vq_config image_decoder_config"
)
#: Keys of the language half of a model that its author put together: it writes, whatever its class is called.
WRITES_KEYS = _words("llm_config llm_cfg language_config")

CLASSIFIERS = frozenset(
    f"AutoModelFor{kind}Classification" for kind in ("Audio", "Sequence", "Image", "Video", "Token")
)

#: Which head a `model_type` is most often saved with, when nothing else says.
USUAL: tuple[str, ...] = tuple(
    f"AutoModelFor{kind}"
    for kind in (
        *("SpeechSeq2Seq", "TextToSpectrogram", "TextToWaveform", "ImageTextToText", "MultimodalLM", "Seq2SeqLM"),
        *("MaskedLM", "CausalLM", "MaskGeneration", "ZeroShotObjectDetection", "ObjectDetection"),
        *("UniversalSegmentation", "SemanticSegmentation", "DepthEstimation", "ZeroShotImageClassification"),
        *("KeypointDetection", "KeypointMatching", "TimeSeriesPrediction", "Retrieval", "CTC"),
    )
)

#: Names of families (regular expressions, whole words, lower case) -> what their models are for. Looked for in names of
#: base models and in `_name_or_path`, in this order.
FAMILIES: tuple[tuple[str, str], ...] = (
    (r"rerank(?:er|ing)?|cross-?encoders?|monot5", "text-ranking"),
    (r"chronos|timesfm|moirai|time-?moe|lag-?llama|patchtst|ttm", "time-series-forecasting"),
    (r"col(?:pali|qwen|smol|idefics)[\w.]*", "visual-document-retrieval"),
    (
        r"(?:\w*-)?tts|orpheus|llasa|spark-?audio|bark|parler|kokoro|speecht5|vits|text-to-speech|xtts\w*|outetts",
        "text-to-speech",
    ),
    (r"musicgen|audiogen|audioldm\w*|stable-audio|music", "text-to-audio"),
    (
        r"whisper|wav2vec2\w*|hubert|wavlm|xls-r|mms|parakeet|canary|conformer|asr|stt|voxtral|moonshine",
        "automatic-speech-recognition",
    ),
    (r"\w*omni\w*", "any-to-any"),
    (r"qwen\d?(?:\.\d)?-?audio|ultravox|salmonn|audio-flamingo", "audio-text-to-text"),
    (r"video-?(?:llava|llama|chat)\w*|llava-next-video", "video-text-to-text"),
    (
        r"\w*vl|\w*vlm|\w*-v(?!\d)|llava\w*|idefics\w*|paligemma\w*|florence|molmo|pixtral|mllama|vision|minicpm-?v"
        r"|cogvlm\w*|internvl\w*|blip\w*|kosmos|fuyu|\w*ocr\w*|docling|cosmos-reason\w*|medgemma|gemma-3n|nougat|donut",
        "image-text-to-text",
    ),
    (
        r"cogvideo\w*|hunyuan-?video|ltx\w*|mochi\w*|wan\d?[\w.]*|animatediff|text-to-video|zeroscope\w*|\w*t2v\w*",
        "text-to-video",
    ),
    (r"depth-?(?:anything|pro)\w*|midas|dpt|zoedepth|marigold-depth\w*|metric3d", "depth-estimation"),
    (r"\w*i2v\w*|svd|stable-video\w*|image-to-video", "image-to-video"),
    (
        r"stable-?diffusion\w*|sdxl\w*|sd\d|sd-?xl|flux\w*|kolors|pixart\w*|playground-v\d\w*|qwen-image|z-image"
        r"|v\d-\d-(?:[\w-]*-)?pruned|kandinsky|sana|hidream\w*|cogview\w*|dreamshaper\w*|realistic-?vision\w*|anything-v\d|pony\w*|illustrious\w*",
        "text-to-image",
    ),
    (r"nllb|opus-mt|m2m\w*|madlad\w*|marian\w*|(?:\w*-)?mt\d*|tower\w*|seamless-m4t|translat\w*", "translation"),
    (r"bart-large-cnn|pegasus|summar\w*", "summarization"),
    (
        r"\w*embed\w*|bge|e5|gte|sbert|minilm\w*|all-mpnet\w*|sentence\w*|m3e|instructor|labse",
        "sentence-similarity",
    ),
    (r"clip\w*|siglip\w*", "zero-shot-image-classification"),
    (r"detr\w*|yolos?\w*", "object-detection"),
    (r"segformer\w*|mask2former\w*|sam\d?|segment\w*", "image-segmentation"),
    (r"vit|deit\w*|swin\w*|convnext\w*|resnet\w*|dino\w*", "image-classification"),
    (r"(?:flan-)?t5\w*|mt5\w*|bart\w*|mbart\w*|byt5\w*|codet5\w*|led|longt5", "text2text-generation"),
    (r"\w*bert\w*|deberta\w*|roberta\w*|electra\w*|xlnet\w*|ernie\w*", "fill-mask"),
)
