"""What the supervisor's loop asks of the command that it runs for."""

from __future__ import annotations

from typing import Protocol

from dcmirror.errors import DcmirrorError


class Feed(Protocol):
    """Where jobs come from: Kafka, rows of failed.csv, or what a command finds."""

    fd: int
    """Readable when there is something to take."""

    def take(self, now: float, wall: float) -> None:
        """Bring everything that has arrived to the engine.

        Raises:
            BooksError: nothing is lost; the call is repeated when the hold ends.
        """

    def throttle(self, *, is_paused: bool) -> None:
        """Pause intake, or let it go on."""

    def tick(self, now: float) -> None:
        """Due times of its own, and the commit of what is settled."""

    def next_due(self) -> float | None:
        """When ``tick`` has something to do (monotonic seconds)."""

    def trouble(self, now: float) -> DcmirrorError | None:
        """Why it can never bring anything again."""

    @property
    def is_exhausted(self) -> bool:
        """No job will come any more, and all that came are settled."""

    def stop_intake(self) -> None:
        """Bring nothing more; what is committable can still be committed."""

    def close(self) -> None:
        """Commit what is settled and leave, within a few seconds."""


class Hooks(Protocol):
    """What a command adds to the loop."""

    def reload(self) -> None:
        """HUP: read the configuration again."""

    def every_second(self, now: float, wall: float) -> None:
        """Credential file, status.json, periodic lines."""
