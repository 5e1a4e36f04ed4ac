"""How a child process is started, named, watched and ended.

``spawn_child`` runs in the supervisor; ``_child_main`` is the first of our code that
runs in the new process.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from dcmirror.adapters.linux import die_with_parent, set_pipe_size
from dcmirror.adapters.locks import share_children_lock
from dcmirror.core.escapes import shown_lines, without_secrets
from dcmirror.errors import DcmirrorError, ExitStatus
from dcmirror.processes.garbage import collect_rarely

#: The largest pipe an unprivileged process may ask for.
PIPE_BYTES = 1024 * 1024

_SPAWN = multiprocessing.get_context("spawn")


@dataclass(slots=True)
class Child:
    """One incarnation of a supervised process, with its own pipes (G6, DESIGN 4)."""

    name: str
    number: int
    process: BaseProcess
    to_child: Connection
    from_child: Connection
    started_at: float
    last_beat: float
    is_ready: bool = False
    has_worked: bool = False
    is_retiring: bool = False

    @property
    def sentinel(self) -> int:
        """Becomes readable when the process is gone."""
        return self.process.sentinel

    def close_pipes(self) -> None:
        """A pipe belongs to one incarnation: it is thrown away with it."""
        self.to_child.close()
        self.from_child.close()

    def explain_death(self) -> str:
        """Why the process is gone, in words an operator uses."""
        code = self.process.exitcode
        if code is None:
            return "still running"
        if code == 0:
            return "left as it was told, exit status 0"
        if code > 0:
            return f"exit status {code}"
        name = signal.Signals(-code).name
        hint = ", perhaps out of memory" if -code == signal.SIGKILL else ""
        return f"killed by {name}{hint}"


@dataclass(frozen=True, slots=True)
class _Birth:
    """What every child needs before it looks at its own boot data."""

    parent_pid: int
    children_lock: Path


def spawn_child(
    name: str,
    number: int,
    target: Callable[[Any], None],
    make_boot: Callable[[Connection, Connection], Any],
    children_lock: Path,
) -> Child:
    """Start a process that runs ``target(make_boot(inbox, outbox))``.

    Signals stay blocked while it is made, so that none is handled half-way; the child
    unblocks them when its own handlers are in place.
    """
    child_inbox, to_child = _SPAWN.Pipe(duplex=False)
    from_child, child_outbox = _SPAWN.Pipe(duplex=False)
    for connection in (to_child, child_outbox):
        set_pipe_size(connection.fileno(), PIPE_BYTES)
    birth = _Birth(os.getpid(), children_lock)
    process = _SPAWN.Process(
        target=_child_main,
        args=(birth, target, make_boot(child_inbox, child_outbox)),
        name=f"dcmirror {name}",
        daemon=True,
    )
    stops = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    # ``start`` would start it for the first child, and that unblocks signals.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
    child_inbox.close()
    child_outbox.close()
    now = time.monotonic()
    return Child(name, number, process, to_child, from_child, now, now)


def _child_main(birth: _Birth, target: Callable[[Any], None], boot: Any) -> None:
    """First steps in the new process; its exit status tells boot from work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(
        signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    )
    faulthandler.enable()
    try:
        die_with_parent(birth.parent_pid)
        share_children_lock(birth.children_lock)
    except (OSError, DcmirrorError) as exc:
        _leave(f"cannot start: {exc}", ExitStatus.CHILD_BOOT)
    collect_rarely()
    try:
        target(boot)
    except (BrokenPipeError, EOFError):  # the supervisor is gone: nobody to tell
        _leave("", ExitStatus.UNEXPECTED)
    except DcmirrorError as exc:
        _leave(str(exc), exc.exit_status)
    except Exception:  # noqa: BLE001 - the process boundary: say why, then die
        _leave(traceback.format_exc(), ExitStatus.UNEXPECTED)


def _leave(text: str, status: ExitStatus) -> None:
    """Say why on standard error and end at once, without multiprocessing's own exit."""
    if text:
        with contextlib.suppress(OSError):
            name = multiprocessing.current_process().name
            said = shown_lines(without_secrets(text))
            sys.stderr.write(f"dcmirror: {name}: {said}\n")
            sys.stderr.flush()
    os._exit(int(status))


def end_child(child: Child, *, signals: tuple[int, ...], pause: float) -> None:
    """Send each signal in turn, with ``pause`` seconds between, until it is gone."""
    for number in signals:
        if child.process.exitcode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.process.pid or 0, number)
        child.process.join(pause)
