# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Value classes do what those of the standard library do."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core import records


def _classes(dataclass):
    @dataclass(frozen=True)
    class Point:
        """A place."""

        x: int
        y: int = 2

        @property
        def total(self):
            return self.x + self.y

    @dataclass(frozen=True)
    class Named(Point):
        name: str = "none"
        y: int = 3

    @dataclass
    class Loose:
        count: int = 0

    @dataclass(frozen=True, eq=False)
    class Alone:
        value: int

    @dataclass(frozen=True)
    class Empty:
        pass

    return Point, Named, Loose, Alone, Empty


OURS = _classes(records.dataclass)
THEIRS = _classes(dataclasses.dataclass)


@pytest.mark.parametrize("index", range(5))
def test_instances_are_made_shown_and_listed_alike(index):
    ours, theirs = OURS[index], THEIRS[index]
    arguments = [5] if any(p.default is p.empty for p in inspect.signature(theirs).parameters.values()) else []
    assert repr(ours(*arguments)) == repr(theirs(*arguments))
    # Known from the first instance on.
    assert [str(p) for p in inspect.signature(ours).parameters.values()] == [
        str(p).split(":", maxsplit=1)[0] for p in _plain(theirs)
    ]
    assert vars(ours(*arguments)) == vars(theirs(*arguments))
    assert ours.__init__.__qualname__ == f"{ours.__qualname__}.__init__"


def _plain(cls):
    return [p.replace(annotation=p.empty) for p in inspect.signature(cls).parameters.values()]


@pytest.mark.parametrize("index", range(4))
def test_equality_and_hashes_are_those_of_the_standard_library(index):
    for one, two in ((1, 1), (1, 2)):
        ours = OURS[index](one), OURS[index](two)
        theirs = THEIRS[index](one), THEIRS[index](two)
        assert (ours[0] == ours[1]) == (theirs[0] == theirs[1])
        assert (ours[0] != ours[1]) == (theirs[0] != theirs[1])
        assert _hashable(ours[0]) == _hashable(theirs[0])
        if _hashable(ours[0]):
            assert (hash(ours[0]) == hash(ours[1])) == (hash(theirs[0]) == hash(theirs[1]))


def _hashable(instance):
    try:
        hash(instance)
    except TypeError:
        return False
    return True


def test_a_class_is_not_equal_to_another_with_the_same_fields():
    point, named = OURS[:2]
    assert point(1, 2) != named(1, 2) and point(1, 2) != (1, 2)


def test_a_frozen_instance_stays_as_it_is():
    point = OURS[0](1)
    with pytest.raises(AttributeError, match=r"Point\.x cannot be set"):
        point.x = 3
    with pytest.raises(AttributeError, match=r"Point\.y cannot be deleted"):
        del point.y
    with pytest.raises(AttributeError):
        point.unknown = 3
    assert point == OURS[0](1) and point.total == 3
    loose = OURS[2]()
    loose.count += 1
    assert loose == OURS[2](1)


@pytest.mark.parametrize(("arguments", "named"), [((), {}), ((1, 2, 3), {}), ((1,), {"z": 1}), ((1,), {"x": 1})])
def test_wrong_arguments_are_named(arguments, named):
    for point in (OURS[0], THEIRS[0]):
        with pytest.raises(TypeError, match=r"__init__\(\)"):
            point(*arguments, **named)


def test_a_copy_has_other_values():
    point, named = OURS[0](1), OURS[1](1, name="a")
    assert records.replace(point, y=9) == OURS[0](1, 9)
    assert records.replace(named, x=4) == OURS[1](4, 3, "a")
    assert records.replace(point) == point and records.replace(point) is not point
    with pytest.raises(TypeError):
        records.replace(point, z=1)


@records.dataclass(frozen=True)
class Known:
    """One that pickle finds."""

    value: int


def test_instances_can_be_copied_and_pickled():
    assert pickle.loads(pickle.dumps(Known(1))) == Known(1)
    assert copy.deepcopy(Known(1)) == copy.copy(Known(1)) == Known(1)


@pytest.mark.parametrize("name", ["__init__", "__repr__", "__eq__", "__setattr__", "__post_init__"])
def test_what_would_be_lost_is_refused(name):
    with pytest.raises(TypeError, match=name):
        records.dataclass(frozen=True)(
            type("Odd", (), {"__annotations__": {"value": "int"}, name: lambda self, *_rest: None})
        )


def test_the_first_instance_names_what_is_wrong_with_its_arguments_as_every_other_one():
    @records.dataclass(frozen=True)
    class Fresh:
        one: int
        two: int = 2

    for _instance in range(2):
        with pytest.raises(TypeError, match=r"Fresh.__init__\(\).*'one'|__init__\(\).*'one'"):
            Fresh()
        with pytest.raises(TypeError, match="three"):
            Fresh(1, three=3)
    assert Fresh(1) == Fresh(one=1, two=2)


def test_a_class_below_a_record_makes_it_as_well():
    @records.dataclass(frozen=True)
    class Base:
        one: int

    class Derived(Base):
        pass

    assert Derived(3).one == 3 and Base(4).one == 4 and isinstance(Derived(5), Base)
