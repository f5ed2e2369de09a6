import pytest

from modelscope_ext.errors import ModelScopeExtError, OptionError, PathEscapeRefused
from modelscope_ext.hub.names import check_repo, check_revision, split_prefix
from modelscope_ext.testing.hub_server import HOSTILE_NAMES

IDS = (
    "Qwen/Qwen2.5-7B-Instruct", "iic/speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404-pytorch",
    "org.x/name_1", "a/b", "01-ai/Yi-34B", "org/a--b", "x" * 96 + "/" + "y" * 96,
)  # fmt: skip
NO_IDS = (
    "..", "../x", "org/..", "a/b/c", "org/x?y=1", "org/x#y", "org/x%2e", "org/x y", "org//x", "/org/x", "org/x/",
    "org\\x", "C:/x", "org/con", "nul/x", "org/x.", "org/-x", "-org/x", "org/x\n", "org/x\0", "org/\u202ex", "örg/x",
    "a--b/c", "org/x.git", "org/" + "x" * 97, "org/a..b", "", "org", "http://host/org/x", "org/x@v1", "~/x", "$HOME/x",
)  # fmt: skip


@pytest.mark.parametrize("repo", IDS)
def test_an_id_stays_what_it_is(repo):
    assert check_repo(repo, hub="ModelScope") == repo


@pytest.mark.parametrize("repo", [*NO_IDS, *HOSTILE_NAMES, None, 3, b"org/x", ["org/x"]])
def test_what_is_no_id_is_refused_before_anything_is_asked(repo):
    with pytest.raises(ModelScopeExtError, match=r"Nothing was asked|expected a str") as error:
        check_repo(repo, hub="ModelScope")
    assert len(str(error.value)) <= 1000 and str(error.value).isprintable()


def test_an_id_without_an_owner_is_one_where_the_hub_has_them():
    assert check_repo("gpt2", hub="Hugging Face", bare=True) == "gpt2"
    with pytest.raises(OptionError):
        check_repo("gpt2", hub="ModelScope")


REVISIONS = ("main", "master", "v1.0", "refs/pr/1", "feature/x_y", "0" * 40, "release+1", "v1.0-rc.1")
NO_REVISIONS = (
    "../..", "a/../b", "/main", "main/", "a//b", "a\\b", "C:x", "main\n", "a b", "a?b", "a#b", "a%b", "-main", "a..b",
    "x.lock", "con", "a/nul", "a.", "a:b", "~1", "HEAD^", "@{1}", "a*", "x" * 256, "", "\u202emain",
)  # fmt: skip


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_revision_stays_what_it_is(revision):
    assert check_revision(revision, hub="ModelScope") == revision


@pytest.mark.parametrize("revision", [*NO_REVISIONS, None, 3, b"main"])
def test_what_is_no_revision_is_refused_before_anything_is_asked(revision):
    with pytest.raises(ModelScopeExtError, match=r"Nothing was asked|expected a str") as error:
        check_revision(revision, hub="ModelScope")
    assert len(str(error.value)) <= 1000 and str(error.value).isprintable()


def test_what_leads_out_is_told_apart_from_what_is_misspelled():
    for escape in ("../..", "/etc", "a\\b"):
        with pytest.raises(PathEscapeRefused):
            check_revision(escape, hub="ModelScope")
        with pytest.raises(PathEscapeRefused):
            check_repo(escape, hub="ModelScope")


def test_prefixes_are_short_names_of_hubs_and_no_drives():
    assert split_prefix("HF:org/x") == ("huggingface", "org/x")
    assert split_prefix("om:x") == ("openmind", "x")
    for text in ("C:/x", "ms:/x", "hf:\\x", "xy:org/x", "org/x", "https://x"):
        assert split_prefix(text) == (None, text)
