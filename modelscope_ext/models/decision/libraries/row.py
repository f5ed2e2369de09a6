"""One row of the table of libraries."""

from __future__ import annotations

from modelscope_ext.utils.record import Record, dataclass

__all__ = ["NO_TORCH", "Library", "pip"]

#: A condition of formats that old, popular repos carry as copies: only alone are they what the model is in.
NO_TORCH = "!@safetensors !@pickle"


@dataclass(frozen=True)
class Library(Record):
    """One recognised library.

    Attributes:
        name: Its name, also the backend's name in a Resolution.
        framework: What its models run in.
        install: The command that installs it.
        tasks: The default tasks, blank-separated, canonical.
        features: Alternatives that recognise its files; see the module's docstring.
        spellings: Other names in `library_name`, lower case with hyphens, blank-separated.
        infer: A function of `inference` that knows better than `tasks`.
        needs_files: True where a card that names it is wrong unless the files show it.
    """

    name: str
    framework: str
    install: str
    tasks: str = ""
    features: tuple[str, ...] = ()
    spellings: str = ""
    infer: str = ""
    needs_files: bool = False
    tags: tuple[str, ...] = ()


def pip(name: str) -> str:
    """Return the command that installs a package."""
    return f"pip install {name}"
