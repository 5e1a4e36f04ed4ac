"""A configured dcmirror in a directory of its own, run as a user runs it."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from helpers import wait_until

Tables = dict[str, dict[str, Any]]


class Deployment:
    """A configuration file, a mirror, a state directory, and the command."""

    def __init__(self, home: Path, tables: Tables) -> None:
        self.home = home
        self.mirror = Path(tables["local"]["downloadfolder"])
        given = tables.get("state", {}).get("directory")
        self.state = Path(given) if given else home / "state"
        rows = tables["local"].get("failedtasksfile")
        self.failed_csv = Path(rows) if rows else self.state / "failed.csv"
        self.config = home / "dcmirror.toml"
        self.tables = tables
        self.variables: dict[str, str] = {}
        self.mirror.mkdir(parents=True, exist_ok=True)
        tables.setdefault("state", {})["directory"] = str(self.state)
        self.write()
        self.started: list[Running] = []

    def write(self) -> None:
        """Write the configuration again, after ``tables`` was changed."""
        self.config.write_text(to_toml(self.tables))

    def command(self, *args: str) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "dcmirror", *args]

    def environ(self) -> dict[str, str]:
        """Nothing of ours, and no proxy of the person who runs the tests."""
        return {
            **os.environ,
            "DCMIRROR_CONFIG": str(self.config),
            "HOME": str(self.home),
            **self.variables,
        }

    def run(self, *args: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*args),
            env=self.environ(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def watch(self, *args: str) -> Running:
        """Start the daemon."""
        return Running(self, "watch", *args)

    def stop_all(self) -> str:
        """Kill what still runs; the logs, for a failing test's report."""
        for running in self.started:
            running.kill()
        return "\n".join(running.log for running in self.started)

    def status(self) -> dict[str, Any]:
        """status.json, empty before the first."""
        try:
            found: dict[str, Any] = json.loads((self.state / "status.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def failed_rows(self) -> list[dict[str, str]]:
        """The rows of failed.csv."""
        if not self.failed_csv.exists():
            return []
        with self.failed_csv.open(newline="") as stream:
            return list(csv.DictReader(stream))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the catalogue."""
        uri = f"file:{self.state / 'catalogue.db'}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10)) as database:
            return database.execute(sql).fetchall()

    def copies(self) -> dict[str, tuple[int, int]]:
        """Path below the mirror to size and Adler-32, as the catalogue has them."""
        try:
            rows = self.query("SELECT relative, size, adler32 FROM copies")
        except sqlite3.OperationalError:  # it is being made
            return {}
        return {row[0]: (row[1], row[2]) for row in rows}

    def journal(self) -> Iterator[dict[str, Any]]:
        """Every event of the journal, oldest segment first."""
        for segment in sorted((self.state / "journal").glob("*-*-*.ndjson")):
            # who writes it may be in the middle of a line
            whole = segment.read_bytes().rpartition(b"\n")[0]
            for line in whole.splitlines():
                yield json.loads(line)

    def files(self) -> set[str]:
        """Everything below the mirror, parts included."""
        return {
            str(path.relative_to(self.mirror))
            for path in self.mirror.rglob("*")
            if path.is_file()
        }

    def parts(self) -> list[str]:
        """What is left of unfinished files."""
        return sorted(name for name in self.files() if name.endswith(".part"))


class Running:
    """A dcmirror process that runs."""

    def __init__(self, deployment: Deployment, *args: str) -> None:
        number = len(list(deployment.home.glob("*.log")))
        self._log_path = deployment.home / f"{args[0]}-{number}.log"
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(
                deployment.command(*args),
                env=deployment.environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deployment.started.append(self)

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self.process.pid

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log_path.read_text(errors="replace")

    def says(self, text: str, deadline: float = 30.0) -> str:
        """Wait for a line with ``text``."""

        def found() -> str:
            if self.process.poll() is not None and text not in self.log:
                raise AssertionError(f"ended without saying {text!r}:\n{self.log}")
            return next((line for line in self.log.splitlines() if text in line), "")

        return wait_until(found, deadline, what=f"saying {text!r}")

    def children(self) -> dict[int, str]:
        """Pids of the child processes, with their command lines."""
        found = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # gone meanwhile
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
                if parent == self.pid:
                    command = (stat.parent / "cmdline").read_bytes()
                    found[int(stat.parent.name)] = command.replace(b"\0", b" ").decode()
        return found

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def stop(self, timeout: float = 60.0) -> int:
        """TERM, and the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """KILL, if it lives."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)


def to_toml(tables: Tables) -> str:
    """TOML text of simple tables."""
    lines = []
    for name, table in tables.items():
        plain = {k: v for k, v in table.items() if not isinstance(v, dict)}
        lines.append(f"[{name}]")
        lines += [f"{key} = {_value(value)}" for key, value in plain.items()]
        for key, value in table.items():
            if isinstance(value, dict):
                lines.append(f"[{name}.{key}]")
                lines += [f"{k} = {_value(v)}" for k, v in value.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        value = list(value)
    return json.dumps(value) if not isinstance(value, Path) else json.dumps(str(value))
