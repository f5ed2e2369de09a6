"""The same server on Ray Serve, for those who run Ray already: each replica loads the models and answers by itself.

Replicas run what `modelscope_ext.serve.app` makes, so that requests, limits, batches and errors are those of the server
of one process. Limits hold for each replica, and ``/metrics`` is that of the one that answers.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import Any

from modelscope_ext.batch._ray_driver import connect
from modelscope_ext.batch.ray_ import settings_of_ray
from modelscope_ext.errors import ModelScopeExtError, OptionError
from modelscope_ext.serve.hosted import check_name
from modelscope_ext.serve.log import logger
from modelscope_ext.serve.needs import OF_RAY, require
from modelscope_ext.serve.server import listen, reached_at, shown
from modelscope_ext.serve.settings import Settings
from modelscope_ext.utils.text import printable

__all__ = ["Replicas", "application", "serve"]

#: Of the application on the cluster, beside which others may run.
_NAME = "modelscope-ext"
#: Requests that Ray gives a replica beyond those that it answers at the same time: it refuses them itself, with 429.
_BEYOND = 16


@dataclass(frozen=True)
class Replicas:
    """How often and with what the models are loaded.

    Attributes:
        count: Processes, each with all models.
        cpus: Processors of each.
        gpus: GPUs of each.
        address: Of the cluster, ``"auto"`` or ``"host:6379"``; None starts one on this machine.

    Raises:
        OptionError: A number that is none, or too small.
    """

    count: int = 1
    cpus: float = 1
    gpus: float = 0
    address: str | None = None

    def __post_init__(self) -> None:
        if type(self.count) is not int or self.count < 1:
            raise OptionError(f"replicas={printable(repr(self.count))}: expected a whole number of at least 1")
        for name, value in {"cpus": self.cpus, "gpus": self.gpus}.items():
            if type(value) not in (int, float) or not 0 <= value < inf:
                raise OptionError(f"{name}={printable(repr(value))}: expected a number of at least 0")


def application(models: Mapping[str, Any], replicas: Replicas, settings: Settings) -> Any:
    """Return the application of Ray Serve; see `modelscope_ext.serve.ray_app`."""
    return _application(_loads(models), replicas, settings, alone=False)


def _application(loads: Mapping[str, Any], replicas: Replicas, settings: Settings, *, alone: bool) -> Any:
    require(*OF_RAY, extra="ray-serve")
    from ray import serve

    def build() -> Any:
        from modelscope_ext.serve.ray_ import loaded

        return loaded(loads, settings, alone=alone)

    return serve.deployment(
        name="models",
        num_replicas=replicas.count,
        ray_actor_options={"num_cpus": replicas.cpus, "num_gpus": replicas.gpus},
        max_ongoing_requests=settings.max_requests + _BEYOND,
        graceful_shutdown_timeout_s=settings.grace,
        max_constructor_retry_count=1,  # a model that cannot be loaded cannot be loaded again
    )(serve.ingress(build)()).bind()


def loaded(loads: Mapping[str, Mapping[str, Any]], settings: Settings, *, alone: bool) -> Any:
    """Load the models in the process of a replica and return the ASGI application, which lives as long as they.

    Args:
        loads: Name -> keywords of `pipeline()`.
        settings: Of the server.
        alone: The cluster is one of this machine, and is to be reached from nowhere else.
    """
    from modelscope_ext.pipelines.builder import pipeline
    from modelscope_ext.serve.hosted import hosted
    from modelscope_ext.serve.log import configure
    from modelscope_ext.serve.operations import build

    configure()
    if alone:
        _stay_on_loopback()
    return build(hosted({name: pipeline(**load) for name, load in loads.items()}, settings), settings)


def _stay_on_loopback() -> None:
    """Let a replica take Ray's own calls, which hold pickles, from this machine only.

    Ray Serve 2.60 has no setting for it: a replica listens at every interface, whatever the address of its cluster is.
    """
    from ray.serve._private import replica

    listen_at = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, at: listen_at(server, at.replace("[::]", "127.0.0.1"))


def _loads(models: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    if not isinstance(models, Mapping) or not models:
        raise OptionError("models: expected a dict of name and model, with at least one")
    out: dict[str, dict[str, Any]] = {}
    for name, model in models.items():
        check_name(name)
        load = {"model": os.fspath(model)} if isinstance(model, str | os.PathLike) else model
        if not isinstance(load, Mapping) or "model" not in load:
            raise OptionError(
                f"models[{name!r}]: expected a folder, a hub id, or a dict of pipeline()'s keywords with model in it;"
                f" got {type(model).__name__}. Each replica loads the model itself"
            )
        out[name] = dict(load)
    return out


def serve(
    models: Mapping[str, Any],
    host: str,
    port: int,
    ready: Callable[[str], None] | None,
    settings: Settings,
    replicas: Replicas,
    *,
    anonymous: bool = False,
) -> None:
    """Serve on Ray until told to stop; what is in flight is answered first.

    Where Serve runs on the cluster already, its own host and port stay what they are.

    Raises:
        OptionError: An address that others can reach, without a key.
        ModelScopeExtError: The models cannot be loaded.
    """
    settings = reached_at(host, settings, anonymous=anonymous)
    os.environ.update(settings_of_ray(replicas.address))  # Ray reads them when it is imported
    made = _application(_loads(models), replicas, settings, alone=replicas.address is None)
    with _connected(replicas), _told_to_stop() as stopped:
        from ray import serve as ray_serve

        at: tuple[Any, ...] = (host, port)
        if ray_serve.status().proxies:
            logger.warning("Ray Serve runs on this cluster already; requests go to its own host and port")
        else:
            with listen(host, port) as found:  # so that a port in use is said as everywhere
                at = found.getsockname()
            ray_serve.start(http_options={"host": host, "port": at[1]})
        try:
            ray_serve.run(made, name=_NAME, route_prefix="/")
        except RuntimeError as error:
            raise ModelScopeExtError(f"Ray Serve could not start the models: {_why(error)}") from error
        try:
            if ready is not None:
                ready(shown(at))
            stopped.wait()
        finally:
            ray_serve.delete(_NAME)


def _why(error: RuntimeError) -> str:
    """Return the last line of what Serve knows of a start that failed; its error says no more than that it did."""
    from ray import serve as ray_serve

    found = ray_serve.status().applications.get(_NAME)
    said = [deployment.message for deployment in found.deployments.values()] if found is not None else []
    lines = "\n".join(said).strip().splitlines() or [str(error)]
    return printable(lines[-1], 2000)


@contextmanager
def _connected(replicas: Replicas) -> Iterator[None]:
    """Connect to the cluster; one of our own ends with the block, with Serve on it."""
    import ray

    connect(replicas.address, max(int(replicas.count * replicas.cpus + 1.999), 2))
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """Yield what is set by SIGTERM or Ctrl-C."""
    told = threading.Event()
    before = {number: signal.signal(number, lambda *_: told.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
