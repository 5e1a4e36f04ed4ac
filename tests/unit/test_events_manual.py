"""dcmirror-events(7): every event and field is there, and what it shows is true."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from dcmirror.adapters import segments
from dcmirror.core.journal_table import ACTIONS, COMMON, FIELDS
from dcmirror.core.journal_values import Value

PAGE = (Path(__file__).parents[2] / "man/dcmirror-events.7").read_text()
PLAIN = PAGE.replace("\\-", "-").replace("\\&", "").replace("\\(aq", "'")


def section(name: str) -> str:
    """One .SH of the page."""
    return PLAIN.split(f".SH {name}\n")[1].split("\n.SH ")[0]


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_the_page_has_every_event(name: str) -> None:
    text = section("EVENTS").split(f".SS {name}\n")[1].split("\n.SS ")[0]
    told = set()
    for group, leaves in re.findall(r"([a-z_.]+)\.\{([a-z_, ]+)\}", text):
        told |= {f"{group}.{leaf}" for leaf in leaves.split(", ")}
    listed = re.sub(r"[a-z_.]+\.\{[a-z_, ]+\}", "", text.split("Fields: ")[1])
    told |= set(re.findall(r"[a-z_]+(?:\.[a-z_]+)+", listed))

    assert told == ACTIONS[name].fields


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_the_page_has_every_field_with_its_type(name: str) -> None:
    where = section("COMMON FIELDS" if name in COMMON else "FIELDS")

    assert f'.BR {name} " ({FIELDS[name][0]})"\n' in where


def test_the_page_has_the_kinds_in_the_order_in_which_they_go() -> None:
    told = re.findall(r"^\.B ([a-z]+)$", section("WHEN SPACE IS SHORT"), re.MULTILINE)

    assert [kind for kind in told if kind != "journal"] == [v.kind for v in Value]


def test_the_example_is_a_line_of_the_journal() -> None:
    shown = section("EXAMPLE").split(".EX\n")[1].split("\n.EE")[0]
    event = json.loads(shown)
    body = json.dumps(event, separators=(",", ":"))
    sealed = segments.seal(
        json.dumps(
            {name: value for name, value in event.items() if name != "crc"},
            separators=(",", ":"),
        )
    )

    assert sealed.decode() == body + "\n"
    assert int(event["crc"], 16) == zlib.crc32(body.partition(',"crc"')[0].encode())
    assert event["event"]["action"] == "transfer-finished"


@pytest.mark.skipif(shutil.which("jq") is None, reason="no jq here")
def test_the_commands_that_the_page_shows_work(tmp_path: Path) -> None:
    event = {
        "@timestamp": "2020-01-23T17:47:14.567Z",
        "message": "failed /f",
        "event": {"action": "transfer-finished", "outcome": "failure"},
        "file": {"path": "/f"},
        "error": {"type": "gone", "message": "404"},
        "dcmirror": {
            "transfer": {
                "id": "f9c82897-0976-ed88-61d8-0db305308527",
                "error_scope": "source",
            }
        },
    }
    name = segments.segment_name("20200123T174714Z-0123456789abcdef", 1)
    (tmp_path / name).write_bytes(segments.seal(json.dumps(event)))
    (tmp_path / segments.CURRENT).symlink_to(name)
    shown = re.findall(r"\.EX\n(.*?)\n\.EE", section("READING THE JOURNAL"), re.DOTALL)
    said = [
        subprocess.run(
            ["sh", "-c", command.replace("tail -F", "cat")],
            capture_output=True,
            text=True,
        )
        for command in (
            text.replace("/var/lib/dcmirror/main/journal", str(tmp_path))
            for text in shown
        )
    ]

    assert [ran.stderr for ran in said] == ["", "", ""]
    assert said[0].stdout == "2020-01-23T17:47:14.567Z\ttransfer-finished\tfailed /f\n"
    assert "transfer-finished" in said[1].stdout
    assert json.loads(said[2].stdout) == ["source", "gone", "/f", "404"]
