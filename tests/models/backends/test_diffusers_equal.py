"""Every tiny pipeline, loaded with no task, gives what the library gives, called by itself in another process."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelscope_ext import pipeline, resolve
from modelscope_ext.models.schemas import check_output
from tests.equality import assert_close, assert_equal
from tests.models.backends.diffusers_cases import CASES, REFERENCE, Case, flat, opened, write_pictures
from tests.reference import reference
from tests.tiny.diffusers_ import FAMILIES, build

pytestmark = pytest.mark.pt

SEED = 11
STEPS = {"num_inference_steps": 2}
#: Pictures are rounded to 255 steps, and sums of floats in another order may round to the next.
PIXEL = 1.01 / 255


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pipelines")
    for family in {case.family for case in CASES}:
        build(family, root / family)
    write_pictures(root)
    return root


@pytest.fixture(scope="module")
def theirs(folder: Path) -> dict:
    def asked(case: Case) -> dict:
        return {
            "id": case.id, "task": case.task, "folder": str(folder / case.family), "media": str(folder), "seed": SEED,
            "inputs": case.inputs, "options": {**STEPS, **case.options}, "load": case.load,
        }  # fmt: skip

    return reference(REFERENCE, [asked(case) for case in CASES])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_it_answers_as_the_library_does(case: Case, folder: Path, theirs: dict) -> None:
    expected = theirs[case.id]
    assert not isinstance(expected, str), expected
    own = FAMILIES[case.family][1]
    task = None if case.task == own[0] else case.task
    options = {**STEPS, **case.options}
    if case.task != "unconditional-image-generation":
        options["seed"] = SEED
    with pipeline(task, folder / case.family, device="cpu", **case.load) as pipe:
        assert pipe.task == case.task
        inputs = opened(case.inputs, folder)
        answers = pipe(inputs, **options)
        together = pipe(inputs, batch_size=2, **options)
    for answer in answers:
        check_output(case.task, answer)
    # One by one pixels are the same; answers that lie further apart than three of their 255 steps tell inputs apart.
    assert_equal([flat(answer) for answer in answers], expected, inputs=case.inputs, tolerance=1e-4)
    assert_close([flat(answer) for answer in together], expected, PIXEL)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_files_say_what_it_is_for(family: str, folder: Path) -> None:
    found = resolve(folder / family, installed=False)
    assert (found.backend, found.framework, found.tasks) == ("diffusers", "pytorch", FAMILIES[family][1])
