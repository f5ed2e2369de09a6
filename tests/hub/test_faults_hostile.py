"""The fault matrix, part 4: listings that lie about names, ids that are none, and a hundred thousand files."""

from __future__ import annotations

import shutil
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelscope_ext.errors import LimitExceeded, MalformedMetadata, ModelScopeExtError, OptionError, SafetyError
from modelscope_ext.hub.download import download
from modelscope_ext.safety.limits import Limits
from modelscope_ext.safety.paths import fault_of
from modelscope_ext.testing.hub_server import HOSTILE_NAMES
from tests.conftest import LOOPBACK
from tests.hub.world import FILES, REPO

pytestmark = pytest.mark.allow_hosts(LOOPBACK)


def attempt(world, name):
    """Fetch all that is listed where a listing holds `name`; nothing of it may be written anywhere."""
    shutil.rmtree(world.cache, ignore_errors=True)
    world.server.add(REPO, {**FILES, name: "stolen"})
    try:
        world.fetch()
    except ModelScopeExtError as error:
        assert len(str(error)) < 2000
        assert "stolen" not in str(error)
    world.check({**FILES, name: "stolen"} if fault_of(name) is None else FILES)
    assert not [p for p in world.root.rglob("*") if p.is_file() and p.read_bytes() == b"stolen" and fault_of(name)]


@pytest.mark.parametrize("name", [n for n in HOSTILE_NAMES if n], ids=repr)
def test_a_hostile_name(world, name):
    attempt(world, name)
    world.server.add(REPO, FILES)
    world.heals()


PARTS = st.sampled_from(["..", ".", "a", "b.txt", "~", "$HOME", "CON", "é", "é", " ", "\\", "C:", "\0", "\n", "‮"])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(PARTS, min_size=1, max_size=5), absolute=st.booleans())
def test_whatever_is_listed(world, parts, absolute):
    attempt(world, "/" * absolute + "/".join(parts))


@pytest.mark.parametrize(
    ("one", "other"),
    [("caf\u00e9.txt", "cafe\u0301.txt"), ("a", "a/b"), ("x.json", "x.json/y")],
)
def test_two_names_that_are_one_file_on_some_system(world, one, other):
    world.server.add(REPO, {**FILES, one: "1", other: "2"})
    with pytest.raises((SafetyError, MalformedMetadata)):
        world.fetch()
    world.check()
    world.server.add(REPO, FILES)
    world.heals()


def test_two_names_that_differ_in_case(world):
    """They are two files here; on a system where they are one, the listed hash tells which one it is."""
    world.files |= {"Model.bin": "1", "model.bin": "2"}
    world.server.add(REPO, world.files)
    world.heals()


@pytest.mark.parametrize(
    "repo",
    ["..", "../..", "a/b/c", "org/x?y=1", "org/x#y", "org/..", "org/x%2f..", "org\\x", "/etc/passwd", "org/", "/x",
     "org/x\0", "org/x\n", "org/x y", "org/" + "x" * 300, "http://127.0.0.1/x", "-x/y", "org/x.git"],
)  # fmt: skip
def test_an_id_that_is_none(world, repo):
    with pytest.raises((OptionError, SafetyError)):
        world.hub.listing(repo, None, world.access)
    assert world.server.requests == []
    world.check()


@pytest.mark.parametrize(
    "revision", ["../..", "..", "/etc", "a/../../b", "x?y", "x#y", "x\0", "x y", "x\\y", "C:x", "x" * 300, "a..b"]
)
def test_a_revision_that_is_none(world, revision):
    with pytest.raises((OptionError, SafetyError)):
        world.hub.listing(REPO, revision, world.access)
    assert world.server.requests == []
    world.check()


def test_a_hundred_thousand_files(world):
    """Refused at the limit; with another limit one of them is fetched."""
    names = {f"d{i % 40:02}/f{i:06}": b"" for i in range(100_000)}
    world.server.add(REPO, {**names, **FILES})
    began = time.monotonic()
    with pytest.raises(LimitExceeded, match=r"limits=Limits\(files=") as caught:
        world.listing()
    assert time.monotonic() - began < 120
    assert len(str(caught.value)) < 1000
    world.check({**names, **FILES})
    listing = world.listing(limits=Limits(files=200_000))
    assert len(listing.files) == 100_000 + len(FILES)
    folder = download(world.hub, listing, ["config.json", "d07/f000007"], world.access, progress=False)
    assert (folder / "config.json").read_text() == "{}"
    assert (folder / "d07/f000007").read_bytes() == b""
