"""Tiny folders of ModelScope's own types, by name: `build("nafnet-denoise", folder)`.

Those of `CV` need the environment `pt-cv`, those of `NLP` the environment `ms`; `DIFFUSION` needs diffusers as well.
Run ``python -m tests.tiny.modelscope_ FOLDER NAME...`` to write some, one subfolder each.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

#: The words of the tiny tokenizers; long enough for two languages' full stops.
WORDS = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[EOS]", "the", "a", "cat", "dog", "bird", "sat", "ran", "flew", "on",
    "over", "mat", "hill", "and", ".", "!", "。", "john", "anna", "lives", "in", "paris", "rome", "big", "red",
    "你", "好", "世", "界", "我", "们", "看", "天", "地", "很", "大",
]  # fmt: skip
_BERT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
    "max_position_embeddings": 512, "initializer_range": 0.6,
}  # fmt: skip
_NAFNET = {"width": 4, "enc_blk_nums": [1, 1], "middle_blk_num": 1, "dec_blk_nums": [1, 1]}


def _write(folder: Path, name: str, document: Mapping[str, Any]) -> None:
    (folder / name).write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def configuration(task: str, model: Mapping[str, Any], pipeline: str, **more: Any) -> dict[str, Any]:
    """Return a configuration.json in ModelScope's form."""
    return {"framework": "pytorch", "task": task, "model": dict(model), "pipeline": {"type": pipeline}, **more}


# Images: the network's weights are in pytorch_model.pt, under "params".


def _nafnet(folder: Path, task: str, pipeline: str) -> None:
    import torch
    from modelscope.models.cv.image_denoise.nafnet.NAFNet_arch import NAFNet

    network = NAFNet(**_NAFNET)
    for parameter in network.parameters():  # as made it is the identity
        parameter.data += 0.1 * torch.randn_like(parameter)
    torch.save({"params": network.state_dict()}, folder / "pytorch_model.pt")
    _write(folder, "configuration.json", configuration(task, {"type": "nafnet", "network_g": _NAFNET}, pipeline))


def _denoise(folder: Path) -> None:
    _nafnet(folder, "image-denoising", "nafnet-image-denoise")


def _deblur(folder: Path) -> None:
    _nafnet(folder, "image-deblurring", "nafnet-image-deblur")


def _csrnet(folder: Path) -> None:
    import torch
    from modelscope.models.cv.image_color_enhance.csrnet import CSRNet

    network = CSRNet()
    torch.save({"params": network.state_dict()}, folder / "pytorch_model.pt")
    model = {"type": "csrnet"}
    _write(folder, "configuration.json", configuration("image-color-enhancement", model, "csrnet-image-color-enhance"))


# Texts


def _vocabulary(folder: Path) -> None:
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")


def _save(folder: Path, model: Any, config: Mapping[str, Any]) -> None:
    import torch

    torch.save({name: value.clone() for name, value in model.state_dict().items()}, folder / "pytorch_model.bin")
    _write(folder, "config.json", config)


def _structbert(folder: Path, kind: str, task: str, pipeline: str, labels: tuple[str, ...] = ()) -> None:
    from modelscope.models.nlp import structbert

    named = dict(enumerate(labels))
    more = {"id2label": named, "label2id": {v: k for k, v in named.items()}} if labels else {}
    config = structbert.SbertConfig(vocab_size=len(WORDS), **_BERT, **more)
    _vocabulary(folder)
    _save(folder, getattr(structbert, kind)(config), {**config.to_dict(), "model_type": "structbert"})
    _write(folder, "configuration.json", configuration(task, {"type": "structbert"}, pipeline))


def _structbert_fill(folder: Path) -> None:
    _structbert(folder, "SbertForMaskedLM", "fill-mask", "fill-mask")


def _structbert_classes(folder: Path) -> None:
    labels = ("negative", "neutral", "positive")
    _structbert(folder, "SbertForSequenceClassification", "text-classification", "text-classification", labels)


def _structbert_tokens(folder: Path) -> None:
    labels = ("O", "B-PER", "I-PER", "B-LOC")
    _structbert(folder, "SbertForTokenClassification", "token-classification", "named-entity-recognition", labels)


def _veco(folder: Path) -> None:
    from modelscope.models.nlp.veco import VecoConfig, VecoForMaskedLM
    from tokenizers import SentencePieceUnigramTokenizer
    from transformers import XLMRobertaTokenizerFast

    corpus = ["the cat sat on the mat", "a dog ran over the hill", "john lives in paris", "anna lives in rome"]
    trained = SentencePieceUnigramTokenizer()
    trained.train_from_iterator(
        corpus, vocab_size=60, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], unk_token="<unk>",
        show_progress=False,
    )  # fmt: skip
    tokenizer = XLMRobertaTokenizerFast(tokenizer_object=trained._tokenizer)
    tokenizer.save_pretrained(str(folder))
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    _write(folder, "tokenizer_config.json", {**settings, "use_fast": True})
    config = VecoConfig(
        vocab_size=len(tokenizer), pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1,
        **{**_BERT, "max_position_embeddings": 514},
    )  # fmt: skip
    _save(folder, VecoForMaskedLM(config), {**config.to_dict(), "model_type": "veco"})
    _write(folder, "configuration.json", configuration("fill-mask", {"type": "veco"}, "fill-mask"))


def _deberta(folder: Path) -> None:
    from modelscope.models.nlp.deberta_v2 import DebertaV2Config, DebertaV2ForMaskedLM

    config = DebertaV2Config(vocab_size=len(WORDS), type_vocab_size=0, **_BERT)
    _vocabulary(folder)
    _save(folder, DebertaV2ForMaskedLM(config), {**config.to_dict(), "model_type": "deberta-v2"})
    _write(folder, "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    _write(folder, "configuration.json", configuration("fill-mask", {"type": "deberta_v2"}, "fill-mask"))


def _segmentation(folder: Path, level: str = "doc") -> None:
    from modelscope.models.nlp.bert import BertConfig
    from modelscope.models.nlp.bert.document_segmentation import BertForDocumentSegmentation
    from transformers import BertTokenizerFast

    _vocabulary(folder)
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), eos_token="[EOS]")
    tokenizer.save_pretrained(str(folder))
    config = BertConfig(vocab_size=len(WORDS), **_BERT, num_labels=2)
    _save(folder, BertForDocumentSegmentation(config), {**config.to_dict(), "model_type": "bert"})
    model = {"type": "bert-for-document-segmentation", "model_config": {"type": "bert", "level": level}}
    _write(folder, "configuration.json", configuration("document-segmentation", model, "document-segmentation"))


# Diffusion


def _stable_diffusion(folder: Path) -> None:
    """A folder as diffusers writes it, with ModelScope's configuration.json beside model_index.json."""
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    words = {word: number for number, word in enumerate(["<|startoftext|>", "<|endoftext|>", *_pieces()])}
    target = folder / "tokenizer-files"
    target.mkdir()
    (target / "vocab.json").write_text(json.dumps(words), encoding="utf-8")
    (target / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tokenizer = CLIPTokenizer.from_pretrained(str(target), model_max_length=16)
    for file in target.iterdir():
        file.unlink()
    target.rmdir()
    text = CLIPTextConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        cross_attention_dim=16, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4, sample_size=16,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    pipe = diffusers.StableDiffusionPipeline(
        vae=vae, text_encoder=CLIPTextModel(text), tokenizer=tokenizer, unet=unet,
        scheduler=diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=False), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.save_pretrained(str(folder))
    model = {"type": "stable-diffusion"}
    document = configuration("text-to-image-synthesis", model, "diffusers-stable-diffusion")
    _write(folder, "configuration.json", document)


def _pieces() -> list[str]:
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    return [*letters, *(f"{letter}</w>" for letter in letters)]


CV: dict[str, Callable[[Path], None]] = {"nafnet-denoise": _denoise, "nafnet-deblur": _deblur, "csrnet": _csrnet}
NLP: dict[str, Callable[[Path], None]] = {
    "structbert-fill-mask": _structbert_fill,
    "structbert-text-classification": _structbert_classes,
    "structbert-token-classification": _structbert_tokens,
    "veco": _veco,
    "deberta_v2": _deberta,
    "document-segmentation": _segmentation,
    "topic-segmentation": lambda folder: _segmentation(folder, "topic"),
}
DIFFUSION: dict[str, Callable[[Path], None]] = {"stable-diffusion": _stable_diffusion}
ALL = {**CV, **NLP, **DIFFUSION}


def build(name: str, folder: str | Path, *, seed: int = 0) -> Path:
    """Write the tiny model `name` (a key of `ALL`) into `folder` and return the folder."""
    import logging
    import warnings

    import torch

    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    logging.getLogger("modelscope").addFilter(_silent)
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            ALL[name](target)
    finally:
        logging.getLogger("modelscope").removeFilter(_silent)
    return target


def _silent(record: Any) -> bool:
    return False


if __name__ == "__main__":
    for one in sys.argv[2:]:
        build(one, Path(sys.argv[1], one))
