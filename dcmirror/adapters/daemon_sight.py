"""Looks at a command of ours from outside: its lock, its process, its status.json.

Nothing here waits for the command, so that it works while the command is stuck.
"""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

from dcmirror.adapters.locks import Held, look_at
from dcmirror.adapters.state_directory import lock_path, status_path
from dcmirror.adapters.whereabouts import unseen
from dcmirror.core.escapes import shown
from dcmirror.core.sight import Sight
from dcmirror.errors import DcmirrorError

#: No status.json of ours is longer; a longer one is not read.
_MOST_BYTES = 8 * 1024 * 1024
#: The status file's own time may be this much younger than what it says.
_UNWRITTEN_SECONDS = 3.0


def see(state: Path, command: str) -> Sight:
    """One look at ``command`` of the instance whose state directory this is."""
    now = time.time()
    try:
        os.stat(state)
        held = look_at(lock_path(state, command))
    except FileNotFoundError:
        problem = f"there is no state directory {shown(str(state))}"
        return Sight(command, now, False, problem=problem)
    except (OSError, DcmirrorError) as exc:
        return Sight(command, now, None, problem=unseen(state, exc))
    return _with_status(status_path(state, command), command, now, held)


def _with_status(path: Path, command: str, now: float, held: Held | None) -> Sight:
    status, written, problem = _read(path)
    silence = None if written is None else max(now - written, 0.0)
    if held is not None and status and _is_only_touched(status["at"], written):
        problem = f"{shown(str(path))} is touched, but not written: a full disk?"
    return Sight(
        command,
        now,
        held is not None,
        status=status,
        problem=problem,
        pid=None if held is None else held.pid,
        signed=None if held is None else held.signed,
        process=_process_state(held),
        silence=silence,
        running_for=None if held is None else max(now - held.since, 0.0),
    )


def _is_only_touched(told: float, written: float | None) -> bool:
    return written is not None and written - told > _UNWRITTEN_SECONDS


def _read(path: Path) -> tuple[dict[str, Any], float | None, str | None]:
    """The status, when its file was last touched, and why it cannot be read."""
    name = shown(str(path))
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        return {}, None, None
    except OSError as exc:
        return {}, None, f"{name} cannot be read: {exc.strerror}"
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or about.st_size > _MOST_BYTES:
            return {}, None, f"{name} is no status file of ours"
        with open(fd, "rb", closefd=False) as stream:
            status = json.loads(stream.read(_MOST_BYTES))
    except (OSError, ValueError) as exc:
        return {}, None, f"{name} cannot be read: {shown(str(exc))}"
    finally:
        os.close(fd)
    if not _is_status(status):
        return {}, None, f"{name} is no status file of ours"
    return status, about.st_mtime, None


def _is_status(found: Any) -> bool:
    """Whether it has what every version of ours writes."""
    return (
        isinstance(found, dict)
        and isinstance(found.get("pid"), int)
        and isinstance(found.get("at"), (int, float))
    )


def _process_state(held: Held | None) -> str:
    """The kernel's letter for what the process does; empty where nobody can say."""
    if held is None or held.pid is None:
        return ""
    try:
        text = Path(f"/proc/{held.pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[0]
