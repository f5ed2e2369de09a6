"""The transformers backend: the conformance checks, text that streams, chats, objects of the caller, the snippet."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from modelscope_ext.errors import OptionError, RedirectRefused, TemplateRefused, UnknownTypeError
from modelscope_ext.metadata.snapshot import Source
from modelscope_ext.models.backend import Loaded
from modelscope_ext.models.backends.transformers_ import Transformers
from modelscope_ext.models.resolution import Reason, Resolution
from modelscope_ext.safety.grants import Grants
from modelscope_ext.testing.conformance import BackendConformance
from tests.models.backends.transformers_cases import TEXTS, chat
from tests.reference import OFFLINE

pytestmark = pytest.mark.pt


def make(family: str, folder: Path, **options: Any) -> Path:
    from tests.tiny.transformers_ import build

    return build(family, folder, **options)


def resolution(folder: Path, task: str, *architectures: str) -> Resolution:
    why = {"tasks": (Reason("config.json", "architectures.0", list(architectures), "names the head"),)}
    return Resolution(Source("local", path=str(folder)), "pytorch", "transformers", (task,), because=why)


def load(family: str, folder: Path, task: str | None = None, **options: Any) -> Loaded:
    place = make(family, folder, seed=options.pop("seed", 0))
    return Transformers().load(place, resolution(place, task or family), Grants(), device="cpu", **options)


def diffusers_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}', encoding="utf-8")
    (folder / "unet").mkdir()
    (folder / "unet" / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}', encoding="utf-8")
    return folder


class TransformersChecks(BackendConformance):
    backend = Transformers
    load_options = {"device": "cpu"}

    def near_misses(self, tmp_path: Path):
        yield diffusers_folder(tmp_path / "diffusers")


class TestTextClassification(TransformersChecks):
    task = "text-classification"
    inputs = ("the movie was great and very good", "bad dog", "the cat sat on the mat")
    call_values = {"top_k": 2, "function_to_apply": "none", "truncation": True}
    has_raw = False  # for a batch, the library's own outputs are the schema's
    load_values = {"attn_implementation": "eager"}

    def make_folder(self, tmp_path: Path) -> Path:
        return make("text-classification", tmp_path / "model", seed=1)


class TestTextGeneration(TransformersChecks):
    task = "text-generation"
    inputs = ("the cat sat", "hello")
    call_values = {"max_new_tokens": 2, "do_sample": True, "temperature": 0.5, "seed": 3}

    # generation_config.json may be left out; the text is longer then
    damage = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")

    def make_folder(self, tmp_path: Path) -> Path:
        return make("text-generation", tmp_path / "model")


class TestFeatureExtraction(TransformersChecks):
    task = "feature-extraction"
    inputs = ("the cat sat", "hello")
    call_values = {"truncation": True}
    has_raw = False
    tolerance = 1e-4

    def make_folder(self, tmp_path: Path) -> Path:
        return make("feature-extraction", tmp_path / "model")


class TestImageClassification(TransformersChecks):
    task = "image-classification"
    call_values = {"top_k": 2}
    has_raw = False

    @property
    def inputs(self) -> tuple[Any, ...]:  # type: ignore[override]
        from PIL import Image

        return Image.new("RGB", (20, 30), "red"), Image.radial_gradient("L").resize((24, 24)).convert("RGB")

    def make_folder(self, tmp_path: Path) -> Path:
        return make("image-classification", tmp_path / "model", seed=2)


# generation


@pytest.mark.parametrize("family", ["text-generation", "qwen2", "gpt2"])
def test_a_stream_gives_the_same_text(family: str, tmp_path: Path) -> None:
    loaded = load(family, tmp_path / "m", "text-generation")
    backend = Transformers()
    asks: list[Any] = list(TEXTS) if family == "gpt2" else [*TEXTS, chat("who are you")]
    for ask in asks:
        (whole,) = backend.predict(loaded, "text-generation", [ask], return_full_text=False, max_new_tokens=9)
        pieces = list(backend.stream(loaded, "text-generation", ask, max_new_tokens=9))
        assert len(pieces) > 1 or family == "qwen2"  # its words run together
        assert "".join(pieces).strip() == whole["generated_text"].strip()


def test_a_stream_that_is_closed_stops_its_thread(tmp_path: Path) -> None:
    loaded = load("text-generation", tmp_path / "m")
    pieces = Transformers().stream(loaded, "text-generation", "the cat", max_new_tokens=10_000, eos_token_id=-1)
    assert next(pieces)
    assert "text-generation" in [thread.name for thread in threading.enumerate()]
    pieces.close()
    assert "text-generation" not in [thread.name for thread in threading.enumerate()]


def test_an_error_in_the_streams_thread_is_raised_here(tmp_path: Path) -> None:
    loaded = load("text-generation", tmp_path / "m")
    with pytest.raises(ValueError, match="temperature"):
        list(Transformers().stream(loaded, "text-generation", "the cat", do_sample=True, temperature=-1.0))
    assert "text-generation" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize(
    ("task", "options"),
    [("fill-mask", {}), ("text-generation", {"num_beams": 3}), ("text-generation", {"num_return_sequences": 2})],
)
def test_what_cannot_be_streamed(task: str, options: dict[str, Any], tmp_path: Path) -> None:
    loaded = load("text-generation", tmp_path / "m")
    with pytest.raises(OptionError, match="stream"):
        list(Transformers().stream(loaded, task, "the cat", **options))


def test_generation_is_greedy_unless_asked_and_a_seed_repeats(tmp_path: Path) -> None:
    import torch

    loaded = load("text-generation", tmp_path / "m")

    def ask(**options: Any) -> str:
        return Transformers().predict(loaded, "text-generation", ["the cat"], **options)[0]["generated_text"]

    sampled = {ask(do_sample=True, temperature=5.0, seed=seed) for seed in range(4)}
    assert len(sampled) > 1
    state = torch.get_rng_state()
    assert ask() == ask()
    assert ask(do_sample=True, temperature=5.0, seed=7) == ask(do_sample=True, temperature=5.0, seed=7)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_models_own_generation_config_is_followed(tmp_path: Path) -> None:
    folder = make("text-generation", tmp_path / "m")
    import json

    path = folder / "generation_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings |= {"do_sample": True, "temperature": 5.0, "max_new_tokens": 3}
    path.write_text(json.dumps(settings), encoding="utf-8")
    loaded = Transformers().load(folder, resolution(folder, "text-generation"), Grants(), device="cpu")
    outs = {str(Transformers().predict(loaded, "text-generation", ["the cat"], seed=s)) for s in range(4)}
    assert len(outs) > 1


def test_a_decoder_without_a_pad_token_keeps_its_tokenizer(tmp_path: Path) -> None:
    loaded = load("gpt2", tmp_path / "m", "text-generation")
    alone = [Transformers().predict(loaded, "text-generation", [text])[0] for text in TEXTS]
    assert Transformers().predict(loaded, "text-generation", TEXTS, batch_size=4) == alone
    assert loaded.parts["tokenizer"].pad_token is None
    assert loaded.parts["tokenizer"].padding_side == "right"


def test_a_classifier_without_a_pad_token_runs_one_by_one(tmp_path: Path) -> None:
    import transformers

    from tests.tiny._words import lm_tokenizer

    tokenizer = lm_tokenizer()
    tokenizer.pad_token = None
    config = transformers.GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=64)
    loaded = Transformers().wrap(transformers.GPT2ForSequenceClassification(config), tokenizer=tokenizer)
    alone = [Transformers().predict(loaded, "text-classification", [text])[0] for text in TEXTS]
    assert Transformers().predict(loaded, "text-classification", TEXTS, batch_size=4) == alone
    assert tokenizer.pad_token is None


def test_texts_and_chats_in_one_call(tmp_path: Path) -> None:
    loaded = load("text-generation", tmp_path / "m")
    mixed = Transformers().predict(loaded, "text-generation", ["the cat", chat("hello")], batch_size=2)
    assert isinstance(mixed[0]["generated_text"], str)
    assert [message["role"] for message in mixed[1]["generated_text"]] == ["system", "user", "assistant"]


@pytest.mark.parametrize(
    "template", ["{{ messages.__class__.__mro__[1].__subclasses__() }}", "{% include '/etc/passwd' %}"]
)
def test_a_template_that_reaches_for_more(template: str, tmp_path: Path) -> None:
    folder = make("text-generation", tmp_path / "m")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    loaded = Transformers().load(folder, resolution(folder, "text-generation"), Grants(), device="cpu")
    with pytest.raises(TemplateRefused):
        Transformers().predict(loaded, "text-generation", [chat("hello")])


# calls


def test_threads_share_a_model(tmp_path: Path) -> None:
    import warnings
    from concurrent.futures import ThreadPoolExecutor

    from transformers.utils import logging

    loaded = load("text-generation", tmp_path / "m")
    settings = (logging.get_verbosity(), list(warnings.filters))

    def ask(text: str) -> str:
        return Transformers().predict(loaded, "text-generation", [text])[0]["generated_text"]

    alone = [ask(text) for text in TEXTS]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, TEXTS * 8)) == alone * 8
    assert (logging.get_verbosity(), list(warnings.filters)) == settings


def test_long_inputs_are_said_to_be_long(tmp_path: Path) -> None:
    loaded = load("text-classification", tmp_path / "m")
    text = "the cat " * 200
    with pytest.raises(OptionError, match=r"longer than the model can take.*64 tokens.*truncation=True"):
        Transformers().predict(loaded, "text-classification", [text])
    assert Transformers().predict(loaded, "text-classification", [text], truncation=True)[0]["label"]


def test_zero_shot_needs_labels(tmp_path: Path) -> None:
    loaded = load("zero-shot-classification", tmp_path / "m")
    with pytest.raises(OptionError, match="candidate_labels"):
        Transformers().predict(loaded, "zero-shot-classification", TEXTS)
    first, second = (
        Transformers().predict(loaded, "zero-shot-classification", TEXTS[:1], candidate_labels=labels)
        for labels in ("sport, science", ["sport", "science"])
    )
    assert first == second


def test_a_cross_encoders_activation_comes_from_a_closed_table(tmp_path: Path) -> None:
    loaded = load("text-ranking", tmp_path / "m")
    ask = [{"query": "who?", "documents": TEXTS}]
    squashed = Transformers().predict(loaded, "text-ranking", ask)[0]
    loaded.native.config.sentence_transformers = {"activation_fn": "torch.nn.modules.linear.Identity"}
    plain = Transformers().predict(loaded, "text-ranking", ask)[0]
    assert [row["index"] for row in plain] == [row["index"] for row in squashed]
    assert plain[0]["score"] != squashed[0]["score"]
    assert len(Transformers().predict(loaded, "text-ranking", ask, top_k=2)[0]) == 2
    loaded.native.config.sentence_transformers = {"activation_fn": "torch.utils.collect_env.main"}
    with pytest.raises(UnknownTypeError, match=r"collect_env.*nothing was imported"):
        Transformers().predict(loaded, "text-ranking", ask)


def test_every_name_of_the_table_is_the_function_it_names(tmp_path: Path) -> None:
    import torch

    from modelscope_ext.models.backends._transformers.text import _ACTIVATIONS

    loaded = load("text-ranking", tmp_path / "m")
    ask = [{"query": "who?", "documents": TEXTS}]

    def scores(name: str) -> torch.Tensor:
        loaded.native.config.sentence_transformers = {"activation_fn": name}
        (ranked,) = Transformers().predict(loaded, "text-ranking", ask)
        return torch.tensor([row["score"] for row in ranked])

    plain = scores("torch.nn.modules.linear.Identity")
    assert plain.max() - plain.min() > 0.1
    assert set(_ACTIVATIONS) >= {"torch.nn.Sigmoid", "torch.nn.Identity"}
    for name in _ACTIVATIONS:
        module = getattr(torch.nn, name.rpartition(".")[2])()
        assert torch.allclose(scores(name), module(plain), atol=1e-6), name


def test_answers_out_of_a_long_context(tmp_path: Path) -> None:
    loaded = load("question-answering", tmp_path / "m")
    ask = [{"question": "who?", "context": " ".join(TEXTS * 8)}]
    backend = Transformers()
    (answers,) = backend.predict(loaded, "question-answering", ask, top_k=4, doc_stride=8, max_seq_len=32)
    assert len({(a["start"], a["end"]) for a in answers}) == 4
    assert [a["score"] for a in answers] == sorted((a["score"] for a in answers), reverse=True)
    for answer in answers:
        assert ask[0]["context"][answer["start"] : answer["end"]] == answer["answer"]
    (few,) = backend.predict(loaded, "question-answering", ask, top_k=4, doc_stride=8, max_seq_len=32, batch_size=3)
    assert [a["answer"] for a in few] == [a["answer"] for a in answers]


def test_audio_files_are_resampled(tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    loaded = load("audio-classification", tmp_path / "m")
    tone = np.sin(np.arange(8000) / 8000 * 2 * np.pi * 200).astype(np.float32)
    soundfile.write(tmp_path / "tone.wav", np.stack([tone, tone], 1), 8000, subtype="FLOAT")
    fine = np.sin(np.arange(16000) / 16000 * 2 * np.pi * 200).astype(np.float32)
    backend = Transformers()
    (from_file,) = backend.predict(loaded, "audio-classification", [str(tmp_path / "tone.wav")])
    (from_array,) = backend.predict(loaded, "audio-classification", [{"raw": tone, "sampling_rate": 8000}])
    (direct,) = backend.predict(loaded, "audio-classification", [{"raw": fine, "sampling_rate": 16000}])
    assert from_file == from_array
    assert [row["label"] for row in from_file] == [row["label"] for row in direct]
    assert [row["score"] for row in from_file] == pytest.approx([row["score"] for row in direct], abs=0.02)


def test_timestamps_and_languages_mean_the_same_for_every_kind_of_model(tmp_path: Path) -> None:
    import numpy as np

    sound = (np.sin(np.arange(9000) / 7) * 0.5).astype(np.float32)
    task = "automatic-speech-recognition"
    spells, hears = load(task, tmp_path / "ctc"), load("whisper", tmp_path / "whisper", task)

    def ask(loaded: Loaded, **options: Any) -> Any:
        return Transformers().predict(loaded, task, [sound], **options)[0]

    assert ask(spells, return_timestamps=True) == ask(spells, return_timestamps="word")
    assert set(ask(spells)) == set(ask(hears)) == {"text"}
    told = ask(hears, return_language=True)
    assert set(told) == {"text", "language"}
    assert told["language"] in ("english", "french")
    both = ask(hears, return_language=True, return_timestamps=True)
    assert both["chunks"][0]["language"] == both["language"]
    for loaded, options, says in (
        (spells, {"language": "fr"}, "generates nothing: leave out language"),
        (spells, {"num_beams": 2, "return_language": True}, "leave out num_beams, return_language"),
        (hears, {"return_timestamps": "char"}, "Whisper cannot return `char` timestamps"),
        (hears, {"chunk_length_s": 1, "stride_length_s": 2}, "Chunk length must be superior"),
    ):
        with pytest.raises(OptionError, match=says):
            ask(loaded, **options)


def test_a_document_without_boxes_needs_tesseract(tmp_path: Path) -> None:
    from importlib.util import find_spec

    from PIL import Image

    from modelscope_ext.errors import MissingRequirement

    assert find_spec("pytesseract") is None
    loaded = load("document-question-answering", tmp_path / "m")
    ask = {"image": Image.new("RGB", (40, 40)), "question": "who?"}
    with pytest.raises(MissingRequirement, match=r"without word_boxes needs the package pytesseract: pip install"):
        Transformers().predict(loaded, "document-question-answering", [ask])


def test_pages_of_different_sizes_are_scored_as_if_alone(tmp_path: Path) -> None:
    """The library pads pages of one call to one length, and the padding takes part in its scores."""
    from PIL import Image

    loaded, task = load("colqwen2", tmp_path / "m", "visual-document-retrieval"), "visual-document-retrieval"
    pages = [Image.radial_gradient("L").resize(size).convert("RGB") for size in ((16, 16), (32, 24), (24, 32))]
    ask = {"query": "who lives in paris?", "documents": pages}
    alone = [Transformers().predict(loaded, task, [{**ask, "documents": [page]}])[0][0]["score"] for page in pages]
    for size in (1, 3):
        [ranked] = Transformers().predict(loaded, task, [ask], batch_size=size)
        assert [row["score"] for row in sorted(ranked, key=lambda r: r["index"])] == pytest.approx(alone, abs=1e-4)
    [best] = Transformers().predict(loaded, task, [ask], top_k=1)
    assert len(best) == 1


def test_a_video_needs_no_package_when_it_is_an_array(tmp_path: Path) -> None:
    import numpy as np

    loaded = load("video-classification", tmp_path / "m")
    frames = np.random.default_rng(0).integers(0, 255, (9, 20, 24, 3), dtype=np.uint8)
    every, second = (
        Transformers().predict(loaded, "video-classification", [frames], frame_sampling_rate=n)[0] for n in (1, 2)
    )
    picked = Transformers().predict(loaded, "video-classification", [frames[[0, 2, 4, 7]]])[0]
    assert every != second
    assert second == picked


@pytest.mark.parametrize(("family", "expected"), [("image-classification", [3]), ("object-detection", [1, 1, 1])])
def test_pictures_run_together_where_the_processor_makes_them_alike(
    family: str, expected: list[int], tmp_path: Path
) -> None:
    """Of three sizes, a processor with height and width makes one; one that keeps the proportions makes three."""
    from PIL import Image

    loaded = load(family, tmp_path / "m")
    images = [Image.radial_gradient("L").resize(size).convert("RGB") for size in ((48, 40), (40, 40), (64, 32))]
    seen: list[int] = []
    loaded.native.register_forward_pre_hook(
        lambda _module, args, keywords: seen.append(len((*args, *keywords.values())[0])), with_kwargs=True
    )
    Transformers().predict(loaded, family, images, batch_size=3)
    assert seen == expected


def test_a_url_in_a_chat_is_not_fetched(tmp_path: Path) -> None:
    loaded = load("image-text-to-text", tmp_path / "m")
    ask = [{"role": "user", "content": [{"type": "image", "url": "https://example.org/x.png"}]}]
    with pytest.raises(OptionError, match="fetched only where you say so"):
        Transformers().predict(loaded, "image-text-to-text", [{"text": ask}])


def test_an_image_and_a_text_become_a_chat(tmp_path: Path) -> None:
    from PIL import Image

    loaded = load("image-text-to-text", tmp_path / "m")
    image = Image.radial_gradient("L").convert("RGB")
    pieces = [{"type": "image", "image": image}, {"type": "text", "text": "what is this"}]
    backend = Transformers()
    (short,) = backend.predict(loaded, "image-text-to-text", [{"image": image, "text": "what is this"}])
    (long,) = backend.predict(loaded, "image-text-to-text", [{"text": [{"role": "user", "content": pieces}]}])
    assert short["generated_text"] == long["generated_text"][-1]["content"]


def test_a_spectrogram_model_needs_a_vocoder(tmp_path: Path) -> None:
    import transformers

    from tests.tiny._words import bert_tokenizer

    eights = ("hidden_size", "encoder_linear_units", "decoder_linear_units", "speech_decoder_postnet_units")
    channels = [f"{what}_predictor_channels" for what in ("duration", "energy", "pitch")]
    ones = ("encoder_layers", "decoder_layers", "encoder_num_attention_heads", "decoder_num_attention_heads")
    sizes = dict.fromkeys((*eights, *channels), 8) | dict.fromkeys(ones, 1)
    config = transformers.FastSpeech2ConformerConfig(vocab_size=160, num_mel_bins=4, **sizes)
    loaded = Transformers().wrap(transformers.FastSpeech2ConformerModel(config), tokenizer=bert_tokenizer())
    with pytest.raises(RedirectRefused, match="vocoder"):
        Transformers().predict(loaded, "text-to-audio", ["the cat"])


def test_a_part_that_only_another_task_needs_is_read_when_it_is_needed(tmp_path: Path) -> None:
    loaded = load("image-text-to-text", tmp_path / "m", "any-to-any")
    assert set(loaded.parts) == {"folder", "task", "processor"}


# objects of the caller


def test_an_object_of_the_caller(tmp_path: Path) -> None:
    from tests.tiny.transformers_ import make as made

    model, (tokenizer,) = made("text-classification", seed=1)
    folder = make("text-classification", tmp_path / "m", seed=1)
    loaded = Transformers().load(folder, resolution(folder, "text-classification"), Grants(), device="cpu")
    adopted = Transformers().adopt(model, preprocessor=tokenizer)
    assert adopted is not None
    assert adopted.parts["tasks"] == ("text-classification", "zero-shot-classification")
    ask = (TEXTS,)
    theirs = Transformers().predict(adopted, "text-classification", *ask, top_k=None)
    ours = Transformers().predict(loaded, "text-classification", *ask, top_k=None)
    for a, b in zip(theirs, ours, strict=True):
        assert [(r["label"], pytest.approx(r["score"])) for r in a] == [(r["label"], r["score"]) for r in b]


def test_an_object_without_its_tokenizer(tmp_path: Path) -> None:
    from tests.tiny.transformers_ import make as made

    with pytest.raises(OptionError, match=r"needs a tokenizer: pass it as preprocessor="):
        Transformers().predict(made("text-classification")[0], "text-classification", TEXTS)


@pytest.mark.parametrize("stranger", ["text", 3, None, object(), print])
def test_objects_of_others(stranger: Any) -> None:
    assert not Transformers().owns(stranger)
    assert Transformers().adopt(stranger) is None
    with pytest.raises(OptionError, match="expected a transformers model"):
        Transformers().wrap(stranger)


def test_asking_for_owners_imports_nothing() -> None:
    code = (
        "import sys; from modelscope_ext.models.backends.transformers_ import Transformers\n"
        "Transformers().adopt('x'); Transformers().tasks; Transformers().call_options\n"
        "sys.exit(bool({'torch', 'transformers', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3]).returncode == 0


# the snippet


SNIPPETS = [
    ("text-classification", "text-classification"),
    ("text-ranking", "text-ranking"),
    ("zero-shot-classification", "zero-shot-classification"),
    ("token-classification", "token-classification"),
    ("fill-mask", "fill-mask"),
    ("feature-extraction", "feature-extraction"),
    ("question-answering", "question-answering"),
    ("multiple-choice", "multiple-choice"),
    ("text-generation", "text-generation"),
    ("decision", "decision"),
    ("jev", "decision"),
    ("text2text-generation", "text2text-generation"),
    ("translation", "translation"),
    ("summarization", "summarization"),
    ("table-question-answering", "table-question-answering"),
    ("document-question-answering", "document-question-answering"),
    ("image-classification", "image-classification"),
    ("image-feature-extraction", "image-feature-extraction"),
    ("image-segmentation", "image-segmentation"),
    ("object-detection", "object-detection"),
    ("zero-shot-object-detection", "zero-shot-object-detection"),
    ("zero-shot-image-classification", "zero-shot-image-classification"),
    ("depth-estimation", "depth-estimation"),
    ("image-to-image", "image-to-image"),
    ("keypoint-detection", "keypoint-detection"),
    ("keypoint-matching", "keypoint-matching"),
    ("mask-generation", "mask-generation"),
    ("video-classification", "video-classification"),
    ("visual-question-answering", "visual-question-answering"),
    ("image-to-text", "image-to-text"),
    ("image-text-to-text", "image-text-to-text"),
    ("image-text-to-text", "any-to-any"),
    ("image-text-to-text", "video-text-to-text"),
    ("visual-document-retrieval", "visual-document-retrieval"),
    ("colqwen2", "visual-document-retrieval"),
    ("audio-text-to-text", "audio-text-to-text"),
    ("audio-classification", "audio-classification"),
    ("automatic-speech-recognition", "automatic-speech-recognition"),
    ("whisper", "automatic-speech-recognition"),
    ("zero-shot-audio-classification", "zero-shot-audio-classification"),
    ("text-to-audio", "text-to-audio"),
    ("text-to-audio", "text-to-speech"),
    ("time-series-forecasting", "time-series-forecasting"),
]

_RUN = """
import contextlib, io, json, sys
class Never:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "modelscope_ext":
            raise ImportError("the snippet must stand alone")
sys.meta_path.insert(0, Never())
said = {}
for name, code in json.loads(sys.stdin.read()).items():
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            exec(compile(code, name, "exec"), {})
        said[name] = out.getvalue()
    except BaseException as error:
        said[name] = f"FAILED {type(error).__name__}: {error}"
print(json.dumps(said))
"""


def test_the_snippets_run_on_their_own(tiny_root: Path) -> None:
    import json
    import os

    codes = {}
    for family, task in SNIPPETS:
        folder = make(family, tiny_root / "snippets" / family)
        named = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
        codes[f"{family}:{task}"] = Transformers().code(resolution(folder, task, *named))
    run = subprocess.run(
        [sys.executable, "-c", _RUN],
        input=json.dumps(codes),
        capture_output=True,
        text=True,
        env={**os.environ, **OFFLINE},
        cwd=tiny_root,
        timeout=200,
    )
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert {name: text for name, text in said.items() if not text.strip() or text.startswith("FAILED")} == {}
    assert {task for _, task in SNIPPETS} == set(Transformers.tasks)


def test_a_snippet_without_a_known_task() -> None:
    code = Transformers().code(Resolution(Source("local", path="m"), "pytorch", "transformers", ("robotics",)))
    assert code == "from transformers import AutoModel\n\nmodel = AutoModel.from_pretrained('m')"
