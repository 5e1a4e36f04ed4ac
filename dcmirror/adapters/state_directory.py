"""The state directory: where it is, what lies where in it, and its lasting tag."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from dcmirror.adapters.durable import sync_directory, write_all
from dcmirror.adapters.linux import network_file_system
from dcmirror.adapters.whereabouts import owner_of, user_name
from dcmirror.errors import DirectoryError
from dcmirror.settings import Settings

_TAG = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """A directory that exists and is ours to write, and the names of what it holds."""

    path: Path
    tag: str

    @property
    def catalogue(self) -> Path:
        """Copies, spans, outbox."""
        return self.path / "catalogue.db"

    @property
    def journal(self) -> Path:
        """The directory of journal segments."""
        return self.path / "journal"

    @property
    def checkpoint(self) -> Path:
        """How far each writer's journal was shipped."""
        return self.path / "checkpoint.json"

    @property
    def status(self) -> Path:
        """What the daemon does now."""
        return status_path(self.path, "watch")

    def status_of(self, command: str) -> Path:
        """What another command that runs an engine does now."""
        return status_path(self.path, command)

    def lock(self, command: str) -> Path:
        """The lock of one command, ``watch.lock`` for one."""
        return lock_path(self.path, command)

    def children_lock(self, command: str) -> Path:
        """What the children of one command share."""
        return self.path / f"{command}.children.lock"


def status_path(directory: Path, command: str) -> Path:
    """status.json of ``watch``; the other commands' names are in theirs."""
    return directory / (
        "status.json" if command == "watch" else f"status-{command}.json"
    )


def lock_path(directory: Path, command: str) -> Path:
    """Who holds it is the one process of that command."""
    return directory / f"{command}.lock"


def failures_path(settings: Settings, directory: Path) -> Path:
    """Where failures go: as configured, else into the state directory."""
    return settings.local.failedtasksfile or directory / "failed.csv"


def instance_name(settings: Settings, instance: str | None = None) -> str:
    """``--instance``, else the setting, else the consumer group, as a file name."""
    name = instance or settings.state.instance or settings.kafka.consumergroup
    escaped = quote(name, safe="+@ ")
    # A group may be called ".." in Kafka; it must not be that here.
    return escaped if escaped.strip(".") else escaped.replace(".", "%2E")


def resolve(
    settings: Settings,
    instance: str | None = None,
    environ: Mapping[str, str] | None = None,
    uid: int | None = None,
) -> Path:
    """Where the state directory is, whether it exists or not.

    ``[state] directory`` is taken as it stands; defaults end in the instance's name.

    Raises:
        DirectoryError: no home directory to put it in.
    """
    if settings.state.directory is not None:
        return settings.state.directory
    name = instance_name(settings, instance)
    if (os.getuid() if uid is None else uid) == 0:
        return Path("/var/lib/dcmirror") / name
    variables = os.environ if environ is None else environ
    base = variables.get("XDG_STATE_HOME", "")
    if not base.startswith("/"):  # the XDG rules: a relative one is to be ignored
        home = variables.get("HOME", "")
        if not home.startswith("/"):
            raise DirectoryError(
                "no state directory: neither $XDG_STATE_HOME nor $HOME is set; "
                "set [state] directory"
            )
        base = f"{home}/.local/state"
    return Path(base) / "dcmirror" / name


def prepare(path: Path) -> StateDirectory:
    """Make the directory where it is missing, and refuse one that cannot serve.

    Raises:
        DirectoryError: it cannot be made or written, is on a network file system, or
            its books are another user's.
    """
    try:
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
        kind = network_file_system(os.fspath(path))
    except OSError as exc:
        raise DirectoryError(f"state directory {path}: {exc.strerror}") from exc
    if kind is not None:
        raise DirectoryError(
            f"state directory {path} is on a network file system ({kind}), where locks "
            "and the catalogue are not safe; set [state] directory to a local disk"
        )
    try:
        return StateDirectory(path, _tag(path))
    except PermissionError as exc:
        raise DirectoryError(
            f"state directory {path}: {exc.strerror}; {_as(owner_of(path), path)}"
        ) from exc
    except OSError as exc:
        raise DirectoryError(
            f"state directory {path} cannot be written: {exc.strerror}"
        ) from exc


def _tag(path: Path) -> str:
    """The directory's own random name, drawn once and kept."""
    name = path / "tag"
    if not name.exists():
        _write_tag(path, name)
    owner = name.stat().st_uid
    if owner != os.geteuid():
        # Root can write here too, but its locks and books would keep the owner out.
        raise DirectoryError(
            f"state directory {path}: its books belong to {user_name(owner)}; "
            f"{_as(user_name(owner), path)}"
        )
    tag = name.read_text(errors="replace").strip()
    if not _TAG.fullmatch(tag):
        raise DirectoryError(f"{name} must hold 8 hexadecimal digits; has {tag[:40]!r}")
    return tag


def _as(user: str, path: Path) -> str:
    if user == "root":  # a daemon is not to become root's because of one command
        me = user_name(os.geteuid())
        return f"run this as root; or, if it is to be {me}'s: chown -R {me} {path}"
    name = f"'#{user}'" if user.isdecimal() else user
    return f"run this as {user}: sudo -u {name} dcmirror ..."


def _write_tag(path: Path, name: Path) -> None:
    """Two commands may start at the same time: the first complete file wins."""
    temporary = path / f".tag.{secrets.token_hex(4)}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        write_all(fd, f"{secrets.token_hex(4)}\n".encode())
        os.fsync(fd)
        with suppress(FileExistsError):
            os.link(temporary, name)
    finally:
        os.close(fd)
        temporary.unlink()
    sync_directory(path)
