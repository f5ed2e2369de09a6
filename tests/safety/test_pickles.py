import collections
import io
import os
import pickle
import struct
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext.errors import (
    ExecutableFormatRefused,
    LimitExceeded,
    MalformedMetadata,
    ModelScopeExtError,
    PickleRefused,
)
from modelscope_ext.safety.grants import Grants
from modelscope_ext.safety.limits import Limits
from modelscope_ext.safety.pickles import check_pickle, scan_pickle
from tests.safety.build import (
    HOOKS,
    Zip,
    checkpoint,
    legacy,
    number,
    state_dict,
    storage,
    tensor_v2,
    text,
)


class Evil:
    def __init__(self, call, *arguments):
        self.call = call, arguments

    def __reduce__(self):
        return self.call


def check(data, **kwargs):
    return check_pickle(data, file="pytorch_model.bin", source="./m", **kwargs)


def test_b05_plain_tensors_pass():
    data = checkpoint(state_dict(tensor_v2(), tensor_v2((6,), (1,)), tensor_v2((), (), 5)), bytes(24)).bytes()
    check(data)
    check(io.BytesIO(data))
    assert scan_pickle(data, file="m") == (
        "collections.OrderedDict", "torch.FloatStorage", "torch._utils._rebuild_tensor_v2",
    )  # fmt: skip


def test_a_path_is_read_too(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(checkpoint(state_dict(tensor_v2()), bytes(24)).bytes())
    check(path)
    check(str(path))


def test_parameters_metadata_and_typeless_storages_pass():
    parameter = b"ctorch._utils\n_rebuild_parameter\n" + tensor_v2() + b"\x88" + HOOKS + b"\x87R"
    v3 = (
        b"ctorch._utils\n_rebuild_tensor_v3\n("
        + storage("1", 2, "storage\nUntypedStorage").replace(b"ctorch\nstorage\n", b"ctorch.storage\n")
        + number(0) + b"K\x02\x85K\x01\x85\x89" + HOOKS + b"ctorch\nfloat8_e4m3fn\ntR"
    )  # fmt: skip
    size = b"ctorch\nSize\nK\x02\x85\x85R"
    device = b"ctorch\ndevice\n" + text("cpu") + b"\x85R"
    pickled = state_dict(parameter, v3, size, device, b"ctorch\nfloat16\n")[:-1]
    pickled += b"}" + text("_metadata") + HOOKS + b"sb."  # what Module.state_dict() attaches
    check(checkpoint(pickled, bytes(24), bytes(2)).bytes())


def test_the_older_container_passes():
    check(legacy(state_dict(tensor_v2(where=storage()[:-2] + b"NtQ")), {"0": bytes(24)}))


def system(protocol):
    return pickle.dumps({"w": Evil(os.system, "touch /tmp/never")}, protocol)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["pytorch_model.bin", "adapter_model.bin", "unet/diffusion_pytorch_model.bin"])
def test_b01_b03_a_call_is_refused_by_name(protocol, name):
    for data in (system(protocol), checkpoint(system(protocol)).bytes()):
        with pytest.raises(PickleRefused, match=rf"{os.name}\.system.*allow_pickle='full'") as error:
            check_pickle(data, file=name, source="./m")
        found = error.value
        assert (found.file, found.grant, found.field) == (name, "allow_pickle", f"{os.name}.system")
        assert "nothing was executed" in str(found)


def test_b02_a_bare_pickle_is_refused():
    with pytest.raises(PickleRefused, match=r"builtins\.exec"):
        check(pickle.dumps(Evil(exec, "raise SystemExit")))


def test_nothing_is_imported_or_called_while_looking():
    seen = []
    sys.addaudithook(lambda event, arguments: seen.append(event) if watching else None)
    watching = True
    for data in (system(4), checkpoint(system(2)).bytes()):
        with pytest.raises(PickleRefused):
            check(data)
        scan_pickle(data, file="m")
    watching = False
    assert not {"pickle.find_class", "os.system", "exec", "compile", "subprocess.Popen"} & set(seen)


REFUSED = {
    "B11 sparse": b"\x80\x02ctorch._utils\n_rebuild_sparse_tensor\n.",
    "B11 quantised": b"\x80\x02ctorch._utils\n_rebuild_qtensor\n.",
    "nested": b"\x80\x02ctorch._utils\n_rebuild_nested_tensor\n.",
    "numpy": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n.",
    "getattr": b"\x80\x02cbuiltins\ngetattr\n.",
    "a dotted name through an allowed module": b"\x80\x04" + b"\x8c\x05torch\x8c\x0b_utils.eval\x93.",
    "a name made of what is not a string": b"\x80\x04K\x01K\x02\x93.",
    "a name with an escape": b"\x80\x02ctorch\nS\\x69ze\n.",
    "INST": b"\x80\x02(ios\nsystem\n.",
    "OBJ": b"\x80\x02(ctorch\nSize\no.",
    "NEWOBJ": b"\x80\x02ctorch\nSize\n)\x81.",
    "an extension code": b"\x80\x02\x82\x01.",
    "PERSID": b"\x80\x02Pstorage\n.",
    "B10 SETITEM on an int": b"\x80\x02K\x01K\x02K\x03s.",
    "SETITEM on a tensor": b"\x80\x02" + tensor_v2() + b"K\x02K\x03s.",
    "APPEND to a dict": b"\x80\x02}K\x02a.",
    "BUILD on a tensor": b"\x80\x02" + tensor_v2() + b"}b.",
    "BUILD of other attributes": b"\x80\x02" + HOOKS + b"}" + text("__class__") + b"K\x01sb.",
    "BUILD on a dict": b"\x80\x02}}b.",
    "a tuple as a key": b"\x80\x02}K\x01\x85K\x01s.",
    "a call of a dtype": b"\x80\x02ctorch\nfloat16\n)R.",
    "a call of a storage class": b"\x80\x02ctorch\nFloatStorage\nK\x05\x85R.",
    "a call of a string": b"\x80\x02" + text("os.system") + b")R.",
    "a tensor of no storage": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00))\x89" + HOOKS + b"tR.",
    "a tensor with hooks": b"\x80\x02" + tensor_v2().replace(HOOKS, HOOKS + b"K\x01K\x01s") + b".",
    "a parameter of no tensor": b"\x80\x02ctorch._utils\n_rebuild_parameter\nK\x01\x88" + HOOKS + b"\x87R.",
    "an OrderedDict of a string": b"\x80\x02ccollections\nOrderedDict\n" + text("ab") + b"\x85R.",
    "a reference to a module": b"\x80\x02(" + text("module") + b"tQ.",
    "a storage of another class": b"\x80\x02" + storage(kind="XStorage") + b".",
}


@pytest.mark.parametrize("case", REFUSED)
def test_b10_b11_all_but_dense_tensors_is_refused(case):
    with pytest.raises(PickleRefused, match="Only plain tensors pass") as error:
        check(checkpoint(REFUSED[case], bytes(24)).bytes())
    assert len(str(error.value)) <= 1000 and str(error.value).isprintable()


def test_b12_a_view_larger_than_its_storage_is_beyond_the_limits():
    shapes = {(10**6, 10**6): (0, 0), (2**40,): (0,), (7,): (1,)}
    for shape, strides in shapes.items():
        sides = b"(" + b"".join(b"\x8a\x08" + side.to_bytes(8, "little") for side in shape) + b"t"
        data = tensor_v2(shape[:1] if len(shape) == 1 else (1, 1), strides)
        plain = b"(" + b"".join(map(number, shape[:1] if len(shape) == 1 else (1, 1))) + b"t"
        with pytest.raises(LimitExceeded, match="lies in a storage of 24 bytes"):
            check(checkpoint(state_dict(data.replace(plain, sides, 1)), bytes(24)).bytes())


@pytest.mark.parametrize(
    ("shape", "strides", "offset"), [((2, 3), (30, 1), 0), ((6,), (1,), 1), ((1,), (1,), 6), ((2, 2), (1,), 0)]
)
def test_a_tensor_beyond_its_storage_is_malformed(shape, strides, offset):
    with pytest.raises(MalformedMetadata):
        check(checkpoint(state_dict(tensor_v2(shape, strides, offset)), bytes(24)).bytes())


def test_negative_sizes_are_malformed():
    with pytest.raises(MalformedMetadata, match="no proper shape"):
        check(checkpoint(state_dict(tensor_v2((-1,), (1,))), bytes(24)).bytes())


MALFORMED = {
    "a storage that is not there": checkpoint(state_dict(tensor_v2())).bytes(),
    "a storage that is too short": checkpoint(state_dict(tensor_v2()), bytes(20)).bytes(),
    "B14 two data.pkl": Zip().add("a/data.pkl", state_dict()).add("b/data.pkl", state_dict()).bytes(),
    "no data.pkl": Zip().add("a/version", b"3").bytes(),
    "B14 checksum 0": Zip().add("a/data.pkl", state_dict(), crc=0).bytes(),
    "an unexpected member": checkpoint(state_dict()).add("archive/evil.sh", b"x").bytes(),
    "B13 compressed": checkpoint(state_dict()).add("archive/data/0", b"x", method=8, size=2**31).bytes(),
    "another byte order": Zip().add("a/data.pkl", state_dict()).add("a/byteorder", b"pdp11").bytes(),
    "an incomplete pickle": checkpoint(b"\x80\x02}").bytes(),
    "no pickle": checkpoint(b"hello").bytes(),
    "left over": checkpoint(b"\x80\x02}}.").bytes(),
    "an empty stack": checkpoint(b"\x80\x020.").bytes(),
    "a memo that was never made": checkpoint(b"\x80\x02h\x05.").bytes(),
    "a memo of 4 GB": checkpoint(b"\x80\x02}r\xff\xff\xff\xff.").bytes(),
    "protocol 9": checkpoint(b"\x80\x09}.").bytes(),
    "a pickle that torch.save did not write": pickle.dumps({"a": 1}),
    "not a file of weights": b"hello world",
    "empty": b"",
    "older: storages missing": legacy(state_dict(tensor_v2()), {}),
    "older: storage too short": legacy(state_dict(tensor_v2()), {"0": bytes(20)}),
    "older: bytes left over": legacy(state_dict(tensor_v2()), {"0": bytes(24)}) + b"x",
    "older: cut off": legacy(state_dict(tensor_v2()), {"0": bytes(24)})[:-3],
    "a git-LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 5\n",
}


@pytest.mark.parametrize("case", MALFORMED)
def test_b13_b14_what_is_no_checkpoint_is_malformed(case):
    with pytest.raises(MalformedMetadata, match=r"^pytorch_model\.bin: ") as error:
        check(MALFORMED[case])
    assert len(str(error.value)) <= 1000


def test_b10_the_tar_of_the_oldest_versions_is_refused():
    import tarfile

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    with pytest.raises(PickleRefused, match="tar archive"):
        check(stream.getvalue())


@pytest.mark.parametrize(
    "member", ["m/code/__torch__/x.py", "m/constants.pkl", "m/bytecode.pkl", "m/archive_format", "m/models/model.json",
               "m/data/aotinductor/model/x.so"],
)  # fmt: skip
def test_b16_programs_are_refused_as_programs(member):
    data = Zip().add("m/data.pkl", state_dict()).add(member, b"x").bytes()
    with pytest.raises(ExecutableFormatRefused, match="nothing was executed") as error:
        check(data)
    assert error.value.grant is None


def test_b16_a_shared_library_is_refused():
    with pytest.raises(ExecutableFormatRefused, match="shared library"):
        check(b"\x7fELF" + bytes(600))


def test_the_grants_decide():
    evil = checkpoint(system(2)).bytes()
    check(evil, grants=Grants.of(allow_pickle="full"))
    with pytest.raises(PickleRefused):
        check(evil, grants=Grants.of(trust_remote_code=True))
    with pytest.raises(PickleRefused, match="allow_pickle=False"):
        check(checkpoint(state_dict()).bytes(), grants=Grants.of(allow_pickle=False))
    with pytest.raises(LimitExceeded, match="pickled part"):
        check(checkpoint(state_dict()).bytes(), grants=Grants.of(limits=Limits(pickle_bytes=10)))


def test_scan_names_what_any_pickle_would_import():
    data = pickle.dumps([collections.OrderedDict(), Evil(os.getcwd), Evil(os.getcwd), struct.Struct], protocol=4)
    assert scan_pickle(data, file="x.pkl") == ("_struct.Struct", "collections.OrderedDict", f"{os.name}.getcwd")
    with pytest.raises(MalformedMetadata):
        scan_pickle(b"nonsense", file="x.pkl")


@settings(max_examples=100)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=6))
def test_a_spoiled_pickle_never_raises_a_foreign_error(place, noise):
    pickled = state_dict(tensor_v2(), tensor_v2())
    place %= len(pickled)
    spoiled = pickled[:place] + noise + pickled[place + len(noise) :]
    for data in (checkpoint(spoiled, bytes(24)).bytes(), legacy(spoiled, {"0": bytes(24)}), spoiled):
        try:
            check(data)
        except ModelScopeExtError as error:
            assert len(str(error)) <= 1000 and str(error).isprintable()


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_random_operations_never_raise_a_foreign_error(body):
    for data in (b"\x80\x02" + body, checkpoint(b"\x80\x04" + body + b".").bytes()):
        try:
            check(data)
        except ModelScopeExtError:
            continue
