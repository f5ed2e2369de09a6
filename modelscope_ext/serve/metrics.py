"""What a server counts, for Prometheus; each server has a registry of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Metrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one server. Names of models and addresses are the only labels: nothing of a request is kept."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()
        self._requests = Counter(
            "modelscope_ext_requests", "Requests by address and status", ("operation", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "modelscope_ext_request_seconds",
            "Seconds from the first byte to the last",
            ("operation",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._batch = Histogram(
            "modelscope_ext_batch_size", "Inputs that ran at once", ("model",), buckets=_SIZES, registry=self.registry
        )
        self._run = Histogram(
            "modelscope_ext_batch_seconds",
            "Seconds that a model worked on a batch",
            ("model",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._waiting = Gauge("modelscope_ext_waiting", "Inputs that wait", ("model",), registry=self.registry)
        self.in_flight = Gauge("modelscope_ext_in_flight", "Requests being answered", registry=self.registry)

    def request(self, operation: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(operation, str(status)).inc()
        self._seconds.labels(operation).observe(seconds)

    def batches(self, model: str) -> Callable[[int, float], None]:
        """Return what counts the batches of a model."""
        size, run = self._batch.labels(model), self._run.labels(model)

        def seen(count: int, seconds: float) -> None:
            size.observe(count)
            run.observe(seconds)

        return seen

    def watch(self, model: str, waiting: Callable[[], int]) -> None:
        """Show how many inputs of a model wait whenever somebody looks."""
        self._waiting.labels(model).set_function(waiting)

    def page(self) -> tuple[bytes, str]:
        """Return the page for Prometheus, and its media type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        text: Any = generate_latest(self.registry)
        return bytes(text), str(CONTENT_TYPE_LATEST)
