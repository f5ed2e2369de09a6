import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_ext.errors import MalformedMetadata, ModelScopeExtError, PathEscapeRefused
from modelscope_ext.safety.paths import check_name, check_names, fault_of

ESCAPES = [
    "../../outside/x.safetensors", "/abs/x.safetensors", "..\\x", "C:\\x", "\\\\h\\s", "a/../../x", "..", "c:x",
    "../../../../org/private/resolve/main/x", "../../.bashrc", "/etc/x", "a\\b",
]  # fmt: skip
UNUSABLE = [
    "", ".", "./x", "a/./b", "a//b", "x ", "x.", "a /b", "a\0b", "a\nb", "CON", "con.txt", "a/NUL", "aux.json", "COM1",
    "x" * 4096, "y" * 256, "a\ud800", "e\u0301.safetensors", "\x1b[31m", 5, None, b"x",
]  # fmt: skip
FINE = [
    "model.safetensors", "unet/model-00001-of-00002.safetensors", "~/x", "$HOME/x", "%USERPROFILE%", ".gitattributes",
    "模型/权重.bin", "a..b", "console.log", "com10", "1_Pooling/config.json", "runs/10:20:30/x", "é.bin",
]  # fmt: skip


@pytest.mark.parametrize("name", ESCAPES)
def test_c01_to_c14_names_that_lead_out_are_refused(name):
    with pytest.raises(PathEscapeRefused, match=r"index\.json: weight_map: .*nothing was opened") as error:
        check_name(name, file="model.safetensors.index.json", field="weight_map", source="./m")
    assert (error.value.file, error.value.field, error.value.source) == (
        "model.safetensors.index.json", "weight_map", "./m",
    )  # fmt: skip


@pytest.mark.parametrize("name", UNUSABLE)
def test_c03_names_that_mean_something_else_elsewhere_are_malformed(name):
    with pytest.raises(MalformedMetadata) as error:
        check_name(name, file="f")
    assert len(str(error.value)) < 1000
    assert str(error.value).isprintable()


@pytest.mark.parametrize("name", FINE)
def test_c19_ordinary_names_stay_as_they_are(name):
    assert check_name(name) == name


def test_two_names_that_unicode_calls_the_same_are_refused():
    with pytest.raises(MalformedMetadata, match="one name in Unicode"):
        check_names(["\u00e9.bin", "e\u0301.bin"])
    check_names(["e\u0301.bin", "b.bin"])
    with pytest.raises(PathEscapeRefused):
        check_names(["ok.bin", "../x"])


@given(st.text(max_size=40))
def test_whatever_passes_stays_inside_on_every_system(name):
    import ntpath
    import posixpath

    try:
        check_name(name)
    except ModelScopeExtError:
        assert fault_of(name) is not None or not name.isascii()
        return
    for system in (posixpath, ntpath):
        assert not system.isabs(name)
        joined = system.normpath(system.join("root", name))
        assert joined.startswith("root" + system.sep)
