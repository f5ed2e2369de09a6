"""Records are frozen dataclasses to everybody who uses them, however their methods came about."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

from modelscope_ext.utils import record
from modelscope_ext.utils.record import Record


class _Fields:
    """What both kinds below declare."""

    name: str
    size: int = 1
    tags: dict[str, Any] = dataclasses.field(default_factory=dict, compare=False)
    secret: str = dataclasses.field(default="s", repr=False)
    key: int = dataclasses.field(default=0, hash=False)

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("size")


def declare(decorator: Any) -> Any:
    body = {k: v for k, v in vars(_Fields).items() if k not in ("__dict__", "__weakref__")}
    cls = type("Thing", (Record,), {**body, "__module__": __name__, "__qualname__": "Thing"})
    return decorator(cls)


Thing = declare(record.dataclass(frozen=True))
Theirs = declare(dataclasses.dataclass(frozen=True))


@pytest.mark.parametrize("cls", [Thing, Theirs])
def test_both_kinds_do_the_same(cls):
    one, other = cls("a", tags={"x": 1}), cls(name="a", size=1)
    assert repr(one) == "Thing(name='a', size=1, tags={'x': 1}, key=0)"
    assert one == other and hash(one) == hash(other) == hash(cls("a", key=5))
    assert one != cls("b") and one != cls("a", key=5) and one != "a" and one != (Theirs if cls is Thing else Thing)("a")
    assert cls("a").tags is not cls("a").tags
    assert dataclasses.replace(one, size=2).size == 2
    assert dataclasses.asdict(one) == {"name": "a", "size": 1, "tags": {"x": 1}, "secret": "s", "key": 0}
    assert one.to_dict()["tags"] == {"x": 1}
    assert copy.deepcopy(one) == copy.copy(one) == one and copy.deepcopy(one).tags is not one.tags
    assert cls.__match_args__ == ("name", "size", "tags", "secret", "key")
    assert str(inspect.signature(cls)).replace("'", "").count("=") == 4
    assert list(inspect.signature(cls).parameters) == list(cls.__match_args__)


@pytest.mark.parametrize("cls", [Thing, Theirs])
@pytest.mark.parametrize("change", ["one.name = 'b'", "one.other = 1", "del one.name", "del one.other"])
def test_nothing_can_be_assigned(cls, change):
    with pytest.raises(dataclasses.FrozenInstanceError):
        exec(change, {"one": cls("a")})


@pytest.mark.parametrize("cls", [Thing, Theirs])
@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), (("a",), {"nobody": 1}), (("a",), {"name": "b"}), (range(9), {})]
)
def test_wrong_arguments_are_type_errors(cls, args, kwargs):
    for _ in range(2):  # before and after `__init__` was compiled
        with pytest.raises(TypeError, match=r"__init__\(\)"):
            cls(*args, **kwargs)
    with pytest.raises(ValueError, match="size"):
        cls("a", -1)


def test_a_record_is_pickled():
    assert pickle.loads(pickle.dumps(Thing("a", 3))) == Thing("a", 3)


def test_a_subclass_may_be_frozen_or_plain():
    @dataclasses.dataclass(frozen=True)
    class Frozen(Thing):
        more: int = 0

    class Plain(Thing):
        pass

    assert Frozen("a", more=2).more == 2
    assert repr(Frozen("a")).endswith("Frozen(name='a', size=1, tags={}, key=0, more=0)")
    plain = Plain("a")
    plain.own = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        plain.name = "b"
    with pytest.raises(TypeError, match="non-frozen"):
        dataclasses.dataclass(type("Loose", (Thing,), {"__annotations__": {"x": int}, "x": 0}))


def test_a_class_keeps_its_own_methods():
    @record.dataclass(frozen=True)
    class Own:
        """One with a `repr`."""

        name: str

        def __repr__(self) -> str:
            return "own"

    assert repr(Own("a")) == "own" and Own("a") == Own("a")


def test_a_loose_record_can_be_changed_and_has_no_hash():
    @record.dataclass(frozen=False)
    class Loose:
        """One that is filled."""

        name: str
        parts: list[str] = record.field(default_factory=list)

    one = Loose("a")
    one.name, one.other = "b", 1
    one.parts.append("p")
    assert one == Loose("b", ["p"]) and Loose("b").parts == []
    assert dataclasses.replace(one, parts=[]) == record.replace(one, parts=[]) == Loose("b")
    assert not Loose.__dataclass_params__.frozen and dataclasses.is_dataclass(Loose)
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)
    with pytest.raises(TypeError, match="nobody"):
        record.replace(one, nobody=1)


def test_a_record_is_no_base_of_a_record():
    with pytest.raises(TypeError, match=r"More: its base is a record; declare it with dataclasses.dataclass"):
        record.dataclass(frozen=True)(type("More", (Thing,), {"__annotations__": {"more": int}}))


def test_what_belongs_to_the_class_is_no_field():
    @dataclasses.dataclass
    class Theirs:
        name: str
        kind: ClassVar[str] = "k"

    assert record.plain(Theirs("a")) == {"name": "a"} and record.replace(Theirs("a"), name="b") == Theirs("b")


def test_threads_that_ask_at_once_get_the_same_fields():
    for _ in range(50):
        cls = declare(record.dataclass(frozen=True))
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _, cls=cls: [f.name for f in dataclasses.fields(cls)], range(16)))
        assert all(names == list(cls.__match_args__) for names in found)


def test_a_class_is_declared_without_the_standard_librarys_dataclasses():
    code = (
        "import sys; from modelscope_ext.utils.record import *; from modelscope_ext.safety.limits import Limits\n"
        "assert Limits(depth=3) == replace(Limits(), depth=3) != Limits(); hash(Limits()), repr(Limits())\n"
        "assert Limits().to_dict()['depth'] == 64 and 'dataclasses' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_record_of_the_package_can_be_made_and_described():
    from modelscope_ext.models.resolution import Finding, Match, Reason, Resolution
    from modelscope_ext.safety.limits import Limits

    for cls in (Finding, Match, Reason, Resolution, Limits):
        assert [f.name for f in dataclasses.fields(cls)] == list(inspect.signature(cls).parameters)
        assert cls.__init__.__qualname__ == f"{cls.__name__}.__init__"
    with pytest.raises(TypeError):
        Reason()
    assert Limits() == Limits() and hash(Limits()) == hash(Limits())
