"""Fast pickling for the values that cross process borders by the thousand.

A frozen dataclass with slots brings a ``__getstate__`` that asks for its fields anew
each time, which costs several times what the values themselves do.
"""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeVar

T = TypeVar("T")


def quickly_pickled(cls: type[T]) -> type[T]:
    """Pickle by calling the constructor with all fields in order; they must be many."""
    values = attrgetter(*(field.name for field in fields(cls)))  # type: ignore[arg-type]

    def reduce(self: Any) -> tuple[type[T], tuple[Any, ...]]:
        return cls, values(self)

    cls.__reduce__ = reduce  # type: ignore[method-assign]
    return cls
