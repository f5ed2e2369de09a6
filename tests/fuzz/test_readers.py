"""Every reader on every seed, on what a fuzzer has found, and on seeds that were changed a little."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.readers import FOUND, READERS, seeds_of, try_one


@pytest.mark.parametrize("name", READERS)
def test_seeds_are_read_or_refused(name):
    seeds = list(seeds_of(name))
    assert len(seeds) >= 2
    for data in seeds:
        try_one(name, data)


@pytest.mark.parametrize("name", READERS)
def test_seeds_that_were_changed(name):
    seeds = list(seeds_of(name))

    @settings(max_examples=100, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(seeds), st.integers(0, 8192), st.integers(0, 20), st.binary(max_size=12))
    def changed(data, at, gone, put):
        at = at % (len(data) + 1)
        try_one(name, data[:at] + put + data[at + gone :])

    changed()


def test_what_was_found_belongs_to_a_reader():
    assert {path.parent.name for path in FOUND.glob("*/*")} <= set(READERS)


def test_an_error_that_is_not_ours_is_seen(monkeypatch):
    from tests.fuzz import readers

    monkeypatch.setitem(readers.READERS, "broken", readers.Reader(lambda data: data[9]))
    with pytest.raises(IndexError):
        try_one("broken", b"")
