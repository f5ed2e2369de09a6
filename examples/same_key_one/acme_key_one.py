"""Registers a name and a condition that the other package registers as well."""

from modelscope_ext import MODELS, Model


@MODELS.register_module("text-classification", module_name="acme-key")
class One(Model): ...


@MODELS.register_module(task="text-classification", model_type="acme-key")
class ChosenOne(Model): ...
