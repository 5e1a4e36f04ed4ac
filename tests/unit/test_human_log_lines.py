"""Lines of the human log: the ancestor's form, and no way to forge one."""

from __future__ import annotations

import os
import sys
import unicodedata
from datetime import datetime
from pathlib import Path

import pytest

from dcmirror.adapters.human_log import HumanLog
from dcmirror.core.escapes import kept, restored, shown
from dcmirror.core.log_lines import format_line
from dcmirror.errors import ConfigError

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
    "/pnfs/a\xad\u180e\u206a\ufff9b\ufffb",
    "/pnfs/a\U000e0001\U000e0061\U000e007f",
]


@pytest.mark.parametrize("name", FORGERIES)
@pytest.mark.parametrize("place", ["tag", "text", "task"])
def test_a_name_cannot_make_a_second_line_or_command_a_terminal(name, place):
    parts = {"tag": "UPLOAD", "text": "New file", "task": TASK} | {place: name}
    line = format_line(AT, parts["tag"], parts["text"], parts["task"])

    assert line.splitlines() == [line[:-1]]
    assert line[:-1].isprintable()
    assert line.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at https://pool:1/x?id=S3CRET (again)", "at https://pool:1/x?... (again)"),
        (
            "https://me:S3CRET@door/x, http://d/y?a=S3CRET",
            "https://door/x, http://d/y?...",
        ),
        ("https://u:S3@CR@ET@door/@x (me@here)", "https://door/@x (me@here)"),
        ("what? where? mail me@here", "what? where? mail me@here"),
        ("https://door/a%3Fb is fine", "https://door/a%3Fb is fine"),
    ],
)
def test_no_token_of_a_url_reaches_the_log(text, expected):
    assert f" {expected} (" in format_line(AT, "COPY_FAILED", text, TASK)


BACKSLASHES = ["\\n", "a\\", "\\x41", "\\U000e0061", "\\\\U000e0061", "ü\t'\"", ""]


@pytest.mark.parametrize("name", [*FORGERIES, *BACKSLASHES])
def test_what_is_kept_can_be_restored(name):
    assert restored(kept(name)) == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\\udb40\\udc61", "\udb40\udc61"),
        ("a\xadb", "a\xadb"),
        ("\\U00000061", "\\U00000061"),
        ("\\U00110000", "\\U00110000"),
    ],
)
def test_what_was_kept_before_long_escapes_is_restored_as_it_was(text, expected):
    assert restored(text) == expected


def test_ordinary_names_stay_as_they_are():
    for name in ("/pnfs/a b/ü-猫.tar", "back\\slash", "ü\\b", "100 %", "a\xa0\u3000b"):
        assert shown(name) == name


def every_character():
    return map(chr, range(sys.maxunicode + 1))


def test_no_character_commands_turns_hides_or_breaks_a_line():
    """And no other becomes an escape, but for some that Unicode does not know yet."""
    disguises = ("Cc", "Cf", "Zl", "Zp", "Cs")
    escaped = {c for c in every_character() if shown(c) != c}

    for character in every_character():
        if unicodedata.category(character) in disguises:
            assert character in escaped
    others = {unicodedata.category(c) for c in escaped}.difference(disguises)
    assert others <= {"Cn"}
    assert all(shown(c).isascii() for c in escaped)


def test_every_character_can_be_restored():
    text = "".join(every_character())

    assert restored(kept(text)) == text


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


def test_a_forged_line_is_one_line(tmp_path):
    log = HumanLog(tmp_path / "log")
    log.line("UPLOAD", FORGERIES[0], TASK)
    log.flush()

    (only,) = read(tmp_path / "log")
    assert "[UPLOAD] /pnfs/a\\n2020/01/23 17:47:16 [COPY_OVER]" in only
    assert only.endswith(f"({TASK})")
    log.close()


def test_a_warning_is_written_at_once_with_what_was_said_before(tmp_path):
    log = HumanLog(tmp_path / "log")
    log.line("A", "one")
    assert read(tmp_path / "log") == []
    log.line("A", "two", level="warning")

    assert [line.split()[3] for line in read(tmp_path / "log")] == ["one", "two"]
    log.close()


def test_a_rotated_file_is_followed_after_reopen(tmp_path):
    log = HumanLog(tmp_path / "log")
    log.line("A", "one")
    log.flush()
    os.rename(tmp_path / "log", tmp_path / "log.1")
    log.line("A", "two")
    log.reopen(tmp_path / "log", "error")
    log.line("A", "hidden")
    log.line("A", "three", level="error")
    log.close()

    assert [len(read(tmp_path / name)) for name in ("log.1", "log")] == [2, 1]


def test_a_file_that_cannot_be_opened_leaves_the_log_as_it_was(tmp_path):
    log = HumanLog(tmp_path / "log")
    trouble = log.reopen(tmp_path / "no" / "log", "info")
    log.line("A", "one")
    log.close()

    assert trouble == f"[log] file = {tmp_path}/no/log: No such file or directory"
    assert len(read(tmp_path / "log")) == 1


def test_at_the_start_such_a_file_is_a_bad_configuration(tmp_path):
    with pytest.raises(ConfigError, match=r"\[log\] file = .*/no/log: No such file"):
        HumanLog(tmp_path / "no" / "log")


def test_a_full_disk_stops_nothing():
    log = HumanLog(Path("/dev/full"))
    log.line("A", "one")
    log.close()

    assert log.lost == 1


@pytest.mark.parametrize("level", ["info", "error"])
def test_a_log_that_can_be_written_again_says_how_many_lines_it_lacks(tmp_path, level):
    """A link to /dev/full stands for a disk that is full for a while."""
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    log = HumanLog(path, level)
    for number in range(3):
        log.line("A", f"{number}", level="error")
    path.unlink()
    log.reopen(path, level)
    for number in range(3, 5):
        log.line("A", f"{number}", level="error")
    log.close()
    gap, *others = read(path)

    assert gap.endswith(
        "[NOTE] could not write 3 lines of this log: No space left on device (SYSTEM)"
    )
    assert [line.split()[3] for line in others] == ["3", "4"]
    assert log.lost == 3


def test_without_a_file_lines_go_to_standard_error(capfd):
    HumanLog(None).line("WATCH", "watch out", level="warning")

    assert capfd.readouterr().err.endswith("[WATCH] watch out (SYSTEM)\n")
