"""System calls that Python lacks, on the real kernel."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from dcmirror.adapters import linux


def test_syncfs_reports_a_bad_descriptor() -> None:
    with pytest.raises(OSError, match="syncfs") as caught:
        linux.syncfs(-1)
    assert caught.value.errno == errno.EBADF


def test_file_systems_are_known_by_their_magic(tmp_path: Path) -> None:
    assert linux.file_system_magic("/dev/shm") == 0x01021994
    assert linux.network_file_system(str(tmp_path)) is None
    with pytest.raises(FileNotFoundError):
        linux.file_system_magic(str(tmp_path / "missing"))


def test_a_pipe_gets_the_size_that_was_asked_for() -> None:
    reading, writing = os.pipe()
    try:
        assert linux.set_pipe_size(writing, 262_144) == 262_144
        assert linux.set_pipe_size(writing, 4096) == 4096
    finally:
        os.close(reading)
        os.close(writing)


def test_descriptors_run_short_before_they_are_gone() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
    try:
        found = [linux.is_short_of_descriptors(reserve) for reserve in (0, 10, 30)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        found.append(linux.is_short_of_descriptors(0))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert found == [False, False, True, True]
