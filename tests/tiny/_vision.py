"""Tiny vision models: for labels, features, masks, boxes, depth, points, videos and larger images."""

from __future__ import annotations

from tests.tiny._text import _spread
from tests.tiny._words import byte_tokenizer

_SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
_LABELS = {0: "cat", 1: "dog", 2: "bird", 3: "fish"}
_NAMES = {"id2label": _LABELS, "label2id": {v: k for k, v in _LABELS.items()}}


def _vit_config(**options):
    from transformers import ViTConfig

    return ViTConfig(**_SMALL, image_size=16, patch_size=8, **options)


def _square(size: int = 16, **options):
    from transformers import ViTImageProcessor

    return ViTImageProcessor(size={"height": size, "width": size}, **options)


def image_classification():
    from transformers import ViTForImageClassification

    return _spread(ViTForImageClassification(_vit_config(**_NAMES))), [_square()]


def image_feature_extraction():
    from transformers import ViTModel

    return _spread(ViTModel(_vit_config())), [_square()]


def segformer():
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 8],
        patch_sizes=[3, 3],
        strides=[2, 2],
        num_attention_heads=[1, 1],
        mlp_ratios=[2, 2],
        decoder_hidden_size=8,
        **_NAMES,
    )
    return _spread(SegformerForSemanticSegmentation(config), 8.0), [
        SegformerImageProcessor(size={"height": 32, "width": 32})
    ]


def maskformer():
    from transformers import MaskFormerConfig, MaskFormerForInstanceSegmentation, MaskFormerImageProcessor

    decoder = {
        "model_type": "detr",
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
        "num_queries": 4,
    }
    backbone = {
        "model_type": "swin",
        "image_size": 64,
        "patch_size": 4,
        "embed_dim": 4,
        "mlp_ratio": 1.0,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 1, 1],
        "window_size": 2,
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
    }
    config = MaskFormerConfig(
        fpn_feature_size=32, mask_feature_size=32, backbone_config=backbone, decoder_config=decoder, **_NAMES
    )
    processor = MaskFormerImageProcessor(size={"height": 64, "width": 64}, size_divisor=32)
    return _spread(MaskFormerForInstanceSegmentation(config), 2.0), [processor]


def _detr_config(**options):
    from transformers import DetrConfig, ResNetConfig

    backbone = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], out_features=["stage4"], layer_type="basic"
    )
    return DetrConfig(
        backbone_config=backbone,
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        num_queries=5,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        **_NAMES,
        **options,
    )


def object_detection():
    from transformers import DetrForObjectDetection, DetrImageProcessor

    processor = DetrImageProcessor(size={"shortest_edge": 32, "longest_edge": 48})
    return _spread(DetrForObjectDetection(_detr_config()), 3.0), [processor]


def yolos():
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    config = YolosConfig(**_SMALL, image_size=[32, 32], patch_size=8, num_detection_tokens=5, **_NAMES)
    processor = YolosImageProcessor(size={"shortest_edge": 32, "longest_edge": 48})
    return _spread(YolosForObjectDetection(config)), [processor]


def _clip_text(vocab: int) -> dict:
    return {
        **_SMALL,
        "vocab_size": vocab,
        "max_position_embeddings": 64,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }


def zero_shot_image_classification():
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    tokenizer = byte_tokenizer(clip=True)
    vision = {**_SMALL, "image_size": 16, "patch_size": 8}
    config = CLIPConfig(text_config=_clip_text(len(tokenizer)), vision_config=vision, projection_dim=8)
    images = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    return _spread(CLIPModel(config)), [CLIPProcessor(images, tokenizer)]


def zero_shot_object_detection():
    from transformers import OwlViTConfig, OwlViTForObjectDetection, OwlViTImageProcessor, OwlViTProcessor

    tokenizer = byte_tokenizer(clip=True)
    tokenizer.model_max_length = 16
    text = {**_clip_text(len(tokenizer)), "max_position_embeddings": 16}
    vision = {**_SMALL, "image_size": 32, "patch_size": 8}
    config = OwlViTConfig(text_config=text, vision_config=vision, projection_dim=16)
    images = OwlViTImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False)
    return _spread(OwlViTForObjectDetection(config)), [OwlViTProcessor(images, tokenizer)]


def depth_estimation():
    from transformers import GLPNConfig, GLPNForDepthEstimation, GLPNImageProcessor

    config = GLPNConfig(
        num_encoder_blocks=4,
        depths=[1, 1, 1, 1],
        sr_ratios=[2, 1, 1, 1],
        hidden_sizes=[8, 8, 8, 8],
        patch_sizes=[3, 3, 3, 3],
        strides=[2, 2, 2, 2],
        num_attention_heads=[1, 1, 1, 1],
        mlp_ratios=[2, 2, 2, 2],
        decoder_hidden_size=8,
    )
    return _spread(GLPNForDepthEstimation(config), 3.0), [GLPNImageProcessor(size_divisor=16)]


def _superpoint_config():
    from transformers import SuperPointConfig

    return SuperPointConfig(
        encoder_hidden_sizes=[8, 8, 8, 8],
        decoder_hidden_size=16,
        descriptor_decoder_dim=16,
        keypoint_decoder_dim=65,
        max_keypoints=12,
        keypoint_threshold=0.0,
        border_removal_distance=1,
    )


def keypoint_detection():
    from transformers import SuperPointForKeypointDetection, SuperPointImageProcessor

    model = _spread(SuperPointForKeypointDetection(_superpoint_config()), 3.0)
    return model, [SuperPointImageProcessor(size={"height": 32, "width": 32})]


def keypoint_matching():
    from transformers import SuperGlueConfig, SuperGlueForKeypointMatching, SuperGlueImageProcessor

    config = SuperGlueConfig(
        keypoint_detector_config=_superpoint_config(),
        hidden_size=16,
        keypoint_encoder_sizes=[8, 16],
        gnn_layers_types=["self", "cross"],
        num_attention_heads=2,
        sinkhorn_iterations=3,
        matching_threshold=0.0,
    )
    model = _spread(SuperGlueForKeypointMatching(config), 3.0)
    return model, [SuperGlueImageProcessor(size={"height": 32, "width": 32})]


def video_classification():
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification, VideoMAEImageProcessor

    config = VideoMAEConfig(**_SMALL, image_size=16, patch_size=8, num_frames=4, tubelet_size=2, **_NAMES)
    processor = VideoMAEImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    return _spread(VideoMAEForVideoClassification(config)), [processor]


def mask_generation():
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

    vision = {
        "hidden_size": 8,
        "output_channels": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": 32,
        "patch_size": 8,
        "window_size": 2,
        "global_attn_indexes": [0],
        "mlp_dim": 8,
        "num_pos_feats": 4,
    }
    prompt = {
        "hidden_size": 8,
        "image_size": 32,
        "patch_size": 8,
        "mask_input_channels": 4,
        "image_embedding_size": 4,
    }
    decoder = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "mlp_dim": 8,
        "iou_head_hidden_dim": 8,
    }
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    images = SamImageProcessor(
        size={"longest_edge": 32},
        pad_size={"height": 32, "width": 32},
        mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    )
    return _spread(SamModel(config), 4.0), [SamProcessor(images)]


def image_to_image():
    from transformers import Swin2SRConfig, Swin2SRForImageSuperResolution, Swin2SRImageProcessor

    config = Swin2SRConfig(
        image_size=16,
        patch_size=1,
        embed_dim=8,
        depths=[1],
        num_heads=[1],
        window_size=4,
        upscale=2,
        num_channels=3,
        upsampler="pixelshuffledirect",
    )
    model = _spread(Swin2SRForImageSuperResolution(config), 2.0)
    return model, [Swin2SRImageProcessor(size_divisor=8)]
