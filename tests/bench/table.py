"""Measures dcmirror's engine against curl: one machine, one server, one run.

nginx (started here, TLS with client certificates) serves files from memory.  Both
programs copy the same files into fresh directories, in turns; a row shows medians over
the rounds and the median of the ratios of each round.  dcmirror's figures hold the
whole engine: supervisor, workers, logger, Adler-32, mark, rename, sync, catalogue and
journal; its start-up is not counted.  curl writes the file and nothing else; the rows
"synced" add to its time the sync that makes its files as durable as dcmirror's are.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from bench import event_log, listing, streams
from bench.contenders import check, run_curl, run_dcmirror
from bench.measuring import GIB, MIB, Run, median, prewarm
from bench.sources import FileSet, Source, source_of, write
from dcmirror.testing.pki import make_pki
from servers.ladder import Unavailable
from servers.nginx import Nginx

HEADINGS = (
    *("files", "at once", "to", "dcmirror", "curl", "rate", "CPU s/GiB", "curl's"),
    *("CPU", "RSS MiB"),
)


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    files: FileSet
    parallel: int
    rounds: int


def cases(is_quick: bool, rounds: int) -> list[Case]:
    scale = 10 if is_quick else 1
    large = FileSet("large", 1, 2 * GIB // scale // MIB * MIB)
    middle = FileSet("middle", 2000 // scale, MIB)
    small = FileSet("small", 5000 // scale, 10 * 1024)
    return [
        Case(large, 1, rounds),
        Case(middle, 1, max(rounds // 2, 1)),
        Case(middle, 10, rounds),
        Case(small, 1, max(rounds // 2, 1)),
        Case(small, 10, rounds),
    ]


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory(prefix="dcmirror-bench-", dir=memory()) as name:
        work = Path(name)
        nginx = Nginx(
            work / "nginx",
            make_pki(work / "pki"),
            data=work / "data",
            has_access_log=False,
        )
        source = source_of(nginx, work)
        nginx.start()
        try:
            measure(options, work, source)
        finally:
            nginx.close()


def measure(options: argparse.Namespace, work: Path, source: Source) -> None:
    if not options.only or "copies" in options.only:
        compare(options, work, source)
    if not options.only or "memory" in options.only:
        flatness(options, work, source)
    if not options.only or "filter" in options.only:
        print(streams.filter_rate(10_000 if options.quick else 100_000))
    if not options.only or "latency" in options.only:
        try:
            print(streams.latency(source, work, 20 if options.quick else 200))
        except Unavailable as exc:
            print(f"latency not measured: {exc}")
    if not options.only or "listing" in options.only:
        listing.measure(
            work,
            is_quick=options.quick,
            rounds=options.rounds or (1 if options.quick else 3),
        )
    if not options.only or {"elastic", "shipping"} & set(options.only):
        event_log.measure(
            source,
            work,
            is_quick=options.quick,
            rounds=options.rounds or (1 if options.quick else 5),
            sync=options.sync,
            has_rates=not options.only or "elastic" in options.only,
            has_shipping=not options.only or "shipping" in options.only,
        )


def compare(options: argparse.Namespace, work: Path, source: Source) -> None:
    print(f"{os.cpu_count()} cores, {os.uname().release}; sync = {options.sync}")
    print(row(HEADINGS))
    for case in cases(options.quick, options.rounds or (1 if options.quick else 5)):
        if options.at_once and case.parallel not in options.at_once:
            continue
        write(case.files, work / "data")
        for place, directory in places(options, work).items():
            for texts in compare_case(case, place, directory, source, options.sync):
                print(row(texts), flush=True)
        shutil.rmtree(work / "data" / case.files.name)


def compare_case(
    case: Case, place: str, directory: Path, source: Source, sync: str
) -> list[tuple[str, ...]]:
    """The rows of one case in one place."""
    ours: list[Run] = []
    theirs: list[Run] = []
    synced: list[Run] = []
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=directory))
    try:
        for number in range(case.rounds):
            target = fresh(directory / f"dcmirror-{number}", case)
            run, _ = run_dcmirror(source, case.files, case.parallel, target, sync)
            ours.append(run)
            tidy(target, case)
            target = fresh(directory / f"curl-{number}", case)
            run, syncing = run_curl(source, case.files, case.parallel, target)
            theirs.append(run)
            synced.append(replace(run, seconds=run.seconds + syncing))
            tidy(target, case)
    finally:
        shutil.rmtree(directory)
    rows = [cells(case, place, ours, theirs)]
    if place == "disk" and sync != "none":
        rows.append(cells(case, "synced", ours, synced))
    return rows


def fresh(target: Path, case: Case) -> Path:
    target.mkdir()
    prewarm(min(case.files.count * case.files.size + 256 * MIB, 3 * GIB))
    return target


def tidy(target: Path, case: Case) -> None:
    check(case.files, target)
    if case.files.size > 100 * MIB:
        shutil.rmtree(target)  # many small ones stay: deleting slows the next creates


def cells(
    case: Case, place: str, ours: list[Run], theirs: list[Run]
) -> tuple[str, ...]:
    pairs = list(zip(ours, theirs, strict=True))
    rate = median(a.files_per_second / b.files_per_second for a, b in pairs)
    cpu = median(a.cpu_per_gib / b.cpu_per_gib for a, b in pairs)
    return (
        f"{case.files.count} x {size_text(case.files.size)}",
        str(case.parallel),
        place,
        speed_text(ours),
        speed_text(theirs),
        f"{rate:.2f}",
        f"{median(run.cpu_per_gib for run in ours):.2f}",
        f"{median(run.cpu_per_gib for run in theirs):.2f}",
        f"{cpu:.2f}",
        f"{median(run.resident_bytes for run in ours) / MIB:.0f}",
    )


def flatness(options: argparse.Namespace, work: Path, source: Source) -> None:
    """Resident memory after a tenth of many files, and after all of them."""
    files = FileSet("many", 2000 if options.quick else 20000, 10 * 1024)
    write(files, work / "data")
    target = work / "many-copies"
    target.mkdir()
    _, taken = run_dcmirror(source, files, 10, target, options.sync)
    shutil.rmtree(target)
    shutil.rmtree(work / "data" / files.name)
    early, late = taken.resident_bytes_early / MIB, taken.resident_bytes / MIB
    print(
        f"memory of all processes over {files.count} files, 10 at once: "
        f"{early:.0f} MiB after a tenth, {late:.0f} MiB at the end, "
        f"{taken.peak_bytes / MIB:.0f} MiB sum of peaks"
    )


def places(options: argparse.Namespace, work: Path) -> dict[str, Path]:
    found = {"memory": work, "disk": Path(options.disk)}
    return {name: path for name, path in found.items() if name in options.to}


def memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def row(texts: tuple[str, ...]) -> str:
    widths = (14, 8, 7, 12, 12, 6, 10, 7, 6, 8)
    return "".join(text.rjust(width) for text, width in zip(texts, widths, strict=True))


def speed_text(runs: list[Run]) -> str:
    if runs[0].files == 1:
        return f"{median(run.mib_per_second for run in runs):.0f} MiB/s"
    return f"{median(run.files_per_second for run in runs):.0f}/s"


def size_text(size: int) -> str:
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (1024, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth, one round")
    parser.add_argument("--sync", default="group", choices=("group", "file", "none"))
    parser.add_argument(
        "--to", nargs="+", default=["memory", "disk"], choices=("memory", "disk")
    )
    parser.add_argument("--rounds", type=int, help="runs of each (default 5)")
    parser.add_argument("--at-once", nargs="+", type=int, choices=(1, 10))
    parser.add_argument("--disk", default="/var/tmp", help="a directory on disk")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="CASE",
        choices=(
            *("copies", "memory", "filter", "latency", "listing", "elastic"),
            "shipping",
        ),
        help="copies: dcmirror beside curl; memory: whether it grows; filter: events "
        "judged; latency: event to file; listing: names at the source; elastic: copies "
        "with Elasticsearch up and down; shipping: events that reach it, and their CPU "
        "in the logger",
    )
    return parser.parse_args()
