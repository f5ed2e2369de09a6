"""One call loads any model: framework, backend and task are worked out from the files, and explained.

Importing this package imports nothing heavy: the public names are loaded on first use (PEP 562).

Example:
    >>> import modelscope_ext
    >>> "pipeline" in dir(modelscope_ext)
    True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

#: Public name -> the module that defines it.
_WHERE = {
    "BACKENDS": "modelscope_ext.models.builder",
    "Backend": "modelscope_ext.models.backend",
    "Config": "modelscope_ext.utils.config",
    "ConfigDict": "modelscope_ext.utils.config",
    "Limits": "modelscope_ext.safety.limits",
    "MODELS": "modelscope_ext.models.builder",
    "Model": "modelscope_ext.models.base",
    "ModelMetadata": "modelscope_ext.models.metadata",
    "PIPELINES": "modelscope_ext.pipelines.builder",
    "PREPROCESSORS": "modelscope_ext.preprocessors",
    "Pipeline": "modelscope_ext.pipelines.base",
    "Plan": "modelscope_ext.models.resolution",
    "Resolution": "modelscope_ext.models.resolution",
    "Snapshot": "modelscope_ext.metadata.snapshot",
    "Tasks": "modelscope_ext.models.tasks",
    "build_model": "modelscope_ext.models.builder",
    "build_pipeline": "modelscope_ext.pipelines.builder",
    "build_preprocessor": "modelscope_ext.preprocessors",
    "pipeline": "modelscope_ext.pipelines.builder",
    "plan": "modelscope_ext.models.plan",
    "resolve": "modelscope_ext.models.resolve",
}

__all__ = ["__version__", *_WHERE]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})


if TYPE_CHECKING:
    from modelscope_ext.metadata.snapshot import Snapshot as Snapshot
    from modelscope_ext.models.backend import Backend as Backend
    from modelscope_ext.models.base import Model as Model
    from modelscope_ext.models.builder import BACKENDS as BACKENDS
    from modelscope_ext.models.builder import MODELS as MODELS
    from modelscope_ext.models.builder import build_model as build_model
    from modelscope_ext.models.metadata import ModelMetadata as ModelMetadata
    from modelscope_ext.models.plan import plan as plan
    from modelscope_ext.models.resolution import Plan as Plan
    from modelscope_ext.models.resolution import Resolution as Resolution
    from modelscope_ext.models.resolve import resolve as resolve
    from modelscope_ext.models.tasks import Tasks as Tasks
    from modelscope_ext.pipelines.base import Pipeline as Pipeline
    from modelscope_ext.pipelines.builder import PIPELINES as PIPELINES
    from modelscope_ext.pipelines.builder import build_pipeline as build_pipeline
    from modelscope_ext.pipelines.builder import pipeline as pipeline
    from modelscope_ext.preprocessors import PREPROCESSORS as PREPROCESSORS
    from modelscope_ext.preprocessors import build_preprocessor as build_preprocessor
    from modelscope_ext.safety.limits import Limits as Limits
    from modelscope_ext.utils.config import Config as Config
    from modelscope_ext.utils.config import ConfigDict as ConfigDict
