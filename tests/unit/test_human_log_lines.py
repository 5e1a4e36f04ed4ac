"""Lines of the human log: the ancestor's form, and no way to forge one."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest

from dcmirror.adapters.human_log import HumanLog
from dcmirror.core.escapes import kept, restored, shown
from dcmirror.core.log_lines import (
    copy_report,
    format_duration,
    format_line,
    format_size,
)

AT = datetime(2020, 1, 23, 17, 47, 14)
TASK = "f9c82897-0976-ed88-61d8-0db305308527"


def test_a_line_has_the_ancestors_form():
    line = format_line(AT, "UPLOAD", "New file on partition 0 : /pnfs/a", TASK)

    assert line == (
        f"2020/01/23 17:47:14 [UPLOAD] New file on partition 0 : /pnfs/a ({TASK})\n"
    )


def test_a_line_without_a_task_belongs_to_the_system():
    line = format_line(AT, "CURRENTLY_RUNNING", "1 running tasks: [a]", None)

    assert line.endswith("[CURRENTLY_RUNNING] 1 running tasks: [a] (SYSTEM)\n")


@pytest.mark.parametrize(
    ("size", "seconds", "expected"),
    [
        (216_926_208, 0.379387386, "217 MB copied in 379.387386ms, 4574.24 Mbps"),
        (0, 0.0032, "0 B copied in 3.2ms, 0.00 Mbps"),
        (0, 0.0, "0 B copied in 0s, 0.00 Mbps"),
        (10_240, 0.000_072, "10 kB copied in 72µs, 1137.78 Mbps"),
        (2**31, 125.5, "2.1 GB copied in 2m5.5s, 136.89 Mbps"),
    ],
)
def test_a_report_is_made_for_every_file_the_empty_ones_too(size, seconds, expected):
    assert expected == copy_report(size, seconds)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 B"),
        (9, "9 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (9950, "10 kB"),
        (999_499, "999 kB"),
        (999_999, "1.0 MB"),
        (217_000_000, "217 MB"),
        (5 * 10**21, "5000 EB"),
    ],
)
def test_sizes_are_short(size, expected):
    assert expected == format_size(size)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-1.0, "0s"),
        (5e-9, "5ns"),
        (0.0000015, "1.5µs"),
        (0.25, "250ms"),
        (1.0, "1s"),
        (61.25, "1m1.25s"),
        (3609.0, "1h0m9s"),
        (86400.0, "24h0m0s"),
    ],
)
def test_durations_are_written_as_the_ancestor_did(seconds, expected):
    assert expected == format_duration(seconds)


FORGERIES = [
    "/pnfs/a\n2020/01/23 17:47:16 [COPY_OVER] /pnfs/b (checksum validation: OK)",
    "/pnfs/a\r[COPY_OVER]",
    "/pnfs/a\x1b[2K\x1b[1A[COPY_OVER]",
    "/pnfs/a\x9b2K",
    "/pnfs/a\x85[COPY_OVER]",
    "/pnfs/a\u2028[COPY_OVER]",
    "/pnfs/a\u2029[COPY_OVER]",
    "/pnfs/a\x0b\x0c\x1c\x1d\x1e[COPY_OVER]",
    "/pnfs/\u202egpj.exe",
    "/pnfs/\u2066\u2069\u200f\u061c",
    "/pnfs/\x07\x08\x7f\0",
    "/pnfs/\ud800\udcff",
]


@pytest.mark.parametrize("name", FORGERIES)
@pytest.mark.parametrize("place", ["tag", "text", "task"])
def test_a_name_cannot_make_a_second_line_or_command_a_terminal(name, place):
    parts = {"tag": "UPLOAD", "text": "New file", "task": TASK} | {place: name}
    line = format_line(AT, parts["tag"], parts["text"], parts["task"])

    assert line.splitlines() == [line[:-1]]
    assert line[:-1].isprintable()
    assert line.encode("utf-8")


@pytest.mark.parametrize("name", [*FORGERIES, "\\n", "a\\", "\\x41", "ü\t'\"", ""])
def test_what_is_kept_can_be_restored(name):
    assert restored(kept(name)) == name


def test_ordinary_names_stay_as_they_are():
    for name in ("/pnfs/a b/ü-猫.tar", "back\\slash", "100 %"):
        assert shown(name) == name


def read(path):
    return path.read_text().splitlines()


def test_levels_hide_what_is_below_them(tmp_path):
    log = HumanLog(tmp_path / "log", "warning")
    for level in ("debug", "info", "warning", "error"):
        log.line("X", level, level=level)
    log.close()

    assert [entry.split()[3] for entry in read(tmp_path / "log")] == [
        "warning",
        "error",
    ]


def test_each_line_is_written_at_once_and_the_forged_one_is_one(tmp_path):
    log = HumanLog(tmp_path / "log")
    log.line("UPLOAD", FORGERIES[0], TASK)

    (only,) = read(tmp_path / "log")
    assert "[UPLOAD] /pnfs/a\\n2020/01/23 17:47:16 [COPY_OVER]" in only
    assert only.endswith(f"({TASK})")
    log.close()


def test_a_rotated_file_is_followed_after_reopen(tmp_path):
    log = HumanLog(tmp_path / "log")
    log.line("A", "one")
    os.rename(tmp_path / "log", tmp_path / "log.1")
    log.line("A", "two")
    log.reopen(tmp_path / "log", "error")
    log.line("A", "hidden")
    log.line("A", "three", level="error")
    log.close()

    assert [len(read(tmp_path / name)) for name in ("log.1", "log")] == [2, 1]


def test_a_file_that_cannot_be_opened_leaves_the_log_as_it_was(tmp_path):
    log = HumanLog(tmp_path / "log")
    with pytest.raises(OSError, match="No such file"):
        log.reopen(tmp_path / "no" / "log", "info")
    log.line("A", "one")
    log.close()

    assert len(read(tmp_path / "log")) == 1


def test_a_full_disk_stops_nothing():
    log = HumanLog(Path("/dev/full"))
    log.line("A", "one")
    log.close()

    assert log.lost == 1


def test_without_a_file_lines_go_to_standard_error(capfd):
    HumanLog(None).line("WATCH", "started")

    assert capfd.readouterr().err.endswith("[WATCH] started (SYSTEM)\n")
