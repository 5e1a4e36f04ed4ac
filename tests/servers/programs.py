"""Server programs as children that do not outlive the test run."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from helpers import wait_until


class Program:
    """One server process, its log file beside it.

    Args:
        user: runs as this user, where we are root; our own one otherwise.
        prefix: a command that ends by executing the one after it.
        environ: all that it finds in its environment; ours by default.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        directory: Path,
        log: Path,
        *,
        user: str | None = None,
        prefix: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = Path(arguments[0]).name
        self.arguments = [*prefix, *_leash(user), *arguments]
        self.directory, self.log = directory, log
        self.environ = environ
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, stdin: int = subprocess.DEVNULL) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.arguments,
                cwd=self.directory,
                env=self.environ,
                stdin=stdin,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait_for(self, port: int, seconds: float = 30) -> None:
        """Wait until somebody takes connections there.

        Raises:
            AssertionError: the program ended, or nobody does in time.
        """
        wait_until(lambda: self._listens(port), seconds, what=f"{self.name} listens")

    def _listens(self, port: int) -> bool:
        if not self.is_running:
            raise AssertionError(f"{self.name} ended")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    @property
    def pid(self) -> int:
        if self.process is None:
            raise RuntimeError(f"{self.arguments[0]} was never started")
        return self.process.pid

    def stop(self, grace_seconds: float = 20) -> None:
        """TERM, and KILL for who does not listen."""
        if self.process is None or not self.is_running:
            return
        self.process.terminate()
        try:
            self.process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def tail(self, characters: int = 3000) -> str:
        if not self.log.exists():
            return ""
        return self.log.read_text(errors="replace")[-characters:]


def _leash(user: str | None) -> list[str]:
    """A prefix that ends the program when the test run is killed.

    It comes last, and changes the user itself: a change of user clears the setting.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return []
    identity = ["--reuid", user, "--regid", user, "--clear-groups"] if user else []
    return [setpriv, *identity, "--pdeathsig", "KILL", "--"]
