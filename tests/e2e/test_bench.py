"""What scripts/bench measures with still runs; its figures are not judged here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.answering import answering
from bench.contenders import check, run_curl, run_dcmirror
from bench.event_log import rates
from bench.listing import compare, fake_places, run_walk
from bench.measuring import MIB
from bench.shipping import ship
from bench.sources import FileSet, source_of, write
from bench.streams import filter_rate

if TYPE_CHECKING:
    from servers.nginx import Nginx

FILES = FileSet("bench", 30, 2000)


@pytest.mark.parametrize("parallel", [1, 10])
def test_both_programs_copy_every_file(
    nginx: Nginx, tmp_path: Path, parallel: int
) -> None:
    write(FILES, nginx.data)
    source = source_of(nginx, tmp_path)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()

    run, taken = run_dcmirror(source, FILES, parallel, ours, "group")
    run_curl(source, FILES, parallel, theirs)

    check(FILES, ours)
    check(FILES, theirs)
    assert run.files_per_second > 0
    assert taken.resident_bytes > 0


def test_the_filter_judges_every_event() -> None:
    text = filter_rate(400)

    assert "400 events" in text
    assert "5 % ours" in text


def test_the_logger_is_timed_over_every_event(tmp_path: Path) -> None:
    with answering() as url:
        took = ship(url, tmp_path, 40)

    assert took.events == 240
    assert took.size > took.events * 400
    assert took.per_second > 0
    assert took.cpu_seconds >= 0


def test_copies_are_timed_with_a_server_and_with_none(
    nginx: Nginx, tmp_path: Path
) -> None:
    files = FileSet("told", 20, 2000)
    source = source_of(nginx, tmp_path)
    (tmp_path / "data").symlink_to(nginx.data)
    with answering() as url:
        text = rates(source, tmp_path, files, {"answers": url}, 1, "group")

    assert ["none", "answers", "down"] == [
        line.partition("Elasticsearch: ")[2].split()[0] for line in text.splitlines()
    ]


def test_listings_are_timed_and_every_name_is_there(tmp_path: Path) -> None:
    with fake_places(tmp_path, (200,)) as places:
        flat, tree = ("\n".join(compare(place, 1)) for place in places)

    assert all(f" {name} " in flat for name in ("dcmirror", "dcmirror's walk", "curl"))
    assert all(f"dcmirror, {count} at a time" in tree for count in (1, 4))
    assert "202" in tree


def test_a_walk_over_many_names_takes_no_more_memory_than_over_few(
    tmp_path: Path,
) -> None:
    with fake_places(tmp_path, (300, 12_000)) as (few, many, _):
        small, large = run_walk(few, 2), run_walk(many, 2)

    # 12,000 entries would be some 6 MiB
    assert large.resident_bytes - small.resident_bytes < 3 * MIB
