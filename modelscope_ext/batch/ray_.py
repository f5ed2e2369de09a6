"""The engine ``ray``: Ray Data on this machine or on a cluster, driven by a process that is watched.

Ray's driver runs in a process of its own, which sends the parts here in order. Where none comes for too long (an
executor that froze when a node died), or the driver ends, it is replaced, and the new one goes on at the first row
that has not come: no row is lost or comes twice. The settings are that process's too; nothing is set in this one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from modelscope_ext.batch.child import Child
from modelscope_ext.errors import MissingRequirement, ModelScopeExtError
from modelscope_ext.utils.logger import logger

if TYPE_CHECKING:
    from modelscope_ext.batch.sources.base import Source
    from modelscope_ext.batch.work import Job, Part

__all__ = ["Cluster", "Ray", "settings_of_ray"]

#: Drivers that fail one after the other without a part between them, until that is taken for the cluster's fault.
_TRIES = 3
#: Seconds until the first part at least: Ray has to start, and the model has to be loaded.
_START = 600.0
#: For Ray's driver and what it starts, unless the user has set them.
_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
#: The same, where the cluster is one that the driver starts: it is reached from this machine alone.
_OF_ONE_MACHINE = {"RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def settings_of_ray(address: str | None) -> dict[str, str]:
    """Return the variables that a process needs which starts Ray, or connects to it, beside those that are set.

    Args:
        address: Of the cluster; None where it is one of this machine alone.
    """
    wanted = _SETTINGS if address else {**_SETTINGS, **_OF_ONE_MACHINE}
    return {name: value for name, value in wanted.items() if name not in os.environ}


@dataclass(frozen=True)
class Cluster:
    """Where and how Ray runs.

    Attributes:
        address: Of the cluster, ``"auto"`` or ``"host:6379"``; None starts one on this machine for this job.
        workers: Actors, each with the model.
        cpus: Processors of an actor.
        gpus: GPUs of an actor.
        plugins: Wheels that the actors get, with their entry points.
        stall: Seconds without any part after which the driver is replaced.
    """

    address: str | None = None
    workers: int = 1
    cpus: float = 1
    gpus: float = 0
    plugins: Sequence[str] = ()
    stall: float = 600


class Ray:
    """The model in actors of Ray Data, loaded once in each.

    Args:
        job: The job.
        cluster: Where it runs.

    Raises:
        MissingRequirement: Ray is not installed.
    """

    def __init__(self, job: Job, cluster: Cluster) -> None:
        if find_spec("ray") is None or find_spec("pyarrow") is None:
            raise MissingRequirement(
                'the engine ray needs Ray Data, which is not installed: pip install "modelscope-ext[ray]"'
            )
        self._job, self._cluster = job, cluster
        self._driver: Child | None = None

    def parts(self, source: Source, first: int) -> Iterator[Part]:
        """Yield the parts from the row `first` on."""
        failures = 0
        while first < source.rows:
            before, problem = first, ""
            patience = max(self._cluster.stall, _START)
            self._driver = Child(
                "modelscope_ext.batch._ray_driver:drive",
                self._job,
                source,
                first,
                self._cluster,
                environment=settings_of_ray(self._cluster.address),
            )
            while first < source.rows and not problem:
                problem, part = self._next(self._driver, patience)
                if part is not None:
                    patience = self._cluster.stall
                    first += part.rows
                    yield part
            self.close()
            failures = 0 if first > before else failures + 1
            if failures == _TRIES:
                raise ModelScopeExtError(f"Ray made nothing of the rows from {first} on, {failures} times: {problem}")
            if problem:
                logger.warning("Ray: %s; going on at row %d with a new driver", problem, first)

    def close(self) -> None:
        """End the driver, and with it its actors."""
        if self._driver is not None:
            driver, self._driver = self._driver, None
            driver.end()

    def _next(self, driver: Child, patience: float) -> tuple[str, Part | None]:
        """Return the next part, or what is wrong."""
        if not driver.connection.poll(patience):
            return f"nothing has come for {patience:g} seconds", None
        try:
            kind, value = driver.connection.recv()
        except (EOFError, OSError):
            return f"the driver {driver.end(ending=True)}", None
        if kind == "failed":
            raise value
        return (value, None) if kind == "lost" else ("", value)
