import io
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext.errors import LimitExceeded, MalformedMetadata, ModelScopeExtError, PickleRefused
from modelscope_ext.safety.arrays import check_array
from modelscope_ext.safety.grants import Grants
from tests.safety.build import Zip


def npy(descr: object, shape: object, body: int = 0, version: int = 1) -> bytes:
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes((version, 0)) + length + text + bytes(body)


def npz(method=zipfile.ZIP_STORED, **arrays: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in arrays.items():
            archive.writestr(f"{name}.npy", data)
    return stream.getvalue()


FINE = npy("<f4", (2, 3), 24)


@pytest.mark.parametrize("descr", ["<f4", "|b1", ">i8", "<c16", "<U5", "|S3", "<M8[ns]", [("x", "<f4"), ("y", "<i2")]])
@pytest.mark.parametrize("version", [1, 2, 3])
def test_plain_arrays_pass(descr, version):
    check_array(npy(descr, (2,), 64, version), file="a.npy")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives_of_plain_arrays_pass(method):
    check_array(npz(method, a=FINE, b=FINE), file="a.npz")
    check_array(io.BytesIO(npz(method, a=FINE)), file="a.npz")


@pytest.mark.parametrize("descr", ["|O", "O", "|O8", [("x", "|O")], [("x", [("y", "O")])]])
def test_b07_b08_object_arrays_are_refused(descr):
    bad = npy(descr, (1,), 40)
    for data in (bad, npz(a=FINE, b=bad), npz(zipfile.ZIP_DEFLATED, b=bad)):
        with pytest.raises(PickleRefused, match="object array") as error:
            check_array(data, file="mean_std_2d.npy", source="./m")
        assert error.value.grant == "allow_pickle"
    check_array(bad, file="a.npy", grants=Grants.of(allow_pickle="full"))


def test_e43_a_shape_beyond_its_bytes_is_refused():
    for data in (npy("<f4", (10**15,), 100), npz(a=npy("<f8", (2**40, 2**40)))):
        with pytest.raises(LimitExceeded, match="Nothing was allocated"):
            check_array(data, file="a.npy")


MALFORMED = {
    "not an array": b"hello", "empty": b"", "cut off": FINE[:20],
    "version 9": FINE[:6] + b"\x09" + FINE[7:],
    "shape with a negative side": npy("<f4", (-1,), 4), "shape a list": npy("<f4", [1], 4),
    "header that calls": b"\x93NUMPY\x01\x00\x10\x00__import__('os')", "a type that is a number": npy(4, (1,), 4),
    "a broken archive": b"PK\3\4" + bytes(40), "an archive with a script": Zip().add("a.sh", b"x").bytes(),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_no_array_is_malformed(case):
    with pytest.raises(MalformedMetadata):
        check_array(MALFORMED[case], file="a.npy")


@settings(max_examples=100)
@given(st.integers(0, 500), st.binary(min_size=1, max_size=8))
def test_a_spoiled_array_never_raises_a_foreign_error(place, noise):
    for data in (FINE, npz(a=FINE)):
        at = place % len(data)
        try:
            check_array(data[:at] + noise + data[at + len(noise) :], file="a.npy")
        except ModelScopeExtError:
            continue


@pytest.mark.pt
def test_what_numpy_writes_passes(tmp_path):
    import numpy as np

    np.save(tmp_path / "a.npy", np.ones((2, 3), dtype=np.float16))
    np.savez(tmp_path / "b.npz", x=np.arange(5), y=np.array("text"))
    np.savez_compressed(tmp_path / "c.npz", x=np.zeros((1000, 10)))
    for name in ("a.npy", "b.npz", "c.npz"):
        check_array((tmp_path / name).read_bytes(), file=name)
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(PickleRefused):
        check_array((tmp_path / "o.npy").read_bytes(), file="o.npy")
