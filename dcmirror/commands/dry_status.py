"""status.json of a command without an engine: that it lives, for `dcmirror status`."""

from __future__ import annotations

import os
import socket
import time
from types import TracebackType
from typing import Any

from dcmirror import __version__
from dcmirror.adapters.state_directory import StateDirectory, instance_name
from dcmirror.core.escapes import shown
from dcmirror.errors import DcmirrorError
from dcmirror.processes.status import write_status
from dcmirror.settings import Settings


class DryStatus:
    """Writes it when told to, and at the end that it ended on purpose."""

    def __init__(
        self,
        settings: Settings,
        state: StateDirectory,
        command: str,
        instance: str | None,
    ) -> None:
        self._path = state.status_of(command)
        self._status: dict[str, Any] = {
            "version": __version__,
            "command": command,
            "instance": instance_name(settings, instance),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": time.time(),
            "at": time.time(),
            "source": shown(f"{settings.dcache.url} below {settings.dcache.folder}"),
            "destination": shown(os.fspath(settings.local.downloadfolder)),
        }

    def __enter__(self) -> DryStatus:
        self.show()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        text = None
        if error is not None:
            text = str(error) if isinstance(error, DcmirrorError) else "unexpected"
        self._status["ended"] = {"at": time.time(), "error": text and shown(text)}
        self.show()

    def show(self) -> None:
        """It lives."""
        self._status["at"] = time.time()
        write_status(self._path, self._status)
