"""Arguments that several commands share, and how their values are read."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = [
    "add_common",
    "add_model",
    "add_permissions",
    "add_shape",
    "key_value",
    "permissions",
    "port",
    "positive",
    "resolve_keywords",
    "signer",
]

#: Options of `add_model` that `resolve()` takes, by their keyword.
_RESOLVE = ("task", "backend", "framework", "hub", "revision", "subfolder", "variant", "cache_dir", "token")


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add what every command takes."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", dest="shape", action="store_const", const="json", default="text",
                       help="print JSON on stdout, errors included")  # fmt: skip
    group.add_argument("-q", "--quiet", action="store_true", help="errors only on stderr, no progress")
    group.add_argument("-v", "--verbose", action="count", default=0, help="say more on stderr; -vv says all")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_shape(parser: argparse.ArgumentParser, sarif: str) -> None:
    """Add ``--format``, of which ``--json`` is a short form; `sarif` says what stands in a SARIF log."""
    parser.add_argument("--format", dest="shape", choices=("text", "json", "sarif"), default="text",
                        help=f"text (default), json, or sarif: {sarif}")  # fmt: skip


def add_model(parser: argparse.ArgumentParser, *, choose: bool = True, many: bool = False) -> None:
    """Add MODEL (with `many` one or more) and, with `choose`, the arguments that override what the files say."""
    several: dict[str, Any] = {"nargs": "+"} if many else {}
    parser.add_argument("model", metavar="MODEL", help="a model folder, or a hub id such as org/name", **several)
    group = parser.add_argument_group("which model, which reading")
    if choose:
        group.add_argument("--task", help="task instead of the inferred one (`modelscope-ext list tasks`)")
        group.add_argument("--backend", help="library instead of the inferred one (`modelscope-ext list backends`)")
        group.add_argument("--framework", help="pytorch, mindspore, onnx, ... where several are possible")
    group.add_argument("--subfolder", help="folder inside the model that holds it")
    group.add_argument("--variant", help="weight variant, e.g. fp16")
    group.add_argument("--revision", help="branch, tag or commit on the hub")
    group.add_argument("--hub", help="hub to ask instead of the usual order")
    group.add_argument("--cache-dir", help="where downloaded files live")
    group.add_argument("--token", help="the hub's access token; better: the hub's environment variable")
    group.add_argument("--local-files-only", action="store_true", help="never use the network")


def resolve_keywords(args: argparse.Namespace) -> dict[str, Any]:
    """Return the keywords for `resolve()` that the user gave; what was not given keeps its default."""
    given = {name: getattr(args, name, None) for name in _RESOLVE}
    keywords = {name: value for name, value in given.items() if value is not None}
    if getattr(args, "local_files_only", False):
        keywords["local_files_only"] = True
    return keywords


_PICKLE = {"weights-only": "weights_only", "full": "full", "no": False}

#: Options of `add_permissions` that go to a load under their own name.
_PERMITTED = ("trust_remote_code", "code_sha256", "allow_sources", "verify", "allow_missing_weights")


def add_permissions(parser: argparse.ArgumentParser) -> None:
    """Add what a load may be permitted beyond the safe."""
    group = parser.add_argument_group("permissions")
    group.add_argument("--trust-remote-code", action="store_true", default=None, help="run Python of this model")
    group.add_argument("--code-sha256", metavar="HEX", help="run it only with this digest")
    group.add_argument("--allow-pickle", choices=tuple(_PICKLE), help="pickled weights (default: weights-only)")
    group.add_argument("--allow-source", dest="allow_sources", metavar="SOURCE", action="append",
                       help="another source the model may lead to, or a URL or host of inputs; repeatable")  # fmt: skip
    group.add_argument("--verify", metavar="KEY", type=signer,
                       help="load only what this signer signed: a PEM file, or JSON as verify= takes it")  # fmt: skip
    group.add_argument("--allow-missing-weights", action="store_true", default=None, help="load an incomplete model")


def permissions(args: argparse.Namespace) -> dict[str, Any]:
    """Return the keywords of a load that the user permitted."""
    given = {name: value for name in _PERMITTED if (value := getattr(args, name)) is not None}
    return given if args.allow_pickle is None else {**given, "allow_pickle": _PICKLE[args.allow_pickle]}


def signer(text: str) -> Any:
    """Read what ``verify=`` takes: a path, or a JSON object.

    Example:
        >>> signer("key.pem"), signer('{"public_key": "key.pem"}')
        ('key.pem', {'public_key': 'key.pem'})
    """
    if not text.startswith("{"):
        return text
    import json

    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a PEM file or a JSON object, got {text!r} ({error})") from error


def key_value(text: str) -> tuple[str, Any]:
    """Read ``KEY=VALUE``; a value that is JSON is taken as JSON, any other as text.

    Example:
        >>> key_value("top_k=3"), key_value("suffix=.")
        (('top_k', 3), ('suffix', '.'))
    """
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    import json

    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def port(text: str) -> int:
    """Read a TCP port; 0 means any free one."""
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"expected a port between 0 and 65535, got {text!r}")
    return int(text)


def positive(text: str) -> int:
    """Read an integer of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)
