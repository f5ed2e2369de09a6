"""Tiny audio models: wav2vec2, Whisper, VITS, CLAP."""

from __future__ import annotations

from tests.tiny._text import _spread
from tests.tiny._words import CHARACTERS, byte_tokenizer


def _wav2vec2_config(**options):
    from transformers import Wav2Vec2Config

    return Wav2Vec2Config(
        vocab_size=len(CHARACTERS) + 3,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(5, 4),
        conv_kernel=(10, 4),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        feat_proj_dropout=0.0,
        layerdrop=0.0,
        mask_time_prob=0.0,
        classifier_proj_size=8,
        pad_token_id=0,
        **options,
    )


def audio_classification():
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    labels = {0: "rain", 1: "bird", 2: "speech"}
    config = _wav2vec2_config(id2label=labels, label2id={v: k for k, v in labels.items()})
    return _spread(Wav2Vec2ForSequenceClassification(config), 25.0), [Wav2Vec2FeatureExtractor(do_normalize=False)]


def speech_ctc():
    import json
    import tempfile
    from pathlib import Path

    from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC, Wav2Vec2Processor

    vocab = {t: i for i, t in enumerate(["<pad>", "<unk>", "|", *CHARACTERS])}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vocab.json")
        path.write_text(json.dumps(vocab), encoding="utf-8")
        tokenizer = Wav2Vec2CTCTokenizer(str(path), bos_token=None, eos_token=None)
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=False)
    model = _spread(Wav2Vec2ForCTC(_wav2vec2_config(feat_extract_norm="layer")), 4.0)
    return model, [Wav2Vec2Processor(extractor, tokenizer)]


def whisper():
    import json
    import tempfile
    from pathlib import Path

    from tokenizers import pre_tokenizers
    from transformers import (
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )

    base = {t: i for i, t in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "vocab.json").write_text(json.dumps(base), encoding="utf-8")
        Path(folder, "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
        tokenizer = WhisperTokenizer.from_pretrained(folder, unk_token="<|endoftext|>", local_files_only=True)
    special = ["<|startoftranscript|>", "<|en|>", "<|fr|>", "<|translate|>", "<|transcribe|>", "<|notimestamps|>"]
    stamps = [f"<|{i * 0.02:.2f}|>" for i in range(101)]
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.add_tokens(stamps)
    of = tokenizer.convert_tokens_to_ids
    end = of("<|endoftext|>")
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_mel_bins=8,
        max_source_positions=100,
        max_target_positions=32,
        decoder_start_token_id=of("<|startoftranscript|>"),
        eos_token_id=end,
        pad_token_id=end,
        bos_token_id=end,
        dropout=0.0,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = _spread(WhisperForConditionalGeneration(config), 25.0)
    generation = model.generation_config
    generation.no_timestamps_token_id = of("<|notimestamps|>")
    generation.lang_to_id = {"<|en|>": of("<|en|>"), "<|fr|>": of("<|fr|>")}
    generation.task_to_id = {"transcribe": of("<|transcribe|>"), "translate": of("<|translate|>")}
    generation.is_multilingual = True
    generation.max_length = 20
    generation.max_initial_timestamp_index = 10
    generation.alignment_heads = [[0, 0], [0, 1]]
    extractor = WhisperFeatureExtractor(feature_size=8, chunk_length=2, n_fft=400, hop_length=160)
    return model, [WhisperProcessor(extractor, tokenizer)]


def text_to_audio():
    import json
    import tempfile
    from pathlib import Path

    from transformers import VitsConfig, VitsModel, VitsTokenizer

    vocab = {t: i for i, t in enumerate(["<pad>", " ", *CHARACTERS, "<unk>"])}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vocab.json")
        path.write_text(json.dumps(vocab), encoding="utf-8")
        tokenizer = VitsTokenizer(str(path), language="en", phonemize=False, is_uroman=False)
    config = VitsConfig(
        vocab_size=len(vocab),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=16,
        flow_size=16,
        spectrogram_bins=17,
        duration_predictor_num_flows=1,
        duration_predictor_flow_bins=4,
        duration_predictor_filter_channels=8,
        prior_encoder_num_flows=1,
        prior_encoder_num_wavenet_layers=1,
        posterior_encoder_num_wavenet_layers=1,
        depth_separable_channels=2,
        depth_separable_num_layers=1,
        upsample_initial_channel=16,
        upsample_rates=[4, 2],
        upsample_kernel_sizes=[8, 4],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        wavenet_dilation_rate=1,
        sampling_rate=16000,
        noise_scale=0.0,
        noise_scale_duration=0.0,
        use_stochastic_duration_prediction=False,
    )
    return VitsModel(config), [tokenizer]


def zero_shot_audio_classification():
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor

    tokenizer = byte_tokenizer()
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 70,
        "pad_token_id": 1,
    }
    audio = {
        "spec_size": 16,
        "num_mel_bins": 8,
        "window_size": 2,
        "patch_size": 2,
        "patch_stride": [2, 2],
        "patch_embeds_hidden_size": 8,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "hidden_size": 16,
        "num_classes": 4,
        "enable_fusion": False,
    }
    config = ClapConfig(text_config=text, audio_config=audio, projection_dim=8)
    extractor = ClapFeatureExtractor(
        feature_size=8,
        sampling_rate=8000,
        hop_length=270,
        fft_window_size=256,
        max_length_s=1,
        frequency_max=4000,
        truncation="rand_trunc",
    )
    return _spread(ClapModel(config), 3.0), [ClapProcessor(extractor, tokenizer)]
