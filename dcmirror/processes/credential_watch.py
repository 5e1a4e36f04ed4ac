"""Looks at the proxy file once a second: held before it fails, released when renewed.

Runs in the supervisor's loop.  What a door says of the credential (401, TLS alerts) is
the engine's business; a changed file makes that hold probe at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dcmirror.adapters.credentials import ProxyInfo, read_proxy
from dcmirror.core.escapes import shown
from dcmirror.core.holds import HoldKey, HoldKind
from dcmirror.core.messages import CredentialChanged
from dcmirror.errors import CredentialError
from dcmirror.processes.engine import Engine

#: A proxy with less life than this starts no transfer (seconds).
LEAST_LIFE = 60.0
#: From here on each hour a warning says when it ends (seconds).
WARN_LIFE = 3600.0
_KEY = HoldKey(HoldKind.CREDENTIAL)


class CredentialWatch:
    """The state of one proxy file."""

    def __init__(
        self,
        path: Path,
        engine: Engine,
        tell_workers: Callable[[CredentialChanged], None],
    ) -> None:
        self.path = path
        self.proxy: ProxyInfo | None = None
        self._engine = engine
        self._tell_workers = tell_workers
        self._seen: tuple[int, int] | None = None
        self._has_looked = False
        self._error: str | None = "not read yet"
        self._is_ours = False
        self._warned_at = float("-inf")

    def seconds_left(self, wall: float) -> float | None:
        """How long the proxy will live; None without one."""
        return None if self.proxy is None else self.proxy.not_after - wall

    def status(self, wall: float) -> dict[str, Any]:
        """What status.json says of it."""
        not_after = None if self.proxy is None else self.proxy.not_after
        return {
            "credential": {
                "path": shown(os.fspath(self.path)),
                "not_after": not_after,
                "trouble": None if self._error is None else shown(self._error),
            },
            "credential_seconds_left": self.seconds_left(wall),
        }

    def look(self, now: float, wall: float) -> None:
        """Read the file if it is another one, and judge what is left of its life."""
        self._read_if_changed(now)
        cause = self._error
        left = self.seconds_left(wall)
        if cause is None and left is not None and left < LEAST_LIFE:
            ago = "has expired" if left <= 0 else f"expires in {left:.0f} s"
            cause = f"{self.path}: the proxy {ago}; renew it"
        if cause is not None:
            self._hold(cause, now)
        elif self._is_ours:
            self._is_ours = False
            self._engine.hold_desk.end(_KEY, now)
        if left is not None and LEAST_LIFE < left < WARN_LIFE:
            self._warn(left, now)

    def _read_if_changed(self, now: float) -> None:
        seen = self._stat()
        if seen is not None and seen == self._seen:
            return
        is_first, self._has_looked = not self._has_looked, True
        self._seen = seen
        try:
            self.proxy, self._error = read_proxy(self.path), None
        except CredentialError as exc:
            self.proxy, self._error = None, str(exc)
            return
        if not is_first:
            self._engine.story.reconfigured(f"the proxy {self.path} is a new one")
            self._tell_workers(CredentialChanged())
            self._engine.holds.probe_now(_KEY, now)

    def _stat(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino

    def _hold(self, cause: str, now: float) -> None:
        """A file that we can see to be bad needs no probe but this look."""
        self._is_ours = True
        self._engine.hold_desk.begin(_KEY, cause, now)
        hold = self._engine.holds.get(_KEY)
        if hold is not None:
            hold.probe_at = float("inf")

    def _warn(self, left: float, now: float) -> None:
        if now - self._warned_at >= WARN_LIFE / 4:
            self._warned_at = now
            self._engine.story.note(
                f"the proxy {self.path} expires in {left / 60:.0f} min", level="warning"
            )
