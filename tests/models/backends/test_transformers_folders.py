"""Every tiny family through `pipeline()`: one input, a list, a generator; and saved, resolved and loaded again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelscope_ext.models.backends._transformers.tasks import ROWS
from modelscope_ext.models.schemas import check_output
from tests.equality import assert_close
from tests.models.backends.test_transformers_equal import place
from tests.models.backends.transformers_cases import CASES, Case, flat, opened, write_media

pytestmark = pytest.mark.pt

#: One case for every family and task.
CHOSEN = list({(case.family, case.task): case for case in reversed(CASES)}.values())[::-1]


class Rows:
    """A data set: it has a length and its rows have numbers, and nothing else."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Any:
        return self.rows[number]


@dataclass
class Asked:
    """A case, what was loaded from its folder, where that was saved before its first call, and its answers."""

    pipe: Any
    saved: Path
    inputs: list[Any]
    answers: list[Any]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory, tiny_root: Path):
    from modelscope_ext import pipeline

    root = tmp_path_factory.mktemp("folders")
    write_media(root)
    made: dict[str, Asked] = {}

    def get(case: Case) -> Asked:
        if case.id not in made:
            pipe = pipeline(case.task, place(case, tiny_root), backend="transformers", device="cpu")
            saved = root / f"saved{len(made)}"
            pipe.model.save_pretrained(saved)
            inputs = opened(case.inputs[:2], root)
            made[case.id] = Asked(pipe, saved, inputs, [flat(a) for a in pipe(inputs, **case.options)])
        return made[case.id]

    return get


def test_every_task_is_here() -> None:
    from modelscope_ext.models.backends.transformers_ import Transformers

    assert {case.task for case in CHOSEN} == set(Transformers.tasks)


@pytest.mark.parametrize("case", CHOSEN, ids=lambda case: case.id)
def test_an_answer_comes_as_it_was_asked_for(case: Case, ask) -> None:
    asked = ask(case)
    pipe, inputs, options = asked.pipe, asked.inputs, case.options
    assert len(asked.answers) == len(inputs)
    assert_close(flat(pipe(inputs[-1], **options)), asked.answers[-1])
    assert_close([flat(a) for a in pipe(inputs[-1:], **options)], asked.answers[-1:])
    walked = pipe((one for one in inputs), batch_size=2, **options)
    assert iter(walked) is walked
    assert_close([flat(a) for a in walked], asked.answers)
    assert_close(flat(next(pipe(Rows(inputs), **options))), asked.answers[0])
    assert pipe([], **options) == []


@pytest.mark.parametrize("case", CHOSEN, ids=lambda case: case.id)
def test_what_is_saved_is_the_same_model(case: Case, ask) -> None:
    """The same decisions and answers; tokenizers and processors that no call had needed yet are there too."""
    from modelscope_ext import pipeline

    asked = ask(case)
    again = pipeline(model=asked.saved, device="cpu")
    before, after = asked.pipe.resolution, again.resolution
    for name in ("backend", "framework", "tasks", "default_task", "model_type"):
        assert getattr(after, name) == getattr(before, name), name
    assert again.task == case.task
    assert_close(flat(again(asked.inputs[0], **case.options)), asked.answers[0])


#: One case for every runner.
RUN = list({ROWS[case.task].run: case for case in reversed(CHOSEN)}.values())[::-1]


@pytest.mark.parametrize(("number", "case"), list(enumerate(RUN)), ids=lambda one: getattr(one, "id", ""))
def test_half_precision_and_a_device_map_give_an_answer_of_the_schema(number: int, case: Case, ask) -> None:
    """numpy knows no bfloat16, and some libraries' steps between two layers know no half at all."""
    import torch

    from modelscope_ext import pipeline

    dtype = ("bfloat16", "float16")[number % 2]
    folder, where = ask(case).saved, {"device_map": ("auto", {"": "cpu"})[number % 3 > 0]}
    pipe = pipeline(case.task, folder, dtype=dtype, **where)
    assert pipe.model.native.dtype is getattr(torch, dtype)
    assert pipe.model.device == "cpu"
    answer = pipe(ask(case).inputs[0], **case.options)
    if "num_return_sequences" not in case.options:
        check_output(case.task, answer, options=case.options)
