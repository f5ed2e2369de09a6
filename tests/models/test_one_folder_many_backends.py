"""One folder, every backend that can load it: the same answers, and those of the library itself.

No row names a task: each backend finds it in the files, with sockets blocked. Two answers are the same within
`TOLERANCE` (1e-4, relative where a number exceeds one); labels, tokens and order have to be equal. The library is
asked in a process that never imports this package, and `assert_equal` refuses rows whose answers tell nothing apart.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from modelscope_ext import BACKENDS, pipeline, resolve
from modelscope_ext.models.schemas import check_output
from tests.equality import TOLERANCE, assert_close, assert_equal
from tests.models.backends.onnx_cases import TEXTS, sentence
from tests.reference import reference

pytestmark = pytest.mark.pt

PIPELINE = """
from transformers import pipeline
pipe = pipeline(arg["task"], model=arg["folder"], device="cpu")
result = [pipe(one, **arg["options"]) for one in arg["inputs"]]
if arg["task"] in ("feature-extraction", "text-classification", "text-generation"):
    result = [one[0] for one in result]
"""

RANK = """
from sentence_transformers import CrossEncoder
model = CrossEncoder(arg["folder"], local_files_only=True, device="cpu")
result = []
for item in arg["inputs"]:
    rows = [(row["corpus_id"], float(row["score"])) for row in model.rank(item["query"], item["documents"])]
    result.append([{"index": i, "score": score, "document": item["documents"][i]} for i, score in rows])
"""

SIMILARITY = """
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(arg["folder"], local_files_only=True, device="cpu")
result = []
for item in arg["inputs"]:
    vectors = model.encode([item["source_sentence"], *item["sentences"]])
    result.append(model.similarity(vectors[:1], vectors[1:])[0])
"""

VECTORS = """
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(arg["folder"], local_files_only=True, device="cpu")
result = [model.encode(text) for text in arg["inputs"]]
"""

PICTURES = """
import numpy, torch
from diffusers import DiffusionPipeline
pipe = DiffusionPipeline.from_pretrained(arg["folder"], local_files_only=True, use_safetensors=True)
pipe.set_progress_bar_config(disable=True)
result = []
for one in arg["inputs"]:
    options = dict(arg["options"])
    generator = torch.Generator().manual_seed(options.pop("seed", one))
    named = {} if isinstance(one, int) else {"prompt": one}
    result.append(numpy.asarray(pipe(**named, **options, generator=generator).images[0]))
"""

RANKED = (
    {"query": "where is john", "documents": ["john lives in london", "the cat eats", "fish"]},
    {"query": "the bird", "documents": ["a bird sings", "no"]},
)
SIMILAR = (
    {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]},
    {"source_sentence": "a dog", "sentences": ["the dog ran", "john lives in paris"]},
)
EAGER = {"compiler": "torch", "compiler_options": {"backend": "eager"}}


@dataclass(frozen=True)
class Case:
    """One folder.

    Attributes:
        name: Of the folder.
        build: Writes it.
        task: What every backend takes it for.
        backends: Those that can load it, first the one that is chosen unasked.
        script: Asks the library itself.
        inputs: What is asked.
        options: Of the call.
        loading: Options of a load, by backend.
    """

    name: str
    build: Callable[[str, Path], Path]
    task: str
    backends: tuple[str, ...]
    script: str
    inputs: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    loading: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def exported(name: str, folder: Path) -> Path:
    """A model of transformers, its weights and its graph in one folder."""
    from tests.tiny import onnx_

    return onnx_.build(name, folder)


def embedder(name: str, folder: Path) -> Path:
    """A model of sentence-transformers with its graph."""
    made = exported("feature-extraction", folder)
    sentence(made, {"pooling_mode": name})
    return made


def classifier(name: str, folder: Path) -> Path:
    """A model of transformers that looks at pictures, its graph, and the pictures beside them."""
    import numpy
    from PIL import Image

    made = exported(name, folder)
    random = numpy.random.default_rng(0)
    for number, size in enumerate([(16, 16), (40, 24), (31, 64)]):
        Image.fromarray(random.integers(0, 256, (*size, 3), numpy.uint8)).save(folder / f"{number}.png")
    return made


def quantised(name: str, folder: Path) -> Path:
    """A model of transformers, and the same weights as a GGUF file of llama.cpp."""
    import transformers

    from tests.tiny import gguf_
    from tests.tiny.diffusers_ import quiet

    gguf_.build(name, folder)
    with quiet():
        transformers.AutoTokenizer.from_pretrained(folder, gguf_file="tiny-F32.gguf").save_pretrained(folder)
        gguf_.model(name).save_pretrained(folder)
    return folder


def painter(name: str, folder: Path) -> Path:
    """A pipeline of diffusers."""
    from tests.tiny import diffusers_

    return diffusers_.build(name, folder)


def _text(name: str, inputs: Any = TEXTS, **options: Any) -> Case:
    return Case(name, exported, name, ("transformers", "onnxruntime"), PIPELINE, tuple(inputs), options)


CASES = (
    _text("text-classification"),
    _text("token-classification", ["Hello John, parisian cats work!", "the london catdog", "mary's house is 42"]),
    _text("fill-mask", ["the [MASK] sat", "john [MASK] mary"]),
    _text("feature-extraction"),
    _text("text-generation", max_new_tokens=9, do_sample=False),
    Case(
        "image-classification", classifier, "image-classification", ("transformers", "onnxruntime"), PIPELINE,
        ("0.png", "1.png", "2.png"), {"top_k": 2},
    ),
    Case(
        "llama", quantised, "text-generation", ("transformers", "gguf"), PIPELINE, ("the cat", "a dog"),
        {"max_new_tokens": 9, "do_sample": False},
    ),
    Case(
        "text-ranking", exported, "text-ranking", ("sentence-transformers", "transformers", "onnxruntime"), RANK, RANKED
    ),
    Case("mean", embedder, "sentence-similarity", ("sentence-transformers", "onnxruntime"), SIMILARITY, SIMILAR),
    Case(
        "stable-diffusion", painter, "text-to-image", ("diffusers", "onediff"), PICTURES,
        ("a red house", "two small birds"), {"num_inference_steps": 2, "seed": 3}, {"onediff": EAGER},
    ),
    Case(
        "ddpm", painter, "unconditional-image-generation", ("diffusers", "onediff"), PICTURES,
        (1, 2), {"num_inference_steps": 2}, {"onediff": EAGER},
    ),
)  # fmt: skip

#: Backends that load a folder too, but make something else of it; a test of its own says what.
_OF_ANOTHER_TASK = {"mean": {"transformers"}}
#: Backends that are no alternative unasked: beside the weights themselves a GGUF file is a copy, as a rule a lossy one.
_ONLY_ASKED = {"llama": {"gguf"}}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Path]:
    root = tmp_path_factory.mktemp("folders")

    def get(case: Case) -> Path:
        folder = root / case.name
        return folder if folder.is_dir() else case.build(case.name, folder)

    return get


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def test_every_backend_gives_the_answers_of_the_library_itself(case: Case, folder_of: Callable[[Case], Path]) -> None:
    folder = folder_of(case)
    inputs = [str(folder / one) if str(one).endswith(".png") else one for one in case.inputs]
    job = {"task": case.task, "folder": str(folder), "inputs": inputs, "options": dict(case.options)}
    theirs = reference(case.script, job)
    found = {}
    for number, name in enumerate(case.backends):
        asked = {"backend": name, **case.loading.get(name, {})} if number else {}
        with pipeline(model=folder, device="cpu", **asked) as pipe:
            assert (pipe.model.backend, pipe.task) == (name, case.task)
            answers = pipe(inputs, **case.options)
        for answer, one in zip(answers, inputs, strict=True):
            check_output(case.task, answer, one, options=case.options)
        found[name] = [flat(answer) for answer in answers]
        assert_equal(found[name], theirs, inputs=inputs)
    first, *others = found.values()
    for other in others:
        assert_close(other, first, TOLERANCE)


def test_no_backend_that_can_load_a_folder_is_left_out(case: Case, folder_of: Callable[[Case], Path]) -> None:
    folder = folder_of(case)
    info = resolve(folder)
    able = [info.backend, *(one.backend for one in info.alternatives if one.backend in BACKENDS)]
    here = {name for name in able if not resolve(folder, backend=name).missing}
    assert info.backend == case.backends[0]
    assert here == {*case.backends, *_OF_ANOTHER_TASK.get(case.name, ())} - _ONLY_ASKED.get(case.name, set())


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_sentence_vectors_are_the_pooled_token_vectors_of_transformers(tmp_path: Path, pooling: str) -> None:
    """transformers knows nothing of modules.json and gives a vector for each token, the others one for the text."""
    import numpy

    folder = embedder(pooling, tmp_path / "model")
    shorter = [text for text in TEXTS if len(text.split()) < 10]  # sentence_bert_config.json cuts at 12 tokens
    with pipeline(model=folder, backend="transformers", device="cpu") as pipe:
        tokens = pipe(shorter)
        assert pipe.task == "feature-extraction"
    pooled = {"mean": lambda one: one.mean(0), "cls": lambda one: one[0], "max": lambda one: one.max(0)}[pooling]
    whole = [vector / numpy.linalg.norm(vector) for vector in map(pooled, tokens)]
    assert_equal(whole, reference(VECTORS, {"folder": str(folder), "inputs": shorter}))
    for backend in ("sentence-transformers", "onnxruntime"):
        with pipeline("feature-extraction", folder, backend=backend, device="cpu") as pipe:
            assert_close([list(vector) for vector in pipe(shorter)], [list(vector) for vector in whole])


def test_a_folder_without_one_kind_of_weights_is_the_others(tmp_path: Path) -> None:
    """What a backend cannot read it is not asked for, and who asks for it is told what there is."""
    from modelscope_ext.errors import ModelScopeExtError

    folder = exported("text-classification", tmp_path / "both")
    graph = Path(shutil.copytree(folder, tmp_path / "graph"))
    (graph / "model.safetensors").unlink()
    weights = Path(shutil.copytree(folder, tmp_path / "weights"))
    shutil.rmtree(weights / "onnx")
    answers = []
    for place, backend in ((graph, "onnxruntime"), (weights, "transformers")):
        with pipeline(model=place, device="cpu") as pipe:
            assert pipe.model.backend == backend
            answers.append(pipe(TEXTS))
    assert_equal(*answers)
    for place, backend, said in ((graph, "transformers", "weights"), (weights, "onnxruntime", ".onnx")):
        with pytest.raises(ModelScopeExtError, match=said):
            pipeline(model=place, backend=backend)


def flat(answer: Any) -> Any:
    """Return what can be compared: a picture's pixels, an array's numbers."""
    import numpy

    return numpy.asarray(answer).tolist() if hasattr(answer, "getpixel") or hasattr(answer, "tolist") else answer
