"""The server's log: one JSON object a line on stderr; never a body, a header or an address with a query.

Example:
    >>> import logging
    >>> record = logging.LogRecord("modelscope_ext.serve", logging.INFO, "", 0, "request", (), None)
    >>> record.fields = {"status": 200}
    >>> line(record, now=0.0)
    '{"time": "1970-01-01T00:00:00.000Z", "level": "info", "event": "request", "status": 200}'
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone
from typing import Any

from modelscope_ext.utils.text import printable

__all__ = ["configure", "line", "logger", "said"]

logger = logging.getLogger("modelscope_ext.serve")


def said(event: str, level: int = logging.INFO, error: BaseException | None = None, **fields: Any) -> None:
    """Log an event and what belongs to it."""
    trace = (type(error), error, error.__traceback__) if error is not None else None
    logger.log(level, event, extra={"fields": fields}, exc_info=trace)


def line(record: logging.LogRecord, *, now: float | None = None) -> str:
    """Return one line of the log."""
    seconds = datetime.fromtimestamp(record.created if now is None else now, timezone.utc)
    head = {
        "time": seconds.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "event": printable(record.getMessage(), 500),
    }
    fields: dict[str, Any] = dict(getattr(record, "fields", {}))
    if record.exc_info and record.exc_info[1] is not None:
        fields["error"] = type(record.exc_info[1]).__name__
        fields["trace"] = _places(record.exc_info[1])
    return json.dumps({**head, **fields}, default=str)


def _places(error: BaseException) -> list[str]:
    """Return where an error came from, without its text, which may quote a request."""
    import traceback

    out: list[str] = []
    one: BaseException | None = error
    while one is not None and len(out) < 60:
        out.append(type(one).__name__)
        out += [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(one.__traceback__)[-8:]]
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return out


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return line(record)


def configure(level: int = logging.INFO) -> None:
    """Send the server's log, and uvicorn's, to stderr as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    for name in ("modelscope_ext.serve", "uvicorn", "uvicorn.error"):
        one = logging.getLogger(name)
        one.handlers, one.propagate = [], False
        one.setLevel(level if name.startswith("modelscope_ext") else logging.WARNING)
    logging.getLogger("modelscope_ext.serve").addHandler(handler)
    logging.getLogger("uvicorn").addHandler(handler)
    logging.getLogger("uvicorn.error").propagate = True
