"""Asks a site's own program how much space the source has left."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from dcmirror.core.escapes import shown
from dcmirror.errors import ConfigError

_SECONDS = 60.0
_MOST_BYTES = 4096
_NUMBER = re.compile(r"[0-9]{1,18}")


def ask_program(command: Sequence[str], seconds: float = _SECONDS) -> int:
    """The one number, in bytes, that the program prints.  No shell is involved.

    Raises:
        ConfigError: it cannot be run, fails, takes too long or prints anything else.
    """
    name = f"[cleanup] free_command {shown(command[0])}"
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{name}: {getattr(exc, 'strerror', None) or exc}") from exc
    try:
        status, output = _finish(process, time.monotonic() + seconds)
    finally:
        _end(process)
    if status is None:
        raise ConfigError(f"{name}: no answer within {seconds:g} s")
    if status != 0:
        raise ConfigError(f"{name}: ended with status {status}")
    text = output.decode("ascii", "replace").strip()
    if not _NUMBER.fullmatch(text):
        said = shown(text[:60]) or "nothing"
        raise ConfigError(f"{name}: expected a number of bytes, it printed {said!r}")
    return int(text)


def _finish(
    process: subprocess.Popen[bytes], deadline: float
) -> tuple[int | None, bytes]:
    """Its status, None when it takes too long, and what it printed."""
    assert process.stdout is not None
    fd, output = process.stdout.fileno(), b""
    while len(output) <= _MOST_BYTES:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            return None, output
        piece = os.read(fd, _MOST_BYTES)
        if not piece:
            break
        output += piece
    else:
        return 0, output  # it prints for ever: no number
    try:
        return process.wait(max(deadline - time.monotonic(), 0.1)), output
    except subprocess.TimeoutExpired:
        return None, output


def _end(process: subprocess.Popen[bytes]) -> None:
    """Whatever it has begun ends with it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
