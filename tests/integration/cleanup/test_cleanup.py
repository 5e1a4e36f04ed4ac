"""Cleanup against the fake dCache: every refusal, every answer, every adversary."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cleanup_site import Site
from copies import DAY, RAW
from dcmirror.adapters.checkpoints import Checkpoint, Position
from dcmirror.adapters.failed_csv import FailedCsv, FailedRow
from dcmirror.adapters.journal import Journal
from dcmirror.adapters.segments import list_segments
from dcmirror.commands.cleanup_plan import Scope
from dcmirror.commands.report import Form, ReportOptions, report
from dcmirror.core.door_errors import DoorError
from dcmirror.core.journal_values import Value
from dcmirror.core.paths import is_isolated_name, isolated_name
from dcmirror.errors import ConfigError
from one_sink import save_checkpoint

OPEN = "SELECT * FROM deletions WHERE ended_at IS NULL"


def everything_is_accounted_for(site: Site, *, gone: set[str]) -> None:
    """What is deleted was proved; what is not is where it was."""
    rows = dict(site.query("SELECT pnfsid, adler32 FROM copies"))

    assert {d.pnfsid: d.adler32 for d in site.source.deletions} == {
        pnfsid: adler32
        for pnfsid, adler32 in rows.items()
        if pnfsid in {d.pnfsid for d in site.source.deletions}
    }
    assert len(site.source.deletions) == len(gone)
    assert not any(is_isolated_name(name.rpartition("/")[2]) for name in site.left())


def test_what_is_proved_goes_and_the_books_say_so(site: Site) -> None:
    names = ["a", "sub/b", "sub/deep er/ü+%.dat"]
    site.copies(*names)

    assert site.run() == 0
    assert site.left() == set()
    everything_is_accounted_for(site, gone=set(names))
    assert {(name, result) for name, result, _ in site.results()} == {
        (name, "deleted") for name in names
    }
    open_rows = site.query("SELECT * FROM copies WHERE source_deleted_at IS NULL")
    assert open_rows == []
    assert all((site.mirror / name).exists() for name in names)


def test_a_second_run_has_nothing_to_do(site: Site) -> None:
    site.copies("a")
    site.run()
    asked = len(site.source.requests.all())

    assert site.run() == 0
    assert len(site.source.requests.all()) == asked


# -- reasons against, from the books ------------------------------------------------


def test_the_plan_keeps_what_it_must(site: Site) -> None:
    site.copies("young", age=3 * DAY)
    site.copies("unverified", verified=False)
    site.copies("no-checksum", adler32=None)
    site.copies("calibration/x", "y.keep", "failed", "failed-id", "good")
    site.set(exclude=("calibration/**", "*.keep"), min_age_days=5.0)
    ids = dict(site.query("SELECT relative, pnfsid FROM copies"))
    FailedCsv(site.state / "failed.csv").append(
        [
            failed(f"{RAW}/failed", None),
            failed("/pnfs/elsewhere", ids["failed-id"]),
        ]
    )

    assert site.run() == 0
    assert site.left() == set(ids) - {"good"}
    everything_is_accounted_for(site, gone={"good"})


def failed(path: str, pnfsid: str | None) -> FailedRow:
    return FailedRow(
        time=1e9,
        task="t",
        path=path,
        url="",
        failure_class="gone",
        error="it failed",
        pnfsid=pnfsid,
    )


def test_another_folder_in_the_configuration_deletes_nothing(site: Site) -> None:
    site.copies("a")
    dcache = replace(site.settings.dcache, folder="/exp")
    site.settings = replace(site.settings, dcache=dcache)

    assert site.run() == 0
    assert site.left() == {"a"}


# -- refusals just before -----------------------------------------------------------


def remove(site: Site, path: Path) -> None:
    path.unlink()


def grow(site: Site, path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def touch(site: Site, path: Path) -> None:
    os.utime(path, (1, 1))


def damage_in_place(site: Site, path: Path) -> None:
    """Same size, same time, no mark: only reading it shows the damage."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.unlink()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def symlink(site: Site, path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def replaced(site: Site, path: Path) -> None:
    """The same bytes, another file."""
    content = site.source.files[f"{RAW}/a"].content
    site.source.upload(f"{RAW}/a", bytes(content.piece(0, content.size)))


def no_digest(site: Site, path: Path) -> None:
    site.source.set_digest(f"{RAW}/a", None)


def other_digest(site: Site, path: Path) -> None:
    site.source.set_digest(f"{RAW}/a", 1)


def directory(site: Site, path: Path) -> None:
    site.source.remove(f"{RAW}/a")
    site.source.upload(f"{RAW}/a/inner", b"precious")


def unfinished(site: Site, path: Path) -> None:
    site.source.site.namespace.update(f"{RAW}/a", complete=False)


@pytest.mark.parametrize("isolate", ["always", "never"])
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (remove, "copy-missing"),
        (grow, "copy-changed"),
        (touch, "copy-changed"),
        (damage_in_place, "copy-changed"),
        (symlink, "copy-unreadable"),
        (replaced, "replaced"),
        (no_digest, "no-digest"),
        (other_digest, "replaced"),
        (directory, "directory"),
        (unfinished, "incomplete"),
    ],
)
def test_what_changed_is_kept_and_told(
    site: Site,
    isolate: str,
    change: Callable[[Site, Path], None],
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site.set(isolate=isolate)
    site.copies("a")
    change(site, site.mirror / "a")
    before = site.left()

    assert site.run(form=Form.JSON) == 21
    assert site.left() == before
    assert site.source.deletions == []
    assert json.loads(capsys.readouterr().out)["kept"] == {why: 1}
    (event,) = (e for e in site.events() if e["event"]["action"] == "source-kept")
    assert event["event"]["reason"] == why
    assert event["file"]["path"] == f"{RAW}/a"


def test_deep_reads_every_copy(site: Site) -> None:
    """Damage that leaves size, time and mark as they were."""
    site.copies("a", "b")
    path = site.mirror / "a"
    status = path.stat()
    with path.open("r+b") as stream:
        stream.write(b"damaged")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    site.set(verify="deep")

    assert site.run() == 21
    assert site.left() == {"a"}


def test_a_copy_that_watch_replaces_meanwhile_keeps_its_source(site: Site) -> None:
    """The row changes between the look and the intent."""
    site.copies("a", "b")
    database = site.state / "catalogue.db"

    def newer(path: str) -> None:
        with closing(sqlite3.connect(database)) as connection:
            sql = "UPDATE copies SET copied_at = copied_at + 1 WHERE relative = 'a'"
            connection.execute(sql)
            connection.commit()

    with site.source.before("PROPFIND", newer):
        assert site.run() == 0
    assert site.left() == {"a"}


def test_a_missing_mirror_stops_it_all(site: Site) -> None:
    site.copies("a")
    shutil.rmtree(site.mirror)

    with pytest.raises(Exception, match="mirror directory is not there") as caught:
        site.run()
    assert caught.value.exit_status == 13  # type: ignore[attr-defined]
    assert site.left() == {"a"}


# -- answers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status", "kept"),
    [
        ({"kind": "status", "status": 403, "methods": "DELETE"}, 21, "forbidden"),
        ({"kind": "status", "status": 423, "methods": "DELETE"}, 21, "locked"),
        ({"kind": "status", "status": 405, "methods": "MOVE"}, 21, "no-rename"),
        ({"kind": "status", "status": 403, "methods": "MOVE"}, 21, "no-rename"),
        ({"kind": "status", "status": 403, "methods": "PROPFIND"}, 21, "forbidden"),
        ({"kind": "keep", "methods": "DELETE"}, 21, "kept-by-door"),
        ({"kind": "status", "status": 404, "methods": "DELETE"}, 21, "kept-by-door"),
        ({"kind": "status", "status": 500, "methods": "DELETE"}, 21, "door-trouble"),
        ({"kind": "status", "status": 302, "methods": "DELETE"}, 21, "door-trouble"),
    ],
)
def test_a_refusal_keeps_the_source_under_its_name(
    site: Site,
    fault: dict[str, Any],
    status: int,
    kept: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site.copies("a")
    site.source.faults.add(glob=f"{RAW}/*", **fault)
    ended = site.run(form=Form.JSON)
    document = json.loads(capsys.readouterr().out)
    site.source.faults.clear()
    site.run()  # what the first one could not put back is put back now
    kept_now = site.left() | {d.path for d in site.source.deletions}

    assert (ended, document["kept"]) == (status, {kept: 1})
    assert len(kept_now) == 1


@pytest.mark.parametrize("method", ["MOVE", "DELETE"])
@pytest.mark.parametrize("kind", ["lose-answer", "reset", "hang-up"])
def test_a_lost_answer_is_cleared_up(site: Site, method: str, kind: str) -> None:
    site.copies("a", "b", "c")
    site.source.faults.add(kind, "*", times=1, methods=method)
    site.run()
    site.run()

    assert site.left() == set()
    everything_is_accounted_for(site, gone={"a", "b", "c"})
    deleted = [name for name, result, _ in site.results() if result == "deleted"]
    assert sorted(deleted) == ["a", "b", "c"]


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("method", ["PROPFIND", "MOVE", "DELETE"])
def test_what_passes_is_waited_for(site: Site, status: int, method: str) -> None:
    site.copies("a", "b")
    site.source.faults.add("status", "*", status=status, times=2, methods=method)

    assert site.run() == 0
    everything_is_accounted_for(site, gone={"a", "b"})


def test_a_door_that_cannot_rename_deletes_in_place_if_the_setting_says_so(
    site: Site,
) -> None:
    site.set(isolate="try")
    site.copies("a")
    site.source.faults.add("status", "*", status=405, methods="MOVE")

    assert site.run() == 0
    everything_is_accounted_for(site, gone={"a"})


def test_a_door_that_renames_nothing_is_left_alone_soon(site: Site) -> None:
    site.copies(*(f"f{number}" for number in range(150)))
    site.source.faults.add("status", "*", status=405, methods="MOVE")

    assert site.run() == 21
    assert len(site.left()) == 150
    assert len(site.source.requests.of("MOVE")) < 100


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("method", ["PROPFIND", "MOVE", "DELETE"])
def test_a_door_that_fails_for_good_is_left_alone_soon(
    site: Site, method: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the middle of a batch; and nothing is left set apart."""
    names = {f"f{number}" for number in range(100)}
    site.set(parallel=4)
    site.copies(*names)
    site.source.faults.add(
        "status", f"{RAW}/*", status=status, methods=method, retry_after="0"
    )

    assert site.run(verbosity=-1) == 21
    assert "20 sources in a row" in capsys.readouterr().err
    assert len(site.source.requests.of(method)) <= 5 * (20 + 4) + 24
    assert site.left() == names
    assert method == "MOVE" or site.query(OPEN) == []
    site.source.faults.clear()
    assert site.run() == 0
    everything_is_accounted_for(site, gone=names)


def test_a_few_that_fail_for_good_end_nothing(site: Site) -> None:
    bad = {f"f{number}" for number in range(15)}
    site.copies(*bad, age=30 * DAY)
    site.copies(*(f"g{number}" for number in range(15)))
    site.source.faults.add("status", f"{RAW}/f*", status=500, methods="PROPFIND")

    assert site.run() == 21
    assert site.left() == bad


def test_intents_that_nobody_can_look_at_end_no_run(site: Site) -> None:
    """They are of one directory that the door cannot show; they would end every run."""
    names = [f"bad/{number}" for number in range(60)]
    site.copies(*names, "good")
    for name in names:
        site.intend(name, f"{RAW}/{isolated_name(name)}")
    site.source.faults.add("status", f"{RAW}/bad/*", status=500, methods="PROPFIND")

    assert site.run() == 21
    assert site.left() == set(names)
    assert len(site.source.requests.of("PROPFIND")) < 5 * 40


@pytest.mark.parametrize("is_back", [True, False])
def test_a_delete_that_fails_for_good_gives_the_name_back_or_is_told(
    site: Site, is_back: bool
) -> None:
    site.copies("a")
    site.source.faults.add("status", f"{RAW}/*", status=503, methods="DELETE")
    if not is_back:
        site.source.faults.add("status", "*.isolated", status=503, methods="MOVE")

    assert site.run() == 21
    assert (site.left() == {"a"}) is is_back
    assert (site.query(OPEN) == []) is is_back
    site.source.faults.clear()
    assert site.run() == 0
    everything_is_accounted_for(site, gone={"a"})


def test_what_somebody_else_removed_is_noted(site: Site) -> None:
    site.copies("a", "b")
    site.source.remove(f"{RAW}/a")

    assert site.run() == 0
    assert {(n, r) for n, r, _ in site.results()} == {
        ("a", "already-gone"),
        ("b", "deleted"),
    }


def test_a_door_without_the_folder_shows_no_deletion(site: Site) -> None:
    """It lost its namespace: nothing is there, and nothing is taken for gone."""
    site.copies("a")
    site.source.remove("/pnfs/example.org/data/exp")

    with pytest.raises(Exception, match="status 404") as caught:
        site.run()
    assert caught.value.exit_status == 14  # type: ignore[attr-defined]
    assert site.results() == []


# -- adversaries --------------------------------------------------------------------


def test_no_replacement_is_ever_deleted_however_late_it_comes(site: Site) -> None:
    """As the MOVE is carried out: after the last look that any client can make."""
    names = [f"f{number}" for number in range(30)]
    site.copies(*names)
    olds = {v.pnfsid for v in site.source.files.values()}
    site.source.faults.add("replace", f"{RAW}/f1*", methods="MOVE")

    assert site.run() == 21
    replaced = {n for n in names if n.startswith("f1")}
    assert site.left() == replaced
    news = {v.pnfsid for v in site.source.files.values()}
    assert not news & olds
    everything_is_accounted_for(site, gone=set(names) - replaced)


def test_what_is_written_anew_during_the_deletion_stays(site: Site) -> None:
    """Under its old name, the moment the DELETE arrives."""
    site.copies("a")

    def write(path: str) -> None:
        site.source.upload(f"{RAW}/a", b"the next night's data")

    with site.source.before("DELETE", write):
        assert site.run() == 0
    assert site.left() == {"a"}
    everything_is_accounted_for(site, gone={"a"})


def test_two_replacements_in_a_row_are_both_kept_and_told(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.copies("a")
    site.source.faults.add("replace", f"{RAW}/a", methods="MOVE", times=1)

    def write(path: str) -> None:
        if is_isolated_name(path.rpartition("/")[2]):
            site.source.site.watchers.pop("PROPFIND")
            site.source.upload(f"{RAW}/a", b"the second one")

    site.source.site.watchers["PROPFIND"] = write

    assert site.run() == 21
    assert len(site.left()) == 2
    assert site.source.deletions == []
    assert "is left as" in capsys.readouterr().err
    assert site.run() == 21  # it goes on saying so
    (apart,) = (n for n in site.left() if is_isolated_name(n))
    site.source.remove(f"{RAW}/a")
    assert site.run() == 21
    assert site.left() == {"a"}
    assert apart not in site.left()


def test_in_place_a_late_replacement_is_lost(site: Site) -> None:
    """What HTTP allows: the reason for setting sources apart."""
    site.set(isolate="never")
    site.copies("a")
    site.source.faults.add("replace", f"{RAW}/a", methods="DELETE")

    assert site.run() == 0
    (lost,) = site.source.deletions
    assert [lost.pnfsid] != [row[0] for row in site.query("SELECT pnfsid FROM copies")]


# -- limits -------------------------------------------------------------------------


def test_the_oldest_go_first_within_the_limits(site: Site) -> None:
    site.copies("old", age=30 * DAY)
    site.copies("older", age=40 * DAY)
    site.copies("oldest", age=50 * DAY)

    assert site.run(scope=Scope(limit=1)) == 0
    assert site.left() == {"old", "older"}
    site.set(max_bytes=150)
    assert site.run() == 0
    assert site.left() == {"old"}


def test_what_is_kept_in_the_end_does_not_use_up_the_limit(site: Site) -> None:
    site.copies("oldest", age=50 * DAY)
    site.copies("old", "older", age=30 * DAY)
    site.source.set_digest(f"{RAW}/oldest", None)

    assert site.run(scope=Scope(limit=1)) == 21
    assert site.left() == {"oldest", "older"}


def test_the_brake_stops_everything(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.copies("a", "b", "c", "d")
    site.set(max_fraction=0.5)

    assert site.run() == 21
    assert len(site.left()) == 4
    assert "max_fraction" in capsys.readouterr().err
    assert site.run(scope=Scope(limit=2)) == 0


def test_only_what_is_under_a_path(site: Site) -> None:
    site.copies("sub/a", "subway/b")

    assert site.run(scope=Scope(under=f"{RAW}/sub")) == 0
    assert site.left() == {"subway/b"}


def test_only_as_much_as_the_source_lacks(site: Site) -> None:
    site.copies("a", age=40 * DAY)
    site.copies("b", age=30 * DAY)
    site.copies("c", age=20 * DAY)
    site.source.set_quota(RAW, 850)
    site.set(when_free_below=1000)

    assert site.run() == 0
    assert site.left() == {"c"}
    site.source.set_quota(RAW, 1000)
    assert site.run() == 0
    assert site.left() == {"c"}


def test_a_program_may_tell_the_free_space(site: Site, tmp_path: Path) -> None:
    site.copies("a")
    program = script(tmp_path, "echo 5000")
    site.set(when_free_below=1000, free_command=(program,))
    assert site.run() == 0
    assert site.left() == {"a"}

    site.set(free_command=(script(tmp_path, "echo ' 999 '"),))
    assert site.run() == 0
    assert site.left() == set()


def script(directory: Path, body: str) -> str:
    path = directory / f"program-{time.monotonic_ns()}"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo lots", "printed 'lots'"),
        ("", "printed 'nothing'"),
        ("echo -5", "printed '-5'"),
        ("echo 1; echo 2", "expected a number"),
        ("yes", "expected a number"),
        ("exit 3", "status 3"),
    ],
)
def test_a_program_that_tells_nonsense_deletes_nothing(
    site: Site, tmp_path: Path, body: str, said: str
) -> None:
    site.copies("a")
    site.set(when_free_below=1000, free_command=(script(tmp_path, body),))

    with pytest.raises(ConfigError, match="free_command") as caught:
        site.run()
    assert said in str(caught.value)
    assert site.left() == {"a"}


def test_a_door_that_does_not_tell_the_free_space_deletes_nothing(site: Site) -> None:
    site.copies("a")
    site.set(when_free_below=1000)

    with pytest.raises(ConfigError, match="free_command"):
        site.run()
    assert site.left() == {"a"}


# -- permission ---------------------------------------------------------------------


def test_without_a_dry_run_before_nothing_is_deleted(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.set(allowed=False)
    site.copies("a")

    assert site.run() == 21
    assert site.left() == {"a"}
    assert "--dry-run" in capsys.readouterr().err
    assert site.run(dry_run=True) == 0
    assert site.left() == {"a"}
    assert site.run() == 0
    assert site.left() == set()


def test_a_dry_run_of_other_settings_is_none(site: Site) -> None:
    site.set(allowed=False)
    site.copies("a")
    site.run(dry_run=True)
    site.set(min_age_days=1.0)
    assert site.run() == 21

    assert site.run(yes=True) == 0


def test_a_dry_run_of_a_part_does_not_allow_the_whole(site: Site) -> None:
    site.set(allowed=False)
    site.copies("a", "b")
    site.run(dry_run=True, scope=Scope(limit=1))
    assert site.run() == 21

    assert site.run(scope=Scope(limit=1)) == 0
    assert len(site.left()) == 1


@pytest.mark.parametrize("answer", [True, False])
def test_on_a_terminal_it_asks(site: Site, answer: bool) -> None:
    site.set(allowed=False)
    site.copies("a")
    status = site.run(confirm=lambda question: answer)

    assert (status, site.left()) == ((0, set()) if answer else (21, {"a"}))


# -- what it prints -----------------------------------------------------------------


def test_a_dry_run_gives_reasons_for_and_against(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.copies("a")
    site.copies("young", age=DAY)
    site.run(dry_run=True, form=Form.JSON)
    document = json.loads(capsys.readouterr().out)

    by_path = {f["path"]: f for f in document["files"]}
    assert by_path[f"{RAW}/a"]["decision"] == "delete"
    assert by_path[f"{RAW}/a"]["against"] == []
    assert by_path[f"{RAW}/a"]["for"]
    (why,) = by_path[f"{RAW}/young"]["against"]
    assert why.startswith("too-young: ")
    assert document["summary"]["delete"] == 1
    assert site.left() == {"a", "young"}


def test_the_undo_list_says_what_was_deleted_and_where_its_copy_is(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.copies("a", "b")
    ids = dict(site.query("SELECT relative, pnfsid FROM copies"))
    site.run(verbosity=-1)
    (site.mirror / "b").unlink()
    capsys.readouterr()
    assert site.run(undo_list=True, form=Form.JSON) == 0
    rows = json.loads(capsys.readouterr().out)["deleted"]

    assert [(r["path"], r["pnfsid"], r["copy_is_there"]) for r in rows] == [
        (f"{RAW}/a", ids["a"], True),
        (f"{RAW}/b", ids["b"], False),
    ]
    assert rows[0]["copy"] == str(site.mirror / "a")
    assert site.run(undo_list=True, form=Form.CSV) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_quiet_says_nothing_when_all_is_well(
    site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    site.copies("a")
    assert site.run(verbosity=-1) == 0

    assert capfd.readouterr() == ("", "")


def test_each_deletion_is_an_event(site: Site) -> None:
    site.copies("a")
    site.run()
    events = {e["event"]["action"]: e for e in site.events()}

    assert events["source-deleted"]["file"]["path"] == f"{RAW}/a"
    assert events["source-deleted"]["dcmirror"]["cleanup"]["isolated"] is True
    assert events["source-deleted"]["process"]["name"] == "dcmirror cleanup"
    assert events["cleanup-finished"]["dcmirror"]["cleanup"]["deleted"] == 1


# -- the local sweep ----------------------------------------------------------------


def test_old_parts_are_swept_without_asking_the_source(site: Site) -> None:
    old, young = site.mirror / "sub/x.part", site.mirror / "y.part"
    old.parent.mkdir()
    foreign = site.mirror / "foreign.part"
    for path in (old, young):
        path.touch()
        os.setxattr(path, "user.dcmirror", b"dcmirror part")
    foreign.write_bytes(b"somebody's")
    for path in (old, foreign):
        os.utime(path, (time.time() - 2 * DAY,) * 2)
    assert site.run(local_only=True, dry_run=True) == 0
    assert old.exists()

    assert site.run(local_only=True) == 0
    assert not old.exists()
    assert young.exists()
    assert foreign.exists()
    assert site.source.requests.all() == []


def test_the_sweep_removes_what_is_shipped_of_the_journal_and_nothing_else(
    site: Site,
) -> None:
    """A drop is counted and told by who writes; a sweep has nobody to tell."""
    site.state.mkdir(mode=0o700, exist_ok=True)
    journal = Journal(site.state / "journal", 1 << 20, 1 << 16, min_free=0)
    for number in range(700):
        step = '{"event":{"action":"transfer-step"},"n":%d,"pad":"%s"}'
        journal.append([step % (number, "x" * 900)], [Value.STARTED])
    journal.close()
    limits = replace(site.settings.journal, max_bytes=256 * 1024, min_free=0)
    site.settings = replace(site.settings, journal=limits)
    before = list_segments(site.state / "journal")
    shipped = before[1]
    checkpoint = Checkpoint({shipped.writer: Position(shipped.number + 1)})
    assert site.run(local_only=True) == 0
    assert list_segments(site.state / "journal") == before

    save_checkpoint(site.state / "checkpoint.json", checkpoint)
    assert site.run(local_only=True) == 0
    assert list_segments(site.state / "journal") == before[2:]


# -- empty directories --------------------------------------------------------------


def directories(site: Site) -> set[str]:
    """Directories below the folder."""
    found, waiting = set(), [RAW]
    while waiting:
        for path in site.source.site.namespace.children(waiting.pop()):
            if site.source.site.namespace.is_directory(path):
                found.add(path.removeprefix(RAW + "/"))
                waiting.append(path)
    return found


def test_directories_that_it_emptied_go_only_when_asked(site: Site) -> None:
    site.copies("a/b/c/x", "a/y", "full/z", "full/kept", "top")
    site.set(exclude=("full/kept",))
    site.source.site.namespace.make_directory(f"{RAW}/never-ours")
    assert site.run() == 0
    assert {"a", "a/b", "a/b/c", "full", "never-ours"} == directories(site)

    assert site.run(prune_empty=True) == 0
    assert directories(site) == {"full", "never-ours"}
    assert site.left() == {"full/kept"}
    assert len(site.query("SELECT * FROM pruned WHERE result = 'removed'")) == 3


def test_the_folder_itself_is_never_removed(site: Site) -> None:
    site.copies("x")

    assert site.run(prune_empty=True) == 0
    assert site.source.site.namespace.is_directory(RAW)


@pytest.mark.parametrize("method", ["MOVE", "MKCOL"])
def test_what_is_written_into_a_directory_meanwhile_is_kept(
    site: Site, method: str
) -> None:
    site.copies("sub/x")
    site.run()

    def write(path: str) -> None:
        where = path if method == "MOVE" else path.rpartition("/")[0]
        site.source.upload(f"{where}/late", b"precious")

    with site.source.before(method, write):
        site.run(prune_empty=True)
    assert site.left() == {"sub/late"}
    assert site.source.deletions[1:] == []
    assert directories(site) == {"sub"}


def test_a_listing_that_is_wrongly_empty_removes_nothing(site: Site) -> None:
    """So dCache lists what it cannot read in time; its DELETE would take all."""
    site.copies("sub/x", "sub/kept")
    site.set(exclude=("sub/kept",))
    site.source.faults.add("listing-empty", f"{RAW}/*")
    site.run(prune_empty=True)

    assert site.left() == {"sub/kept"}
    assert [d.path.rpartition("/")[2] for d in site.source.deletions] != ["kept"]
    assert len(site.source.deletions) == 1


@pytest.mark.parametrize("method", ["MOVE", "MKCOL", "DELETE"])
def test_a_directory_whose_answer_is_lost_is_seen_to_later(
    site: Site, method: str
) -> None:
    site.copies("sub/x")
    site.run()
    site.source.faults.add("lose-answer", "*", times=1, methods=method)
    assert site.run(prune_empty=True) == 21

    site.source.faults.clear()
    site.run(prune_empty=True)
    assert not any(is_isolated_name(name) for name in directories(site))
    assert site.query("SELECT * FROM pruned WHERE ended_at IS NULL") == []


def test_pruning_without_renames_is_refused(site: Site) -> None:
    site.set(isolate="never")

    with pytest.raises(ConfigError, match="prune-empty"):
        site.run(prune_empty=True)


def test_the_report_counts_what_was_deleted_and_nothing_else(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.copies("a", "b", "gone", "kept")
    site.source.remove(f"{RAW}/gone")
    site.source.faults.add("status", f"{RAW}/*", status=403, methods="DELETE", times=1)
    site.run(verbosity=-1)
    capsys.readouterr()
    report(ReportOptions(settings=site.settings, now=time.time() + 1, form=Form.JSON))
    told = json.loads(capsys.readouterr().out)["catalogue"]

    assert told["sources_deleted"] == {
        "files": 2,
        "bytes": 200,
        "failed": 1,
        "unfinished": 0,
    }


def test_a_plan_stops_where_the_run_would(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """A smaller file behind the limit of bytes is kept by both."""
    site.copies("first", age=50 * DAY, size=60)
    site.copies("second", age=40 * DAY, size=60)
    site.copies("small", age=30 * DAY, size=10)
    site.set(max_bytes=100)
    site.run(dry_run=True, form=Form.JSON)
    plan = json.loads(capsys.readouterr().out)
    site.run()

    chosen = {f["path"] for f in plan["files"] if f["decision"] == "delete"}
    assert chosen == {f"{RAW}/first"}
    assert site.left() == {"second", "small"}


# -- holds --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PROPFIND", "MOVE", "DELETE"])
def test_a_refused_credential_is_waited_for(site: Site, method: str) -> None:
    site.copies("a", "b")
    site.source.faults.add("status", "*", status=401, times=2, methods=method)

    assert site.run() == 0
    everything_is_accounted_for(site, gone={"a", "b"})


@pytest.mark.parametrize("method", ["PROPFIND", "MOVE", "DELETE"])
def test_a_credential_that_stays_refused_ends_it_and_nothing_is_lost(
    site: Site, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site.copies(*"abcdefgh")
    site.source.faults.add("status", "*", status=401, methods=method)
    with pytest.raises(DoorError) as caught:
        site.run()
    assert caught.value.exit_status == 12
    assert len(site.left()) == 8
    assert capsys.readouterr().err.count("held: ") == 1
    site.source.faults.clear()
    site.run()

    everything_is_accounted_for(site, gone=set("abcdefgh"))
