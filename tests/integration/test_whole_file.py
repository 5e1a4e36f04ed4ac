"""A file for people is wholly there or as it was; what is no file stays what it is."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dcmirror.adapters.whole_file import write_whole
from dcmirror.errors import ConfigError

TEXT = "<!DOCTYPE html>\n" * 20_000  # more than a pipe takes at once


@contextmanager
def read_from(path: Path) -> Iterator[list[str]]:
    """Somebody reads a FIFO to its end; what was read is there afterwards."""
    found: list[str] = []
    reader = threading.Thread(
        target=lambda: found.append(path.read_text()), daemon=True
    )
    reader.start()
    yield found
    reader.join(10)


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")
    before = target.stat().st_ino
    write_whole(target, TEXT)

    assert target.read_text() == TEXT
    assert target.stat().st_ino != before
    assert [target] == list(tmp_path.iterdir())


def test_a_symlink_keeps_its_place(tmp_path: Path) -> None:
    link, target = tmp_path / "latest.html", tmp_path / "october.html"
    link.symlink_to(target.name)
    for text in ("first", "second"):
        write_whole(link, text)

        assert (link.is_symlink(), target.read_text()) == (True, text)


@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_pipe_stays_one_and_takes_the_text(
    tmp_path: Path, through_a_link: bool
) -> None:
    fifo, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(fifo)
    link.symlink_to(fifo)
    with read_from(fifo) as found:
        write_whole(link if through_a_link else fifo, TEXT)

    assert found == [TEXT]
    assert stat.S_ISFIFO(fifo.lstat().st_mode)
    assert link.is_symlink()


def test_a_device_stays_one(tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")
    with suppress(ConfigError):  # some disks let nobody open one
        write_whole(device, TEXT)

    assert stat.S_ISCHR(device.lstat().st_mode)
    assert [device] == list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["/dev/fd/{}", "/proc/self/fd/{}", "{link}"])
def test_a_descriptor_by_its_path_is_written_to_where_it_stands(
    tmp_path: Path, form: str
) -> None:
    """As ``/dev/stdout`` is, behind what the shell or we wrote there before."""
    file, link = tmp_path / "out", tmp_path / "stdout"
    with open(file, "wb", buffering=0) as out:
        out.write(b"before, ")
        link.symlink_to(f"/proc/self/fd/{out.fileno()}")
        write_whole(Path(form.format(out.fileno(), link=link)), "page")
        out.write(b", behind")

    assert file.read_text() == "before, page, behind"
    assert {file, link} == set(tmp_path.iterdir())


def test_a_socket_that_is_a_descriptor_takes_the_text() -> None:
    """Standard output of a service is one."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        write_whole(Path(f"/dev/fd/{ours.fileno()}"), "page")

        assert theirs.recv(100) == b"page"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (".", "Is a directory"),
        ("none/report.html", "No such file or directory"),
        ("file/report.html", "Not a directory"),
        ("loop", "Too many levels of symbolic links"),
        ("/dev/fd/987654", "Bad file descriptor"),
    ],
)
def test_what_cannot_be_written_is_told(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    there = set(tmp_path.iterdir())

    with pytest.raises(ConfigError, match=f"{name}: cannot be written: {why}"):
        write_whole(Path(os.path.join(tmp_path, name)), TEXT)
    assert there == set(tmp_path.iterdir())
