"""The table of tasks is complete: it is compared with the mappings of the installed transformers."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

from modelscope_ext.models.backends._transformers.tasks import GENERATION, NOT_SERVED, NOT_SERVED_MAPPINGS, ROWS
from modelscope_ext.models.backends.transformers_ import Transformers
from modelscope_ext.models.tasks import canonical
from tests.models.backends.transformers_cases import CASES


def test_every_task_of_the_table_has_a_case_that_compares_it_with_transformers() -> None:
    assert set(Transformers.tasks) == {case.task for case in CASES}


def test_names_of_tasks_are_canonical() -> None:
    assert [task for task in ROWS if canonical(task) != task] == []


def test_no_task_is_both_served_and_excused() -> None:
    assert set(ROWS) & set(NOT_SERVED) == set()


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_a_runner_exists(row) -> None:
    module, _, name = row.run.partition(".")
    runner = getattr(import_module(f"modelscope_ext.models.backends._transformers.{module}"), name)
    assert runner.__doc__


@pytest.mark.pt
def test_every_pipeline_of_transformers_is_served_or_excused() -> None:
    from transformers.pipelines import REMOVED_TASKS, SUPPORTED_TASKS, TASK_ALIASES

    theirs = {canonical(task) for task in (*SUPPORTED_TASKS, *TASK_ALIASES, *REMOVED_TASKS, "image-to-text")}
    assert theirs - set(ROWS) == set()


def test_every_task_that_the_resolver_gives_transformers_is_served_or_excused() -> None:
    from modelscope_ext.models.decision.tables import transformers

    given = {task for auto in transformers().autos for task in auto.tasks}
    assert given - set(ROWS) - set(NOT_SERVED) == set()


@pytest.mark.pt
def test_every_mapping_of_transformers_is_served_or_excused() -> None:
    from transformers.models.auto import modeling_auto

    mappings = {name for name in vars(modeling_auto) if re.fullmatch(r"MODEL_\w*NAMES", name)}
    served = {mapping_of(auto) for row in ROWS.values() for auto in row.autos if auto.startswith("Auto")}
    assert mappings - served == set(NOT_SERVED_MAPPINGS)
    assert served - mappings == set()


@pytest.mark.pt
def test_a_class_is_named_only_where_no_auto_class_leads_to_it() -> None:
    import transformers
    from transformers.models.auto import modeling_auto

    named = {auto for row in ROWS.values() for auto in row.autos if not auto.startswith("Auto")}
    mappings = (
        getattr(transformers, name)._model_mapping for name in modeling_auto.__all__ if name.startswith("AutoModelFor")
    )
    led_to = {one for mapping in mappings for one in mapping._model_mapping.values()} - {"AutoModelForPreTraining"}
    pretraining = set(modeling_auto.MODEL_FOR_PRETRAINING_MAPPING_NAMES.values())
    assert named
    assert named & (led_to - pretraining) == set()
    assert all(getattr(transformers, name).config_class for name in named)


def mapping_of(auto: str) -> str:
    """The name of the mapping that an auto class stands for."""
    import transformers
    from transformers.models.auto import modeling_auto

    found = getattr(transformers, auto)._model_mapping._model_mapping
    return next(name for name, value in vars(modeling_auto).items() if value is found and name.endswith("NAMES"))


@pytest.mark.pt
def test_every_pipeline_class_named_is_the_one_of_its_task() -> None:
    from transformers.pipelines import SUPPORTED_TASKS

    named = {task: row.pipeline for task, row in ROWS.items() if row.pipeline}
    assert set(named) - set(SUPPORTED_TASKS) == {"text-to-speech"}
    for task, name in named.items():
        if task in SUPPORTED_TASKS:
            assert str(SUPPORTED_TASKS[task]["impl"]).endswith(f".{name}")


@pytest.mark.pt
def test_generation_options_are_those_of_transformers() -> None:
    from transformers import GenerationConfig

    assert set(GENERATION) - set(vars(GenerationConfig())) == {"seed"}
