"""Reads a table of /etc/cron.d and runs its lines as cron does (Vixie's and cronie)."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

_ASSIGNMENT = re.compile(r"\s*(\w+)\s*=\s*(.*?)\s*")
_FIELD = r"[*0-9][-*/,0-9]*"
_JOB = re.compile(rf"\s*((?:{_FIELD}\s+){{5}})([\w.-]+)\s+(.*)")
#: What cron takes of a line at most.
_LONGEST = 998


@dataclass(frozen=True, slots=True)
class Job:
    """One line: when, who, what; ``variables`` are those in force there."""

    when: tuple[str, ...]
    user: str
    text: str
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, seconds: float = 60, **more: str) -> subprocess.CompletedProcess[str]:
        """As cron does: a shell, hardly any environment, no terminal."""
        process = self.start(**more)
        out, _ = process.communicate(self._input, timeout=seconds)
        return subprocess.CompletedProcess(self.text, process.returncode, out, "")

    def start(self, **more: str) -> subprocess.Popen[str]:
        """What ``run`` waits for; what it prints would be mailed."""
        variables = {"SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"} | self.variables
        return subprocess.Popen(
            [variables["SHELL"], "-c", self._command],
            env=variables | {"LOGNAME": self.user, "LC_ALL": "C"} | more,
            cwd="/",
            stdin=subprocess.PIPE if self._input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    @property
    def _pieces(self) -> list[str]:
        # A percent sign ends the command, and the rest is its input; \% is one.
        pieces = re.split(r"(?<!\\)%", self.text)
        return [piece.replace("\\%", "%") for piece in pieces]

    @property
    def _command(self) -> str:
        return self._pieces[0]

    @property
    def _input(self) -> str | None:
        return "\n".join(self._pieces[1:]) or None


def parse(path: Path, *, with_samples: bool = False) -> list[Job]:
    """The jobs of a table.

    Args:
        with_samples: also those that are commented out.
    """
    variables: dict[str, str] = {}
    jobs = []
    text = path.read_text("ascii")
    assert text.endswith("\n"), "cron passes over a line without its end"
    for line in text.splitlines():
        assert len(line) < _LONGEST
        bare = line.lstrip()
        job = _JOB.fullmatch(bare.removeprefix("# ") if with_samples else line)
        if job is not None:
            jobs.append(Job(tuple(job[1].split()), job[2], job[3], dict(variables)))
        elif bare and not bare.startswith("#"):
            assignment = _ASSIGNMENT.fullmatch(line)
            assert assignment is not None, line
            variables[assignment[1]] = _unquoted(assignment[2])
    return jobs


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] in "\"'" and value[-1] == value[0]:
        return value[1:-1]
    return value
