"""Locks and the state directory, with real processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dcmirror.adapters import locks, state_directory
from dcmirror.errors import DirectoryError, ExitStatus, LockedError
from dcmirror.settings import DCache, Kafka, Local, Settings, State

_HOLD = """
import sys, time
from pathlib import Path
from dcmirror.adapters import locks
path = Path(sys.argv[2])
if sys.argv[1] == "exclusive":
    lock = locks.acquire(path)
else:
    locks.share_children_lock(path)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder():
    """Starts processes that hold a lock until they are killed."""
    started = []

    def start(kind, path):
        process = subprocess.Popen(
            [sys.executable, "-c", _HOLD, kind, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def settings(group="dcmirror", **state):
    return Settings(
        kafka=Kafka(topic="t", servers=("a:1",), consumergroup=group),
        dcache=DCache(url="https://d/", pool="/", folder="/f"),
        local=Local(downloadfolder=Path("/m")),
        state=State(**state),
    )


def test_a_held_lock_is_refused_and_the_holder_named(tmp_path, holder):
    process = holder("exclusive", tmp_path / "watch.lock")

    with pytest.raises(LockedError) as caught:
        locks.acquire(tmp_path / "watch.lock")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert f"pid {process.pid} on {os.uname().nodename}, boot {boot}" in str(
        caught.value
    )
    assert caught.value.exit_status == ExitStatus.LOCKED


def test_a_lock_ends_with_its_process(tmp_path, holder):
    process = holder("exclusive", tmp_path / "watch.lock")
    process.kill()

    with locks.acquire(tmp_path / "watch.lock", wait_seconds=10):
        assert f"pid {os.getpid()} on" in (tmp_path / "watch.lock").read_text()


def test_a_released_lock_can_be_taken_again(tmp_path):
    with locks.acquire(tmp_path / "a.lock"), pytest.raises(LockedError):
        locks.acquire(tmp_path / "a.lock")

    locks.acquire(tmp_path / "a.lock").release()


def test_children_of_an_earlier_run_are_waited_for_and_named(tmp_path, holder):
    path = tmp_path / "watch.children.lock"
    one, two = holder("shared", path), holder("shared", path)
    with pytest.raises(LockedError) as caught:
        locks.wait_for_children(path, seconds=0.1)
    assert f"pid {one.pid}" in str(caught.value)
    assert f"pid {two.pid}" in str(caught.value)

    one.kill()
    two.kill()
    locks.wait_for_children(path, seconds=10)
    locks.wait_for_children(path, seconds=0)


def test_a_lock_file_that_cannot_be_made_is_named(tmp_path):
    with pytest.raises(DirectoryError, match=r"no/watch\.lock"):
        locks.acquire(tmp_path / "no" / "watch.lock")


@pytest.mark.parametrize(
    ("uid", "environ", "expected"),
    [
        (0, {"HOME": "/root"}, "/var/lib/dcmirror/grp"),
        (1000, {"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/dcmirror/grp"),
        (1000, {"HOME": "/h"}, "/h/.local/state/dcmirror/grp"),
        (1000, {"XDG_STATE_HOME": "x", "HOME": "/h"}, "/h/.local/state/dcmirror/grp"),
    ],
)
def test_the_default_directory_depends_on_who_runs(uid, environ, expected):
    assert Path(expected) == state_directory.resolve(
        settings("grp"), None, environ, uid
    )


def test_without_a_home_the_setting_is_named():
    with pytest.raises(DirectoryError, match=r"\[state\] directory"):
        state_directory.resolve(settings(), None, {}, 1000)


def test_a_given_directory_is_taken_as_it_stands():
    given = settings(directory=Path("/d"), instance="i")

    assert Path("/d") == state_directory.resolve(given, "other", {}, 1000)


@pytest.mark.parametrize(
    ("instance", "state", "expected"),
    [("cli", "set", "cli"), (None, "set", "set"), (None, None, "a%2Fb.c")],
)
def test_the_instance_is_the_option_the_setting_or_the_group(instance, state, expected):
    given = settings("a/b.c", instance=state)

    assert expected == state_directory.instance_name(given, instance)


@pytest.mark.parametrize("group", [".", "..", "../../etc", "a\nb", "/"])
def test_no_group_name_leads_out_of_the_state_directory(group):
    name = state_directory.instance_name(settings(group))

    assert re.fullmatch(r"[A-Za-z0-9%._+@ -]+", name)
    assert name not in (".", "..")


def test_the_directory_is_made_and_its_tag_is_kept(tmp_path):
    first = state_directory.prepare(tmp_path / "a" / "b")
    again = state_directory.prepare(tmp_path / "a" / "b")

    assert re.fullmatch("[0-9a-f]{8}", first.tag)
    assert first == again
    assert first.lock("watch") == tmp_path / "a" / "b" / "watch.lock"
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["tag"]


def test_commands_that_start_together_get_one_tag(tmp_path):
    code = (
        "import sys; from pathlib import Path; from dcmirror.adapters import "
        "state_directory; print(state_directory.prepare(Path(sys.argv[1])).tag)"
    )
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "s")], stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    tags = {start.communicate()[0] for start in starts}

    assert len(tags) == 1
    assert tags != {b""}


def test_a_network_file_system_is_refused_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(state_directory, "network_file_system", lambda _: "nfs")

    with pytest.raises(DirectoryError, match=r"\(nfs\).*\[state\] directory") as caught:
        state_directory.prepare(tmp_path / "s")
    assert caught.value.exit_status == ExitStatus.DIRECTORY


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(DirectoryError, match="file/s"):
        state_directory.prepare(tmp_path / "file" / "s")


def test_a_spoiled_tag_is_refused(tmp_path):
    (tmp_path / "tag").write_text("nonsense\n")

    with pytest.raises(DirectoryError, match="8 hexadecimal digits"):
        state_directory.prepare(tmp_path)
