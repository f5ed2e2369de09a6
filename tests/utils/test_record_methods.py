"""Records are frozen dataclasses to everybody who uses them, however their methods came about."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from typing import Any

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
    with pytest.raises(TypeError, match="frozen=False"):
        record.dataclass(frozen=False)


def test_every_record_of_the_package_can_be_made_and_described():
    from modelscope_ext.models.resolution import Finding, Match, Reason, Resolution
    from modelscope_ext.safety.limits import Limits

    for cls in (Finding, Match, Reason, Resolution, Limits):
        assert [f.name for f in dataclasses.fields(cls)] == list(inspect.signature(cls).parameters)
        assert cls.__init__.__qualname__ == f"{cls.__name__}.__init__"
    with pytest.raises(TypeError):
        Reason()
    assert Limits() == Limits() and hash(Limits()) == hash(Limits())
