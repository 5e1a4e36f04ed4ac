"""``dcmirror elastic resend``: sends again what Elasticsearch refused for good."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from dcmirror.adapters.dead_letters import FILE_NAME, DeadLetters, read
from dcmirror.adapters.elastic_sink import ElasticSink
from dcmirror.adapters.locks import LOOK_SECONDS, acquire
from dcmirror.adapters.sinks import Receipt, ShippedLine
from dcmirror.adapters.state_directory import prepare, resolve
from dcmirror.adapters.whereabouts import look_for
from dcmirror.core.amounts import count_text, plural
from dcmirror.core.bulk import Refusal
from dcmirror.core.escapes import shown
from dcmirror.errors import ConfigError, DirectoryError, ElasticError, ExitStatus
from dcmirror.settings import Settings

_BATCH_LINES = 500
# Rounds in which nothing is taken, each after a pause, before a person is asked.
_MOST_IDLE = 4


@dataclass(frozen=True, slots=True)
class ResendOptions:
    """What the command line says; ``echo`` prints a line."""

    settings: Settings
    echo: Callable[[str], None]
    jitter: Callable[[float, float], float] = random.uniform
    instance: str | None = None
    dry_run: bool = False
    verbosity: int = 0


@dataclass(slots=True)
class _Tally:
    """What became of the letters."""

    sent: int = 0
    duplicates: int = 0
    refused: int = 0
    lost: int = 0
    unreadable: int = 0


def resend(options: ResendOptions) -> ExitStatus:
    """Send each line under its own id, so that none is doubled.

    Raises:
        ConfigError: there is no Elasticsearch to send to.
        DirectoryError: there is no state directory, or it is not ours.
        ElasticError: the server cannot be reached, or takes none; all stay.
        LockedError: another resend runs.
    """
    if not options.settings.elasticsearch.urls:
        raise ConfigError("[elasticsearch] urls is empty; nothing is shipped")
    where = resolve(options.settings, options.instance)
    if look_for(where) is None:
        raise DirectoryError(
            f"state directory {where}: no such directory; has dcmirror watch run here "
            "under this --instance?"
        )
    state = prepare(where)
    with acquire(state.lock("resend"), LOOK_SECONDS):
        letters = DeadLetters(state.checkpoint.with_name(FILE_NAME))
        if options.dry_run:
            return _tell_reasons(options, letters)
        return _Resend(options, letters).run()


def _tell_reasons(options: ResendOptions, letters: DeadLetters) -> ExitStatus:
    """What lies there and why, the most frequent first."""
    reasons: Counter[str] = Counter()
    for path in letters.files():
        reasons.update(found[1] for found in read(path) if found is not None)
    if not reasons and options.verbosity >= 0:
        options.echo("no dead letters")
    for reason, count in reasons.most_common():
        options.echo(f"{count_text(count):>9}  {shown(reason)}")
    return ExitStatus.DONE


class _Kept(DeadLetters):
    """Those of a resend, which removes the only other copy: they must be written."""

    def add(self, refused: Sequence[tuple[ShippedLine, Refusal]]) -> None:
        try:
            super().add(refused)
        except OSError as exc:
            raise DirectoryError(f"{self.path}: {exc.strerror}; all stays") from exc


class _Resend:
    """One call of the command, under its lock."""

    def __init__(self, options: ResendOptions, letters: DeadLetters) -> None:
        self._options = options
        self._letters = letters
        self._sink = ElasticSink(
            options.settings.elasticsearch, _Kept(letters.path), jitter=options.jitter
        )
        self._tally = _Tally()
        self._idle = 0

    def run(self) -> ExitStatus:
        try:
            files = self._letters.take()
        except OSError as exc:
            raise DirectoryError(f"{self._letters.path}: {exc.strerror}") from exc
        with closing(self._sink):
            for path in files:
                self._send(path)
                path.unlink()
        self._tell()
        return ExitStatus.ELASTIC if self._tally.refused else ExitStatus.DONE

    def _send(self, path: Path) -> None:
        waiting: Sequence[ShippedLine] = []
        lines = self._lines(path)
        while batch := list(islice(lines, _BATCH_LINES)):
            waiting = self._ship([*waiting, *batch])
        while waiting:
            waiting = self._ship(waiting)

    def _lines(self, path: Path) -> Iterator[ShippedLine]:
        for found in read(path):
            if found is None:
                self._tally.unreadable += 1
            else:
                yield found[0]

    def _ship(self, lines: Sequence[ShippedLine]) -> Sequence[ShippedLine]:
        """Until all is there, or what is left should not keep back what follows."""
        while lines:
            receipt = self._sink.ship(lines)
            lines = receipt.rest
            self._note(receipt)
            if receipt.is_stuck:
                break
        return lines

    def _note(self, receipt: Receipt) -> None:
        tally = self._tally
        tally.sent += receipt.taken - receipt.dead - receipt.duplicates
        tally.duplicates += receipt.duplicates
        tally.refused += receipt.dead
        tally.lost += receipt.lost
        self._idle = 0 if receipt.taken else self._idle + 1
        if not receipt.rest:
            return
        if receipt.needs_help or self._idle > _MOST_IDLE:
            raise ElasticError(
                f"{receipt.trouble}; {count_text(tally.sent)} sent, "
                "the dead letters stay"
            )
        time.sleep(receipt.pause)

    def _tell(self) -> None:
        tally = self._tally
        parts = [f"{plural(tally.sent, 'event')} sent"]
        for number, words in (
            (tally.duplicates, "there already"),
            (tally.refused, "refused again (--dry-run says why)"),
            (tally.lost, "lost for want of space"),
            (tally.unreadable, "not readable and removed"),
        ):
            if number:
                parts.append(f"{count_text(number)} {words}")
        if self._options.verbosity >= 0 or tally.refused:
            self._options.echo(", ".join(parts))
