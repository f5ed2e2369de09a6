"""Every exception this package raises, in one tree.

Each class also derives from the builtin that a user would catch::

    ModelScopeExtError
    +-- HubError (OSError)                      a hub or its client failed
    |   +-- DiskFull                            no room for what is to be fetched
    +-- MemoryTooSmall (MemoryError)            the weights would not fit; said before they are fetched
    +-- ModelNotFound (FileNotFoundError)       no folder and no repo of that name
    +-- NotAModel (ValueError)                  it exists, but nothing in it can be taken for a model
    +-- AmbiguousModel (ValueError)             several readings are equally good; the argument that settles it is named
    +-- RequirementError (ImportError)
    |   +-- MissingRequirement                  a package is absent or too old; carries the pip command
    |   +-- RequirementConflict                 packages that cannot share this environment
    +-- BackendNotLoadable (NotImplementedError)  recognised, but no loader for it exists here
    +-- RegistryError (KeyError)                unknown, duplicate or ambiguous registration
    +-- ConfigError (ValueError)                a configuration that cannot be read or understood
    +-- OptionError (TypeError, ValueError)     an argument nobody takes, or a value nobody knows
    +-- LockMismatch (ValueError)               commit, hash, decision or library is not the locked one
    +-- WeightsMismatch (RuntimeError)          weights are missing or left over after loading
    +-- SafetyError                             refused; `.code .source .file .field .grant` say what and why
        +-- RemoteCodeRefused  RC (PermissionError)
        +-- PickleRefused      PK (PermissionError)
        +-- RedirectRefused    RD (PermissionError)
        +-- PathEscapeRefused  PE (PermissionError)
        +-- LimitExceeded      LM (ValueError)
        +-- MalformedMetadata  MF (ValueError)
        +-- UnknownTypeError   UT (TypeError)
        +-- InstallRefused     IN (PermissionError)
        +-- ExecutableFormatRefused XF (PermissionError)
        +-- RemoteCodeFailed   RF (RuntimeError)    permitted code raised; what it changed was rolled back
        +-- TemplateRefused    TP (PermissionError) a chat template reached for more than text
        +-- SignatureRefused   SG (PermissionError) the model is not what the signer that `verify` names has signed
        +-- UnsafeBackendError UB (RuntimeError)    an installed library is below its security floor

Example:
    >>> from modelscope_ext.errors import ModelScopeExtError, PathEscapeRefused
    >>> error = PathEscapeRefused("points outside", file="config.json", field="vocab_file")
    >>> error.code, error.file, isinstance(error, ModelScopeExtError), isinstance(error, PermissionError)
    ('PE', 'config.json', True, True)
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "AmbiguousModel",
    "BackendNotLoadable",
    "ConfigError",
    "DiskFull",
    "ExecutableFormatRefused",
    "HubError",
    "InstallRefused",
    "LimitExceeded",
    "LockMismatch",
    "MalformedMetadata",
    "MemoryTooSmall",
    "MissingRequirement",
    "ModelNotFound",
    "ModelScopeExtError",
    "NotAModel",
    "OptionError",
    "PathEscapeRefused",
    "PickleRefused",
    "RedirectRefused",
    "RegistryError",
    "RemoteCodeFailed",
    "RemoteCodeRefused",
    "RequirementConflict",
    "RequirementError",
    "SafetyError",
    "SignatureRefused",
    "TemplateRefused",
    "UnknownTypeError",
    "UnsafeBackendError",
    "WeightsMismatch",
]


class ModelScopeExtError(Exception):
    """Base of every error of this package; its text is the whole message, also where a builtin would quote it."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class HubError(ModelScopeExtError, OSError):
    """A hub, or the client that speaks to it, failed.

    Attributes:
        refused: The hub has what was asked for, and refused it to who asked.
    """

    refused: bool = False


class DiskFull(HubError):
    """The disk has no room for what is to be fetched; what was fetched before is kept."""


class MemoryTooSmall(ModelScopeExtError, MemoryError):
    """The weights would not fit into the memory of the device; said before they are fetched."""


class ModelNotFound(ModelScopeExtError, FileNotFoundError):
    """No folder and no repo of that name."""


class NotAModel(ModelScopeExtError, ValueError):
    """The place exists, but nothing in it can be taken for a model."""


class AmbiguousModel(ModelScopeExtError, ValueError):
    """Several readings are equally good; the message names the argument that settles it."""


class RequirementError(ModelScopeExtError, ImportError):
    """The installed packages do not satisfy what the model needs."""


class MissingRequirement(RequirementError):
    """A package is absent or too old; the message carries the one pip command that mends it."""


class RequirementConflict(RequirementError):
    """Packages that cannot share this environment; the message says which and what to do."""


class BackendNotLoadable(ModelScopeExtError, NotImplementedError):
    """The library was recognised, but this package has no loader for it."""


class RegistryError(ModelScopeExtError, KeyError):
    """An unknown, duplicate or ambiguous registration."""


class ConfigError(ModelScopeExtError, ValueError):
    """A configuration that cannot be read, written or understood."""


class OptionError(ModelScopeExtError, TypeError, ValueError):
    """An argument that nobody takes, or a value that nobody knows."""


class LockMismatch(ModelScopeExtError, ValueError):
    """What would be loaded is not what the lock file names; the message says in what it differs."""


class WeightsMismatch(ModelScopeExtError, RuntimeError):
    """Weights were missing, left over or newly initialised after loading."""


class SafetyError(ModelScopeExtError):
    """Something was refused before it could do harm.

    Attributes:
        code: Two letters that name the class of the refusal, e.g. ``"RC"``.
        source: The model it came from, as the caller named it.
        file: The file inside the model, if one decided.
        field: The key inside that file, dotted.
        grant: The argument that would permit it, or None where nothing would.
    """

    code: ClassVar[str] = "SF"

    def __init__(
        self,
        message: str = "",
        *,
        source: str | None = None,
        file: str | None = None,
        field: str | None = None,
        grant: str | None = None,
    ) -> None:
        super().__init__(message)
        self.source = source
        self.file = file
        self.field = field
        self.grant = grant

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), self.args, self.__dict__)


class RemoteCodeRefused(SafetyError, PermissionError):
    """The model asks to run Python that came with it."""

    code = "RC"


class PickleRefused(SafetyError, PermissionError):
    """A pickle that is more than plain tensors."""

    code = "PK"


class RedirectRefused(SafetyError, PermissionError):
    """The model points at another source that the caller did not name."""

    code = "RD"


class PathEscapeRefused(SafetyError, PermissionError):
    """A path or link leaves the model's folder."""

    code = "PE"


class LimitExceeded(SafetyError, ValueError):
    """Larger, deeper or longer than the limits allow."""

    code = "LM"


class MalformedMetadata(SafetyError, ValueError):
    """A metadata or weight file that breaks its own format."""

    code = "MF"


class UnknownTypeError(SafetyError, TypeError):
    """A class name outside the closed table of its library."""

    code = "UT"


class InstallRefused(SafetyError, PermissionError):
    """The model asks for packages to be installed."""

    code = "IN"


class ExecutableFormatRefused(SafetyError, PermissionError):
    """A weight format that is a program (TorchScript, .so, ...)."""

    code = "XF"


class RemoteCodeFailed(SafetyError, RuntimeError):
    """Code that the caller permitted raised; what it changed was rolled back."""

    code = "RF"


class TemplateRefused(SafetyError, PermissionError):
    """A chat template reached for more than text."""

    code = "TP"


class SignatureRefused(SafetyError, PermissionError):
    """The model is not what the signer that `verify` names has signed."""

    code = "SG"


class UnsafeBackendError(SafetyError, RuntimeError):
    """An installed library is older than the release that closed a known hole."""

    code = "UB"
