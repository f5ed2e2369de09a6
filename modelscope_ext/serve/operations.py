"""The addresses of a server as one table, and the FastAPI application that is made of it.

Each row's schema is what the OpenAPI document shows and what requests are held against.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from modelscope_ext import __version__
from modelscope_ext.serve import oip, openai_
from modelscope_ext.serve.call import Call, to_json
from modelscope_ext.serve.documents import check, object_
from modelscope_ext.serve.guard import Guard, drain
from modelscope_ext.serve.hosted import Hosted
from modelscope_ext.serve.log import said
from modelscope_ext.serve.metrics import Metrics
from modelscope_ext.serve.refusal import STATUSES, Refused, body_of, refusal_of
from modelscope_ext.serve.settings import Settings

__all__ = ["build"]

_ALWAYS = (400, 403, 421, 500)
_GUARDED = (401, 429)
_ASKED = (404, 408, 413, 415, 422, 503)
_ANY: dict[str, Any] = {"type": "object"}
#: Bodies of the largest size that are held at the same time.
_BODIES = 16


@dataclass
class _Room:
    """How many bytes all bodies in memory have together, and may have."""

    most: int
    taken: int = 0


@dataclass(frozen=True)
class Operation:
    """One address.

    Attributes:
        method: ``"GET"`` or ``"POST"``.
        path: With ``{model}`` where it has one.
        answer: Called with the `Call`; returns JSON, bytes and the length of their JSON head, or an iterator of events.
        summary: One line.
        schema: Of the request's body; None where it has none.
        statuses: The errors it may answer with, beside those of all.
        media: Further media types of the body and of the answer.
    """

    method: str
    path: str
    answer: Callable[[Call], Awaitable[Any]]
    summary: str
    schema: dict[str, Any] | None = None
    statuses: tuple[int, ...] = ()
    media: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For metrics and the log."""
        return f"{self.method} {self.path}"


def build(models: Mapping[str, Hosted], settings: Settings) -> Any:
    """Return the ASGI application of a server."""
    from fastapi import FastAPI
    from starlette.exceptions import HTTPException
    from starlette.responses import Response

    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for model in models.values():
                batcher = await stack.enter_async_context(model.start(metrics.batches(model.name)))
                metrics.watch(model.name, lambda batcher=batcher: batcher.waiting)  # type: ignore[misc]
            said("started", models={model.name: model.task for model in models.values()})
            yield
            said("stopping")
        said("stopped")

    app = FastAPI(
        title="modelscope-ext",
        version=__version__,
        description="Models behind OpenAI's interface and the Open Inference Protocol.",
        lifespan=lifespan,
        docs_url=None,  # its pages load their scripts from the web
        redoc_url=None,
        separate_input_output_schemas=False,
    )

    async def unknown(request: Any, error: Any) -> Any:
        status = error.status_code if error.status_code in STATUSES else 400
        said_text = {404: "no such address; /openapi.json lists what there is", 405: "the address takes other methods"}
        refused = Refused(status, said_text.get(status, STATUSES[status][1]))
        allowed = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
        return Response(to_json(body_of(refused, request.url.path)), status, allowed, "application/json")

    app.add_exception_handler(HTTPException, unknown)
    room = _Room(settings.max_bytes * _BODIES)
    for row in _table(list(models), settings, metrics, models):
        _add(app, row, models, settings, room)
    if settings.api_key is not None:
        _declare_key(app)
    return Guard(app, settings, metrics)


def _table(
    names: list[str], settings: Settings, metrics: Metrics, models: Mapping[str, Hosted]
) -> tuple[Operation, ...]:
    async def alive(call: Call) -> dict[str, Any]:
        return {"status": "ok", "models": list(models)}

    async def live(call: Call) -> dict[str, Any]:
        return {"live": True}

    async def ready(call: Call) -> dict[str, Any]:
        if any(model.batcher is None for model in models.values()):
            raise Refused(503, "the server is starting")
        return {"ready": True}

    async def ready_model(call: Call) -> dict[str, Any]:
        model = call.model(call.parameters["model"])
        return {"name": model.name, "ready": model.batcher is not None}

    async def shown(call: Call) -> tuple[bytes, str]:
        return metrics.page()

    asked = (*_GUARDED, *_ASKED)
    events, binary = ("text/event-stream",), ("application/octet-stream",)
    one = (*_GUARDED, 404)
    return (
        Operation("GET", "/health", alive, "Whether the server is there"),
        Operation("GET", "/metrics", shown, "Figures for Prometheus", statuses=_GUARDED, media=("text/plain",)),
        Operation("GET", "/v1/models", openai_.listed, "The models of this server", statuses=_GUARDED),
        Operation("POST", "/v1/chat/completions", openai_.chat, "Answer a chat",
                  openai_.chat_schema(names, settings), asked, events),
        Operation("POST", "/v1/completions", openai_.complete, "Continue a text",
                  openai_.complete_schema(names, settings), asked, events),
        Operation("POST", "/v1/embeddings", openai_.embed, "Turn texts into vectors",
                  openai_.embed_schema(names, settings), asked),
        Operation("GET", "/v2", oip.server, "What this server is", statuses=_GUARDED),
        Operation("GET", "/v2/health/live", live, "Whether the server is there"),
        Operation("GET", "/v2/health/ready", ready, "Whether all models are loaded", statuses=(503,)),
        Operation("GET", "/v2/models/{model}", oip.describe, "What a model takes and gives", statuses=one),
        Operation("GET", "/v2/models/{model}/ready", ready_model, "Whether a model is loaded", statuses=one),
        Operation("POST", "/v2/models/{model}/infer", oip.infer, "Run a model on its inputs",
                  oip.infer_schema(settings), asked, binary),
    )  # fmt: skip


# One address


def _add(app: Any, row: Operation, models: Mapping[str, Hosted], settings: Settings, room: _Room) -> None:
    from starlette.requests import Request
    from starlette.responses import Response

    async def endpoint(request: Any) -> Any:
        notes = request.scope["state"]["notes"]
        notes["operation"] = row.name
        call = Call(
            models,
            settings,
            path=request.url.path,
            parameters=request.path_params,
            headers={name.lower(): value for name, value in request.headers.items()},
            deadline=request.scope["state"]["deadline"],
        )
        try:
            if row.schema is not None:
                await _read(call, request, row, room)
                notes["received"] = call.received
                await call.within(call.read_json())
                _known_first(call, row)
                check(row.schema, call.body)
            answer = await call.within(row.answer(call))
        except Exception as error:  # noqa: BLE001  a stranger's input must not end in a 500
            refused = refusal_of(error)
            if refused.status == 422 and not isinstance(error, Refused):
                said("model failed", 30, error, id=notes["id"])
            return Response(to_json(body_of(refused, call.path)), refused.status, media_type="application/json")
        finally:
            room.taken -= call.received
            if call.named is not None:
                notes["model"] = call.named
        return _answered(call, row, answer)

    endpoint.__annotations__ = {"request": Request}
    endpoint.__name__ = f"{row.method.lower()}{row.path.replace('/', '_').replace('{', '').replace('}', '')}"
    app.add_api_route(
        row.path,
        endpoint,
        methods=[row.method],
        summary=row.summary,
        operation_id=endpoint.__name__,
        response_class=Response,
        responses=_responses(row),
        openapi_extra=_extra(row, list(models)),
        response_model=None,
    )


def _known_first(call: Call, row: Operation) -> None:
    """Say 404 for an unknown model before anything else is said about the request."""
    named = call.parameters.get("model")
    if named is None and isinstance(call.body, Mapping):
        named = call.body.get("model")
    if isinstance(named, str):
        call.model(named)


async def _read(call: Call, request: Any, row: Operation, room: _Room) -> None:
    """Read the body within the limits."""
    kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("", "application/json", *(m for m in row.media if m != "text/event-stream")):
        await drain(request.scope, request.receive)
        raise Refused(415, f"Content-Type {kind[:60]!r}: expected application/json")
    if call.headers.get("content-encoding", "identity").lower() != "identity":
        await drain(request.scope, request.receive)
        raise Refused(415, "Content-Encoding: send the body as it is")
    most = call.settings.max_bytes
    said_length = call.headers.get("content-length", "0")
    if said_length.isdecimal() and int(said_length[:20]) > most:
        await drain(request.scope, request.receive)
        raise Refused(413, f"a body of {said_length[:20]} bytes; the server takes {most}")
    chunks: list[bytes] = []

    async def read() -> None:
        async for chunk in request.stream():
            room.taken += len(chunk)
            call.received += len(chunk)
            if call.received > most or room.taken > room.most:
                return
            chunks.append(chunk)

    await call.within(read())
    if room.taken > room.most:
        await drain(request.scope, request.receive)
        raise Refused(429, "the server holds as many bytes of requests as it takes: ask again in a moment")
    if call.received > most:
        await drain(request.scope, request.receive)
        raise Refused(413, f"a body of more than {most} bytes; the server takes no more")
    call.data = b"".join(chunks)
    call.split()


def _answered(call: Call, row: Operation, answer: Any) -> Any:
    from starlette.responses import Response, StreamingResponse

    if hasattr(answer, "__aiter__"):
        return StreamingResponse(answer, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
    if isinstance(answer, tuple):
        data, second = answer
        if isinstance(second, str):
            return Response(data, headers={"Content-Type": second})
        header = {"Inference-Header-Content-Length": str(second)}
        return Response(data, headers=header, media_type="application/octet-stream")
    return Response(to_json(answer), media_type="application/json")


# The OpenAPI document


def _responses(row: Operation) -> dict[int | str, dict[str, Any]]:
    good: dict[str, Any] = {} if row.media == ("text/plain",) else {"application/json": {"schema": _ANY}}
    for kind in row.media:
        good[kind] = {"schema": {"type": "string"}}
    out: dict[int | str, dict[str, Any]] = {200: {"description": "The answer.", "content": good}}
    for status in sorted({*_ALWAYS, *row.statuses}):
        error = _error(row.path)
        out[status] = {"description": STATUSES[status][1], "content": {"application/json": {"schema": error}}}
    return out


def _error(path: str) -> dict[str, Any]:
    text = {"type": "string"}
    if path.startswith("/v2"):
        return object_(("error",), error=text)
    inner = object_(("message", "type"), message=text, type=text, param={"type": ["string", "null"]}, code=text)
    return object_(("error",), error=inner)


def _extra(row: Operation, names: list[str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if "{model}" in row.path:
        schema = {"type": "string", "enum": names}
        out["parameters"] = [{"name": "model", "in": "path", "required": True, "schema": schema}]
    if row.schema is not None:
        out["requestBody"] = {"required": True, "content": {"application/json": {"schema": row.schema}}}
    return out


def _declare_key(app: Any) -> None:
    made = app.openapi

    def openapi() -> Any:
        document = made()
        document.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for item in document["paths"].values():
            for operation in item.values():
                operation["security"] = [{"key": []}] if "401" in operation["responses"] else []
        return document

    app.openapi = openapi
