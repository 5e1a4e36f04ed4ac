"""CPU, memory and time of processes, as /proc and wait4 tell them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MIB = 1024 * 1024
GIB = 1024 * MIB

_TICKS = os.sysconf("SC_CLK_TCK")
_LOOK_SECONDS = 0.002
_PREWARM = "import sys; b'\\1' * int(sys.argv[1])"


@dataclass(frozen=True)
class Run:
    """One run of one program over one set of files."""

    files: int
    size: int
    seconds: float
    cpu_seconds: float
    resident_bytes: int

    @property
    def files_per_second(self) -> float:
        return self.files / self.seconds

    @property
    def cpu_per_gib(self) -> float:
        return self.cpu_seconds / (self.files * self.size / GIB)

    @property
    def mib_per_second(self) -> float:
        return self.files * self.size / MIB / self.seconds


def prewarm(size: int) -> None:
    """Touch and free memory: a virtual machine's first touch of a page costs double."""
    subprocess.run([sys.executable, "-c", _PREWARM, str(size)], check=True)


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of live processes."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def resident_bytes(pids: Iterable[int]) -> int:
    """Sum of what is resident now; shared pages count for each of them."""
    return sum(_status(pid, "VmRSS:") for pid in pids)


def peak_bytes(pids: Iterable[int]) -> int:
    """Sum of the peaks, which need not have met."""
    return sum(_status(pid, "VmHWM:") for pid in pids)


def _status(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    return 0


def timed(
    command: Sequence[str],
    stdout: IO[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[float, float, int]:
    """Run a program; returns wall seconds, CPU seconds and peak resident bytes."""
    began = time.monotonic()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=stdout, env=environ
    )
    # wait4's own maximum begins with what we had when we forked
    resident = found = 0
    while not found:
        resident = max(resident, peak_bytes([process.pid]))
        time.sleep(_LOOK_SECONDS)
        found, status, usage = os.wait4(process.pid, os.WNOHANG)
    ended = time.monotonic()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}")
    cpu = usage.ru_utime + usage.ru_stime
    return ended - began, cpu, resident


def median(values: Iterable[float]) -> float:
    return statistics.median(list(values))
