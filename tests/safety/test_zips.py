import io
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext.errors import LimitExceeded, MalformedMetadata, ModelScopeExtError
from modelscope_ext.safety.limits import DEFAULT_LIMITS, Limits
from modelscope_ext.safety.zips import members
from tests.safety.build import Zip, reader


def found(data: bytes, **kwargs):
    return members(reader(data), len(data), file="m.bin", limits=kwargs.pop("limits", DEFAULT_LIMITS), **kwargs)


def plain() -> Zip:
    return Zip().add("a/data.pkl", b"pickle").add("a/version", b"3")


def test_members_and_places_are_found():
    data = plain().bytes()
    found_here = found(data)
    assert list(found_here) == ["a/data.pkl", "a/version"]
    pickle = found_here["a/data.pkl"]
    assert data[pickle.start : pickle.start + pickle.size] == b"pickle"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("wide", [False, True])
def test_what_pythons_own_writer_writes_is_read(method, wide):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name in ("a.npy", "b/ü.npy"):
            with archive.open(name, "w", force_zip64=wide) as member:
                member.write(b"x" * 1000)
    data = stream.getvalue()
    assert [m.size for m in found(data, deflate=True).values()] == [1000, 1000]
    if method == zipfile.ZIP_DEFLATED:
        with pytest.raises(MalformedMetadata, match="compressed"):
            found(data)


def wide_directory(data: bytes, **lies) -> bytes:
    """Put a 64-bit directory record before the end of a zip archive."""
    end = struct.unpack("<4s4H2LH", data[-22:])
    count, length, start = lies.get("count", end[4]), lies.get("length", end[5]), lies.get("start", end[6])
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, lies.get("at", len(data) - 22), 1)
    return data[:-22] + record + locator + data[-22:]


def test_a_64_bit_directory_must_agree():
    assert list(found(wide_directory(plain().bytes()))) == ["a/data.pkl", "a/version"]
    for lie in ({"count": 1}, {"start": 0}, {"length": 7}, {"at": 0}):
        with pytest.raises(MalformedMetadata):
            found(wide_directory(plain().bytes(), **lie))


B14 = {
    "two of one name": Zip().add("a/data.pkl", b"1").add("a/data.pkl", b"2").bytes(),
    "two that differ in case": Zip().add("a/data.pkl", b"1").add("a/DATA.pkl", b"2").bytes(),
    "another name in its own header": Zip().add("a/data.pkl", b"1", local_name="a/dota.pkl").bytes(),
    "prepended": b"#!/bin/sh\n" + plain().bytes(),
    "prepended, and pointed at": Zip().add("a/data.pkl", b"1", before=b"evil").bytes(),
    "bytes between": Zip().add("a/x", b"1").add("a/data.pkl", b"1", before=b"evil").bytes(),
    "appended": plain().bytes() + b"evil",
    "appended zip": plain().bytes() + plain().bytes(),
    "encrypted": Zip().add("a/data.pkl", b"1", flags=1).bytes(),
    "strange flags": Zip().add("a/data.pkl", b"1", flags=0x20).bytes(),
    "unknown method": Zip().add("a/data.pkl", b"1", method=99).bytes(),
    "B13 compressed": Zip().add("a/data/0", b"1", method=8, size=2**31).bytes(),
    "two sizes": Zip().add("a/data.pkl", b"12", size=1).bytes(),
    "fewer counted": plain().bytes(count=1),
    "more counted": plain().bytes(count=3),
    "a path as a name": Zip().add("../x", b"1").bytes(),
    "an absolute name": Zip().add("/a/data.pkl", b"1").bytes(),
    "a backslash": Zip().add("a\\data.pkl", b"1").bytes(),
    "cut off": plain().bytes()[:-30],
    "empty": b"",
    "only a beginning": b"PK\3\4" + bytes(100),
    "a comment": plain().bytes()[:-2] + b"\4\0evil",
}


@pytest.mark.parametrize("case", B14)
def test_b13_b14_what_two_readers_would_read_differently_is_malformed(case):
    with pytest.raises(MalformedMetadata, match=r"^m\.bin: not a zip archive as"):
        found(B14[case])


def test_too_many_members_are_refused():
    archive = Zip()
    for n in range(100):
        archive.add(f"a/data/{n}", b"")
    with pytest.raises(LimitExceeded, match="tensors="):
        found(archive.bytes(), limits=Limits(tensors=20))


@settings(max_examples=100)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8))
def test_a_spoiled_archive_never_raises_a_foreign_error(place, noise):
    data = wide_directory(plain().bytes())
    place %= len(data)
    try:
        found(data[:place] + noise + data[place + len(noise) :])
    except ModelScopeExtError:
        return
