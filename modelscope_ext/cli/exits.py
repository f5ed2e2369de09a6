"""The exit codes of the command line, in one table.

Example:
    >>> from modelscope_ext.errors import NotAModel
    >>> code_of(NotAModel("only a README")), code_of(ZeroDivisionError())
    (3, 9)
"""

from __future__ import annotations

from modelscope_ext import errors
from modelscope_ext.utils.record import Record, dataclass

__all__ = ["BROKEN_PIPE", "EXITS", "INTERRUPTED", "NEGATIVE", "OK", "USAGE", "Exit", "code_of", "help_text"]

OK, NEGATIVE, USAGE, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141


@dataclass(frozen=True)
class Exit(Record):
    """One exit code: its meaning, and the errors that end with it."""

    code: int
    meaning: str
    errors: tuple[type[BaseException], ...] = ()


#: An error ends with the code of the first of its classes (in method resolution order) that stands here.
EXITS = (
    Exit(OK, "done"),
    Exit(NEGATIVE, "the answer is no: `check` or `init` found a contradiction, `scan` or `batch` what cannot be read,"
                   " `inspect --security` a danger"),
    Exit(USAGE, "wrong usage: unknown option, task, backend or value", (errors.OptionError, errors.RegistryError)),
    Exit(3, "no such model, or not a model", (errors.ModelNotFound, errors.NotAModel, errors.AmbiguousModel)),
    Exit(4, "a requirement or a loader is missing", (errors.RequirementError, errors.BackendNotLoadable)),
    Exit(5, "refused for safety; the message names the argument that permits it, if one does", (errors.SafetyError,)),
    Exit(6, "a file is malformed or beyond the limits",
         (errors.MalformedMetadata, errors.LimitExceeded, errors.ConfigError)),
    Exit(7, "the model failed while loading or running", (errors.ModelScopeExtError,)),
    Exit(8, "a disk, hub or network failed", (errors.HubError, OSError)),
    Exit(9, "an error of this program; --debug shows where", (Exception,)),
    Exit(INTERRUPTED, "interrupted", (KeyboardInterrupt,)),
    Exit(BROKEN_PIPE, "the reader of the output went away", (BrokenPipeError,)),
)  # fmt: skip

_CODES: dict[type, int] = {kind: row.code for row in EXITS for kind in row.errors} | {errors.RemoteCodeFailed: 7}


def code_of(error: BaseException) -> int:
    """Return the exit code for `error`."""
    return next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), 9)


def help_text() -> str:
    """Return the table as the last paragraph of every ``--help``."""
    return "exit codes:\n" + "\n".join(f"  {row.code:<3}  {row.meaning}" for row in EXITS)
