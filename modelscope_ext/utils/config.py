"""Config and ConfigDict: configurations as files, dicts and attributes, as ModelScope's users know them.

Compatible with `modelscope.utils.config` (https://github.com/modelscope/modelscope) where that works, with `_base_`
inheritance as in mmengine (https://mmengine.readthedocs.io/en/latest/advanced_tutorials/config.html). Different on
purpose: reading is bounded (`utils.bounded`), Python runs only with `trust_remote_code=True`, YAML has the types of
1.2, files are written whole or not at all, and no dict that a caller passes in is ever changed.

Example:
    >>> cfg = Config({"model": {"type": "bert", "layers": [{"size": 1}]}})
    >>> cfg.model.type, cfg["model"].layers[0].size, "model" in cfg
    ('bert', 1, True)
    >>> cfg.merge_from_dict({"model.layers.0.size": 2, "task": "fill-mask"})
    >>> cfg.to_dict()
    {'model': {'type': 'bert', 'layers': [{'size': 2}]}, 'task': 'fill-mask'}
"""

# Paths stay strings: from_file takes microseconds; a Path costs as much again.
# ruff: noqa: PTH100, PTH111, PTH122

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from modelscope_ext.utils._config.check import check_config
from modelscope_ext.utils._config.dict import ConfigDict
from modelscope_ext.utils._config.errors import ConfigFileError, ConfigKeyError, ConfigTypeError
from modelscope_ext.utils._config.files import BASE_KEY, FORMATS, limits_of, load, parse, read, refuse_trust
from modelscope_ext.utils.bounded import MAX_BYTES, decode_text
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import printable

__all__ = ["Config", "ConfigDict", "check_config"]

_RESERVED = frozenset(("filename", "text", "pretty_text"))
_LISTS = (list, tuple)
_METHODS = frozenset(dir(ConfigDict))  # `cfg.items` is the method, also where a key has that name
_T = TypeVar("_T")


class Config:
    """A configuration: a dict whose keys are attributes, that knows the file it came from.

    Args:
        cfg_dict: The values, copied; None is empty.
        cfg_text: The text that `.text` gives; by default that of `filename`.
        filename: The file that it stands for.

    Raises:
        ConfigError: `cfg_dict` is no dict (also a TypeError), or has one of the reserved keys `filename`, `text` and
            `pretty_text` (also a KeyError).
    """

    _cfg_dict: ConfigDict
    _filename: str | None

    def __init__(
        self,
        cfg_dict: Mapping[Any, Any] | None = None,
        cfg_text: str | None = None,
        filename: str | os.PathLike[str] | None = None,
    ) -> None:
        if cfg_dict is not None and not isinstance(cfg_dict, dict):
            raise ConfigTypeError(f"cfg_dict must be a dict, but is {printable(cfg_dict, 60)}.")
        name = os.fspath(filename) if filename is not None else None
        text: Any = cfg_text or ("" if not name else decode_text(read(name, MAX_BYTES), file=name))
        self._fill(ConfigDict(cfg_dict or {}), name, text)

    def _fill(self, values: ConfigDict, filename: str | None, text: Any, format: str | None = None) -> None:
        """Take `values` as they are; `text` is a str, or (path, bytes) of each file for a text that is made late."""
        reserved = _RESERVED.intersection(values)
        if reserved:
            raise ConfigKeyError(
                f"{printable(filename or 'cfg_dict')}: {printable(repr(min(reserved)))} is reserved for Config itself. "
                "Rename the key."
            )
        self.__dict__.update(_cfg_dict=values, _filename=filename, _text=text, _format=format)

    @classmethod
    def from_file(
        cls: type[_T],
        filename: str | os.PathLike[str],
        trust_remote_code: bool = False,
        model_dir: object = None,
        *,
        base_root: str | os.PathLike[str] | None = None,
        limits: object = None,
    ) -> _T:
        """Read a `.json`, `.yaml`, `.yml` or, if trusted, `.py` file, and the files that its `_base_` names.

        `_base_` is a path or a list of paths relative to the file; the file's own values are merged into them, and a
        dict with ``_delete_=True`` replaces its counterpart. Two bases must not set the same key.

        Args:
            filename: The file; ``~`` is the home folder.
            trust_remote_code: Execute it, and its bases, if they are `.py` files.
            model_dir: Accepted for ModelScope's callers; it does not establish trust.
            base_root: The folder that bases may come from; by default the one of `filename`.
            limits: `safety.Limits`, or anything with its attributes.

        Raises:
            ConfigError: No such file (also a FileNotFoundError), or another ending (also an OSError); two bases set
                the same key (also a KeyError).
            RemoteCodeRefused: A `.py` file without `trust_remote_code=True`.
            RemoteCodeFailed: A trusted `.py` file raised.
            RedirectRefused: `_base_` names a URL or another repo.
            PathEscapeRefused: `_base_` leaves `base_root`.
            MalformedMetadata: Broken JSON or YAML, no dict at the top level, or `_base_` runs in a circle.
            LimitExceeded: Larger or deeper than `limits`.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     _ = Path(folder, "base.yaml").write_text("model: {type: bert, layers: 12}")
            ...     _ = Path(folder, "small.json").write_text('{"_base_": "base.yaml", "model": {"layers": 2}}')
            ...     Config.from_file(Path(folder, "small.json")).model
            {'type': 'bert', 'layers': 2}
        """
        if type(trust_remote_code) is not bool:
            refuse_trust(trust_remote_code)
        name = os.fspath(filename)
        path = os.path.abspath(os.path.expanduser(name) if name[:1] == "~" else name)
        root = None if base_root is None else os.path.abspath(os.path.expanduser(base_root))
        loaded = load(path, trusted=trust_remote_code, limits=limits, base_root=root)
        self = cls.__new__(cls)
        Config._fill(self, loaded.values, name, loaded.texts)  # type: ignore[arg-type]
        return self

    @classmethod
    def from_string(
        cls: type[_T], cfg_str: str, file_format: str, trust_remote_code: bool = False, *, limits: object = None
    ) -> _T:
        """Read a configuration from text.

        Args:
            cfg_str: The text.
            file_format: ``.json``, ``.yaml``, ``.yml`` or ``.py``.
            trust_remote_code: Execute the text if the format is ``.py``.
            limits: `safety.Limits`, or anything with its attributes.

        Raises:
            ConfigError: Another format (also an OSError), or the text has a `_base_`, which only a file can have.
            RemoteCodeRefused: Python without `trust_remote_code=True`.

        Example:
            >>> Config.from_string("model: {type: bert}", ".yaml").model.type
            'bert'
        """
        from modelscope_ext.utils._config import python as python

        if type(trust_remote_code) is not bool:
            refuse_trust(trust_remote_code)
        if file_format not in FORMATS:
            raise ConfigFileError(
                f"file_format={printable(repr(file_format), 40)}; expected one of {', '.join(FORMATS)}."
            )
        data, file = cfg_str.encode("utf-8", "surrogatepass"), f"<string>{file_format}"
        if file_format == ".py":
            python.refuse_unless_trusted(trust_remote_code, data, file)
            values = ConfigDict(python.run(cfg_str, file))
        else:
            if "dict(" in cfg_str:
                logger.warning("the text contains 'dict(': is its file_format .py rather than %s?", file_format)
            values = parse(data, file_format, file=file, limits=limits_of(limits))
        if BASE_KEY in values:
            raise ConfigFileError(f"{file}: {BASE_KEY} needs a file to be relative to. Use Config.from_file.")
        self = cls.__new__(cls)
        Config._fill(self, values, None, cfg_str, file_format)  # type: ignore[arg-type]
        return self

    @property
    def filename(self) -> str | None:
        """The file it was read from, as the caller named it."""
        return self._filename

    @property
    def text(self) -> str:
        """What was read: for each file, the bases first, its absolute path and its content."""
        if not isinstance(self._text, str):
            parts = [path + "\n" + decode_text(data, file=path) for path, data in self._text]
            self.__dict__["_text"] = "\n".join(parts).replace("\r\n", "\n").replace("\r", "\n")
        return self._text  # type: ignore[no-any-return]

    @property
    def pretty_text(self) -> str:
        """The values as Python, laid out in milliseconds; what has no literal form is shown by its `repr()`."""
        from modelscope_ext.utils._config.pretty import python_text

        return python_text(self._cfg_dict, strict=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__} (path: {self.filename}): {self._cfg_dict!r}"

    def __len__(self) -> int:
        return len(self._cfg_dict)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cfg_dict)

    def __contains__(self, key: object) -> bool:
        return key in self._cfg_dict

    def __getattr__(self, name: str) -> Any:
        try:
            values = self.__dict__["_cfg_dict"]
            if name not in _METHODS:
                return values[name]
        except KeyError:
            raise AttributeError(f"'ConfigDict' object has no attribute '{name}'") from None
        return getattr(values, name)

    def __getitem__(self, name: Any) -> Any:
        return self._cfg_dict[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _METHODS:
            raise AttributeError(f"'ConfigDict' object attribute '{name}' is read-only; use cfg[{name!r}] = ...")
        self[name] = value

    def __setitem__(self, name: Any, value: Any) -> None:
        if name in _RESERVED:
            raise ConfigKeyError(f"{name!r} is reserved for Config itself. Choose another key.")
        self._cfg_dict[name] = ConfigDict(value) if isinstance(value, dict) else value

    def __delattr__(self, name: str) -> None:
        if name not in self._cfg_dict:
            raise AttributeError(f"'ConfigDict' object has no attribute '{name}'")
        del self._cfg_dict[name]

    def __delitem__(self, name: Any) -> None:
        del self._cfg_dict[name]

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of `key`, or `default` where it is absent."""
        return self._cfg_dict.get(key, default)

    def __getstate__(self) -> tuple[Any, ...]:
        return (self._cfg_dict, self._filename, self.text, self._format)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        values, filename, text, *format = state
        self.__dict__.update(_cfg_dict=values, _filename=filename, _text=text, _format=format[0] if format else None)

    def __copy__(self: _T) -> _T:
        other = self.__class__.__new__(self.__class__)
        other.__dict__.update(self.__dict__, _cfg_dict=self.__dict__["_cfg_dict"].copy())
        return other

    def __deepcopy__(self: _T, memo: dict[int, Any]) -> _T:
        other = self.__class__.__new__(self.__class__)
        memo[id(self)] = other
        other.__dict__.update(self.__dict__, _cfg_dict=copy.deepcopy(self.__dict__["_cfg_dict"], memo))
        return other

    def safe_get(self, key_chain: str, default: Any = None, type_field: str | None = "type") -> Any:
        """Return the value at a chain of keys, or `default` where any of them is absent.

        Args:
            key_chain: Keys joined by dots; ``hooks[0]`` is an item of a list, ``hooks.Log`` the first item of a list
                of dicts whose `type_field` is "Log".
            default: What is returned otherwise.
            type_field: The key that names the items of lists; None: items are found by index only.

        Example:
            >>> cfg = Config({"train": {"hooks": [{"type": "Log", "interval": 5}]}})
            >>> cfg.safe_get("train.hooks[0].interval"), cfg.safe_get("train.hooks.Log.interval")
            (5, 5)
            >>> cfg.safe_get("train.optimizer.lr", default=0.1)
            0.1
        """
        value: Any = self._cfg_dict
        try:
            for key in key_chain.split("."):
                index = None
                if "[" in key:
                    key, index = key.split("[")
                    index, _ = index.split("]")
                if isinstance(value, _LISTS):
                    if type_field is None:
                        return default
                    value = [item for item in value if item[type_field] == key][0]  # noqa: RUF015
                else:
                    value = value[key]
                if index is not None:
                    value = value[int(index)]
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            return default
        return value

    def merge_from_dict(self, options: Mapping[str, Any], allow_list_keys: bool = True, force: bool = True) -> None:
        """Merge `options`, which are not changed, into this configuration.

        Args:
            options: Values by key; ``a.b`` is the key b of the dict a, ``a.0.b`` that of the first item of the list a.
                A dict with ``_delete_=True`` replaces what is there.
            allow_list_keys: Allow indexes, and merge lists of dicts with a key `type`: items of the same type are
                merged, others added. Any other list replaces the old one.
            force: Replace values that are there already.

        Raises:
            ConfigError: A dict would be merged into something else (also a TypeError), or an index exceeds its list
                (also a KeyError).

        Example:
            >>> cfg = Config({"pipeline": [{"type": "Resize", "size": 224}, {"type": "Flip"}]})
            >>> cfg.merge_from_dict({"pipeline.0.size": 256})
            >>> cfg.merge_from_dict({"pipeline": [{"type": "Crop"}, {"type": "Flip", "p": 0.5}]})
            >>> cfg.pipeline
            [{'type': 'Flip', 'p': 0.5}, {'type': 'Resize', 'size': 256}, {'type': 'Crop'}]
        """
        from modelscope_ext.utils._config.merge import merge, unfold

        merged = merge(unfold(options), self._cfg_dict, lists=allow_list_keys, force=force)
        self.__dict__["_cfg_dict"] = merged

    def dump(self, file: str | os.PathLike[str] | None = None) -> str | None:
        """Write the configuration to `file`, or return it as text.

        The file is written whole or not at all. The format follows the ending: ``.json``, ``.yaml``, ``.yml``, or
        ``.py`` formatted by yapf; for the returned text that of the file it was read from, else Python.

        Args:
            file: Where to; None returns the text.

        Raises:
            ConfigError: Another ending (also an OSError), or a value that the format cannot express.

        Example:
            >>> print(Config({"model": {"type": "bert"}, "lr": 0.1}).dump(), end="")
            model = dict(type='bert')
            lr = 0.1
        """
        from modelscope_ext.utils._config import dump as writer
        from modelscope_ext.utils.atomic import write_atomic

        name = os.fspath(file) if file is not None else (self._filename or self._format or ".py")
        kind = os.path.splitext(name)[1] or (name if name in FORMATS else "")
        if kind not in FORMATS:
            raise ConfigFileError(
                f"{printable(name, 300)}: cannot be written as {printable(repr(kind))}; expected one of "
                f"{', '.join(FORMATS)}."
            )
        if kind == ".py":
            text = writer.as_python(self._cfg_dict, strict=file is not None)
        else:
            text = writer.as_json(self._cfg_dict) if kind == ".json" else writer.as_yaml(self._cfg_dict)
        if file is None:
            return text
        write_atomic(Path(name), text)
        return None

    def to_dict(self) -> dict[Any, Any]:
        """Return the values as plain dicts; containers are copied."""
        return self._cfg_dict.to_dict()

    def to_args(self, parse_fn: Callable[[list[str]], _T], use_hyphen: bool = True) -> _T:
        """Return what `parse_fn` makes of the top level as command-line arguments.

        Args:
            parse_fn: Takes a list such as ``["--foo", "1"]``; usually `ArgumentParser.parse_args`.
            use_hyphen: Write ``_`` in a key as ``-``.

        Returns:
            Its result. True is a lone flag; a list is one argument with several values (``nargs="*"``).

        Raises:
            ConfigError: A value is neither bool, number, string nor a list of those (also a TypeError).

        Example:
            >>> Config({"batch_size": 2, "amp": True, "sizes": [1, 2]}).to_args(lambda args: args)
            ['--batch-size', '2', '--amp', '--sizes', '1', '2']
        """
        args: list[str] = []
        for key, value in self._cfg_dict.items():
            values = value if isinstance(value, list) else [value]
            if not all(isinstance(item, int | str | float) for item in values):
                raise ConfigTypeError(
                    f"{printable(key)} is {printable(value, 60)}; expected bool, int, str, float or a list of them, "
                    "which a command line can express."
                )
            args.append(f"--{key}".replace("_", "-") if use_hyphen else f"--{key}")
            if value is not True:
                args += [str(item) for item in values]
        return parse_fn(args)
