"""`modelscope-ext run MODEL [INPUT...]`: load a model and run its task, one answer per input, in order.

Inputs are read one by one and answers are printed as they come, so that a pipe of any length needs no more memory than
one batch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from modelscope_ext.cli import exits
from modelscope_ext.cli.options import add_model, add_permissions, key_value, permissions, positive, resolve_keywords
from modelscope_ext.cli.output import Output, is_terminal
from modelscope_ext.errors import ModelScopeExtError, OptionError
from modelscope_ext.pipelines.saving import Saver
from modelscope_ext.utils.text import printable

__all__ = ["EXAMPLES", "configure", "failure", "progress", "read_item", "run"]

EXAMPLES = """\
inputs:
  Text, or the path of an image, a sound or a video: whatever the task takes. Tasks that take several fields, and chats,
  take JSON. --file holds one input a line (a .jsonl file one JSON value); "-" and a pipe are read in the same way.

examples:
  modelscope-ext run ./sentiment "What a lovely day" "What a mess"
  modelscope-ext run ./vit cat.png dog.png --json
  modelscope-ext run ./reranker '{"query": "red fruit", "documents": ["a cherry", "a lemon"]}'
  modelscope-ext run ./chat '[{"role": "user", "content": "Hi"}]' --stream --option max_new_tokens=50
  modelscope-ext run ./depth street.png --save depths/
  modelscope-ext run ./zero-shot "It rains" --option 'candidate_labels=["weather", "sport"]'
  modelscope-ext run ./llama "Hello" --framework mindspore --python ms/bin/python
  cat lines.txt | modelscope-ext run ./embedder --batch-size 32 --json > vectors.jsonl"""

#: Arguments that go to `pipeline()` under their own name when given.
_LOAD = ("device", "device_map", "dtype", "batch_size", "base_model")

#: Inputs of these kinds are the argument itself, whatever it looks like.
_PLAIN = frozenset(("text", "image", "audio", "video"))


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_model(parser)
    parser.add_argument("inputs", metavar="INPUT", nargs="*", help="an input; see below")
    parser.add_argument("--file", metavar="F", help='read inputs from this file; "-" is stdin')
    parser.add_argument("--output", metavar="F", help="write the answers to this file as JSON lines")
    parser.add_argument("--save", metavar="DIR", help="write images and sounds of the answers into this folder")
    parser.add_argument("--stream", action="store_true", help="print each answer piece by piece as it is made")
    parser.add_argument(
        "--option", metavar="KEY=VALUE", type=key_value, action="append", default=[], help="an option of the task"
    )
    group = parser.add_argument_group("loading")
    group.add_argument("--python", metavar="PATH",
                       help="run in another environment: its folder, or its interpreter")  # fmt: skip
    group.add_argument("--device", help="cpu, cuda, cuda:1, npu, mps, ...")
    group.add_argument("--device-map", help="spread over devices, e.g. auto")
    group.add_argument("--dtype", help="float32, float16, bfloat16 or auto")
    group.add_argument("--batch-size", type=positive, metavar="N", help="inputs that run at once")
    group.add_argument("--base-model", help="base of an adapter")
    group.add_argument("--load-option", metavar="KEY=VALUE", type=key_value, action="append", default=[],
                       help="an option of the backend")  # fmt: skip
    add_permissions(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Load the model, run the inputs through it and print the answers."""
    if args.python is not None:
        from modelscope_ext.cli.elsewhere import run_elsewhere, without_option

        return run_elsewhere(args.python, without_option(args.arguments, "--python"))
    saver = Saver(args.save) if args.save else None
    # Whatever a library prints goes to stderr; stdout carries the answers alone.
    with _texts(args) as texts, redirect_stdout(sys.stderr), progress(output), _sink(args, output) as write:
        pipe = _load(args)
        try:
            items = (read_item(pipe.task, text) for text in texts)
            for answer in _answers(pipe, items, args):
                write(saver.take(answer) if saver else answer)
        finally:
            pipe.close()
    return exits.OK


def _load(args: argparse.Namespace) -> Any:
    from modelscope_ext.pipelines.builder import pipeline

    keywords = resolve_keywords(args)
    keywords |= {name: value for name in _LOAD if (value := getattr(args, name)) is not None}
    keywords |= permissions(args) | dict(args.load_option)
    with failure("loading the model"):
        return pipeline(model=args.model, **keywords)


def _answers(pipe: Any, items: Iterator[Any], args: argparse.Namespace) -> Iterator[Any]:
    """Yield the answers in order; with ``--stream`` the pieces of each answer as `_Piece`."""
    options = dict(args.option)
    with failure("running the model"):
        if not args.stream:
            yield from pipe(items, **options)
            return
        for item in items:
            for piece in pipe(item, stream=True, **options):
                yield _Piece(piece)
            yield _Piece(None)


class _Piece:
    """A part of an answer; None ends the answer."""

    def __init__(self, value: Any) -> None:
        self.value = value


@contextmanager
def failure(doing: str) -> Iterator[None]:
    """Turn what a library raises into one of our errors; its own is the cause."""
    try:
        yield
    except (ModelScopeExtError, OSError):
        raise
    except Exception as error:
        raise ModelScopeExtError(f"{doing} failed: {type(error).__name__}: {printable(str(error), 400)}") from error


# Inputs


@contextmanager
def _texts(args: argparse.Namespace) -> Iterator[Iterable[str]]:
    """Yield the inputs as text: the arguments, the lines of a file, or those of stdin.

    A file is opened at once, so that a wrong name is an error before the model is loaded.
    """
    if args.inputs and args.file:
        raise OptionError("give inputs as arguments or with --file, not both")
    if args.inputs:
        yield list(args.inputs)
    elif args.file and args.file != "-":
        path = Path(args.file)
        if path.is_dir() or not path.exists():
            problem = "a folder" if path.is_dir() else "no such file"
            raise OptionError(f"--file {printable(args.file)}: {problem}; expected a file with one input a line")
        with open(args.file, encoding="utf-8-sig") as stream:
            lines = _nonempty(stream)
            yield map(_Json, lines) if args.file.endswith((".jsonl", ".ndjson")) else lines
    elif args.file == "-" or not is_terminal(sys.stdin):
        yield _nonempty(sys.stdin)
    else:
        raise OptionError("no input: give it after MODEL, with --file F, or through a pipe")


class _Json(str):
    """A line that is JSON whatever the task takes."""


def _nonempty(stream: Iterable[str]) -> Iterator[str]:
    try:
        yield from (line for raw in stream if (line := raw.rstrip("\r\n")).strip())
    except UnicodeDecodeError as error:
        name = getattr(stream, "name", "the input")
        raise OptionError(f"{name}: inputs are read as UTF-8 text, and this is not ({error})") from error


def read_item(task: str, text: str) -> Any:
    """Return one input of `task` from its text: JSON where the task takes more than text or a path.

    Raises:
        OptionError: The task takes several fields, and the text is not JSON.

    Example:
        >>> read_item("text-classification", "[1]"), read_item("text-ranking", '{"query": "q", "documents": []}')
        ('[1]', {'query': 'q', 'documents': []})
    """
    from modelscope_ext.models.schemas import schema_of

    schema = schema_of(task)
    is_json = isinstance(text, _Json)
    if schema.input in _PLAIN and not is_json:
        return text
    if schema.input == "seed" and text.strip().isdecimal():
        return int(text)
    import json

    looks = text.lstrip()[:1]
    try:
        value = json.loads(text) if is_json or looks in "{[" else text
    except ValueError as error:
        if is_json or (schema.input == "fields" and not schema.lead):
            raise OptionError(f"{task} takes {_shape(schema)}, and this is no JSON: {text[:80]!r} ({error})") from error
        return text
    if schema.lead and not isinstance(value, dict) and not is_json:
        return text
    if schema.input == "fields" and not schema.lead and not isinstance(value, dict):
        raise OptionError(f"{task} takes {_shape(schema)}, got {text[:80]!r}")
    # A text that merely begins with a bracket stays text.
    is_chat = isinstance(value, list) and all(isinstance(m, dict) for m in value)
    is_text = schema.input in ("pair", "chat", "talk") and not isinstance(value, dict) and not (is_chat and value)
    return text if is_text and not is_json else value


def _shape(schema: Any) -> str:
    if schema.input != "fields":
        return f"one JSON value a line ({schema.input})"
    return "a JSON object {" + ", ".join(f'"{name}": {kind}' for name, kind in schema.fields.items()) + "}"


# Answers


@contextmanager
def _sink(args: argparse.Namespace, output: Output) -> Iterator[Any]:
    """Yield the function that takes the answers: it prints them, or writes them to the file of ``--output``."""
    from modelscope_ext.cli.answers import as_json, as_text

    if args.output:
        import json

        from modelscope_ext.utils.atomic import replacing

        with replacing(args.output) as stream:
            yield lambda answer: stream.write(f"{json.dumps(as_json(_whole(answer)))}\n".encode())
    elif output.json:
        yield lambda answer: output.record(as_json(_whole(answer)))
    elif args.stream:
        yield lambda answer: output.piece(answer.value)
    else:
        yield lambda answer: output.raw(as_text(answer))


def _whole(answer: Any) -> Any:
    return {"piece": answer.value} if isinstance(answer, _Piece) else answer


@contextmanager
def progress(output: Output) -> Iterator[None]:
    """Show what a backend reports of a long load, on a terminal."""
    from modelscope_ext.cli.progress import Steps
    from modelscope_ext.models.backend import Backend

    before = Backend.progress
    with Steps(output) as steps:
        Backend.progress = staticmethod(steps) if steps.shown else None
        try:
            yield
        finally:
            Backend.progress = before
