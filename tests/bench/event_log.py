"""What shipping to Elasticsearch costs: the copies, and the logger."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.answering import answering
from bench.contenders import check, run_dcmirror
from bench.measuring import MIB, Run, median
from bench.shipping import ship
from bench.sources import FileSet, Source, write
from helpers import free_port
from servers.elasticsearch import start_local
from servers.ladder import Unavailable

_PARALLEL = 10
_CONFIG = """\
[kafka]
topic = "bench"
servers = ["127.0.0.1:1"]
consumergroup = "bench"
[dcache]
url = "https://127.0.0.1:1"
pool = "/"
folder = "/bench"
[local]
downloadfolder = "/nowhere"
"""


def measure(
    source: Source,
    work: Path,
    *,
    is_quick: bool,
    rounds: int,
    sync: str,
    has_rates: bool,
    has_shipping: bool,
) -> None:
    """Print what was asked for; without the real server, what goes without."""
    with ExitStack() as stack:
        servers = {"only answers": stack.enter_context(answering())}
        try:
            servers["Elasticsearch"] = stack.enter_context(_elasticsearch(work))
        except Unavailable as exc:
            print(f"no real Elasticsearch: {exc}")
        if has_rates:
            files = FileSet("told", 500 if is_quick else 5000, 10 * 1024)
            print(rates(source, work, files, servers, rounds, sync))
        if has_shipping:
            for name, url in servers.items():
                print(shipping(name, url, 3000 if is_quick else 40_000))


@contextmanager
def _elasticsearch(work: Path) -> Iterator[str]:
    """The real one, set up as an operator does it."""
    server = start_local()
    try:
        config = work / "elastic.toml"
        config.write_text(_CONFIG)
        command = [sys.executable, "-m", "dcmirror", "elastic", "setup", "--quiet"]
        command += ["--no-kibana", "--replicas", "0", "--url", server.url]
        subprocess.run([*command, "--config", str(config)], check=True)
        yield server.url
    finally:
        server.close()


def rates(
    source: Source,
    work: Path,
    files: FileSet,
    servers: dict[str, str],
    rounds: int,
    sync: str,
) -> str:
    """The same copies without shipping, with every server, and with nobody there."""
    write(files, work / "data")
    down = f"http://127.0.0.1:{free_port()}"
    targets = {"none": "", **servers, "down": down}
    runs: dict[str, list[Run]] = {name: [] for name in targets}
    for number in range(rounds):
        for name, url in targets.items():
            target = work / f"told-{number}-{len(runs[name])}"
            target.mkdir()
            run, _ = run_dcmirror(source, files, _PARALLEL, target, sync, url)
            check(files, target)
            runs[name].append(run)
            shutil.rmtree(target)
    shutil.rmtree(work / "data" / files.name)
    return "\n".join(_rate_lines(files, runs))


def _rate_lines(files: FileSet, runs: dict[str, list[Run]]) -> Iterator[str]:
    for name, own in runs.items():
        rate = median(run.files_per_second for run in own)
        ratio = median(
            down.files_per_second / run.files_per_second
            for down, run in zip(runs["down"], own, strict=True)
        )
        yield (
            f"{files.count} x {files.size // 1024} KiB, {_PARALLEL} at once, "
            f"Elasticsearch: {name:13} {rate:6.0f}/s; down against it {ratio:.2f}"
        )


def shipping(name: str, url: str, files: int) -> str:
    """Events each second into one server, and what they cost the logger."""
    # on disk, where a journal is
    with tempfile.TemporaryDirectory(prefix="dcmirror-bench-", dir="/var/tmp") as work:
        took = ship(url, Path(work), files)
    return (
        f"shipping {took.events} events of {took.size // took.events} B, "
        f"{name}: {took.per_second:.0f}/s, {took.microseconds:.1f} us CPU each "
        f"in the logger, {took.peak_bytes / MIB:.0f} MiB"
    )
