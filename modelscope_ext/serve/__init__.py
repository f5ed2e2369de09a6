"""A server that clients already speak to: OpenAI's interface, and the Open Inference Protocol for every task.

`app` makes an ASGI application of pipelines, for any ASGI server; `run` serves it with uvicorn. `ray_app` makes an
application of Ray Serve, whose replicas load the models and answer in the same way.

Example::

    from modelscope_ext import pipeline
    from modelscope_ext.serve import app

    application = app({"digits": pipeline(model="./digits")}, max_batch=32)
"""

from __future__ import annotations

from typing import Any

from modelscope_ext.serve.settings import Settings

__all__ = ["Settings", "app", "ray_app", "run"]


def app(models: Any, **settings: Any) -> Any:
    """Return the ASGI application that serves these models.

    Args:
        models: Name -> pipeline, or one pipeline, which is served under its model's name. They stay the caller's: the
            application does not close them.
        **settings: Fields of `Settings`.

    Raises:
        OptionError: A setting that nobody knows, no model, or a task whose inputs nobody describes.
        MissingRequirement: FastAPI or prometheus-client is not installed.
    """
    from modelscope_ext.serve.hosted import hosted
    from modelscope_ext.serve.needs import require

    require("fastapi", "prometheus_client")
    from modelscope_ext.serve.operations import build

    made = settings_of(settings)
    return build(hosted(models, made), made)


def ray_app(models: Any, *, replicas: int = 1, cpus: float = 1, gpus: float = 0, **settings: Any) -> Any:
    """Return an application of Ray Serve for these models, for `ray.serve.run` or a deployment's configuration.

    Args:
        models: Name -> a folder, a hub id, or a dict of `pipeline()`'s keywords with ``model`` in it. Each replica
            loads them itself, so they have to be found under the same path on every node.
        replicas: Processes, each with all models.
        cpus: Processors of each.
        gpus: GPUs of each.
        **settings: Fields of `Settings`; they hold for each replica.

    Raises:
        OptionError: A setting that nobody knows, no model, or a name that cannot stand in an address.
        MissingRequirement: Ray Serve, FastAPI or prometheus-client is not installed.

    Example::

        from ray import serve
        from modelscope_ext.serve import ray_app

        serve.run(ray_app({"chat": {"model": "./chat", "device": "cuda"}}, replicas=2, gpus=1))
    """
    from modelscope_ext.serve.ray_ import Replicas, application

    return application(models, Replicas(replicas, cpus, gpus), settings_of(settings))


def run(
    models: Any,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    ready: Any = None,
    allow_anonymous: bool = False,
    **settings: Any,
) -> None:
    """Serve these models until the process is told to stop (SIGTERM or Ctrl-C); what is in flight is answered first.

    Args:
        models: As for `app`.
        host: The address to listen at. On loopback only requests that name it are answered (`Settings.hosts`).
        port: 0 for any free one.
        ready: Called with the address, e.g. ``"http://127.0.0.1:8000"``, when requests are taken.
        allow_anonymous: Listen where others can reach it without a key.
        **settings: Fields of `Settings`.

    Raises:
        OptionError: As for `app`; or an address that others can reach, without a key.
        OSError: The address cannot be listened at.
    """
    from modelscope_ext.serve.needs import require

    require()
    from modelscope_ext.serve.server import serve

    serve(models, host, port, ready, settings_of(settings), anonymous=allow_anonymous)


def settings_of(given: dict[str, Any]) -> Settings:
    """Return settings, naming the nearest of one that nobody knows."""
    from dataclasses import fields

    from modelscope_ext.errors import OptionError
    from modelscope_ext.utils.text import did_you_mean, listing

    known = [field.name for field in fields(Settings)]
    for name in given:
        if name not in known:
            raise OptionError(f"unknown setting {name!r}.{did_you_mean(name, known)} There are: {listing(known, 20)}.")
    return Settings(**given)
