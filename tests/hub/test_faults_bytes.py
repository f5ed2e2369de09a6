"""The fault matrix, part 2: connections that are cut or stall, bytes and sizes that are wrong, hubs that fail."""

from __future__ import annotations

import shutil
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelscope_ext.errors import DiskFull, HubError, ModelScopeExtError
from modelscope_ext.hub import web
from tests.conftest import LOOPBACK
from tests.hub.world import BIG, REPO, WEIGHTS, World

pytestmark = pytest.mark.allow_hosts(LOOPBACK)

#: What happens to one answer that carries the weights.
ACCIDENTS = st.one_of(
    st.tuples(st.just("cut"), st.integers(0, BIG.size)),
    st.tuples(st.just("drop"), st.none()),
    st.tuples(st.just("status"), st.sampled_from([429, 500, 502, 503, 504])),
    st.tuples(st.just("ignore_range"), st.none()),
)


def cause(faults, accidents):
    for number, (kind, value) in enumerate(accidents):
        at = {"path": WEIGHTS, "times": 1, "skip": number, "route": "cdn", "method": "GET"}
        if kind == "status":
            faults.status(value, **at)
        elif kind == "cut":
            faults.cut(value, **at)
        else:
            getattr(faults, kind)(**at)


def survive(world, accidents):
    """One download through `accidents`, in a cache of its own."""
    shutil.rmtree(world.cache, ignore_errors=True)
    world.faults.clear()
    world.server.requests.clear()
    cause(world.faults, accidents)
    try:
        folder = world.fetch()
    except HubError:
        world.check()
        world.heals()
        return
    assert (folder / WEIGHTS).read_bytes() == BIG.read()
    world.check()
    if not any(kind == "ignore_range" for kind, _ in accidents):
        assert world.bodies() == BIG.size, "bytes were sent twice although the connection was cut cleanly"


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(accidents=st.lists(ACCIDENTS, max_size=5))
def test_whatever_happens_to_the_connection(world, impatient, accidents):
    survive(world, accidents)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(accidents=st.lists(ACCIDENTS, max_size=8))
def test_whatever_happens_to_several_streams(world, impatient, striped, accidents):
    survive(world, accidents)


@pytest.mark.long
def test_whatever_happens_to_the_connection_at_length(hub_name, tmp_path, monkeypatch, impatient):
    made = World(hub_name, tmp_path, monkeypatch)

    @settings(max_examples=300)
    @given(accidents=st.lists(ACCIDENTS, max_size=8))
    def through(accidents):
        survive(made, accidents)

    with made.server:
        through()


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offsets=st.lists(st.integers(0, BIG.size - 1), min_size=1, max_size=3, unique=True), times=st.integers(1, 3))
def test_wrong_bytes_of_the_right_size(world, impatient, offsets, times):
    mistake(world, offsets, times)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offsets=st.lists(st.integers(0, BIG.size - 1), min_size=1, max_size=3, unique=True), times=st.integers(1, 12))
def test_wrong_bytes_in_several_streams(world, impatient, striped, offsets, times):
    mistake(world, offsets, times)


def mistake(world, offsets, times):
    """One download with wrong bytes at `offsets`, in a cache of its own."""
    shutil.rmtree(world.cache, ignore_errors=True)
    world.faults.clear()
    for offset in offsets:
        world.faults.corrupt(offset, path=WEIGHTS, times=times)
    try:
        folder = world.fetch()
    except HubError as error:
        assert "not the listed ones" in str(error)
    else:
        assert (folder / WEIGHTS).read_bytes() == BIG.read()
    world.check()
    world.heals()


@pytest.mark.parametrize("name", ["config.json", "sub/deep/vocab.txt"])
def test_wrong_bytes_of_a_small_file(world, name):
    world.faults.corrupt(1, path=name)
    with pytest.raises(HubError, match=r"not the listed ones"):
        world.fetch()
    world.check()
    world.heals()


@pytest.mark.parametrize("by", [-5_000_000, -1, 1, 5_000_000])
def test_a_wrong_size(world, impatient, by):
    world.faults.resize(by, path=WEIGHTS)
    with pytest.raises(HubError, match=rf"{REPO}.*sub/model\.safetensors"):
        world.fetch()
    world.check()
    world.heals()


@pytest.mark.parametrize("size", [0, BIG.size - 1, BIG.size + 1])
def test_a_listing_that_lies_about_a_size(world, impatient, size):
    world.faults.listed(size=size, path=WEIGHTS)
    with pytest.raises(ModelScopeExtError, match=r"sub/model\.safetensors"):
        world.fetch()
    world.check()
    world.heals()


def test_a_listing_that_promises_more_than_any_disk_has(world):
    world.faults.listed(size=2**49, path=WEIGHTS)
    with pytest.raises(DiskFull, match=r"Nothing was fetched"):
        world.fetch()
    assert world.bodies() == 0
    world.check()
    world.heals()


def test_a_listing_that_lies_about_a_hash(world):
    world.faults.listed(sha256="0" * 64, path=WEIGHTS)
    with pytest.raises(HubError, match=r"not the listed ones"):
        world.fetch()
    world.check()
    world.heals()


@pytest.mark.parametrize("code", [429, 503, *(pytest.param(c, marks=pytest.mark.long) for c in (408, 500, 502, 504))])
@pytest.mark.parametrize("route", ["listing", "info", "file"])
def test_a_storm_that_passes(world, impatient, code, route):
    storm = world.faults.status(code, route=route, times=2, retry_after=0)
    world.heals_within_a_call()
    assert storm.hits <= 2


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("path", [None, WEIGHTS])
def test_a_storm_that_does_not_pass(world, impatient, code, path):
    world.faults.status(code, path=path, retry_after=0)
    began = time.monotonic()
    with pytest.raises(HubError, match=rf"{REPO}.*{code}"):
        world.fetch()
    assert time.monotonic() - began < 60
    world.check()
    world.heals()


def test_a_hub_that_asks_to_wait_is_obeyed(world, impatient):
    world.faults.status(429, path=WEIGHTS, times=1, retry_after=1)
    began = time.monotonic()
    world.fetch()
    assert time.monotonic() - began >= 1
    world.check()


def test_a_hub_that_asks_to_wait_longer_than_the_caller_does(world):
    world.faults.status(429, path=WEIGHTS, retry_after=3600)
    began = time.monotonic()
    with pytest.raises(HubError, match=r"3600 seconds"):
        world.fetch(deadline=5.0)
    assert time.monotonic() - began < 5
    world.check()
    world.heals()


@pytest.mark.parametrize("after", [None, 0, 1_000_000])
def test_a_stall_is_given_up_and_asked_again(world, impatient, monkeypatch, after):
    monkeypatch.setattr(web, "_READ", 0.5)
    world.faults.stall(60, after=after, path=WEIGHTS, times=1)
    began = time.monotonic()
    folder = world.fetch()
    assert time.monotonic() - began < 20
    assert (folder / WEIGHTS).read_bytes() == BIG.read()
    world.check()


def test_a_stall_that_does_not_end(world, impatient, monkeypatch):
    monkeypatch.setattr(web, "_READ", 0.2)
    world.faults.stall(60, after=1_000_000, path=WEIGHTS, times=1)
    world.faults.stall(60, path=WEIGHTS, route="cdn", skip=1)
    with pytest.raises(HubError, match=rf"{REPO}.*sub/model\.safetensors.*no answer in time"):
        world.fetch()
    world.check()
    world.server.requests.clear()
    world.heals()
    assert world.bodies() == BIG.size - 1_000_000


def test_a_listing_that_stalls_ends_at_the_deadline(world):
    world.faults.stall(30, route="listing")
    world.faults.stall(30, route="info")
    began = time.monotonic()
    with pytest.raises(HubError, match=r"within 2 seconds"):
        world.fetch(deadline=2.0)
    assert time.monotonic() - began < 5
    world.check()
    world.heals()


def test_a_slow_server_ends_at_the_deadline(world):
    world.faults.drip(500_000, path=WEIGHTS)
    began = time.monotonic()
    with pytest.raises(HubError, match=r"not done within 2 seconds"):
        world.fetch(deadline=2.0)
    assert time.monotonic() - began < 6
    world.check()
    world.server.requests.clear()
    world.heals()
    assert 0 < world.bodies() < BIG.size


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://[", "//", "http://127.0.0.1:1/x"])
def test_a_redirect_to_nowhere(world, impatient, url):
    world.faults.redirect(url, path=WEIGHTS, route="file")
    with pytest.raises(HubError, match=rf"{REPO}.*sub/model\.safetensors"):
        world.fetch()
    world.check()
    world.heals()


def test_redirects_without_end(world, impatient):
    world.faults.redirect("?again", path=WEIGHTS)
    began = time.monotonic()
    with pytest.raises(HubError, match=rf"{REPO}.*sub/model\.safetensors"):
        world.fetch()
    assert time.monotonic() - began < 20
    world.check()
    world.heals()


def test_a_hub_that_answers_with_rubbish(world, impatient):
    world.faults.status(200, route="listing", body=b"<html>Welcome to this hotel's network</html>")
    world.faults.status(200, route="info", body=b"<html>Welcome to this hotel's network</html>")
    with pytest.raises(HubError, match=REPO):
        world.fetch()
    world.check()
    world.heals()


@pytest.mark.parametrize(
    "body", [b"null", b"[]", b"{}", b'{"data": null}', b'{"Data": {"Files": 7}}', b'{"siblings": 7}']
)
def test_a_hub_that_answers_with_other_json(world, impatient, body):
    for route in ("listing", "info", "file-info"):
        world.faults.status(200, route=route, body=body)
    try:
        listing = world.listing()
    except ModelScopeExtError as error:
        assert REPO in str(error)
    else:
        assert listing.files == ()  # no file of a model was made up
    world.check()
    world.heals()
