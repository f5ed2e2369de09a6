import pytest

from modelscope_ext.errors import OptionError, RedirectRefused
from modelscope_ext.safety.grants import NO_REMOTE_CODE, Grants

DIGEST = "ab" * 32


class Truthy:
    """Like numpy.bool_: true, but not True."""

    def __bool__(self):
        return True

    def __eq__(self, other):
        return other is True

    __hash__ = None


@pytest.mark.parametrize("value", ["False", "true", 1, 0, None, "", [], Truthy()])
@pytest.mark.parametrize("name", ["trust_remote_code", "local_files_only"])
def test_f01_a_question_of_trust_takes_exactly_true_or_false(name, value):
    with pytest.raises(TypeError, match=rf"{name}=.*exactly True or False") as error:
        Grants.of(**{name: value})
    assert isinstance(error.value, OptionError)


@pytest.mark.parametrize("value", [True, "yes", "weights-only", 0, 1, None, ["full"]])
def test_allow_pickle_takes_three_values(value):
    with pytest.raises(TypeError, match=r"allow_pickle=.*'weights_only'.*'full' or False"):
        Grants.of(allow_pickle=value)


@pytest.mark.parametrize("value", ["weights_only", "full", False])
def test_allow_pickle_keeps_what_it_takes(value):
    assert Grants.of(allow_pickle=value).allow_pickle is value or Grants.of(allow_pickle=value).allow_pickle == value


@pytest.mark.parametrize("value", ["", "abc", "g" * 64, "a" * 63, 64, b"a" * 64, DIGEST + "\n"])
def test_a_digest_has_64_hexadecimal_digits(value):
    with pytest.raises(TypeError, match=r"code_sha256=.*64 hexadecimal"):
        Grants.of(code_sha256=value)


def test_a_digest_is_compared_in_lower_case():
    assert Grants.of(code_sha256=DIGEST.upper()).code_sha256 == DIGEST


@pytest.mark.parametrize("value", ["org/x", [1], [""], {"org/x": 1}, 5])
def test_sources_are_a_list_of_strings(value):
    with pytest.raises(TypeError, match=r"allow_sources=.*a list of sources"):
        Grants.of(allow_sources=value)


def test_f06_an_unknown_grant_names_the_nearest():
    with pytest.raises(TypeError, match=r"'trust_remote'.*Did you mean 'trust_remote_code'\?"):
        Grants.of(trust_remote=True)


def test_f02_the_environment_revokes_and_never_grants(monkeypatch):
    allowed, plain = Grants.of(trust_remote_code=True), Grants.of()
    assert allowed.may_run_code and not plain.may_run_code
    monkeypatch.setenv(NO_REMOTE_CODE, "1")
    assert not allowed.may_run_code and allowed.revoked
    for value in ("0", "", "false"):
        monkeypatch.setenv(NO_REMOTE_CODE, value)
        assert allowed.may_run_code
        assert not plain.may_run_code


def test_d02_trust_is_per_source(tmp_path, monkeypatch):
    grants = Grants.of(
        trust_remote_code=True, code_sha256=DIGEST, allow_pickle="full", allow_sources=["org/base@0a1b", tmp_path]
    )
    other = grants.for_source("org/base")
    assert (other.trust_remote_code, other.code_sha256, other.allow_pickle) == (False, None, "full")
    monkeypatch.chdir(tmp_path.parent)
    assert grants.allowed_as(f"./{tmp_path.name}") == str(tmp_path)
    assert grants.allowed_as("org/base") == "org/base@0a1b"


@pytest.mark.parametrize("name", ["org/other", "org/bas", "base", "/etc", "../x", "\x1b[31mx"])
def test_d01_a_source_that_was_not_named_is_refused(name):
    with pytest.raises(RedirectRefused, match=r"nothing was opened.*allow_sources=") as error:
        Grants.of(trust_remote_code=True, allow_sources=["org/base"]).for_source(name)
    assert error.value.grant == "allow_sources"
    assert "\x1b" not in str(error.value)


def test_grants_are_frozen_and_compare():
    assert Grants.of() == Grants()
    with pytest.raises(AttributeError):
        Grants().trust_remote_code = True
