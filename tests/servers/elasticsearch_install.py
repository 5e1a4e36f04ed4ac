"""Elastic's own server build from Maven Central, with ``elasticsearch_shim`` added."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

from servers import maven
from servers.ladder import Unavailable, cache_directory, locked

VERSION = "8.19.21"
ARTIFACT = f"org.elasticsearch.distribution.integ-test-zip:elasticsearch:{VERSION}:zip"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
SHIM = Path(__file__).with_name("elasticsearch_shim")

_OTHERS_MAY_PASS = 0o001


def java_home() -> Path:
    """The Java that has a compiler; the server brings none of its own."""
    javac = shutil.which("javac")
    if javac is None:
        raise Unavailable("javac is not installed")
    return Path(javac).resolve().parents[1]


def install() -> Path:
    """The server's home, made once per checkout (110 MB to download, 20 s)."""
    home = cache_directory() / f"elasticsearch-{VERSION}"
    with locked("elasticsearch"):
        if not home.exists():
            _download(home)
        _add_shim(home)
    return home


def _download(home: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache_directory()) as name:
        work = Path(name)
        wanted = (f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={work}")
        maven.fetch(COPY, *wanted, cwd=work)
        with zipfile.ZipFile(work / f"elasticsearch-{VERSION}.zip") as archive:
            archive.extractall(work)
        _set_modes(work / home.name)
        (work / home.name).rename(home)


def _set_modes(home: Path) -> None:
    """Zipfile drops the run bits, and a strict umask the rest."""
    for path in (home, *home.rglob("*")):
        is_run = path.is_dir() or path.parent.name == "bin"
        path.chmod(0o755 if is_run else 0o644)


def _add_shim(home: Path) -> None:
    sources = sorted(SHIM.rglob("*.java"))
    descriptor = SHIM / "plugin-descriptor.properties"
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in [descriptor, *sources]))
    stamp = home / "shim.sha256"
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return
    module = home / "modules" / "elasticsearch-shim"
    with tempfile.TemporaryDirectory(dir=cache_directory()) as name:
        work = Path(name)
        _compile(home, sources, work / "classes")
        fresh = work / module.name
        fresh.mkdir()
        _archive(work / "classes", fresh / "elasticsearch-shim.jar")
        text = descriptor.read_text().replace("@VERSION@", VERSION)
        (fresh / descriptor.name).write_text(text)
        _set_modes(fresh)
        shutil.rmtree(module, ignore_errors=True)
        fresh.rename(module)
    stamp.write_text(digest.hexdigest())


def _compile(home: Path, sources: list[Path], classes: Path) -> None:
    command = [f"{java_home()}/bin/javac", "-nowarn", "-proc:none", "--release", "17"]
    command += ["-cp", f"{home}/lib/*:{home}/modules/x-pack-core/*", "-d", str(classes)]
    done = subprocess.run(
        [*command, *map(str, sources)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the shim does not compile: {done.stderr[-2000:]}")


def _archive(classes: Path, jar: Path) -> None:
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(classes.rglob("*.class")):
            archive.write(path, path.relative_to(classes))


def is_open(path: Path) -> bool:
    """Whether every user may pass through all directories above ``path``."""
    return all(p.stat().st_mode & _OTHERS_MAY_PASS for p in path.resolve().parents)


def open_directory(prefix: str) -> Path:
    """A new temporary directory that every user can reach."""
    for parent in (Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/tmp")):
        if os.access(parent, os.W_OK) and is_open(parent / "x"):
            made = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            made.chmod(0o755)
            return made
    raise Unavailable("no temporary directory that other users can reach")


def reachable(home: Path, directory: Path) -> Path:
    """``home``, or for a checkout below a closed directory its twin in ``directory``.

    Linked where that can be, since it is 120 MB; copied onto another disk.
    """
    if is_open(home):
        return home
    twin = directory / home.name
    shutil.copytree(home, twin, copy_function=_link_or_copy)
    return twin


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
