"""Listing 100,000 names: dcmirror beside a bare PROPFIND and the tools of the grid.

Each is timed as a whole process, its start included.  davix-ls, gfal-ls and rclone take
part where they are installed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from bench.list_run import Listed, Order
from bench.measuring import MIB, Run, median, timed
from dcmirror.testing.fake_client import RemoteDCache
from dcmirror.testing.pki import make_pki
from servers.apache import start_local
from servers.ladder import Unavailable

TESTS = Path(__file__).resolve().parents[1]
_PER_DIRECTORY = 100
_PARALLEL = 4
_BODY = (
    '<?xml version="1.0"?><propfind xmlns="DAV:"><prop><resourcetype/>'
    "<getcontentlength/><getlastmodified/><getetag/>"
    '<Checksums xmlns="http://www.dcache.org/2013/webdav"/></prop></propfind>'
)
_RESPONSE = re.compile("</[A-Za-z]+:response>")
_HEADINGS = ("server", "entries", "program", "entries/s", "seconds", "CPU s", "MiB")
_WIDTHS = (10, 9, 24, 12, 9, 8, 7)


@dataclass(frozen=True)
class Place:
    """A directory at a server, and what a client needs to be let in.

    ``folders`` of ``_PER_DIRECTORY`` files each; 0: all files are in it.
    """

    server: str
    url: str
    certificate: Path
    key: Path
    capath: Path
    count: int
    folders: int = 0

    @property
    def authority(self) -> Path:
        """The one certificate of an authority in there."""
        return next(self.capath.glob("*.0"))


Lister = Callable[[Place], Run]


def measure(work: Path, *, is_quick: bool, rounds: int) -> None:
    """Print the table: flat directories of two sizes, and a tree, at each server."""
    count = 10_000 if is_quick else 100_000
    sizes = (count // 10, count)
    with tempfile.TemporaryDirectory(prefix="list-", dir=work) as name:
        directory = Path(name)
        directory.chmod(0o755)
        work.chmod(0o755)
        print(_row(_HEADINGS))
        with ExitStack() as stack:
            places = stack.enter_context(fake_places(directory / "fake", sizes))
            try:
                places += stack.enter_context(
                    apache_places(directory / "apache", sizes)
                )
            except Unavailable as exc:
                print(f"no Apache: {exc}")
            for place in places:
                for text in compare(place, rounds):
                    print(text, flush=True)


def compare(place: Place, rounds: int) -> Iterator[str]:
    """A row for each program that is there; medians over the rounds, run in turns."""
    found: dict[str, list[Run]] = {name: [] for name in listers(place)}
    for _ in range(rounds):
        for name, lister in listers(place).items():
            try:
                found[name].append(lister(place))
            except RuntimeError as exc:
                if "dcmirror" in name:
                    raise
                yield f"{name} takes no part: {exc}"
    for name, runs in found.items():
        if runs:
            yield _cells(place, name, runs)


def _cells(place: Place, name: str, runs: list[Run]) -> str:
    return _row(
        (
            place.server,
            str(place.count + place.folders),
            name,
            f"{median(run.files_per_second for run in runs):.0f}",
            f"{median(run.seconds for run in runs):.2f}",
            f"{median(run.cpu_seconds for run in runs):.2f}",
            f"{median(run.resident_bytes for run in runs) / MIB:.0f}",
        )
    )


def listers(place: Place) -> dict[str, Lister]:
    """Who takes part, ours first."""
    if place.folders:
        found: dict[str, Lister] = {
            "dcmirror, 1 at a time": partial(run_walk, parallel=1),
            f"dcmirror, {_PARALLEL} at a time": partial(run_walk, parallel=_PARALLEL),
            "curl": run_curl,
        }
    else:
        found = {
            "dcmirror": partial(run_walk, parallel=0),
            "dcmirror's walk": partial(run_walk, parallel=1),
            "curl": run_curl,
        }
        if shutil.which("davix-ls"):
            found["davix-ls -l"] = run_davix
        if shutil.which("gfal-ls"):
            found["gfal-ls -l"] = run_gfal
    if shutil.which("rclone"):
        found["rclone lsl"] = run_rclone
    return found


# The servers


@contextmanager
def fake_places(work: Path, sizes: tuple[int, ...]) -> Iterator[list[Place]]:
    """The fake dCache with a flat directory of each size, and a tree of the largest."""
    with RemoteDCache(work) as fake:

        def place(name: str, count: int, folders: int = 0) -> Place:
            url = f"{fake.door_url}/{name}"
            proxy, capath = fake.proxy, fake.capath
            return Place("fake", url, proxy, proxy, capath, count, folders)

        for size in sizes:
            fake.populate(f"{fake.root}/flat-{size}", size)
        folders = sizes[-1] // _PER_DIRECTORY
        for number in range(folders):
            fake.populate(f"{fake.root}/tree/{number:04d}", _PER_DIRECTORY)
        yield [place(f"flat-{size}", size) for size in sizes] + [
            place("tree", sizes[-1], folders)
        ]


@contextmanager
def apache_places(work: Path, sizes: tuple[int, ...]) -> Iterator[list[Place]]:
    """Apache with the same; the files are empty."""
    pki = make_pki(work / "pki")
    server = start_local(pki, data=work / "data")

    def place(name: str, count: int, folders: int = 0) -> Place:
        url = f"{server.url}/{name}"
        return Place(
            "Apache", url, pki.user_cert, pki.user_key, pki.capath, count, folders
        )

    try:
        work.chmod(0o755)
        for size in sizes:
            _touch(server.make_directory(f"flat-{size}"), size)
        folders = sizes[-1] // _PER_DIRECTORY
        for number in range(folders):
            _touch(server.make_directory(f"tree/{number:04d}"), _PER_DIRECTORY)
        yield [place(f"flat-{size}", size) for size in sizes] + [
            place("tree", sizes[-1], folders)
        ]
    finally:
        server.close()


def _touch(directory: Path, count: int) -> None:
    for number in range(count):
        path = directory / f"file-{number:06d}.dat"
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


# The programs


def run_walk(place: Place, parallel: int) -> Run:
    """dcmirror: one listing, or a walk with so many at a time."""
    order = json.dumps(asdict(order_of(place, parallel)))
    command = [sys.executable, "-m", "bench.list_run", order]
    run, text = _run(place, command, PYTHONPATH=_python_path())
    listed = Listed(**json.loads(text))
    _check(place, listed.entries)
    return run


def order_of(place: Place, parallel: int) -> Order:
    credential = place.certificate
    if place.key != credential:
        credential = place.certificate.with_name("credential.pem")
        credential.write_bytes(place.certificate.read_bytes() + place.key.read_bytes())
    return Order(place.url, str(credential), str(place.capath), parallel)


def run_curl(place: Place) -> Run:
    """A bare PROPFIND; it looks at nothing that comes."""
    folders = f"[0000-{place.folders - 1:04d}]/" if place.folders else ""
    command = ["curl", "--no-progress-meter", "--fail", "-X", "PROPFIND"]
    command += ["-H", "Depth: 1", "-d", _BODY, "--capath", str(place.capath)]
    command += ["--cert", str(place.certificate), "--key", str(place.key)]
    run, text = _run(place, [*command, f"{place.url}/{folders}"])
    own = place.folders or 1
    _check(place, len(_RESPONSE.findall(text)) - own + place.folders)
    return run


def run_davix(place: Place) -> Run:
    command = ["davix-ls", "-l", "-E", str(place.certificate)]
    command += ["--key", str(place.key), "--capath", str(place.capath)]
    run, text = _run(place, [*command, f"{place.url}/"])
    _check(place, text.count("\n"))
    return run


def run_gfal(place: Place) -> Run:
    """Debian's starts the first ``python``, which need not be the one it is for."""
    command = ["gfal-ls", "-l", "--cert", str(place.certificate)]
    command += ["--key", str(place.key), f"davs{place.url.removeprefix('https')}/"]
    run, text = _run(
        place,
        command,
        X509_CERT_DIR=str(place.capath),
        GFAL_PYTHONBIN="/usr/bin/python3",
    )
    _check(place, text.count("\n"))
    return run


def run_rclone(place: Place) -> Run:
    command = ["rclone", "lsl", "--config", "/dev/null"]
    command += ["--client-cert", str(place.certificate)]
    command += ["--client-key", str(place.key), "--ca-cert", str(place.authority)]
    run, text = _run(place, [*command, "--webdav-url", place.url, ":webdav:"])
    _check(place, text.count("\n") + place.folders)
    return run


def _run(place: Place, command: list[str], **environ: str) -> tuple[Run, str]:
    with tempfile.TemporaryFile("w+") as output:
        seconds, cpu, resident = timed(
            command, stdout=output, environ=os.environ | environ
        )
        output.seek(0)
        text = output.read()
    return Run(place.count + place.folders, 0, seconds, cpu, resident), text


def _check(place: Place, found: int) -> None:
    """Whoever listed, all must be there."""
    if found != place.count + place.folders:
        raise RuntimeError(f"{place.url}: {found} entries instead of all")


def _python_path() -> str:
    return os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])


def _row(texts: tuple[str, ...]) -> str:
    return "".join(
        text.rjust(width) for text, width in zip(texts, _WIDTHS, strict=True)
    )
