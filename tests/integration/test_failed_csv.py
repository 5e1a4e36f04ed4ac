"""failed.csv on a real file: one line per row, whoever writes, whatever is in it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys

import pytest

from dcmirror.adapters.failed_csv import FailedCsv, FailedRow, NotOursError, Rewritten
from dcmirror.core.failed_rows import COLUMNS, HEADER, format_line, split_line
from dcmirror.errors import BooksError, ConfigError
from helpers import in_time, wait_until

DESIGNED = (
    "time, task, path, url, destination, class, error, http_status, curl_code, "
    "attempts, size, received, adler32_expected, adler32_computed, pnfsid, door, pool, "
    "topic, partition, offset, event_time"
)


def row(task="t-1", **over):
    values = {
        "time": 1_579_801_634.5,
        "task": task,
        "path": "/pnfs/x/a,b.dat",
        "url": "https://door:2880/x/a,b.dat",
        "destination": "/mirror/a,b.dat",
        "failure_class": "checksum-mismatch",
        "error": 'digest says "00000001"',
        "http_status": 200,
        "curl_code": 18,
        "attempts": 11,
        "size": 2**40,
        "received": 12,
        "adler32_expected": 1,
        "adler32_computed": 0xDEADBEEF,
        "pnfsid": "0000AB",
        "door": "door:2880",
        "pool": "pool:20001",
        "topic": "billing",
        "partition": 0,
        "offset": 17,
        "event_time": 1_579_801_633.25,
    }
    return FailedRow(**(values | over))


@pytest.fixture
def failed(tmp_path):
    return FailedCsv(tmp_path / "failed.csv")


def test_the_columns_are_the_documented_ones():
    assert tuple(DESIGNED.split(", ")) == COLUMNS


def test_rows_come_back_as_they_were(failed):
    bare = FailedRow(time=0.0, task="", path="", url="", failure_class="x", error="")
    failed.append([row("1"), bare])
    failed.append([row("2", partition=None, event_time=None)])

    assert failed.read() == (
        [row("1"), bare, row("2", partition=None, event_time=None)],
        0,
    )


def test_any_csv_reader_understands_the_file(failed):
    failed.append([row()])

    with open(failed.path, newline="", encoding="utf-8") as file:
        (only,) = csv.DictReader(file)
    assert only["class"] == "checksum-mismatch"
    assert only["path"] == "/pnfs/x/a,b.dat"
    assert only["adler32_expected"] == "00000001"
    assert only["time"] == "2020-01-23T17:47:14.500Z"


@pytest.mark.parametrize(
    "path",
    [
        "/a\nb",
        "/a\r\nb",
        "/back\\slash and \\n",
        "/c1\x9b31m",
        "/bidi\u202egpj.exe",
        "/ls\u2028ps\u2029",
        "/lone\udc80\ud800",
        "/nul\0",
        '/quote"',
        "/ünïcode",
        " /blank ",
        "=1+1",
    ],
)
def test_a_row_is_one_line_whatever_the_path_contains(failed, path):
    failed.append([row(path=path, error=path, pnfsid=path), row("next")])

    assert failed.read() == ([row(path=path, error=path, pnfsid=path), row("next")], 0)
    text = failed.path.read_bytes().decode()
    assert len(text.splitlines()) == 3
    assert not any(ord(c) < 32 for c in text if c != "\n")


def test_no_token_is_written(failed):
    url = "https://door:2880/x?authz=S3CRET"
    failed.append([row(url=url, error=f"{url} answered 500")])

    assert b"S3CRET" not in failed.path.read_bytes()
    ((only,), _) = failed.read()
    assert only.url == "https://door:2880/x"


def test_an_endless_path_does_not_spoil_the_file(failed):
    failed.append([row(path="/" + "x" * 300_000), row("next")])

    rows, torn = failed.read()
    assert [len(r.path) for r in rows] == [16384, len(row().path)]
    assert torn == 0


def test_a_missing_or_empty_file_has_no_rows(failed):
    assert failed.read() == ([], 0)
    assert not failed.path.exists()
    failed.path.write_text("")
    assert failed.read() == ([], 0)
    assert failed.rewrite(drop={("a", "b", None)}) == Rewritten(0, 0, 0)


def test_a_cut_off_header_is_written_anew(failed):
    failed.path.write_text(HEADER[:30])
    failed.append([row()])

    assert failed.path.read_text().startswith(HEADER)
    assert failed.read() == ([row()], 0)


@pytest.mark.parametrize("cut", [1, 5, 60, 150])
def test_a_cut_off_row_spoils_no_other(failed, cut):
    failed.append([row("1"), row("2")])
    whole = failed.path.read_bytes()
    failed.path.write_bytes(whole[:-cut])
    assert failed.read() == ([row("1")], 1)
    failed.append([row("3")])

    rows, torn = failed.read()
    assert [r.task for r in rows if r.task != "2"] == ["1", "3"]
    assert (torn == 1) != ("2" in [r.task for r in rows])


def test_rows_that_are_not_whole_go_to_a_file_of_their_own(failed):
    failed.append([row("1")])
    with open(failed.path, "ab") as file:
        file.write(b"only,three,cells\n\xff\xfe\n" + b'"no end\n')
    failed.append([row("2")])
    assert failed.read() == ([row("1"), row("2")], 3)

    assert failed.rewrite() == Rewritten(remaining=2, removed=0, torn=3)
    assert failed.read() == ([row("1"), row("2")], 0)
    assert failed.torn_path.read_bytes() == b'only,three,cells\n\xff\xfe\n"no end\n'


@pytest.mark.parametrize(
    ("column", "cell"),
    [("size", str(10**30)), ("size", "-5"), ("offset", str(10**25)), ("attempts", "x")],
)
def test_a_number_that_no_book_can_hold_makes_a_line_torn(failed, column, cell):
    failed.append([row("a")])
    header, line = failed.path.read_text().splitlines()
    cells = split_line(line)
    cells[COLUMNS.index(column)] = cell
    failed.path.write_text(f"{header}\n{format_line(cells)}{line}\n")

    rows, torn = failed.read()

    assert (rows, torn) == ([row("a")], 1)


def test_a_file_with_fewer_columns_is_ours_and_gets_the_others(failed):
    old = COLUMNS[:8]
    failed.path.write_text(
        ",".join(old) + "\n2020-01-23T17:47:14Z,t-0,/p,https://d/p,/m/p,gone,no,404\n"
    )
    before = FailedRow(
        time=1_579_801_634.0,
        task="t-0",
        path="/p",
        url="https://d/p",
        destination="/m/p",
        failure_class="gone",
        error="no",
        http_status=404,
    )
    assert failed.read() == ([before], 0)

    failed.append([row()])
    assert failed.read() == ([before, row()], 0)
    assert failed.path.read_text().startswith(HEADER)


def test_columns_of_a_later_version_are_kept_by_name(failed):
    failed.append([row("1"), row("2")])
    lines = failed.path.read_text().splitlines()
    failed.path.write_text(
        "".join(
            f"{line},{new}\n"
            for line, new in zip(lines, ["tape", "A00001", "A00002"], strict=True)
        )
    )
    failed.append([row("3")])
    failed.rewrite(drop={row("1").key}, change={row("2").key: row("2", error="again")})

    assert failed.read() == (
        [
            row("2", error="again", extra={"tape": "A00002"}),
            row("3", extra={"tape": ""}),
        ],
        0,
    )


def test_windows_line_ends_and_a_byte_order_mark_are_accepted(failed):
    failed.append([row()])
    text = failed.path.read_text()
    failed.path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())

    assert failed.read() == ([row()], 0)


@pytest.mark.parametrize(
    "content",
    [
        b"name,value\n1,2\n",
        b"time,path\n",
        b"\x00\xff\xfe binary",
        b"just words",
        b"\n",
    ],
)
def test_a_foreign_file_is_refused_with_its_line(failed, content):
    failed.path.write_bytes(content)

    for use in (failed.read, failed.rewrite):
        with pytest.raises(NotOursError, match=r"failed\.csv:1: not a"):
            use()
    assert failed.path.read_bytes() == content
    assert issubclass(NotOursError, ConfigError)


def test_a_foreign_file_can_be_set_aside(failed):
    assert failed.set_aside_if_not_ours() is None
    failed.path.write_text("mine, not yours\n")
    aside = failed.set_aside_if_not_ours(now=1_579_801_634)
    assert aside is not None
    assert aside.name == "failed.csv.not-ours-20200123T174714Z"
    assert aside.read_text() == "mine, not yours\n"
    failed.path.write_text("another\n")
    assert failed.set_aside_if_not_ours(now=1_579_801_634) != aside
    assert aside.read_text() == "mine, not yours\n"

    failed.append([row()])
    assert failed.set_aside_if_not_ours() is None
    assert failed.read() == ([row()], 0)


def test_a_foreign_file_that_appears_while_we_run_stops_nothing(failed):
    heard = []
    failed.on_set_aside = heard.append
    failed.append([row("1")])
    failed.path.write_text("mine, not yours\n")
    failed.append([row("2")])

    assert failed.read() == ([row("2")], 0)
    (moved,) = heard
    assert moved.read_text() == "mine, not yours\n"


def test_a_rewrite_drops_changes_and_keeps(failed):
    failed.append([row("keep"), row("drop"), row("again"), row("drop"), row("again")])
    again = row("again", time=1_600_000_000.0, error="still", attempts=12)
    lost = row("lost", attempts=3)
    result = failed.rewrite(
        drop={row("drop").key}, change={again.key: again, lost.key: lost}
    )

    assert result == Rewritten(remaining=3, removed=3, torn=0)
    assert failed.read() == ([row("keep"), again, lost], 0)


def test_the_same_task_with_another_file_is_another_row(failed):
    failed.append([row("1"), row("1", pnfsid="0000CD"), row("1", pnfsid=None)])
    failed.rewrite(drop={row("1").key})

    assert failed.read() == ([row("1", pnfsid="0000CD"), row("1", pnfsid=None)], 0)


def test_mode_and_owner_survive_a_rewrite(failed):
    failed.append([row("1"), row("2")])
    os.chmod(failed.path, 0o664)
    before = os.stat(failed.path)
    failed.rewrite(drop={row("1").key})

    after = os.stat(failed.path)
    assert before.st_ino != after.st_ino
    assert (before.st_mode, before.st_uid, before.st_gid) == (
        after.st_mode,
        after.st_uid,
        after.st_gid,
    )
    assert sorted(os.listdir(failed.path.parent)) == ["failed.csv", "failed.csv.lock"]


def test_the_litter_of_a_killed_rewrite_is_removed(failed):
    failed.append([row("1")])
    (failed.path.parent / ".failed.csv.dcmirror-tmp").write_text("half a fi")
    failed.rewrite(drop={row("1").key})

    assert failed.read() == ([], 0)
    assert sorted(os.listdir(failed.path.parent)) == ["failed.csv", "failed.csv.lock"]


_REWRITER = """
import sys
from pathlib import Path
from dcmirror.adapters.failed_csv import FailedCsv
failed = FailedCsv(Path(sys.argv[1]))
print("running", flush=True)
while True:
    rows, torn = failed.read()
    failed.rewrite(change={rows[0].key: rows[0]})
"""


def test_a_rewrite_that_is_killed_loses_no_row(failed):
    rows = [row(str(number)) for number in range(300)]
    failed.append(rows)
    for _ in range(3):
        rewriter = subprocess.Popen(
            [sys.executable, "-c", _REWRITER, str(failed.path)], stdout=subprocess.PIPE
        )
        assert rewriter.stdout.readline() == b"running\n"
        before = os.stat(failed.path).st_ino
        wait_until(lambda ino=before: os.stat(failed.path).st_ino != ino, 30)
        rewriter.kill()
        rewriter.communicate()

        assert failed.read() == (rows, 0)


def test_a_symlink_stays_one(failed, tmp_path):
    link = tmp_path / "link.csv"
    link.symlink_to(failed.path)
    through = FailedCsv(link)
    through.append([row("1"), row("2")])
    through.rewrite(drop={row("1").key})

    assert link.is_symlink()
    assert failed.read() == ([row("2")], 0)


_ON_A_FULL_DISK = """
import os, resource, sys
from pathlib import Path
from dcmirror.adapters.failed_csv import FailedCsv, FailedRow
from dcmirror.errors import BooksError
path = Path(sys.argv[1])
limit = os.stat(path).st_size + 50
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    FailedCsv(path).append([FailedRow(time=0.0, task="2", path="/p", url="https://d/",
                                      failure_class="gone", error="x" * 500)])
except BooksError as exc:
    print(exc)
"""


def test_an_append_that_fails_half_way_adds_nothing(failed):
    failed.append([row("1")])
    before = failed.path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", _ON_A_FULL_DISK, str(failed.path)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "File too large" in done.stdout
    assert failed.path.read_bytes() == before


def test_a_directory_that_is_missing_is_a_books_error(tmp_path):
    with pytest.raises(BooksError, match="no/failed"):
        FailedCsv(tmp_path / "no" / "failed.csv").append([row()])


_APPENDER = """
import sys
from pathlib import Path
from dcmirror.adapters.failed_csv import FailedCsv, FailedRow
failed = FailedCsv(Path(sys.argv[1]))
for n in range(int(sys.argv[2])):
    failed.append([
        FailedRow(time=float(n), task=f"{kind}-{n}", path=f"/p/{n}", url="https://d/",
                  failure_class="gone", error="404")
        for kind in ("keep", "drop")
    ])
"""


def test_no_row_is_lost_while_one_appends_and_another_rewrites(failed):
    count = 150
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _APPENDER, str(failed.path), str(count)]
        )
        for _ in range(2)
    ]
    rewrites = 0
    while any(writer.poll() is None for writer in writers):
        rows, torn = failed.read()
        assert torn == 0
        failed.rewrite(drop={r.key for r in rows if r.task.startswith("drop")})
        rewrites += 1
    assert [writer.returncode for writer in writers] == [0, 0]

    rows, torn = failed.read()
    failed.rewrite(drop={r.key for r in rows if r.task.startswith("drop")})
    rows, _ = failed.read()
    expected = sorted([f"keep-{n}" for n in range(count)] * 2)
    assert expected == sorted(r.task for r in rows)
    assert rewrites > 3


@pytest.mark.parametrize("does", ["append", "read", "rewrite", "set_aside_if_not_ours"])
def test_a_pipe_or_device_is_refused_and_stays_what_it_is(tmp_path, does):
    """Renamed over, /dev/null would be a file, for everybody."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    call = getattr(FailedCsv(path), does)
    arguments = [[row()]] if does == "append" else []

    with pytest.raises(BooksError, match=r"fifo: not a regular file$"):
        in_time(lambda: call(*arguments))
    assert path.is_fifo()
    assert [path] == list(tmp_path.iterdir())
