"""Every task that is one pass of a graph: exported by this package, run by onnxruntime, as transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelscope_ext.models.backends._transformers.graphs import GRAPHS
from modelscope_ext.models.backends.onnx_ import Onnx
from modelscope_ext.models.export import export
from modelscope_ext.models.schemas import check_output, normalise
from tests.equality import assert_equal
from tests.models.backends.onnx_cases import load as load_folder
from tests.models.backends.transformers_cases import CASES as ALL
from tests.models.backends.transformers_cases import REFERENCE, Case, flat, opened, picture, sound, write_media
from tests.reference import reference

pytestmark = pytest.mark.pt

_PICTURES = [picture(0), picture(1), picture(2)]
_SOUNDS = [sound(0), sound(1), sound(2)]

#: What the shared cases leave out: other ways to read the same numbers, and other kinds of processors.
MORE = [
    Case("conditional-detr", "object-detection", _PICTURES, {"threshold": 0.0}),
    Case("siglip", "zero-shot-image-classification", _PICTURES, {"candidate_labels": ["cat", "dog", "sport"]}),
    Case("ast", "audio-classification", _SOUNDS),
    Case("audio-classification", "audio-classification", _SOUNDS, {"top_k": 2, "function_to_apply": "sigmoid"}, seed=1),
    Case("normalised-audio", "audio-classification", _SOUNDS, seed=1),
    Case(
        "automatic-speech-recognition", "automatic-speech-recognition", _SOUNDS, {"return_timestamps": "word"}, note="s"
    ),
    Case(
        "automatic-speech-recognition",
        "automatic-speech-recognition",
        _SOUNDS,
        {"chunk_length_s": 0.1, "stride_length_s": [0.02, 0.01], "return_timestamps": "char"},
        note=":letters",
    ),
]
_TASKS = {task for task, row in GRAPHS.items() if row.examples != "prompts"}
CASES = [
    *(c for c in ALL if c.task in _TASKS and c.family != "whisper" and set(c.options) <= {*Onnx.call_options[c.task]}),
    *MORE,
]


def source(case: Case, root: Path) -> Path:
    """The folder of the case's tiny model, built once."""
    from tests.tiny import passes

    folder = root / "passes" / f"{case.family}-{case.seed}"
    return folder if folder.exists() else passes.build(case.family, folder, seed=case.seed)


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    write_media(folder)
    return folder


@pytest.fixture(scope="module")
def native(media: Path, tiny_root: Path) -> dict[str, list[Any]]:
    """What transformers answers to all cases, from the PyTorch weights."""
    jobs = [
        {
            "id": case.id,
            "task": case.task,
            "folder": str(source(case, tiny_root)),
            "media": str(media),
            "inputs": case.inputs,
            "options": case.options,
        }
        for case in CASES
    ]
    return reference(REFERENCE, jobs)


@pytest.fixture(scope="module")
def load(tiny_root: Path):
    """Return a function that loads the ONNX copy of a case's model; no PyTorch weights are beside it."""
    loaded: dict[tuple[str, str, int], Any] = {}

    def get(case: Case) -> Any:
        key = (case.family, case.task, case.seed)
        if key not in loaded:
            folder = tiny_root / "passes" / "-".join(map(str, ("onnx", *key)))
            if not folder.exists():
                export(str(source(case, tiny_root)), folder, task=case.task, backend="transformers")
            loaded[key] = load_folder(folder)
        return loaded[key]

    return get


#: Task -> where its answer holds a picture made of numbers by rounding; None where it is nothing else.
_SHADES = {"depth-estimation": "depth", "image-to-image": None}


def assert_alike(ours: list[Any], theirs: list[Any], case: Case) -> None:
    """Compare with transformers; a shade of grey may be the next one, where its number lies between two."""
    import numpy as np

    if case.task in _SHADES:
        key, means = _SHADES[case.task], ([], [])
        for one, other in zip(ours, theirs, strict=True):
            shades = [np.asarray(value if key is None else value[key]) for value in (one, other)]
            assert shades[0].shape == shades[1].shape
            assert np.abs(shades[0] - shades[1]).max() <= 1
            assert (shades[0] != shades[1]).mean() < 0.01
            assert np.ptp(shades[1]) > 100
            for held, shade in zip(means, shades, strict=True):
                held.append(shade.mean(axis=0).tolist())
        if key is None:
            assert_equal(*means, tolerance=0.02)
            return
        ours, theirs = ([{k: v for k, v in one.items() if k != key} for one in both] for both in (ours, theirs))
    assert_equal(ours, theirs, inputs=case.inputs)


def items_of(case: Case, media: Path) -> list[Any]:
    return normalise(case.task, opened(case.inputs, media))[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_answers_are_those_of_transformers(case: Case, media: Path, native: dict[str, Any], load) -> None:
    items = items_of(case, media)
    ours = Onnx().predict(load(case), case.task, items, **case.options)
    for output, item in zip(ours, items, strict=True):
        check_output(case.task, output, item, options=case.options)
    assert_alike([flat(output) for output in ours], native[case.id], case)


@pytest.mark.parametrize("case", [c for c in CASES if len(c.inputs) > 1], ids=lambda case: case.id)
def test_single_inputs_give_what_a_batch_gives(case: Case, media: Path, native: dict[str, Any], load) -> None:
    items = items_of(case, media)
    ours = [Onnx().predict(load(case), case.task, [item], batch_size=1, **case.options)[0] for item in items]
    assert_alike([flat(output) for output in ours], native[case.id], case)


_LONG = " ".join(["john works at london and mary lives in paris and the small dog sat on the big mat"] * 6)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 3},
        {"max_seq_len": 24, "doc_stride": 6},
        {"max_answer_len": 1, "top_k": 2},
        {"handle_impossible_answer": True, "top_k": 5, "max_seq_len": 40},
    ],
    ids=lambda options: "+".join(options) or "plain",
)
def test_long_contexts_are_read_in_the_windows_of_the_transformers_backend(tiny_root: Path, load, options) -> None:
    from modelscope_ext.models.backends.transformers_ import Transformers
    from modelscope_ext.models.resolution import Resolution, Source
    from modelscope_ext.safety.grants import Grants

    case = next(c for c in CASES if c.task == "question-answering")
    folder = source(case, tiny_root)
    decided = Resolution(Source("local", path=str(folder)), "pytorch", "transformers", (case.task,))
    theirs = Transformers().load(folder, decided, Grants(), device="cpu")
    asked = [
        {"question": "who lives in paris?", "context": _LONG},
        {"question": "what sat?", "context": f"where the red cat is {_LONG}"},
    ]
    ours = Onnx().predict(load(case), case.task, asked, **options)
    assert_equal(ours, Transformers().predict(theirs, case.task, asked, **options))


def test_every_exported_task_has_a_case() -> None:
    assert len({case.id for case in CASES}) == len(CASES)
    assert {case.task for case in CASES} == _TASKS
