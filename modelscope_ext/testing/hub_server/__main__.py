"""``python -m modelscope_ext.testing.hub_server org/model=FOLDER -- COMMAND``: run a command whose hubs are folders."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from modelscope_ext.testing.hub_server.repos import HUBS
from modelscope_ext.testing.hub_server.server import HubServer

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m modelscope_ext.testing.hub_server",
        description="Serve local folders as Hugging Face, ModelScope and Modelers on 127.0.0.1. With a command, run it"
        " there and end with its exit status; without, print the variables to set and serve until interrupted.",
    )
    parser.add_argument("repo", nargs="*", metavar="ORG/NAME=FOLDER", help="a repo and the folder that holds its files")
    parser.add_argument("--hub", action="append", choices=HUBS, help="serve this hub (can be repeated; default: all)")
    parser.add_argument("--no-cdn", action="store_true", help="send large files without a redirect")
    parser.add_argument("--requests", type=Path, metavar="FILE", help="write what was asked, as JSON lines, at the end")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve, and return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    at = given.index("--") if "--" in given else len(given)
    parser = _parser()
    options, command = parser.parse_args(given[:at]), given[at + 1 :]
    with HubServer(options.hub or HUBS, cdn=not options.no_cdn) as server:
        for repo in options.repo:
            name, equals, folder = repo.partition("=")
            if not equals or name.count("/") != 1:
                parser.error(f"expected ORG/NAME=FOLDER, found {repo!r}")
            try:
                server.add(name, folder)
            except NotADirectoryError as error:
                parser.error(str(error))
        status = _serve(server.environment(), command)
        if options.requests is not None:
            _write(server, options.requests)
    return status


def _serve(environment: dict[str, str], command: Sequence[str]) -> int:
    if command:
        return subprocess.run(command, env={**os.environ, **environment}, check=False).returncode
    for name, value in environment.items():
        print(f"export {name}={shlex.quote(value)}", flush=True)
    with suppress(KeyboardInterrupt):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.pause()
    return 0


def _write(server: HubServer, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for request in server.requests:
            file.write(json.dumps(request.to_dict()) + "\n")


if __name__ == "__main__":
    sys.exit(main())
