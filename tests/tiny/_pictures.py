"""Tiny diffusers pipelines that make pictures, of 8 to 16 pixels."""

from __future__ import annotations

from tests.tiny._words import clip_tokenizer


def clip_config(**options):
    from transformers import CLIPTextConfig

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    marks = {"bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    return CLIPTextConfig(**{**sizes, **marks, "vocab_size": 514, "max_position_embeddings": 32, **options})


def clip():
    from transformers import CLIPTextModel

    return CLIPTextModel(clip_config(initializer_factor=20.0))


def vae(**options):
    from diffusers import AutoencoderKL

    sizes = {"block_out_channels": [8, 8], "latent_channels": 4, "norm_num_groups": 4, "sample_size": 16}
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
    return AutoencoderKL(**{**sizes, **blocks, **options})


def unet(**options):
    from diffusers import UNet2DConditionModel

    sizes = {"block_out_channels": (8, 16), "layers_per_block": 1, "sample_size": 8, "norm_num_groups": 4}
    blocks = {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    }
    return UNet2DConditionModel(**{**sizes, **blocks, "cross_attention_dim": 16, "attention_head_dim": 4, **options})


def ddim(**options):
    from diffusers import DDIMScheduler

    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    return DDIMScheduler(**betas, clip_sample=False, set_alpha_to_one=False, **options)


def stable_diffusion():
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=vae(),
        unet=unet(),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        scheduler=ddim(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def ddpm():
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    model = UNet2DModel(
        sample_size=16,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )
    return DDPMPipeline(unet=model, scheduler=DDPMScheduler(num_train_timesteps=100))


def stable_diffusion_xl():
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    conditions = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": 6 * 4 + 16,
        "cross_attention_dim": 32,
        "attention_head_dim": (2, 4),
        "use_linear_projection": True,
    }
    return StableDiffusionXLPipeline(
        vae=vae(),
        unet=unet(**conditions),
        text_encoder=clip(),
        text_encoder_2=_clip_with_projection(),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        scheduler=EulerDiscreteScheduler(**betas, steps_offset=1, timestep_spacing="leading"),
    )


def _clip_with_projection():
    from transformers import CLIPTextModelWithProjection

    return CLIPTextModelWithProjection(clip_config(projection_dim=16, hidden_act="gelu", initializer_factor=20.0))


def t5_tokenizer():
    from tests.tiny._words import lm_tokenizer

    return lm_tokenizer(seq2seq=True)


def t5(kind: str = "T5", **options):
    import transformers

    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    config = getattr(transformers, f"{kind}Config")(**{**sizes, "vocab_size": len(t5_tokenizer()), **options})
    return getattr(transformers, f"{kind}EncoderModel")(config)


_FLOW = {"use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.06, "scaling_factor": 1.5}


def flux():
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        axes_dims_rope=[4, 4, 8],
    )
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae(latent_channels=1, **_FLOW),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5(),
        tokenizer_2=t5_tokenizer(),
        transformer=transformer,
    )


def stable_diffusion_3():
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=32,
        out_channels=4,
    )
    return StableDiffusion3Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae(**_FLOW),
        text_encoder=_clip_with_projection(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=_clip_with_projection(),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5(d_model=32),
        tokenizer_3=t5_tokenizer(),
        transformer=transformer,
    )


def inpainting():
    """A pipeline whose UNet takes the mask and the masked picture too: it serves nothing else."""
    from diffusers import StableDiffusionInpaintPipeline

    return StableDiffusionInpaintPipeline(
        vae=vae(),
        unet=unet(in_channels=9),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        scheduler=ddim(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def safety_checked():
    """A pipeline with all its optional components: a safety checker of its own module, and a feature extractor."""
    from diffusers import StableDiffusionPipeline
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config=clip_config().to_dict(),
        vision_config={**vision, "image_size": 16, "patch_size": 8},
        projection_dim=16,
    )
    checker = StableDiffusionSafetyChecker(config)
    checker.concept_embeds_weights.data.fill_(2.0)  # nothing is that near to a concept
    checker.special_care_embeds_weights.data.fill_(2.0)
    return StableDiffusionPipeline(
        vae=vae(),
        unet=unet(),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        scheduler=ddim(),
        safety_checker=checker,
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}),
    )
