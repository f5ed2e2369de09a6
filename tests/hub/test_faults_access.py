"""The fault matrix, part 1: cold, warm, offline; who may see what; what does not exist; a branch that moves."""

from __future__ import annotations

import time

import pytest

from modelscope_ext.errors import HubError, ModelNotFound, ModelScopeExtError
from modelscope_ext.hub.download import download
from modelscope_ext.hub.protocol import Access
from tests.conftest import LOOPBACK
from tests.hub.world import BIG, FILES, REPO, WEIGHTS, bytes_of

pytestmark = pytest.mark.allow_hosts(LOOPBACK)


def test_cold_warm_and_offline(world):
    world.heals()
    assert world.bodies() == BIG.size
    world.server.requests.clear()
    world.fetch()
    assert world.bodies() == 0
    assert {r.route for r in world.server.requests} <= {"info", "listing", "file-info"}
    world.server.requests.clear()
    commit = world.listing().commit
    world.server.requests.clear()
    began = time.monotonic()
    folder = world.fetch(offline=True)
    world.fetch(revision=commit, offline=True)
    assert time.monotonic() - began < 2
    assert (folder / WEIGHTS).read_bytes() == BIG.read()
    assert world.server.requests == []
    world.fetch(revision=commit)
    assert world.server.requests == [], "what was fetched for the branch is that commit's too"


def test_offline_and_cold(world):
    began = time.monotonic()
    with pytest.raises(ModelNotFound, match=r"org/model.*not in the cache"):
        world.fetch(offline=True)
    assert time.monotonic() - began < 1
    assert world.server.requests == []
    world.check()
    world.heals()


def test_a_gated_repo(world):
    world.server.add(REPO, FILES, gated=True, tokens=["right"])
    for token in ("", "wrong"):
        with pytest.raises(HubError, match=rf"(?s){REPO}.*(log in|token)"):
            world.fetch(token=token)
        world.check()
    world.heals(token="right")


def test_a_private_repo(world):
    world.server.add(REPO, FILES, private=True, tokens=["right"])
    for token in ("", "wrong"):
        with pytest.raises(ModelScopeExtError, match=rf"(?s){REPO}.*(log in|token)") as caught:
            world.fetch(token=token)
        assert isinstance(caught.value, HubError | ModelNotFound)
        assert "wrong" not in str(caught.value)
        world.check()
    world.heals(token="right")
    assert {r.authorized for r in world.server.requests if r.route == "cdn"} == {False}


def test_a_missing_repo(world):
    del world.server.store.repos[REPO]
    with pytest.raises(ModelNotFound, match=REPO):
        world.fetch()
    world.check()
    world.server.add(REPO, FILES)
    world.heals()


def test_a_missing_revision(world):
    with pytest.raises(ModelNotFound, match=r"v7.*no such branch, tag or commit"):
        world.fetch(revision="v7")
    world.check()
    world.server.add(REPO, FILES, revisions={"v7": {"config.json": "[7]"}})
    assert (world.fetch(revision="v7") / "config.json").read_text() == "[7]"


def test_a_file_that_vanishes_between_listing_and_download(world):
    listing = world.listing()
    world.faults.status(404, path=WEIGHTS)
    with pytest.raises(HubError, match=r"sub/model\.safetensors.*404"):
        download(world.hub, listing, [WEIGHTS, "config.json"], world.access, progress=False)
    world.check()
    world.heals()


def test_a_branch_that_moves_in_mid_download(world):
    other = {**FILES, "config.json": "[2]", WEIGHTS: bytes_of(BIG)[::-1]}
    moves = world.faults.run(lambda: world.server.move(REPO, "main", other), path=WEIGHTS, times=1)
    world.faults.cut(1_000_000, path=WEIGHTS, times=1)
    listing = world.listing()
    folder = download(world.hub, listing, [WEIGHTS], world.access, progress=False)
    assert moves.hits == 1
    download(world.hub, listing, list(FILES), world.access, progress=False)
    assert {n: (folder / n).read_bytes() for n in FILES} == {n: bytes_of(c) for n, c in FILES.items()}
    world.check()
    world.files = other
    folder = world.fetch()
    assert {n: (folder / n).read_bytes() for n in FILES} == {n: bytes_of(c) for n, c in other.items()}


def test_tags_and_commits_stay_where_they_are(world):
    first = world.listing().commit
    world.fetch()
    world.server.move(REPO, "main", {**FILES, "config.json": "[2]"})
    assert (world.fetch(revision=first) / "config.json").read_text() == "{}"
    assert (world.fetch() / "config.json").read_text() == "[2]"
    assert world.listing().commit != first


def test_a_token_never_reaches_another_host(world):
    world.server.add(REPO, FILES, private=True, tokens=["right"])
    world.faults.redirect(f"{world.server.elsewhere(world.name)}/nowhere", path=WEIGHTS, route="file", times=1)
    with pytest.raises(HubError):
        world.fetch(token="right")
    strangers = [r for r in world.server.requests if r.host not in ("127.0.0.1", "modelers.cn")]
    assert strangers
    assert not any(r.authorized for r in strangers)
    world.check()
    world.heals(token="right")
    assert not any(r.authorized for r in world.server.requests if r.route == "cdn")


def test_access_is_the_only_thing_that_a_second_user_of_the_cache_needs(world):
    """Offline, a cache serves what is in it; with the network, a private repo stays private."""
    world.server.add(REPO, FILES, private=True, tokens=["right"])
    world.fetch(token="right")
    with pytest.raises(ModelScopeExtError):
        download(world.hub, world.hub.listing(REPO, None, Access(cache_dir=world.cache, token="")), [WEIGHTS],
                 world.access)  # fmt: skip
    world.check()
