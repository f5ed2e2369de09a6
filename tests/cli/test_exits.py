"""Exit codes: one table, and every error of the package has a row in it."""

import pytest

from modelscope_ext import errors
from modelscope_ext.cli import exits

CODES = {
    "HubError": 8, "ModelNotFound": 3, "NotAModel": 3, "AmbiguousModel": 3, "RequirementError": 4,
    "MissingRequirement": 4, "RequirementConflict": 4, "BackendNotLoadable": 4, "RegistryError": 2, "ConfigError": 6,
    "OptionError": 2, "WeightsMismatch": 7, "SafetyError": 5, "RemoteCodeRefused": 5, "PickleRefused": 5,
    "RedirectRefused": 5, "PathEscapeRefused": 5, "LimitExceeded": 6, "MalformedMetadata": 6, "UnknownTypeError": 5,
    "InstallRefused": 5, "ExecutableFormatRefused": 5, "RemoteCodeFailed": 7, "TemplateRefused": 5,
    "UnsafeBackendError": 5, "ModelScopeExtError": 7, "DiskFull": 8, "MemoryTooSmall": 7, "LockMismatch": 7,
    "SignatureRefused": 5,
}  # fmt: skip


def test_every_public_error_is_listed_here():
    assert set(CODES) == set(errors.__all__)


@pytest.mark.parametrize("name", CODES)
def test_the_code_of_an_error(name):
    assert exits.code_of(getattr(errors, name)("x")) == CODES[name]


@pytest.mark.parametrize(
    ("error", "code"),
    [(PermissionError("x"), 8), (KeyError("x"), 9), (KeyboardInterrupt(), 130), (BrokenPipeError(), 141)],
)
def test_the_code_of_other_errors(error, code):
    assert exits.code_of(error) == code


def test_codes_are_distinct_and_all_in_the_help():
    codes = [row.code for row in exits.EXITS]
    assert len(set(codes)) == len(codes)
    lines = exits.help_text().splitlines()[1:]
    assert [int(line.split()[0]) for line in lines] == codes == sorted(codes)
