"""Loading: no random weights, no foreign code, no surprises; errors name the file and what mends them."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from modelscope_ext.errors import (
    BackendNotLoadable,
    MalformedMetadata,
    MissingRequirement,
    NotAModel,
    OptionError,
    PathEscapeRefused,
    PickleRefused,
    RedirectRefused,
    RemoteCodeFailed,
    RemoteCodeRefused,
    UnknownTypeError,
    WeightsMismatch,
)
from modelscope_ext.metadata.snapshot import Source
from modelscope_ext.models.backends.transformers_ import Transformers
from modelscope_ext.models.resolution import Resolution, Weights
from modelscope_ext.safety.grants import Grants

pytestmark = pytest.mark.pt

TEXT = ["the cat sat", "the movie was great"]


def make(family: str, folder: Path, **options: Any) -> Path:
    from tests.tiny.transformers_ import build

    return build(family, folder, **options)


def load(
    folder: Path, task: str | None = None, grants: Grants | None = None, weights: Weights | None = None, **options
):
    resolution = Resolution(
        Source("local", path=str(folder)),
        "pytorch",
        "transformers",
        (task,) if task else (),
        weights=weights or Weights(),
    )
    return Transformers().load(folder, resolution, grants or Grants(), **{"device": "cpu", **options})


def edit(file: Path, **keys: Any) -> None:
    value = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({k: v for k, v in {**value, **keys}.items() if v is not ...}), encoding="utf-8")


def rewrite(folder: Path, change: Any) -> None:
    """Change the tensors of the folder's only weight file."""
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    return make("text-classification", tmp_path / "classifier")


# weights


def test_a_head_that_the_checkpoint_lacks_is_refused(tmp_path: Path) -> None:
    folder = make("feature-extraction", tmp_path / "m")
    with pytest.raises(WeightsMismatch, match=r"classifier\.bias, classifier\.weight.*allow_missing_weights=True"):
        load(folder, "text-classification")


def test_another_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsMismatch, match=r"classifier\.weight"):
        load(make("fill-mask", tmp_path / "m"), "token-classification")


def test_missing_weights_can_be_allowed_and_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make("feature-extraction", tmp_path / "m")
    with caplog.at_level(logging.WARNING, "modelscope_ext"):
        loaded = load(folder, "text-classification", allow_missing_weights=True)
    assert type(loaded.native).__name__ == "BertForSequenceClassification"
    assert "classifier.weight" in caplog.text


def test_one_missing_tensor_is_refused(classifier: Path) -> None:
    name = "bert.encoder.layer.0.output.dense.weight"
    rewrite(classifier, lambda tensors: {k: v for k, v in tensors.items() if k != name})
    with pytest.raises(WeightsMismatch, match=r"1 weights are not in the checkpoint.*layer\.0\.output\.dense\.weight"):
        load(classifier, "text-classification")


def test_more_layers_than_config_json_says_are_refused(classifier: Path) -> None:
    rewrite(
        classifier,
        lambda tensors: {
            **tensors,
            **{k.replace("layer.0.", "layer.1."): v.clone() for k, v in tensors.items() if "layer.0." in k},
        },
    )
    with pytest.raises(WeightsMismatch, match=r"have no place in the model.*bert\.encoder\.layer\.1\."):
        load(classifier, "text-classification")


def test_an_adapters_weights_among_the_models_are_refused(classifier: Path) -> None:
    import torch

    name = "bert.encoder.layer.0.attention.self.query.lora_A.weight"
    rewrite(classifier, lambda tensors: {**tensors, name: torch.ones(2, 16)})
    with pytest.raises(WeightsMismatch, match="lora_A"):
        load(classifier, "text-classification")


def test_another_shape_is_refused(classifier: Path) -> None:
    edit(classifier / "config.json", vocab_size=99)
    with pytest.raises(WeightsMismatch, match=r"embeddings\.word_embeddings\.weight is \(155, 16\), not \(99, 16\)"):
        load(classifier, "text-classification")


def test_a_fuller_checkpoint_serves_its_encoder(classifier: Path) -> None:
    loaded = load(classifier, "feature-extraction")
    assert type(loaded.native).__name__ == "BertModel"


def test_a_random_pooler_is_taken_off_where_no_answer_passes_through_it(tmp_path: Path) -> None:
    loaded = load(make("fill-mask", tmp_path / "m"), "feature-extraction")
    assert loaded.native.pooler is None
    (matrix,) = Transformers().predict(loaded, "feature-extraction", TEXT[:1])
    assert matrix.shape == (5, 16)


def test_tied_weights_are_not_missing(tmp_path: Path) -> None:
    folder = make("text2text-generation", tmp_path / "m")
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as file:
        assert "decoder.embed_tokens.weight" not in list(file.keys())
    assert load(folder, "text2text-generation").native is not None


def test_a_damaged_weight_file_is_named(classifier: Path) -> None:
    file = classifier / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(MalformedMetadata, match="its weights is damaged"):
        load(classifier, "text-classification")


def test_no_weights_at_all(classifier: Path) -> None:
    (classifier / "model.safetensors").unlink()
    with pytest.raises(NotAModel, match="its weights cannot be found"):
        load(classifier, "text-classification")


# forms of checkpoints


def scores(folder: Path, **options: Any) -> list[float]:
    outputs = Transformers().predict(
        load(folder, "text-classification", **options), "text-classification", TEXT, top_k=None
    )
    return [row["score"] for output in outputs for row in sorted(output, key=lambda row: row["label"])]


def test_shards(tmp_path: Path, classifier: Path) -> None:
    folder = make("text-classification", tmp_path / "m", max_shard_size="8KB")
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 1
    assert scores(folder) == pytest.approx(scores(classifier))


def test_a_variant(tmp_path: Path, classifier: Path) -> None:
    folder = make("text-classification", tmp_path / "m", variant="fp16")
    assert (folder / "model.fp16.safetensors").is_file()
    assert scores(folder, variant="fp16") == pytest.approx(scores(classifier))


def test_a_subfolder(tmp_path: Path, classifier: Path) -> None:
    shutil.copytree(classifier, tmp_path / "outer" / "inner")
    assert scores(tmp_path / "outer", subfolder="inner") == pytest.approx(scores(classifier))


def test_a_state_dict_of_plain_tensors(classifier: Path) -> None:
    import torch
    from safetensors.torch import load_file

    before = scores(classifier)
    torch.save(load_file(classifier / "model.safetensors"), classifier / "pytorch_model.bin")
    (classifier / "model.safetensors").unlink()
    assert scores(classifier, weights=Weights("pickle", ("pytorch_model.bin",))) == pytest.approx(before)
    with pytest.raises(PickleRefused, match="allow_pickle=False"):
        load(classifier, "text-classification", Grants.of(allow_pickle=False))


def test_the_state_dict_beside_safetensors_is_never_opened(classifier: Path) -> None:
    before = scores(classifier)
    (classifier / "pytorch_model.bin").write_bytes(b"not a pickle")
    assert scores(classifier) == pytest.approx(before)


def test_weights_of_another_framework_are_said(classifier: Path) -> None:
    with pytest.raises(BackendNotLoadable, match="tensorflow files"):
        load(classifier, "text-classification", weights=Weights("tensorflow", ("tf_model.h5",)))


def test_the_checkpoints_dtype_is_kept(tmp_path: Path) -> None:
    import torch

    from tests.tiny.transformers_ import make as made
    from tests.tiny.transformers_ import save

    model, parts = made("text-classification")
    folder = save(model.half(), parts, tmp_path / "half")
    assert load(folder, "text-classification").native.dtype is torch.float16
    assert load(folder, "text-classification", dtype="float32").native.dtype is torch.float32
    assert load(folder, "text-classification", dtype=torch.bfloat16).native.dtype is torch.bfloat16
    assert load(folder, "text-classification", dtype="fp32").native.dtype is torch.float32
    kept, widened = scores(folder), scores(folder, dtype="float32")
    assert kept == pytest.approx(widened, abs=5e-3)
    assert kept != widened


def test_a_device_map(classifier: Path) -> None:
    loaded = load(classifier, "text-classification", device=None, device_map="cpu")
    assert loaded.device == "cpu"
    assert len(Transformers().predict(loaded, "text-classification", TEXT)) == 2


def test_a_folder_of_links_into_a_cache_loads(tmp_path: Path, classifier: Path) -> None:
    linked = tmp_path / "snapshots" / "abc"
    linked.mkdir(parents=True)
    for file in classifier.iterdir():
        (linked / file.name).symlink_to(file)
    assert scores(linked) == pytest.approx(scores(classifier))


# options


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"device": "cuda:7"}, "device='cuda:7' cannot be used here.*cpu"),
        ({"device": "gpus"}, "device='gpus' cannot be used here"),
        ({"dtype": "float17"}, "dtype='float17'.*Did you mean"),
        ({"device": "cpu", "device_map": "auto"}, "exclude each other"),
    ],
)
def test_unusable_options(classifier: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        load(classifier, "text-classification", **options)


def test_a_task_that_the_architecture_cannot_serve(tmp_path: Path) -> None:
    folder = make("image-classification", tmp_path / "m")
    with pytest.raises(OptionError, match=r"AutoModelForCausalLM.*'vit'.*image-classification"):
        load(folder, "text-generation")


def test_a_task_nobody_serves(classifier: Path) -> None:
    with pytest.raises(OptionError, match=r"does not serve 'text-classify'.*Did you mean 'text-classification'"):
        load(classifier, "text-classify")


def test_the_architecture_decides_where_no_task_is_known(tmp_path: Path) -> None:
    assert type(load(make("token-classification", tmp_path / "a")).native).__name__ == "BertForTokenClassification"
    assert type(load(make("whisper", tmp_path / "b")).native).__name__ == "WhisperForConditionalGeneration"
    assert type(load(make("feature-extraction", tmp_path / "c")).native).__name__ == "BertModel"


def test_a_task_with_a_reason_not_to_be_served_leaves_the_model(tmp_path: Path) -> None:
    loaded = load(make("audio-classification", tmp_path / "m"), "speaker-verification")
    assert type(loaded.native).__name__ == "Wav2Vec2ForSequenceClassification"
    with pytest.raises(OptionError, match=r"'speaker-verification' is not served: compares two.*as `native`"):
        Transformers().predict(loaded, "speaker-verification", [[0.0]])


def test_settings_of_decisions_are_read_from_the_folder_alone(tmp_path: Path) -> None:
    folder = make("decision", tmp_path / "m")
    edit(folder / "decision.json", labels={"noul": ["no", "no"]})
    with pytest.raises(OptionError, match="not distinct single tokens"):
        Transformers().predict(
            load(folder, "decision"), "decision", [{"state": "a", "questions": {"q": {"type": "noul"}}}]
        )
    edit(folder / "decision.json", labels={}, adapter="../elsewhere")
    with pytest.raises(BackendNotLoadable, match=r"adapter names \.\./elsewhere"):
        load(folder, "decision")
    edit(folder / "decision.json", adapter=None, noul_options=["true", "true"])
    with pytest.raises(MalformedMetadata, match=r"decision\.json cannot be used"):
        load(folder, "decision")
    (folder / "decision.json").unlink()
    (folder / "head.safetensors").write_bytes(b"")
    with pytest.raises(BackendNotLoadable, match=r"head\.safetensors: a decision head lies beside the weights"):
        load(folder, "decision")


@pytest.mark.parametrize(
    ("questions", "says"),
    [
        ({"q": {"type": "guess"}}, "decision"),
        ({"q": {"type": "choice", "criteria": {}}}, "decision"),
        ({"q": {"type": "score", "criteria": [str(i) for i in range(99)]}}, "decision"),
    ],
)
def test_a_question_that_cannot_be_asked_is_said(tmp_path: Path, questions: Any, says: str) -> None:
    loaded = load(make("decision", tmp_path / "m"), "decision")
    with pytest.raises(OptionError, match=says):
        Transformers().predict(loaded, "decision", [{"state": "a", "questions": questions}])


def test_ranking_needs_one_label(classifier: Path) -> None:
    with pytest.raises(OptionError, match=r"one label; config\.json has 3"):
        load(classifier, "text-ranking")


def test_progress_is_reported_in_steps(classifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int, int]] = []
    monkeypatch.setattr(Transformers, "progress", staticmethod(lambda *step: seen.append(step)))
    load(classifier, "text-classification")
    assert seen == [("Loading tokenizer", 0, 2), ("Loading weights", 1, 2), ("Loaded", 2, 2)]


# parts


def test_a_package_that_a_processor_needs_is_said_before_the_weights_are_read(tmp_path: Path) -> None:
    """Qwen2-VL's processor takes its video processor along, which needs torchvision, for pictures too."""
    from importlib.util import find_spec

    assert find_spec("torchvision") is None
    folder = make("qwen2-vl", tmp_path / "m")
    (folder / "model.safetensors").write_bytes(b"never read")
    with pytest.raises(MissingRequirement, match=r"Qwen2VLVideoProcessor requires.*pip install torchvision"):
        load(folder, "image-text-to-text")


def test_no_tokenizer(classifier: Path) -> None:
    for file in classifier.glob("token*"):
        file.unlink()
    with pytest.raises(NotAModel, match=r"there is no tokenizer: none of .*tokenizer\.json"):
        load(classifier, "text-classification")


def test_a_tokenizer_without_its_vocabulary(classifier: Path) -> None:
    (classifier / "tokenizer.json").unlink()
    with pytest.raises(NotAModel, match=r"settings but no vocabulary: tokenizer\.json.*vocab\.txt"):
        load(classifier, "text-classification")


def test_a_broken_tokenizer(classifier: Path) -> None:
    (classifier / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "Nope"}}', encoding="utf-8")
    with pytest.raises(MalformedMetadata, match=r"tokenizer in tokenizer\.json cannot be used"):
        load(classifier, "text-classification")


def test_no_image_processor(tmp_path: Path) -> None:
    folder = make("image-classification", tmp_path / "m")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(NotAModel, match="there is no image processor"):
        load(folder, "image-classification")


def test_the_callers_own_tokenizer_stands_in(classifier: Path) -> None:
    from tests.tiny._words import bert_tokenizer

    before = scores(classifier)
    for file in classifier.glob("token*"):
        file.unlink()
    assert scores(classifier, tokenizer=bert_tokenizer()) == pytest.approx(before)


def test_another_models_tokenizer_is_found_out(tmp_path: Path, classifier: Path) -> None:
    from tests.tiny._words import byte_tokenizer

    byte_tokenizer().save_pretrained(str(classifier))
    loaded = load(classifier, "text-classification")
    with pytest.raises(MalformedMetadata, match=r"has 261 tokens.*vocabulary.*vocab_size.*belongs to another model"):
        Transformers().predict(loaded, "text-classification", ["a b"])


# what must not happen


def test_an_unknown_model_type(classifier: Path) -> None:
    edit(classifier / "config.json", model_type="futuristic", architectures=["FuturisticModel"])
    with pytest.raises(BackendNotLoadable, match="'futuristic' is unknown to transformers 5"):
        load(classifier, "text-classification")


def test_no_config(classifier: Path) -> None:
    (classifier / "config.json").unlink()
    with pytest.raises(NotAModel, match=r"needs a config\.json"):
        load(classifier, "text-classification")


def test_an_adapter_is_neither_applied_nor_left_out(classifier: Path) -> None:
    (classifier / "adapter_config.json").write_text('{"peft_type": "LORA"}', encoding="utf-8")
    with pytest.raises(BackendNotLoadable, match="backend='peft'"):
        load(classifier, "text-classification")


def test_kernels_of_another_source(classifier: Path) -> None:
    edit(classifier / "config.json", attn_implementation="kernels-community/flash-attn")
    with pytest.raises(RedirectRefused, match="kernels-community/flash-attn"):
        load(classifier, "text-classification")


def test_a_weight_file_outside(classifier: Path) -> None:
    edit(classifier / "config.json", transformers_weights="../../outside.safetensors")
    with pytest.raises(PathEscapeRefused):
        load(classifier, "text-classification")


def test_a_quantisation_that_transformers_would_skip(classifier: Path) -> None:
    edit(classifier / "config.json", quantization_config={"quant_method": "../../evil", "bits": 4})
    with pytest.raises(UnknownTypeError, match="would load the quantised weights as plain ones"):
        load(classifier, "text-classification")


@pytest.mark.parametrize(
    ("settings", "package"),
    [
        ({"quant_method": "gptq", "bits": 4}, "gptqmodel"),
        ({"quant_method": "hqq"}, "hqq"),
        ({"load_in_8bit": True, "quant_method": "bitsandbytes"}, "bitsandbytes"),
    ],
)
def test_a_quantisation_whose_package_is_missing(classifier: Path, settings: dict[str, Any], package: str) -> None:
    edit(classifier / "config.json", quantization_config=settings)
    with pytest.raises(MissingRequirement, match=f'pip install "{package}'):
        load(classifier, "text-classification")


@pytest.mark.parametrize("method", ["fbgemm_fp8", "nvfp4"])
def test_a_quantisation_that_cannot_run_here(tmp_path: Path, method: str) -> None:
    folder = make("text-generation", tmp_path / "m")
    edit(folder / "config.json", quantization_config={"quant_method": method})
    with pytest.raises(BackendNotLoadable, match=f"quantised with {method} cannot be used here"):
        load(folder, "text-generation")


def test_a_quantised_folder_that_a_processor_can_read(tmp_path: Path) -> None:
    """Block-wise FP8 is widened while it is read: the model equals the one with the widened weights."""
    import torch

    folder = make("text-generation", tmp_path / "m")
    plain = make("text-generation", tmp_path / "plain")
    wide: dict[str, Any] = {}

    def narrow(tensors: dict[str, Any]) -> dict[str, Any]:
        out = {}
        for name, value in tensors.items():
            if value.dim() == 2 and "proj" in name:
                scale = value.abs().max() / 448
                out[name] = (value / scale).to(torch.float8_e4m3fn)
                out[name + "_scale_inv"] = scale.reshape(1, 1)
                wide[name] = out[name].float() * scale
            else:
                out[name] = wide[name] = value
        return out

    rewrite(folder, narrow)
    rewrite(plain, lambda _: wide)
    edit(folder / "config.json", quantization_config={"quant_method": "fp8", "weight_block_size": [16, 16]})
    quantised, widened = load(folder, "text-generation"), load(plain, "text-generation")
    ids = torch.tensor([[1, 9, 12, 30]])
    with torch.inference_mode():
        ours, theirs = (one.native(ids).logits.float() for one in (quantised, widened))
    assert torch.allclose(ours, theirs, atol=0.1 * theirs.abs().max().item())
    assert torch.equal(ours.argmax(-1), theirs.argmax(-1))
    assert len(set(ours.argmax(-1)[0].tolist())) > 1


CODE = """
from transformers import BertConfig, BertForSequenceClassification
class Config(BertConfig):
    model_type = "homemade"
class Model(BertForSequenceClassification):
    config_class = Config
"""


@pytest.fixture
def homemade(classifier: Path) -> Path:
    (classifier / "homemade.py").write_text(CODE, encoding="utf-8")
    auto = {"AutoConfig": "homemade.Config", "AutoModelForSequenceClassification": "homemade.Model"}
    edit(classifier / "config.json", model_type="homemade", auto_map=auto)
    edit(classifier / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    return classifier


def test_code_of_the_folder_runs_with_the_grant_only(homemade: Path) -> None:
    with pytest.raises(RemoteCodeRefused, match=r"auto_map.*trust_remote_code=True"):
        load(homemade, "text-classification")
    loaded = load(homemade, "text-classification", Grants.of(trust_remote_code=True))
    assert type(loaded.native).__name__ == "Model"
    assert len(Transformers().predict(loaded, "text-classification", TEXT)) == 2


def test_code_that_fails_is_rolled_back(homemade: Path) -> None:
    import sys

    (homemade / "homemade.py").write_text(f"{CODE}\nraise ZeroDivisionError('half way')", encoding="utf-8")
    before = set(sys.modules)
    with pytest.raises(RemoteCodeFailed, match="half way") as caught:
        load(homemade, "text-classification", Grants.of(trust_remote_code=True))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert not [name for name in set(sys.modules) - before if name.startswith("transformers_modules")]


def test_trust_does_not_run_what_nothing_asks_for(tmp_path: Path) -> None:
    folder = make("text-generation", tmp_path / "m")
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text("raise SystemExit('ran')", encoding="utf-8")
    loaded = load(folder, "text-generation", Grants.of(trust_remote_code=True))
    assert "generate" not in vars(loaded.native)


# noise


def test_nothing_is_printed_and_settings_stay(classifier: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import gc
    import warnings

    import torch
    from transformers.utils import logging as theirs

    before = (theirs.get_verbosity(), theirs.is_progress_bar_enabled(), list(warnings.filters), gc.isenabled())
    state = torch.get_rng_state()
    loaded = load(classifier, "text-classification")
    Transformers().predict(loaded, "text-classification", TEXT, batch_size=1)
    after = (theirs.get_verbosity(), theirs.is_progress_bar_enabled(), list(warnings.filters), gc.isenabled())
    assert after == before
    assert torch.equal(torch.get_rng_state(), state)
    assert capfd.readouterr() == ("", "")


def test_settings_stay_after_a_failure(tmp_path: Path) -> None:
    from transformers.utils import logging as theirs

    folder = make("feature-extraction", tmp_path / "m")
    before = theirs.get_verbosity()
    with pytest.raises(WeightsMismatch):
        load(folder, "text-classification")
    assert theirs.get_verbosity() == before


def test_a_user_who_asks_transformers_for_more_hears_it(classifier: Path) -> None:
    from transformers.utils import logging as theirs

    from modelscope_ext.models.backends._transformers.quiet import quiet

    before = theirs.get_verbosity()
    theirs.set_verbosity_info()
    try:
        with quiet():
            assert theirs.get_verbosity() == logging.INFO
    finally:
        theirs.set_verbosity(before)
