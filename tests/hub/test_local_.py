from modelscope_ext.hub import local_
from modelscope_ext.safety.limits import Limits


def test_a_folder_is_a_snapshot_of_what_it_holds_now(tmp_path):
    assert local_.snapshot(tmp_path).names == ()
    (tmp_path / "config.json").write_text("{}")
    found = local_.snapshot(tmp_path, Limits(depth=5))
    assert (found.names, found.limits.depth, found.source.hub) == (("config.json",), 5, "local")
