"""One look at what runs on a state directory, and the forms that it is shown in.

It reads files that the daemon leaves once a second and asks the kernel who holds its
lock, so it works while the daemon is stuck or dead.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from dcmirror.adapters import shipping_report
from dcmirror.adapters.daemon_sight import see
from dcmirror.core.checkline import check_line
from dcmirror.core.judgement import Judgement, judge
from dcmirror.core.sight import Sight
from dcmirror.core.verdict import Limits, StatusVerdict

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Commands that run an engine beside the daemon.
OTHERS = ("replay", "reconcile")
#: Lines are not broken where nobody looks at them on a screen.
_WIDE = 1000
_HIGH = 25


@dataclass(frozen=True, slots=True)
class StatusOptions:
    """What the command line says; ``out`` is where to."""

    state: Path
    out: TextIO
    limits: Limits = field(default_factory=Limits)
    as_json: bool = False
    as_check: bool = False
    follow: bool = False
    verbosity: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """The daemon, the commands beside it, the shipper, and what to think of them."""

    sight: Sight
    judgement: Judgement
    shipping: dict[str, Any] | None
    others: tuple[tuple[Sight, Judgement], ...] = ()

    @property
    def verdict(self) -> StatusVerdict:
        """The exit status."""
        return self.judgement.verdict


def look(state: Path, limits: Limits) -> Look:
    """One look at everything that runs on a state directory."""
    sight = see(state, "watch")
    report = shipping_report.read(state / shipping_report.FILE_NAME)
    shipping = None if report is None else asdict(report)
    others = [see(state, command) for command in OTHERS]
    return Look(
        sight,
        judge(sight, shipping, limits),
        shipping,
        tuple(
            (other, judge(other, None, limits)) for other in others if other.is_running
        ),
    )


def show(found: Look, options: StatusOptions) -> None:
    """Write one look in the form that was asked for."""
    if options.as_json:
        options.out.write(json.dumps(document(found)) + "\n")
    elif options.as_check:
        options.out.write(
            check_line(found.sight, found.judgement, options.limits, found.shipping)
        )
    else:
        width = terminal_width(options.out)
        options.out.write(as_text(renderable(found, options.verbosity), width))
    options.out.flush()


def document(found: Look) -> dict[str, Any]:
    """The one document of --json."""
    told = _told(found.sight, found.judgement)
    others = {sight.command: _told(sight, judged) for sight, judged in found.others}
    return {**told, "shipping": found.shipping, "others": others}


def _told(sight: Sight, judged: Judgement) -> dict[str, Any]:
    return {
        "verdict": judged.verdict.name.lower(),
        "exit_status": int(judged.verdict),
        "life": judged.life.value,
        "reasons": [
            {"verdict": reason.verdict.name.lower(), "text": reason.text}
            for reason in judged.reasons
        ],
        "at": sight.at,
        "pid": sight.pid,
        "silence": sight.silence,
        "status": sight.status or None,
    }


def renderable(found: Look, verbosity: int) -> RenderableType:
    """What a person reads, not laid out yet."""
    from dcmirror.commands.status_view import Picture, screen  # rich takes its time

    others = [Picture(sight, judged) for sight, judged in found.others]
    main = Picture(found.sight, found.judgement, found.shipping)
    return screen(main, others, verbosity=verbosity)


def terminal_width(out: TextIO) -> int | None:
    """The terminal's columns; None where it is none."""
    if not out.isatty():
        return None
    try:
        return os.get_terminal_size(out.fileno()).columns or 80
    except OSError:
        return 80


def as_text(what: RenderableType, width: int | None) -> str:
    """Laid out, with colours only for a terminal; no line ends in blanks."""
    from io import StringIO

    from rich.console import Console

    console = Console(
        file=StringIO(),
        width=width or _WIDE,
        height=_HIGH,  # with one of its own rich believes the width, on any terminal
        force_terminal=width is not None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    with console.capture() as captured:
        console.print(what)
    lines = captured.get().split("\n")
    return "\n".join(line.rstrip() for line in lines)
