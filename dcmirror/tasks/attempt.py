"""What an attempt may wait for, and what all attempts of a worker share.

Runs in a worker.  An attempt is a generator that yields what it waits for (a request, a
pause, the publisher) and is sent what came of it, so that one loop drives many.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol

from dcmirror.adapters.mirror_store import MirrorStore, Part
from dcmirror.adapters.requests import Answer, Request
from dcmirror.adapters.room import Room
from dcmirror.core.jobs import AttemptResult, Step
from dcmirror.core.marks import Mark
from dcmirror.settings import Settings
from dcmirror.tasks.exchange import Rules

#: Pauses before each HEAD that asks for a digest the first answer did not have: 60 s.
DIGEST_LADDER = (0.0, 1.0, 3.0, 10.0, 30.0, 16.0)


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait that long; 0 lets the other attempts go on."""

    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Publish:
    """Give the finished part to the publisher."""

    part: Part
    mark: Mark
    mtime: float | None


class PublishedLike(Protocol):
    """What the publisher says of a part."""

    @property
    def error(self) -> OSError | None: ...
    @property
    def changed(self) -> bool: ...
    @property
    def seconds(self) -> float: ...
    @property
    def mark(self) -> Mark | None: ...


Action = Request | Pause | Publish
Reply = Answer | PublishedLike | None
Attempt = Generator[Action, Any, AttemptResult]


@dataclass(frozen=True, slots=True)
class CopyTools:
    """What all attempts of a worker share.  ``clock`` is monotonic, ``wall`` is not."""

    store: MirrorStore
    room: Room
    rules: Rules
    root: str
    missing_digest: str
    leaves_missing: bool
    clock: Callable[[], float]
    wall: Callable[[], float]
    say: Callable[[Step], None]
    digest_ladder: tuple[float, ...] = DIGEST_LADDER


def tools_of(
    settings: Settings,
    store: MirrorStore,
    room: Room,
    clock: Callable[[], float],
    wall: Callable[[], float],
    say: Callable[[Step], None],
) -> CopyTools:
    """The tools that the settings ask for."""
    source = settings.source
    rules = Rules(
        source.redirect_schemes, source.redirect_hosts, settings.dcache.timeout
    )
    return CopyTools(
        store=store,
        room=room,
        rules=rules,
        root=str(settings.local.downloadfolder),
        missing_digest=source.missing_digest,
        leaves_missing=settings.destination.missing == "leave",
        clock=clock,
        wall=wall,
        say=say,
    )
