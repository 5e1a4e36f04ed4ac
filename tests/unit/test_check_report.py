"""How findings look, and which of them decides the exit status."""

from __future__ import annotations

import json

import pytest

from dcmirror.commands.check_report import (
    as_json,
    duration,
    exit_status,
    fail,
    ok,
    size,
    warn,
)
from dcmirror.errors import ExitStatus


def test_a_line_says_result_name_text_and_remedy() -> None:
    assert ok("topic", "there").line == "OK    topic: there"
    assert warn("proxy", "soon", "renew it").line == "WARN  proxy: soon; renew it"
    assert fail("door", ExitStatus.DOOR, "down").line == "FAIL  door: down"


def test_what_others_wrote_cannot_forge_a_line() -> None:
    assert warn("door", "a\nOK    door: fine\x1b[2J").line == (
        "WARN  door: a OK    door: fine [2J"
    )


def test_the_lowest_status_of_the_failures_counts() -> None:
    findings = [
        fail("door", ExitStatus.DOOR, ""),
        ok("mirror", ""),
        fail("topic", ExitStatus.INTAKE, ""),
        warn("proxy", ""),
    ]

    assert exit_status(findings) == ExitStatus.INTAKE
    assert exit_status(findings[1:2]) == ExitStatus.DONE


def test_the_document_is_json_whatever_a_server_said() -> None:
    document = json.loads(as_json([warn("door", "\x1b[2J", "ü")]))

    assert document["checks"][0]["remedy"] == "ü"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (86399, "23 h 59 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (10 << 30, "10.0 GiB"),
        (3 << 50, "3.0 PiB"),
    ],
)
def test_sizes_are_in_binary_units(count: int, text: str) -> None:
    assert size(count) == text
