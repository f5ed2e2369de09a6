"""Ray's driver: what runs in the process that `ray_` starts and watches.

A block's rows are chunks, each as bytes: Ray moves them, and never looks into a row of data. They are read on the
driver's own node, which is where the input is. An actor runs its model in a process of its own, as the local engine
does, so that a row which kills that process becomes an error record here too, instead of a task that Ray tries for
ever.
"""

from __future__ import annotations

import logging
import os
import pickle  # nosec B403 # between this package's own processes
import socket
import sys
from collections.abc import Iterator
from functools import lru_cache
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from modelscope_ext.batch.child import portable
from modelscope_ext.batch.local import Processes
from modelscope_ext.batch.work import Chunk, Job
from modelscope_ext.errors import ModelScopeExtError, OptionError
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.batch.ray_ import Cluster
    from modelscope_ext.batch.sources.base import Source

__all__ = ["connect", "drive"]

#: Blocks that Ray plans at most; of a long input each holds several chunks.
_BLOCKS = 2000
#: Seconds that an address may take to answer.
_KNOCK = 20.0
#: Processes that read, at most.
_READERS = 2
_STORE = 512 * 2**20  # bytes of the object store of a cluster for one job: chunks pass through it, no more


def drive(connection: Connection, job: Job, source: Source, first: int, cluster: Cluster) -> None:
    """Run the job from the row `first` on and send the parts in order."""
    _quiet()
    import ray

    try:
        _connect(cluster)
        for data in _parts(job, source, first, cluster):
            value = pickle.loads(data)  # nosec B301 # an actor of this job made it
            connection.send(("failed" if isinstance(value, BaseException) else "part", value))
    except ray.exceptions.RayError as error:
        connection.send(("lost", printable(str(error), 1000)))
    except (EOFError, BrokenPipeError, ConnectionResetError):  # nobody listens any more
        raise
    except Exception as error:  # noqa: BLE001 - told to the process that asked
        connection.send(("failed", portable(error)))


def _quiet() -> None:
    """Keep what Ray's own library writes, of matters that are none of the user's, in Ray's log files only."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _connect(cluster: Cluster) -> None:
    environment = {"py_modules": list(cluster.plugins)} if cluster.plugins else None
    cpus = max(int(cluster.workers * cluster.cpus + 1.999), 2)  # the actors, and the one that reads
    connect(cluster.address, cpus, runtime_env=environment, object_store_memory=_STORE)


def connect(address: str | None, cpus: int, *, object_store_memory: int | None = None, **more: Any) -> None:
    """Connect to a cluster of Ray, or start one on this machine, and keep its log out of this process's.

    Args:
        address: ``"auto"`` or ``"host:6379"``; None starts one.
        cpus: Processors of one that is started.
        object_store_memory: Bytes of one that is started; default what Ray takes.
        **more: Further arguments of `ray.init`.

    Raises:
        OptionError: An address that is none.
        ModelScopeExtError: No cluster answers.
    """
    import ray

    common: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, **more}
    if address is None:
        ray.init(num_cpus=cpus, include_dashboard=False, object_store_memory=object_store_memory, **common)
        return
    try:
        _knock(address)
        ray.init(address=address, **common)
    except OSError as error:
        raise ModelScopeExtError(
            f"no cluster of Ray answers at {printable(address)}: {printable(str(error), 300)}; `ray status` on its head"
            " node says where it is"
        ) from error


def _knock(address: str) -> None:
    """Raise OSError where nobody listens at ``host:port``: Ray would wait for minutes."""
    if address == "auto" or "://" in address:
        return
    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal() and int(port) < 2**16):
        raise OptionError(f"address={printable(address)!r}: expected 'auto' or HOST:PORT")
    socket.create_connection((host.strip("[]"), int(port)), _KNOCK).close()


def _parts(job: Job, source: Source, first: int, cluster: Cluster) -> Iterator[bytes]:
    """Yield the parts, pickled, in order."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext, TaskPoolStrategy

    context = DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # `drive` tells what matters
    count = -(-(source.rows - first) // job.chunk)
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    reader = _Reader(ray.put(source), first, job.chunk)
    found = (
        ray.data.from_arrow(list(_numbers(count)))
        .map_batches(
            reader,
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=0,  # or it would wait for ever where the actors have all that is left after a node died
            compute=TaskPoolStrategy(_READERS),  # of what takes no processor Ray starts any number of processes
            label_selector=here,
        )
        .map_batches(
            _Actor,
            batch_size=1,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=cluster.workers),
            fn_constructor_args=(pickle.dumps(job),),
            num_cpus=cluster.cpus,
            num_gpus=cluster.gpus or None,
        )
    )
    for table in found.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
        for value in table.column("data"):
            yield value.as_py()


def _numbers(count: int) -> Iterator[Any]:
    """Yield the numbers of the chunks, in as many tables as there are to be blocks."""
    import pyarrow as pa

    size = -(-count // _BLOCKS)
    for first in range(0, count, size):
        yield pa.table({"id": list(range(first, min(first + size, count)))})


class _Reader:
    """Turns numbers of chunks into chunks."""

    def __init__(self, source: Any, first: int, size: int) -> None:
        self._source, self._first, self._size = source, first, size

    def __call__(self, table: Any) -> Any:
        source = _fetched(self._source)
        made = []
        for number in table.column("id").to_pylist():
            begin = self._first + number * self._size
            made.append(Chunk(begin, list(source.read(begin, min(begin + self._size, source.rows)))))
        return _table(made)


@lru_cache(maxsize=1)
def _fetched(reference: Any) -> Any:
    import ray

    return ray.get(reference)


def _table(values: list[Any]) -> Any:
    import pyarrow as pa

    return pa.table({"data": pa.array(list(map(pickle.dumps, values)), pa.large_binary())})


class _Actor:
    """One model, in a process that it watches."""

    def __init__(self, job: bytes) -> None:
        self._processes = Processes(pickle.loads(job), 1)  # nosec B301 # the driver made it

    def __call__(self, table: Any) -> Any:
        data = table.column("data").to_pylist()
        given = [pickle.loads(value) for value in data]  # nosec B301 # the driver made them
        try:
            return _table(list(self._processes.map(given)))
        except Exception as error:  # noqa: BLE001 - Ray would tell it in words of its own; the driver tells it in ours
            return _table([portable(error)])
