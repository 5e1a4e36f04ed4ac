"""``dcmirror replay`` from a pipe, from reports, chosen, twice: work is done once."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from deployment import Deployment, Running
from rows import RAW, names, row, write_rows

from dcmirror.adapters.failed_csv import FailedRow
from dcmirror.core.failed_rows import HEADER, format_row
from dcmirror.testing.fake_dcache import FakeDCache
from helpers import wait_until

REPORT = "kind,path,relative,size,pnfsid,adler32,modified,detail,outcome\n"


def piped(
    deployment: Deployment, text: str, *options: str
) -> subprocess.CompletedProcess[str]:
    """``dcmirror replay - OPTIONS`` with this standard input."""
    return subprocess.run(
        deployment.command("replay", "-", *options),
        env=deployment.environ(),
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def as_csv(*rows: FailedRow) -> str:
    """failed.csv's text."""
    return HEADER + "".join(map(format_row, rows))


def left_over(text: str) -> dict[str, str]:
    """Name to class of the rows in a CSV text."""
    found = csv.DictReader(io.StringIO(text))
    return {each["path"].removeprefix(RAW + "/"): each["class"] for each in found}


def transfers(source: FakeDCache) -> int:
    """How many files were fetched so far."""
    return source.requests.counters["pool GET 200"]


def report(deployment: Deployment, *rows: tuple[str, str]) -> Path:
    """A report with rows of this kind and name."""
    path = deployment.home / "report.csv"
    lines = (f"{kind},{RAW}/{name},{name},,,,,,\n" for kind, name in rows)
    path.write_text(REPORT + "".join(lines))
    return path


def test_a_pipe_gets_back_what_remains_and_nothing_else_changes(
    deployment: Deployment, source: FakeDCache
) -> None:
    for name in ("good", "bad", "other"):
        source.upload(f"{RAW}/{name}", size=1000, seed=1)
    source.faults.add("status", f"{RAW}/bad", status=403)
    book = write_rows(deployment, row("untouched"))
    before = book.path.read_bytes()
    rows = as_csv(row("good"), row("bad"), row("other", "poison"), row("good"))
    done = piped(deployment, rows, "--class", "gone")

    assert done.returncode == 20, done.stderr
    assert left_over(done.stdout) == {"bad": "forbidden", "other": "poison"}
    assert deployment.files() == {"good"}
    assert book.path.read_bytes() == before
    again = piped(deployment, done.stdout, "--dry-run")
    assert (again.returncode, len(again.stdout.splitlines())) == (0, 2)


def test_a_pipe_that_is_all_done_gets_back_the_header(
    deployment: Deployment, source: FakeDCache
) -> None:
    source.upload(f"{RAW}/a", size=10, seed=1)
    done = piped(deployment, as_csv(row("a")))

    assert (done.returncode, done.stdout) == (0, HEADER), done.stderr


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name,size\nx,1\n", ":1: "),
        (as_csv(row("a"), row("b"))[:-30], ":3: "),
        (as_csv(row("a")) + "\udcff\n", ":3: "),
    ],
)
def test_a_pipe_with_a_wrong_line_is_refused_before_anything_is_done(
    deployment: Deployment, source: FakeDCache, text: str, line: str
) -> None:
    source.upload(f"{RAW}/a", size=10, seed=1)
    done = subprocess.run(
        deployment.command("replay", "-"),
        env=deployment.environ(),
        input=text.encode("utf-8", "surrogateescape"),
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (4, b"")
    assert f"standard input{line}".encode() in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert source.requests.all() == []


def test_an_interrupted_pipe_gives_back_what_was_not_done(
    deployment: Deployment, source: FakeDCache
) -> None:
    source.faults.add("stall", f"{RAW}/*", seconds=0.5)
    for number in range(20):
        source.upload(f"{RAW}/f{number}", size=1000, seed=number)
    running = subprocess.Popen(
        deployment.command("replay", "-"),
        env=deployment.environ(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdin is not None
    running.stdin.write(as_csv(*(row(f"f{number}") for number in range(20))))
    running.stdin.close()
    running.stdin = None
    wait_until(lambda: len(deployment.files()) > 3, 30)
    running.terminate()
    out, _ = running.communicate(timeout=60)

    assert running.returncode == 143
    assert set(left_over(out)) == {f"f{n}" for n in range(20)} - deployment.files()
    assert left_over(out)


@pytest.mark.parametrize(
    ("options", "tried"),
    [
        (("--path", "sub/*"), ["sub/c"]),
        (("--path", f"{RAW}/?"), ["a", "b"]),
        (("--min-attempts", "5"), ["b"]),
        (("--max-attempts", "4", "--path", "*c"), ["sub/c"]),
        (("--until", "2002-01-01"), ["a"]),
    ],
)
def test_a_dry_run_as_json_tells_what_is_chosen(
    deployment: Deployment, options: tuple[str, ...], tried: list[str]
) -> None:
    often = FailedRow(
        time=1.5e9,
        task="t",
        path=f"{RAW}/b",
        url="",
        failure_class="gone",
        error="\x1b[31mred",
        attempts=9,
        adler32_expected=1,
    )
    write_rows(deployment, row("a"), often, row("sub/c", at=1.4e9))
    done = deployment.run("replay", "--dry-run", "--json", *options)

    found = json.loads(done.stdout)
    assert (done.returncode, found["rows"], found["torn"]) == (0, 3, 0)
    paths = [each["path"].removeprefix(RAW + "/") for each in found["would_try"]]
    assert paths == tried
    assert "\x1b" not in done.stdout


def test_a_replay_tells_its_outcome_as_json(
    deployment: Deployment, source: FakeDCache
) -> None:
    source.upload(f"{RAW}/a", size=10, seed=1)
    source.faults.add("status", f"{RAW}/b", status=403)
    source.upload(f"{RAW}/b", size=10, seed=1)
    write_rows(deployment, row("a"), row("b"), row("c", "poison"))
    done = deployment.run("replay", "--class", "gone", "--json")

    found = json.loads(done.stdout)
    assert done.returncode == 20, done.stderr
    assert found.pop("file") == str(deployment.failed_csv)
    assert found == {
        "rows": 3,
        "torn": 0,
        "tried": 2,
        "done": 1,
        "failed_again": 1,
        "refused": 0,
        "remain": 2,
        "stopped_by_signal": None,
    }


def test_copies_of_one_file_one_after_the_other_are_one_transfer_each(
    deployment: Deployment, source: FakeDCache
) -> None:
    for number in range(5):
        source.upload(f"{RAW}/f{number}", size=1000, seed=number)
    rows = [row(f"f{number}") for number in range(5)]
    one, two = (deployment.home / name for name in ("one.csv", "two.csv"))
    one.write_text(as_csv(*rows))
    two.write_text(as_csv(*rows))

    assert deployment.run("replay", str(one)).returncode == 0
    assert transfers(source) == 5
    assert deployment.run("replay", str(two)).returncode == 0
    assert transfers(source) == 5
    assert left_over(two.read_text()) == {}


def test_two_instances_with_copies_of_one_file_at_once_do_the_work_once(
    deploy: Callable[..., Deployment], source: FakeDCache, tmp_path: Path
) -> None:
    """Locks of two state directories keep nobody out: parts and marks do."""
    mirror = tmp_path / "shared"
    count = 40
    source.faults.add("stall", f"{RAW}/*", seconds=0.2)
    for number in range(count):
        source.upload(f"{RAW}/f{number:02d}", size=1000, seed=number)
    rows = [row(f"f{number:02d}") for number in range(count)]
    running = []
    for _ in range(2):
        made = deploy("127.0.0.1:9", source.door_url, mirror=mirror)
        made.state.mkdir()
        write_rows(made, *rows)
        running.append((made, Running(made, "replay")))
    for made, replay in running:
        assert replay.process.wait(60) == 0, replay.log
        assert names(made) == []
        assert set(made.copies()) == {f"f{number:02d}" for number in range(count)}

    assert transfers(source) == count


def test_a_reconcile_report_is_copied_and_what_fails_becomes_a_row(
    deployment: Deployment, source: FakeDCache
) -> None:
    for name in ("new", "refused", "unasked", "deep/er"):
        source.upload(f"{RAW}/{name}", size=1000, seed=1)
    source.faults.add("status", f"{RAW}/refused", status=403)
    path = report(
        deployment,
        ("missing", "new"),
        ("missing", "refused"),
        ("renamed", "deep/er"),
        ("only-here", "unasked"),
        ("incomplete", "half"),
    )
    done = deployment.run("replay", "--from-reconcile", str(path))

    assert done.returncode == 20, done.stderr
    assert deployment.files() == {"new", "deep/er"}
    assert names(deployment) == ["refused"]
    assert "1 only-here" in done.stderr
    source.faults.clear()
    again = deployment.run("replay", "--from-reconcile", str(path), "-q")
    assert (again.returncode, again.stderr) == (0, ""), again.stderr
    assert transfers(source) == 3


def test_an_audit_report_is_mended_once(
    deployment: Deployment, source: FakeDCache
) -> None:
    """Damage that keeps size and time looks right to everybody but who reads it."""
    for name in ("a", "b", "c"):
        source.upload(f"{RAW}/{name}", size=1000, seed=ord(name))
    write_rows(deployment, row("a"), row("b"), row("c"))
    assert deployment.run("replay").returncode == 0
    wholesome = {name: (deployment.mirror / name).read_bytes() for name in "abc"}
    damage(deployment.mirror / "a")
    (deployment.mirror / "b").unlink()
    path = report(
        deployment,
        *(("checksum", "a"), ("no-event", "a"), ("missing", "b"), ("no-event", "c")),
    )
    assert transfers(source) == 3
    listed = deployment.run("replay", "--from-audit", str(path), "--dry-run")
    done = deployment.run("replay", "--from-audit", str(path))

    assert listed.stdout.splitlines() == [
        f"checksum\t{RAW}/a\t",
        f"missing\t{RAW}/b\t",
    ]
    assert done.returncode == 0, done.stderr
    assert {n: (deployment.mirror / n).read_bytes() for n in "abc"} == wholesome
    assert transfers(source) == 5
    again = deployment.run("replay", "--from-audit", str(path), "--json")
    assert json.loads(again.stdout)["right_by_now"] == 2
    assert transfers(source) == 5


def damage(path: Path) -> None:
    """Other bytes, as many, at the same time."""
    now = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    os.utime(path, ns=(now.st_atime_ns, now.st_mtime_ns))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name,size\nx,1\n", ":1: "),
        (REPORT + f"missing,{RAW}/a,a,,,,,,\nnonsense,{RAW}/b,b,,,,,,\n", ":3: "),
        (REPORT + f"missing,{RAW}/a,a,1k,,,,,\n", ":2: "),
        ('{"differences":\n[{', ":2: "),
    ],
)
def test_what_is_no_report_is_refused_with_its_line(
    deployment: Deployment, source: FakeDCache, text: str, line: str
) -> None:
    path = deployment.home / "report"
    path.write_text(text)
    done = deployment.run("replay", "--from-reconcile", str(path))

    assert done.returncode == 4
    assert f"{path}{line}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert source.requests.all() == []


def test_a_report_that_is_not_there_is_named(deployment: Deployment) -> None:
    done = deployment.run("replay", "--from-audit", "/no/such/file")

    assert done.returncode == 4
    assert done.stderr == "dcmirror: /no/such/file: No such file or directory\n"


def test_a_report_waits_for_no_lock_that_somebody_holds(
    deployment: Deployment, source: FakeDCache
) -> None:
    source.faults.add("stall", f"{RAW}/*", seconds=60.0)
    source.upload(f"{RAW}/a", size=10, seed=1)
    path = report(deployment, ("missing", "a"))
    first = Running(deployment, "replay", "--from-reconcile", str(path))
    wait_until(lambda: source.requests.of("GET"), 30)
    second = deployment.run("replay", "--from-reconcile", str(path))
    first.kill()

    assert second.returncode == 10
    assert f"pid {first.pid}" in second.stderr
