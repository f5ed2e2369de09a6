"""Registers the two classes; both entry points of `pyproject.toml` name this module."""

from modelscope_ext import MODELS, PIPELINES, Tasks

from .modeling import KeywordClassifier, KeywordPipeline

MODELS.register_module(Tasks.text_classification, module_name="acme-keywords", module_cls=KeywordClassifier)
PIPELINES.register_module(Tasks.text_classification, "acme-keywords-pipeline", KeywordPipeline)
