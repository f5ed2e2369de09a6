"""Reading a stranger's files: opened once, inside the model's folder, regular, and no larger than allowed."""

# On the path of every resolve(), where pathlib costs more than the system calls:
# ruff: noqa: PTH113, PTH114, PTH118, PTH206

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from typing import Any, NoReturn

from modelscope_ext.errors import LimitExceeded, MalformedMetadata, ModelNotFound, ModelScopeExtError, PathEscapeRefused
from modelscope_ext.safety.limits import DEFAULT_LIMITS, Limits
from modelscope_ext.safety.paths import fault_of
from modelscope_ext.utils import bounded
from modelscope_ext.utils.text import printable

__all__ = ["bases_of", "inside", "open_inside", "parse_json", "parse_yaml", "read_inside", "text_limit"]

_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_VOCABULARIES = frozenset(("tokenizer.json", "vocab.json", "merges.txt", "vocab.txt", "tokenizer.model"))
_SHARED = ".huggingface-shared-blobs"
_CACHED = re.compile(r"(?:models--.+|[^/]+--[^/]+)")


def text_limit(name: str, limits: Limits = DEFAULT_LIMITS) -> int:
    """Return how many bytes of the text file `name` may be read.

    Example:
        >>> text_limit("tokenizer.json") > text_limit("config.json")
        True
    """
    return limits.tokenizer_bytes if name.rpartition("/")[2] in _VOCABULARIES else limits.json_bytes


def parse_json(
    data: bytes,
    *,
    file: str,
    limits: Limits = DEFAULT_LIMITS,
    source: str | None = None,
    make_dict: Callable[[list[tuple[str, Any]]], Any] = dict,
) -> Any:
    """Parse JSON within `limits`; see `utils.bounded.parse_json` for what is refused.

    ``Infinity``, which real configurations hold although it is no JSON, becomes the string of that name.

    Example:
        >>> parse_json(b'{"a": [1, 2], "time_step_limit": [0.0, Infinity]}', file="config.json")
        {'a': [1, 2], 'time_step_limit': [0.0, 'Infinity']}
    """
    if b"Infinity" in data:
        data = _INFINITY.sub(_quoted, data)
    return bounded.parse_json(
        data,
        file=file,
        source=source,
        max_bytes=text_limit(file, limits),
        max_depth=limits.depth,
        max_nodes=limits.nodes,
        max_digits=limits.integer_digits,
        make_dict=make_dict,
    )


# transformers writes ``"time_step_limit": [0.0, Infinity]`` for Mamba2 and its kin, which is no JSON.
_INFINITY = re.compile(rb'"(?:[^"\\]+|\\.?)*"?|-?Infinity\b', re.DOTALL)  # cannot fail after a quote: no backtracking


def _quoted(found: re.Match[bytes]) -> bytes:
    token = found.group()
    return token if token.startswith(b'"') else b'"%s"' % token


def parse_yaml(
    data: bytes, *, file: str, limits: Limits = DEFAULT_LIMITS, source: str | None = None, scalar_keys: bool = False
) -> Any:
    """Parse one YAML document within `limits`; see `utils.bounded.parse_yaml` for what is refused.

    Example:
        >>> parse_yaml(b"language: no", file="README.md")
        {'language': 'no'}
    """
    return bounded.parse_yaml(
        data,
        file=file,
        source=source,
        max_bytes=text_limit(file, limits),
        max_depth=limits.depth,
        max_nodes=limits.nodes,
        max_aliases=limits.yaml_aliases,
        max_digits=limits.integer_digits,
        scalar_keys=scalar_keys,
    )


def read_inside(
    root: str | os.PathLike[str],
    name: str,
    *,
    start: int = 0,
    length: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    source: str | None = None,
    bases: Callable[[], tuple[str, ...]] | None = None,
) -> bytes:
    """Return bytes of one file inside `root`.

    Args:
        root: The model's folder.
        name: Relative posix path of the file.
        start: First byte.
        length: Number of bytes, at most; None reads the whole file, which must then be within the text limit.
        limits: What is too large.
        source: The model as the caller named it, for messages.
        bases: Returns `bases_of(root)`, if the caller keeps it; asked only about a file that is nested or a link.

    Raises:
        PathEscapeRefused: The file, or a folder on the way, is a link that leaves the model.
        LimitExceeded: The file is larger than its limit (nothing was read).
        MalformedMetadata: It is not a regular file, or it may not be read.
        ModelNotFound: There is no such file.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = pathlib.Path(folder, "config.json").write_text("{}")
        ...     read_inside(folder, "config.json")
        b'{}'
    """
    descriptor, size = open_inside(root, name, source=source, bases=bases)
    try:
        if length is None:
            limit = text_limit(name, limits)
            length = max(size - start, 0)
            if length > limit:
                too_large(name, length, limit, source)
        if start:
            os.lseek(descriptor, start, os.SEEK_SET)
        return _read(descriptor, min(length, max(size - start, 0)))
    except OSError as error:
        _unreadable(error, name, source)
    finally:
        os.close(descriptor)


def _read(descriptor: int, length: int) -> bytes:
    data = os.read(descriptor, length) if length else b""
    if len(data) == length:
        return data
    parts = [data]
    missing = length - len(data)
    while missing and (data := os.read(descriptor, min(missing, 2**24))):
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)


def open_inside(
    root: str | os.PathLike[str],
    name: str,
    *,
    source: str | None = None,
    bases: Callable[[], tuple[str, ...]] | None = None,
) -> tuple[int, int]:
    """Open one regular file inside `root` and return its descriptor and size; the caller closes it.

    The check is made on what was opened, so a file swapped later changes nothing.

    Raises:
        PathEscapeRefused: A link leaves the model (links within it, and a hub cache's own, are followed).
        MalformedMetadata: Not a regular file, or not readable.
        ModelNotFound: There is no such file.
    """
    fault = fault_of(name)
    if fault is not None:
        raise fault[0](f"{printable(name)}: {fault[1]}. Nothing was opened.", file=name, source=source)
    folder = os.fspath(root)
    try:
        descriptor = -1 if "/" in name else _open(os.path.join(folder, name))
        if descriptor < 0:
            descriptor = _open_below(folder, name, source, bases() if bases else bases_of(folder))
    except OSError as error:
        _unreadable(error, name, source)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise MalformedMetadata(
                f"{printable(name)}: not a regular file (a folder, pipe or device). Nothing was read.",
                file=name,
                source=source,
            )
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status.st_size


def _open(path: str) -> int:
    """Open `path` unless it is a link; -1 for a link."""
    if not _NOFOLLOW and os.path.islink(path):
        return -1
    try:
        return os.open(path, _FLAGS | _NOFOLLOW)
    except OSError as error:
        if error.errno in _LINK_ERRORS and os.path.islink(path):
            return -1
        raise


def _link_errors() -> frozenset[int]:
    import errno

    return frozenset((errno.ELOOP, errno.EMLINK))


_LINK_ERRORS = _link_errors()


def _open_below(folder: str, name: str, source: str | None, bases: tuple[str, ...]) -> int:
    """Open a file that is nested or a link: resolve it, check where it lies, open that without following anything."""
    path = os.path.join(folder, *name.split("/"))
    real = os.path.realpath(path)
    base = inside(bases, real)
    if base is None:
        raise PathEscapeRefused(
            f"{printable(name)}: a link that leaves the model's folder. It was not followed. "
            "Copy the file into the folder if you trust it.",
            file=name,
            source=source,
        )
    if not _NOFOLLOW or os.open not in os.supports_dir_fd:
        return os.open(real, _FLAGS)
    parts = real[len(base.rstrip(os.sep)) + 1 :].split(os.sep)
    at = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | _NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        return os.open(parts[-1], _FLAGS | _NOFOLLOW, dir_fd=at)
    finally:
        os.close(at)


def bases_of(folder: str) -> tuple[str, ...]:
    """Return the real folders in which a model's files may lie: its own, and the blobs of the hub cache it is in.

    The recognised layout is ``models--org--name/{blobs,snapshots/<commit>}`` (and ``org--name`` of ModelScope): a link
    from a snapshot into the blobs of the same repo is how these caches store every file. Hugging Face's client may keep
    large ones once for all repos, in a ``blobs`` folder of the whole cache that its marker tells from any other.
    """
    root = os.path.realpath(folder)
    parts = root.split(os.sep)
    for depth in range(len(parts) - 2, 0, -1):
        if parts[depth] == "snapshots" and _CACHED.fullmatch(parts[depth - 1]):
            shared = os.sep.join((*parts[: depth - 1], "blobs"))
            marked = parts[depth - 1].startswith("models--") and os.path.isfile(os.path.join(shared, _SHARED))
            return root, os.sep.join((*parts[:depth], "blobs")), *((shared,) if marked else ())
    return (root,)


def inside(bases: tuple[str, ...], real: str) -> str | None:
    """Return which of `bases_of(folder)` holds the resolved path `real`; None if it lies outside the model.

    Example:
        >>> inside(("/m",), "/m/config.json"), inside(("/m",), "/m-evil/config.json")
        ('/m', None)
    """
    return next((base for base in bases if real.startswith(base.rstrip(os.sep) + os.sep)), None)


def too_large(name: str, size: int, limit: int, source: str | None) -> NoReturn:
    """Raise the LimitExceeded of a file that was not read because of its size in bytes."""
    raise LimitExceeded(
        f"{printable(name)}: {size} bytes; at most {limit} are read. Nothing was read. "
        "If you trust the file, pass limits=Limits(json_bytes=...) (tokenizer_bytes for vocabularies).",
        file=name,
        source=source,
        grant="limits",
    )


def _unreadable(error: OSError, name: str, source: str | None) -> NoReturn:
    if isinstance(error, ModelScopeExtError):
        raise error
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        raise ModelNotFound(f"There is no file {printable(name)!r} in {printable(source or 'the model')}.") from error
    raise MalformedMetadata(
        f"{printable(name)}: cannot be read ({printable(error.strerror or str(error))}).", file=name, source=source
    ) from error
