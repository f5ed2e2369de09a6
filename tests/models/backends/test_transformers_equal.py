"""Every family of task gives what transformers itself gives, asked in a process that never imports this package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelscope_ext.metadata.snapshot import Source
from modelscope_ext.models.backends.transformers_ import Transformers
from modelscope_ext.models.resolution import Resolution
from modelscope_ext.models.schemas import check_output, normalise
from modelscope_ext.safety.grants import Grants
from tests.equality import assert_equal
from tests.models.backends.transformers_cases import CASES, REFERENCE, Case, flat, opened, write_media
from tests.reference import reference

pytestmark = pytest.mark.pt


def place(case: Case, root: Path) -> Path:
    """The folder of the case's tiny model, built once."""
    from tests.tiny.transformers_ import build

    folder = root / "equal" / f"{case.family}-{case.seed}"
    return folder if folder.exists() else build(case.family, folder, seed=case.seed)


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    write_media(folder)
    return folder


@pytest.fixture(scope="module")
def native(media: Path, tiny_root: Path) -> dict[str, list[Any]]:
    """What transformers answers to all cases."""
    jobs = [
        {
            "id": case.id,
            "task": case.task,
            "folder": str(place(case, tiny_root)),
            "media": str(media),
            "inputs": case.inputs,
            "options": case.options,
        }
        for case in CASES
    ]
    return reference(REFERENCE, jobs)


@pytest.fixture(scope="module")
def load(tiny_root: Path):
    loaded: dict[tuple[str, str, int], Any] = {}

    def get(case: Case) -> Any:
        key = (case.family, case.task, case.seed)
        if key not in loaded:
            folder = place(case, tiny_root)
            resolution = Resolution(Source("local", path=str(folder)), "pytorch", "transformers", (case.task,))
            loaded[key] = Transformers().load(folder, resolution, Grants(), device="cpu")
        return loaded[key]

    return get


def items_of(case: Case, media: Path) -> list[Any]:
    return normalise(case.task, opened(case.inputs, media))[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_answers_are_those_of_transformers(case: Case, media: Path, native: dict[str, Any], load) -> None:
    items = items_of(case, media)
    ours = Transformers().predict(load(case), case.task, items, **case.options)
    for output, item in zip(ours, items, strict=True):
        if not isinstance(output, list) or "num_return_sequences" not in case.options:
            check_output(case.task, output, item, options=case.options)
    assert_equal([flat(output) for output in ours], native[case.id], inputs=case.inputs)


BATCHED = [c for c in CASES if len(c.inputs) > 1 and not c.options]


@pytest.mark.parametrize("case", BATCHED, ids=lambda case: case.id)
def test_a_batch_gives_what_single_inputs_give(case: Case, media: Path, native: dict[str, Any], load) -> None:
    ours = Transformers().predict(load(case), case.task, items_of(case, media), batch_size=3)
    assert_equal([flat(output) for output in ours], native[case.id], inputs=case.inputs)
