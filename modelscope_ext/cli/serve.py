"""`modelscope-ext serve MODEL...`: models behind OpenAI's interface and the Open Inference Protocol."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

from modelscope_ext.cli import exits
from modelscope_ext.cli.options import (
    add_model,
    add_permissions,
    key_value,
    permissions,
    port,
    positive,
    resolve_keywords,
)
from modelscope_ext.cli.output import Output
from modelscope_ext.errors import OptionError
from modelscope_ext.utils.text import printable

__all__ = ["EXAMPLES", "configure", "run"]

EXAMPLES = """\
models:
  A folder or a hub id, or NAME=MODEL to choose the name in addresses and requests. What is said about loading holds for
  all of them; several models with words of their own are served from Python (modelscope_ext.serve).

interfaces:
  /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/models (OpenAI's), /v2/... (the Open Inference Protocol,
  for every task), /health, /metrics (Prometheus), /openapi.json. Requests hold their inputs: no path or URL is opened.

examples:
  modelscope-ext serve ./chat
  modelscope-ext serve small=./chat vectors=./embedder --port 9000
  modelscope-ext serve ./sentiment --backend onnx --max-batch 32 --max-wait 0.01
  modelscope-ext serve ./chat --host 0.0.0.0 --api-key-file key.txt --max-requests 64 --timeout 120

on Ray Serve (pip install "modelscope-ext[ray-serve]"; MODEL must be found on every node):
  modelscope-ext serve MODEL --engine ray --address auto --replicas 4 --gpus-per-replica 1"""

#: Arguments that go to `pipeline()` under their own name when given.
_LOAD = ("device", "device_map", "dtype", "base_model")

#: Field of `Replicas` -> argument.
_REPLICAS = {
    "count": "replicas", "cpus": "cpus_per_replica", "gpus": "gpus_per_replica", "address": "address",
}  # fmt: skip

#: Field of `Settings` -> (type, metavar, help).
_SETTINGS: dict[str, tuple[Any, str, str]] = {
    "max_batch": (positive, "N", "inputs that run at once (16)"),
    "max_wait": (float, "SECONDS", "how long an idle model waits for a second input (0.005)"),
    "timeout": (float, "SECONDS", "what a request may take; 408 after that (60)"),
    "max_requests": (positive, "N", "requests that are answered at the same time; 429 beyond (128)"),
    "max_bytes": (positive, "N", "bytes of one request; 413 beyond (16 MiB)"),
    "max_items": (positive, "N", "inputs in one request (1024)"),
    "max_text": (positive, "N", "characters of one text (32768)"),
    "max_tokens": (positive, "N", "tokens that a request may ask for (4096)"),
    "max_pixels": (positive, "N", "pixels of one image (50 million)"),
    "max_samples": (positive, "N", "samples of one recording (60 million)"),
    "grace": (float, "SECONDS", "what requests in flight get when the server is told to stop (30)"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_model(parser, many=True)
    group = parser.add_argument_group("serving")
    group.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1: this machine only)")
    group.add_argument("--port", type=port, default=8000, metavar="N", help="0 takes a free one (8000)")
    group.add_argument("--api-key-file", metavar="F", help="a file with the key that clients send; or the environment"
                       " variable MODELSCOPE_EXT_API_KEY")  # fmt: skip
    group.add_argument("--allow-anonymous", action="store_true", help="no key although others can reach the address")
    group.add_argument("--allow-host", metavar="NAME", action="append", default=[],
                       help="another name that requests may call this server by; repeatable")  # fmt: skip
    for name, (kind, metavar, text) in _SETTINGS.items():
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar=metavar, help=text)
    group = parser.add_argument_group("where it runs")
    group.add_argument("--engine", choices=("local", "ray"), default="local",
                       help="this process (local), or replicas of Ray Serve, each with all models")  # fmt: skip
    group.add_argument("--replicas", type=positive, metavar="N", help="how many (1); the limits hold for each")
    group.add_argument("--address", help="of a Ray cluster: auto, or host:6379 (default: one on this machine)")
    group.add_argument("--cpus-per-replica", type=float, metavar="X", help="processors of each (1)")
    group.add_argument("--gpus-per-replica", type=float, metavar="X", help="GPUs of each (0)")
    group = parser.add_argument_group("loading")
    group.add_argument("--device", help="cpu, cuda, cuda:1, npu, mps, ...")
    group.add_argument("--device-map", help="spread over devices, e.g. auto")
    group.add_argument("--dtype", help="float32, float16, bfloat16 or auto")
    group.add_argument("--base-model", help="base of an adapter")
    group.add_argument("--load-option", metavar="KEY=VALUE", type=key_value, action="append", default=[],
                       help="an option of the backend")  # fmt: skip
    add_permissions(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Load the models, then answer until told to stop."""
    from modelscope_ext.serve import Settings
    from modelscope_ext.serve.log import configure as configure_log
    from modelscope_ext.serve.needs import OF_RAY, require

    replicas = _replicas(args)
    require(*OF_RAY, extra="ray-serve") if replicas is not None else require()
    given = {name: value for name in _SETTINGS if (value := getattr(args, name)) is not None}
    settings = Settings(**given, api_key=_key(args.api_key_file), hosts=tuple(args.allow_host))
    names = _names(args.model)
    if args.base_model and len(names) > 1:
        raise OptionError("--base-model: say it for one model at a time")
    configure_log(30 if args.quiet else 20)
    if replicas is not None:
        with redirect_stdout(sys.stderr):
            _serve_on_ray(names, settings, replicas, args, output)
        return exits.OK
    with ExitStack() as stack, redirect_stdout(sys.stderr):
        pipes = {name: stack.enter_context(_load(model, args, output)) for name, model in names.items()}
        _serve(pipes, settings, args, output)
    return exits.OK


def _replicas(args: argparse.Namespace) -> Any:
    """Return how it runs on Ray; None where it does not."""
    given = {field: value for field, name in _REPLICAS.items() if (value := getattr(args, name)) is not None}
    if args.engine == "ray":
        from modelscope_ext.serve.ray_ import Replicas

        return Replicas(**given)
    if given:
        option = _REPLICAS[next(iter(given))].replace("_", "-")
        raise OptionError(f"--{option} is for --engine ray")
    return None


def _serve(pipes: dict[str, Any], settings: Any, args: argparse.Namespace, output: Output) -> None:
    from modelscope_ext.serve.server import serve

    shown = {name: (pipe.task, pipe.model.backend) for name, pipe in pipes.items()}
    serve(pipes, args.host, args.port, _ready(shown, output), settings, anonymous=args.allow_anonymous)


def _serve_on_ray(
    names: dict[str, str], settings: Any, replicas: Any, args: argparse.Namespace, output: Output
) -> None:
    """Serve on Ray; what is wrong with a model's files or its task is said before anything is started there."""
    from modelscope_ext.models.resolve import resolve
    from modelscope_ext.serve.intake import refuse_unserved
    from modelscope_ext.serve.ray_ import serve

    shown, loads = {}, {}
    for name, model in names.items():
        found = resolve(model, **resolve_keywords(args))
        refuse_unserved(found.default_task)
        shown[name] = (found.default_task, found.backend)
        model = str(Path(model).absolute()) if Path(model).exists() else model
        loads[name] = {"model": model, **_load_keywords(args)}
    serve(loads, args.host, args.port, _ready(shown, output), settings, replicas, anonymous=args.allow_anonymous)


def _ready(models: dict[str, tuple[Any, Any]], output: Output) -> Callable[[str], None]:
    """Return what tells the address, with the task and the backend of each model."""

    def ready(address: str) -> None:
        if output.json:
            output.record({"address": address, "models": {name: task for name, (task, _) in models.items()}})
        else:
            for name, (task, backend) in models.items():
                output.raw(f"{name}: {task} ({backend})")
            output.raw(f"{address}  (Ctrl-C ends it)")

    return ready


def _load_keywords(args: argparse.Namespace) -> dict[str, Any]:
    keywords = resolve_keywords(args)
    keywords |= {name: value for name in _LOAD if (value := getattr(args, name)) is not None}
    return keywords | permissions(args) | dict(args.load_option)


def _load(model: str, args: argparse.Namespace, output: Output) -> Any:
    from modelscope_ext.cli.run import failure, progress
    from modelscope_ext.pipelines.builder import pipeline
    from modelscope_ext.serve.intake import refuse_unserved

    with failure(f"loading {printable(model)}"), progress(output):
        pipe = pipeline(model=model, **_load_keywords(args))
    try:
        refuse_unserved(pipe.task)
    except OptionError:
        pipe.close()
        raise
    return pipe


def _names(models: list[str]) -> dict[str, str]:
    """Return name -> model."""
    from modelscope_ext.serve.hosted import name_of

    out: dict[str, str] = {}
    for one in models:
        name, equals, model = one.partition("=")
        if not equals or Path(one).exists():
            name, model = name_of(one), one
        elif name != name_of(name):
            raise OptionError(f"{printable(one)}: a name is letters, digits, '.', '_' and '-'")
        if name in out:
            raise OptionError(
                f"two models are named {name!r}: name one of them yourself, e.g. other={printable(model)}"
            )
        out[name] = model
    return out


def _key(file: str | None) -> str | None:
    if file is None:
        return os.environ.get("MODELSCOPE_EXT_API_KEY") or None
    try:
        with open(file, encoding="ascii") as stream:
            return stream.read(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--api-key-file {printable(file)}: expected a text file with the key ({error})") from error
