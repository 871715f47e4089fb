# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Value classes: the part of the standard library's ``dataclasses`` that is used here, at a tenth of its cost at start.

A module run begins from nothing each time, and ``dataclasses`` compiles six functions for every class and imports
``inspect``: 60 ms for what one conversion needs. Here one function is compiled, ``__init__``; the others are shared by
all classes. For type checkers these are the functions of the standard library.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Tuple

if TYPE_CHECKING:
    from dataclasses import dataclass, replace
else:

    def dataclass(cls=None, *, frozen=False, eq=True):
        """Make the annotated names of a class its fields, in this order, after those of its base classes.

        Instances are equal when they are of one class and all fields are. With ``frozen`` they are hashed by their
        fields and cannot be changed. Defaults must be immutable.
        """

        def make(cls):
            return _make(cls, frozen, eq)

        return make if cls is None else make(cls)

    def replace(instance, **changes):
        """A copy with other values in some fields. Raises TypeError for a name that is no field."""
        for name in instance.__fields__:
            changes.setdefault(name, getattr(instance, name))
        return instance.__class__(**changes)


def _make(cls: Any, frozen: bool, eq: bool) -> Any:
    fields = dict.fromkeys(name for base in reversed(cls.__mro__[1:]) for name in getattr(base, "__fields__", ()))
    fields.update(dict.fromkeys(cls.__dict__.get("__annotations__", {})))
    own = {"__init__", "__repr__", "__eq__", "__hash__", "__setattr__", "__delattr__", "__post_init__"} & set(
        cls.__dict__
    )
    if own - {"__hash__"}:
        raise TypeError(f"{cls.__qualname__} has {', '.join(sorted(own))} of its own, which a record cannot have")
    cls.__fields__ = tuple(fields)
    defaults = {name: getattr(cls, name) for name in fields if hasattr(cls, name)}
    cls.__init__ = _initializer(cls, tuple(fields), defaults, frozen)
    cls.__repr__ = _repr
    if eq:
        cls.__eq__ = _eq
        cls.__hash__ = _hash if frozen else None
    if frozen:
        cls.__setattr__ = _refuse_set
        cls.__delattr__ = _refuse_delete
    return cls


def _initializer(cls: Any, fields: Tuple[str, ...], defaults: Dict[str, Any], frozen: bool) -> Any:
    """An ``__init__`` that is compiled for the first instance; a run has none of most classes that it imports."""

    def __init__(self: Any, *values: Any, **named: Any) -> None:
        cls.__init__ = made = _compiled(cls, fields, defaults, frozen)
        made(self, *values, **named)

    return __init__


def _compiled(cls: Any, fields: Tuple[str, ...], defaults: Dict[str, Any], frozen: bool) -> Any:
    """A compiled function takes arguments as fast as any, and names the one that is missing."""
    scope: Dict[str, Any] = {f"_default_{name}": value for name, value in defaults.items()}
    scope["_set"] = object.__setattr__
    arguments = "".join(f", {name}=_default_{name}" if name in defaults else f", {name}" for name in fields)
    lines = [f" _set(self, {name!r}, {name})" if frozen else f" self.{name} = {name}" for name in fields]
    exec(f"def __init__(self{arguments}):\n" + ("\n".join(lines) or " pass"), scope)
    made = scope["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__module__ = cls.__module__
    return made


def _values(instance: Any) -> Tuple[Any, ...]:
    return tuple(getattr(instance, name) for name in instance.__fields__)


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__fields__)
    return f"{self.__class__.__qualname__}({shown})"


def _eq(self: Any, other: object) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return _values(self) == _values(other)


def _hash(self: Any) -> int:
    return hash(_values(self))


def _refuse_set(self: Any, name: str, value: object) -> None:
    del value
    raise AttributeError(f"{self.__class__.__name__}.{name} cannot be set: the instance is frozen")


def _refuse_delete(self: Any, name: str) -> None:
    raise AttributeError(f"{self.__class__.__name__}.{name} cannot be deleted: the instance is frozen")
