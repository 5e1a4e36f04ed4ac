"""Movers: the one-time rights to fetch one file from one pool."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from dcmirror.testing.fake_events import Movement
from dcmirror.testing.fake_namespace import FileVersion

_REMEMBERED = 20000


@dataclass(slots=True)
class Mover:
    """What the door has prepared at a pool for one client."""

    id: str
    pool: str
    path: str
    version: FileVersion
    session: str
    owner: str
    started: float
    used: bool = False

    def movement(self, moved: int, port: int, code: int, message: str) -> Movement:
        """What the pool tells of this transfer when it has ended."""
        return Movement(
            path=self.path,
            pnfsid=self.version.pnfsid,
            size=self.version.size,
            is_write=False,
            session=self.session,
            started=self.started,
            moved=moved,
            pool=self.pool,
            port=port,
            owner=self.owner,
            code=code,
            message=message,
        )


class Movers:
    """All movers of all pools; a pool has ``slots`` at a time (None: no limit)."""

    def __init__(
        self,
        pools: tuple[str, ...],
        *,
        slots: int | None = None,
        connect_seconds: float = 300.0,
    ) -> None:
        self._free = dict.fromkeys(pools, slots)
        self._connect_seconds = connect_seconds
        self._movers: OrderedDict[str, Mover] = OrderedDict()
        self._next = 0
        self._changed = threading.Condition()

    def __repr__(self) -> str:
        waiting = sum(not mover.used for mover in list(self._movers.values()))
        return f"<Movers waiting={waiting} free={self._free}>"

    def start(
        self, make: Callable[[str, str], Mover], wait_seconds: float
    ) -> Mover | None:
        """Start a mover at the next pool; None when its queue did not move in time."""
        with self._changed:
            pools = tuple(self._free)
            pool = pools[self._next % len(pools)]
            self._next += 1
            if not self._changed.wait_for(
                lambda: self._free[pool] != 0, timeout=wait_seconds
            ):
                return None
            self._take_slot(pool, -1)
            mover = make(str(uuid.uuid4()), pool)
            self._movers[mover.id] = mover
            while len(self._movers) > _REMEMBERED:
                self._movers.popitem(last=False)
            return mover

    def find(self, mover_id: str) -> Mover | None:
        return self._movers.get(mover_id)

    def use(self, mover: Mover) -> bool:
        """Take the one right; False when somebody had it already."""
        with self._changed:
            first, mover.used = not mover.used, True
            return first

    def end(self, mover: Mover) -> None:
        """The mover is gone and its slot free."""
        with self._changed:
            self._take_slot(mover.pool, 1)
            self._changed.notify_all()

    def expired(self, now: float) -> list[Mover]:
        """Movers that nobody came for, ended by this call."""
        oldest = now - self._connect_seconds
        late = []
        with self._changed:
            for mover in self._movers.values():
                if mover.started > oldest:
                    break
                if not mover.used:
                    mover.used = True
                    late.append(mover)
        for mover in late:
            self.end(mover)
        return late

    def _take_slot(self, pool: str, change: int) -> None:
        free = self._free[pool]
        if free is not None:
            self._free[pool] = free + change
