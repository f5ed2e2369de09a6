"""Records turn into JSON types, all the way down."""

import json
from dataclasses import dataclass, field

from modelscope_ext.utils.record import Record, plain


@dataclass(frozen=True)
class Inner(Record):
    name: str
    sizes: tuple = ()


@dataclass(frozen=True)
class Outer(Record):
    inner: Inner
    by_name: dict = field(default_factory=dict)
    other: object = None


def test_nested_records_become_json():
    outer = Outer(Inner("a", (1, 2.5, None)), {"k": (Inner("b"),), 3: True}, {"x"})
    assert json.loads(json.dumps(outer.to_dict())) == {
        "inner": {"name": "a", "sizes": [1, 2.5, None]},
        "by_name": {"k": [{"name": "b", "sizes": []}], "3": True},
        "other": ["x"],
    }


def test_what_has_no_json_type_is_given_by_its_text():
    assert plain({"e": ValueError("no")}) == {"e": "no"}
    assert plain(Record) == str(Record)
