"""Tiny models of images and text: LLaVA, BLIP, ViLT, Donut, an encoder-decoder for captions."""

from __future__ import annotations

from tests.tiny._text import _spread
from tests.tiny._vision import _SMALL, _square, _vit_config
from tests.tiny._words import bert_tokenizer, lm_tokenizer, wordpiece_vocab

IMAGE_CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' }}"
    "{% if m['content'] is string %}{{ ' ' + m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %} <image>{% else %}{{ ' ' + c['text'] }}{% endif %}{% endfor %}{% endif %} </s>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def image_text_to_text():
    from transformers import CLIPImageProcessor, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    tokenizer = lm_tokenizer(image=True)
    text = {
        "model_type": "llama",
        "vocab_size": len(tokenizer),
        **_SMALL,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    vision = {"model_type": "clip_vision_model", **_SMALL, "num_hidden_layers": 2, "image_size": 16, "patch_size": 8}
    config = LlavaConfig(
        text_config=text,
        vision_config=vision,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=4,
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
    )
    model = _spread(LlavaForConditionalGeneration(config), 12.0)
    model.generation_config.max_new_tokens = 6
    model.generation_config.pad_token_id = 0
    model.generation_config.eos_token_id = 2
    images = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    processor = LlavaProcessor(
        images,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        image_token="<image>",
        num_additional_image_tokens=1,
        chat_template=IMAGE_CHAT_TEMPLATE,
    )
    return model, [processor]


def audio_text_to_text():
    from transformers import (
        Qwen2AudioConfig,
        Qwen2AudioForConditionalGeneration,
        Qwen2AudioProcessor,
        WhisperFeatureExtractor,
    )

    tokenizer = lm_tokenizer(audio=True)
    text = {
        "model_type": "qwen2",
        "vocab_size": len(tokenizer),
        **_SMALL,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    audio = {
        "num_mel_bins": 8,
        "d_model": 16,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "max_source_positions": 100,
    }
    index = tokenizer.convert_tokens_to_ids("<|AUDIO|>")
    config = Qwen2AudioConfig(text_config=text, audio_config=audio, audio_token_index=index)
    model = _spread(Qwen2AudioForConditionalGeneration(config), 12.0)
    model.generation_config.max_new_tokens = 6
    model.generation_config.pad_token_id = 0
    model.generation_config.eos_token_id = 2
    extractor = WhisperFeatureExtractor(feature_size=8, chunk_length=2, n_fft=400, hop_length=160)
    template = IMAGE_CHAT_TEMPLATE.replace("'image'", "'audio'").replace(" <image>", " <|AUDIO|>")
    return model, [Qwen2AudioProcessor(extractor, tokenizer, chat_template=template)]


def _blip_config():
    from transformers import BlipConfig

    text = {
        **_SMALL,
        "vocab_size": len(wordpiece_vocab()),
        "projection_dim": 8,
        "max_position_embeddings": 64,
        "encoder_hidden_size": 16,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
        "pad_token_id": 0,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    vision = {**_SMALL, "image_size": 16, "patch_size": 8, "initializer_range": 0.02}
    return BlipConfig(text_config=text, vision_config=vision, projection_dim=8)


def _blip_processor():
    from transformers import BlipImageProcessor, BlipProcessor

    return BlipProcessor(BlipImageProcessor(size={"height": 16, "width": 16}), bert_tokenizer())


def blip_caption():
    from transformers import BlipForConditionalGeneration

    model = _spread(BlipForConditionalGeneration(_blip_config()), 25.0)
    model.generation_config.max_new_tokens = 6
    return model, [_blip_processor()]


def blip_vqa():
    from transformers import BlipForQuestionAnswering

    model = _spread(BlipForQuestionAnswering(_blip_config()), 25.0)
    model.generation_config.max_new_tokens = 6
    return model, [_blip_processor()]


def visual_question_answering():
    from transformers import ViltConfig, ViltForQuestionAnswering, ViltImageProcessor, ViltProcessor

    labels = {0: "yes", 1: "no", 2: "two", 3: "red"}
    config = ViltConfig(
        **_SMALL,
        vocab_size=len(wordpiece_vocab()),
        image_size=32,
        patch_size=8,
        max_position_embeddings=40,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        id2label=labels,
        label2id={v: k for k, v in labels.items()},
    )
    processor = ViltProcessor(
        ViltImageProcessor(size={"shortest_edge": 32}, size_divisor=8), bert_tokenizer(model_max_length=40)
    )
    return _spread(ViltForQuestionAnswering(config), 4.0), [processor]


def _encoder_decoder(encoder, tokenizer):
    from transformers import BartConfig, BartForCausalLM, VisionEncoderDecoderConfig, VisionEncoderDecoderModel

    decoder = BartConfig(
        vocab_size=len(tokenizer),
        d_model=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=16,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        is_decoder=True,
        add_cross_attention=True,
        dropout=0.0,
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder.config, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 2
    decoder_model = _spread(BartForCausalLM(decoder), 12.0)
    model = VisionEncoderDecoderModel(config=config, encoder=encoder, decoder=decoder_model)
    generation = model.generation_config
    generation.decoder_start_token_id, generation.pad_token_id, generation.eos_token_id = 1, 0, 2
    generation.max_new_tokens = 6
    return model


def image_to_text():
    from transformers import ViTModel

    tokenizer = lm_tokenizer()
    model = _encoder_decoder(_spread(ViTModel(_vit_config(), add_pooling_layer=False)), tokenizer)
    return model, [tokenizer, _square()]


def donut():
    from transformers import DonutImageProcessor, DonutProcessor, DonutSwinConfig, DonutSwinModel

    tokenizer = lm_tokenizer()
    tokenizer.add_tokens([f"<{mark}>" for mark in ("s_docvqa", "s_question", "/s_question", "s_answer", "/s_answer")])
    encoder = DonutSwinModel(
        DonutSwinConfig(
            image_size=[32, 32],
            patch_size=4,
            embed_dim=8,
            depths=[1, 1],
            num_heads=[1, 1],
            window_size=4,
            num_channels=3,
        )
    )
    images = DonutImageProcessor(size={"height": 32, "width": 32}, do_align_long_axis=False)
    model = _encoder_decoder(_spread(encoder), tokenizer)
    model.generation_config.forced_eos_token_id = tokenizer.convert_tokens_to_ids("</s_answer>")  # an answer ends
    return model, [DonutProcessor(images, tokenizer)]


def colpali():
    """A retriever of pages: PaliGemma with a projection."""
    from transformers import ColPaliConfig, ColPaliForRetrieval, ColPaliProcessor, SiglipImageProcessor

    tokenizer = lm_tokenizer(image=True)
    images = SiglipImageProcessor(size={"height": 16, "width": 16})
    images.image_seq_length = 4
    processor = ColPaliProcessor(images, tokenizer)
    text = {
        "model_type": "gemma",
        "vocab_size": len(tokenizer),
        **_SMALL,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    vision = {
        "model_type": "siglip_vision_model",
        **_SMALL,
        "image_size": 16,
        "patch_size": 8,
        "vision_use_head": False,
    }
    vlm = {
        "model_type": "paligemma",
        "text_config": text,
        "vision_config": vision,
        "projection_dim": 16,
        "image_token_index": processor.image_token_id,
        "hidden_size": 16,
    }
    model = ColPaliForRetrieval(ColPaliConfig(vlm_config=vlm, embedding_dim=8))
    return _spread(model, 4.0), [processor]


def _qwen2_vl_config(tokenizer):
    of = tokenizer.convert_tokens_to_ids
    text = {
        "model_type": "qwen2_vl_text",
        "vocab_size": len(tokenizer),
        **_SMALL,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    vision = {
        "model_type": "qwen2_vl_vision",
        "depth": 1,
        "embed_dim": 16,
        "hidden_size": 16,
        "num_heads": 2,
        "mlp_ratio": 1,
        "patch_size": 4,
        "spatial_merge_size": 2,
        "temporal_patch_size": 1,
    }
    return {
        "text_config": text,
        "vision_config": vision,
        "image_token_id": of("<|image_pad|>"),
        "video_token_id": of("<|video_pad|>"),
        "vision_start_token_id": of("<|vision_start|>"),
        "vision_end_token_id": of("<|vision_end|>"),
    }


def _qwen2_vl_images(**options):
    from transformers import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil(
        patch_size=4, min_pixels=64, max_pixels=1024, merge_size=2, temporal_patch_size=1, **options
    )


def qwen2_vl():
    """A chat model whose processor needs torchvision, as published folders name it."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    tokenizer = lm_tokenizer(page=True)
    model = Qwen2VLForConditionalGeneration(Qwen2VLConfig(**_qwen2_vl_config(tokenizer)))
    return model, [tokenizer, _qwen2_vl_images(processor_class="Qwen2VLProcessor")]


def colqwen2():
    """A retriever of pages whose number of vectors follows the size of the page."""
    from transformers import ColQwen2Config, ColQwen2ForRetrieval, ColQwen2Processor

    tokenizer = lm_tokenizer(page=True)
    processor = ColQwen2Processor(_qwen2_vl_images(), tokenizer)
    vlm = {"model_type": "qwen2_vl", **_qwen2_vl_config(tokenizer)}
    return _spread(ColQwen2ForRetrieval(ColQwen2Config(vlm_config=vlm, embedding_dim=8)), 4.0), [processor]
