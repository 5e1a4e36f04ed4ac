"""The demo's cast: broker, fake dCache and the real ``dcmirror``, each a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dcmirror.adapters.catalogue import Catalogue
from dcmirror.adapters.failed_csv import FailedCsv
from dcmirror.errors import BooksError
from dcmirror.testing.broker import CLIENT_SETTINGS, MockBroker
from dcmirror.testing.demo_tree import FOLDER, RULES
from dcmirror.testing.fake_client import RemoteDCache

TOPIC = "billing"
GROUP = "demo"
PARTITIONS = 3


class DemoSite:
    """Everything below one directory.

    Args:
        directory: an empty one.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.mirror = directory / "mirror"
        self.config = directory / "dcmirror.toml"
        self.log = directory / "dcmirror.log"
        self.state = directory / "state"
        self.failed_csv = directory / "failed.csv"
        self._output = directory / "watch.out"
        self._watch: subprocess.Popen[bytes] | None = None
        self.mirror.mkdir()
        self.broker = MockBroker()
        try:
            self.broker.create_topic(TOPIC, PARTITIONS)
            self.dcache = RemoteDCache(
                directory / "grid-security", self.broker.bootstrap, TOPIC
            )
        except BaseException:
            self.broker.stop()
            raise
        self.config.write_text(self._configuration())

    def close(self) -> None:
        """End all processes, however far they came."""
        if self._watch is not None and self._watch.poll() is None:
            self._watch.kill()
            self._watch.wait()
        self.dcache.stop()
        self.broker.stop()

    def start_watch(self) -> int:
        """Start the daemon; its process id."""
        with self._output.open("ab") as output:
            self._watch = subprocess.Popen(
                self._command("watch"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self._watch.pid

    def watch_status(self) -> int | None:
        """Its exit status; None while it runs."""
        return None if self._watch is None else self._watch.poll()

    def stop_watch(self, seconds: float = 90.0) -> int:
        """TERM, and the exit status."""
        assert self._watch is not None
        self._watch.terminate()
        return self._watch.wait(seconds)

    def replay(self, seconds: float = 120.0) -> int:
        """``dcmirror replay`` of failed.csv; its exit status."""
        with self._output.open("ab") as output:
            done = subprocess.run(
                [*self._command("replay"), str(self.failed_csv)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=seconds,
            )
        return done.returncode

    def kill_a_worker(self) -> tuple[str, int] | None:
        """SIGKILL to the busiest worker; its name and process id."""
        status = self.status()
        busy = [transfer["worker"] for transfer in status.get("transfers", ())]
        workers = [w for w in status.get("workers", ()) if w["number"] in busy]
        if not workers:
            return None
        chosen = max(workers, key=lambda worker: busy.count(worker["number"]))
        with suppress(ProcessLookupError):
            os.kill(chosen["pid"], signal.SIGKILL)
        return chosen["name"], chosen["pid"]

    def status(self) -> dict[str, Any]:
        """status.json; empty before there is one."""
        try:
            found: dict[str, Any] = json.loads((self.state / "status.json").read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found

    def reads(self) -> bool:
        """Whether all partitions are the daemon's."""
        return len(self.status().get("lag", ())) == PARTITIONS

    def copies(self, relatives: Iterable[str]) -> dict[str, str | None]:
        """The pnfsid of each proved copy, as the catalogue has it."""
        path = self.state / "catalogue.db"
        if not path.exists():
            return {}
        try:
            catalogue = Catalogue(path)
            try:
                rows = catalogue.lookup(relatives)
            finally:
                catalogue.close()
        except BooksError:
            return {}  # just being made
        return {relative: row.pnfsid for relative, row in rows.items()}

    def failures(self) -> dict[str, str]:
        """Path below the folder -> failure class, as failed.csv has it."""
        rows, _ = FailedCsv(self.failed_csv).read()
        prefix = f"{self.dcache.root}{FOLDER}/"
        return {row.path.removeprefix(prefix): str(row.failure_class) for row in rows}

    def lag(self) -> int:
        """Records that are not committed yet."""
        ends = self.broker.end_offsets(TOPIC)
        committed = self.broker.committed(GROUP, TOPIC)
        return sum(end - committed.get(number, 0) for number, end in ends.items())

    def _command(self, name: str) -> list[str]:
        return [sys.executable, "-m", "dcmirror", name, "--config", str(self.config)]

    def _configuration(self) -> str:
        tables: dict[str, dict[str, Any]] = {
            "kafka": {
                "topic": TOPIC,
                "servers": self.broker.bootstrap.split(","),
                "consumergroup": GROUP,
            },
            "kafka.client": {
                # the mock broker's own needs; real brokers need neither
                key: list(value) if isinstance(value, tuple) else value
                for key, value in CLIENT_SETTINGS.items()
            },
            "dcache": {
                "url": self.dcache.door_url,
                "pool": self.dcache.root,
                "folder": FOLDER,
                "retryseconds": 0.3,
                "retrytimes": 10,
                "maxdownloads": 10,
            },
            "local": {
                "proxy": str(self.dcache.proxy),
                "capath": str(self.dcache.capath),
                "downloadfolder": str(self.mirror),
                "permissions": "2755",
                "failedtasksfile": str(self.failed_csv),
            },
            "filter": {"rules": list(RULES)},
            "destination": {"min_free": 64 * 1024 * 1024},
            "state": {"directory": str(self.state)},
            "pipeline": {"workers": 2, "drain_seconds": 20},
            "log": {"file": str(self.log)},
        }
        return "\n".join(_toml_table(name, keys) for name, keys in tables.items())


def _toml_table(name: str, keys: dict[str, Any]) -> str:
    # strings, numbers and lists are spelled alike in TOML and JSON
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return "\n".join([f"[{name}]", *lines, ""])
