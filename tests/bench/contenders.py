"""dcmirror and curl, each over the same files into a fresh directory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from bench.engine_run import Order, Taken
from bench.measuring import Run, timed
from bench.sources import FileSet, Source

TESTS = Path(__file__).resolve().parents[1]


def run_dcmirror(
    source: Source,
    files: FileSet,
    parallel: int,
    destination: Path,
    sync: str,
    elasticsearch: str = "",
) -> tuple[Run, Taken]:
    """The engine as a daemon of its own; verified, marked, renamed, in the books.

    Its logger ships to the address ``elasticsearch``, whether somebody listens or not.
    """
    # on a local disk even if the mirror is in memory: the books belong there
    state = Path(tempfile.mkdtemp(prefix="state-", dir=_disk()))
    order = Order(
        url=source.url,
        **asdict(files),
        parallel=parallel,
        credential=str(source.credential),
        capath=str(source.capath),
        destination=str(destination),
        state=str(state),
        sync=sync,
        elasticsearch=elasticsearch,
    )
    done = subprocess.run(
        [sys.executable, "-m", "bench.engine_run", json.dumps(asdict(order))],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                [str(TESTS), os.environ.get("PYTHONPATH", "")]
            ),
        },
    )
    taken = Taken(**json.loads(done.stdout.splitlines()[-1]))
    if taken.failed:
        raise RuntimeError(f"{taken.failed} files failed: see {state}")
    shutil.rmtree(state)
    run = Run(
        files.count, files.size, taken.seconds, taken.cpu_seconds, taken.peak_bytes
    )
    return run, taken


def run_curl(
    source: Source, files: FileSet, parallel: int, destination: Path
) -> tuple[Run, float]:
    """Debian's curl: neither checksum nor sync nor rename.

    Also returns the seconds that a sync afterwards takes.
    """
    config = destination.with_suffix(".curl")
    with config.open("w") as stream:
        for relative in files.relatives():
            stream.write(f'url = "{source.url}{files.folder}/{relative}"\n')
            stream.write(f'output = "{destination}/{relative}"\n')
    command = ["curl", "--no-progress-meter", "--fail", "--create-dirs"]
    command += ["--capath", str(source.capath), "--cert", str(source.credential)]
    command += ["--key", str(source.credential), "--config", str(config)]
    if parallel > 1:
        command += ["--parallel", "--parallel-max", str(parallel)]
    seconds, cpu, resident = timed(command)
    config.unlink()
    syncing, _, _ = timed(["sync", "--file-system", str(destination)])
    return Run(files.count, files.size, seconds, cpu, resident), syncing


def check(files: FileSet, destination: Path) -> None:
    """Whoever ran, the files must be there."""
    found = sum(
        (destination / relative).stat().st_size for relative in files.relatives()
    )
    if found != files.count * files.size:
        raise RuntimeError(f"{destination}: {found} bytes instead of all")


def _disk() -> str:
    return os.environ.get("TMPDIR", "/var/tmp")
