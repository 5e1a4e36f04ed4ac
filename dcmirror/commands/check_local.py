"""What ``dcmirror check`` asks of this host: credential, CAs, mirror, state, books."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from dcmirror.adapters.credentials import ProxyInfo, read_ca_directory, read_proxy
from dcmirror.adapters.directory_probe import DirectoryState, look_at
from dcmirror.adapters.failed_csv import FailedCsv, NotOursError
from dcmirror.adapters.named_files import (
    FILE_REMEDY,
    trouble_with,
    trouble_with_failures,
)
from dcmirror.adapters.whereabouts import look_for, user_name
from dcmirror.commands.check_report import Finding, duration, fail, ok, size, warn
from dcmirror.errors import CredentialError, DcmirrorError, ExitStatus
from dcmirror.settings import Settings

_SOON = 3600.0
_MOST_MIN_FREE = 10 << 30


def check_proxy(path: Path, now: float) -> Finding:
    """Who we are, for which VO, and for how long."""
    try:
        info = read_proxy(path)
    except CredentialError as error:
        return fail("proxy", ExitStatus.CREDENTIAL, *_split(str(error)))
    return _judge_proxy(info, now)


def _judge_proxy(info: ProxyInfo, now: float) -> Finding:
    who = f"{info.path}: {info.identity}"
    left = info.seconds_left(now)
    if left <= 0:
        text = f"{who}: expired {duration(-left)} ago"
        return fail("proxy", ExitStatus.CREDENTIAL, text, "make a new one")
    if info.not_before > now:
        text = f"{who}: valid only in {duration(info.not_before - now)}"
        return fail("proxy", ExitStatus.CREDENTIAL, text, "look at this host's clock")
    text = f"{who}, {_speaks_for(info)}, {duration(left)} left"
    if info.is_exposed:
        remedy = f"chmod 600 {info.path}"
        return warn("proxy", f"{text}; others may read its key", remedy)
    voms_left = None if info.voms_not_after is None else info.voms_not_after - now
    if voms_left is not None and voms_left <= 0:
        return warn("proxy", f"{text}; its VOMS attributes have expired", "renew them")
    if min(left, left if voms_left is None else voms_left) < _SOON:
        return warn("proxy", text, "renew it")
    return ok("proxy", text)


def _speaks_for(info: ProxyInfo) -> str:
    if not info.vos:
        return "no VO"
    names = ", ".join(info.vos)
    return f"VO {names} ({info.fqans[0]})" if info.fqans else f"VO {names}"


def check_cas(path: Path) -> Finding:
    """Whether OpenSSL will find anything in the CA directory."""
    try:
        found = read_ca_directory(path)
    except CredentialError as error:
        return fail("CA directory", ExitStatus.CREDENTIAL, *_split(str(error)))
    return ok("CA directory", f"{path}: {found.hashed} certificates by hashed names")


def check_mirror(settings: Settings) -> Iterator[Finding]:
    """Space, attributes and writability of the mirror."""
    state = look_at(settings.local.downloadfolder)
    if state.is_missing and state.trouble is None:
        state = _missing(state)
    if state.trouble is not None:
        yield _unusable("mirror", state, "[local] downloadfolder")
        return
    wanted = settings.destination.min_free
    least = min(state.total_bytes // 100, _MOST_MIN_FREE) if wanted is None else wanted
    yield _judge_space("mirror", state, least)
    yield _judge_kind(state)


def _missing(state: DirectoryState) -> DirectoryState:
    """A mirror is not made: an unmounted disk must not be filled underneath."""
    missing = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    return DirectoryState(state.path, trouble=missing)


def _judge_space(name: str, state: DirectoryState, least: int) -> Finding:
    room = f"{size(state.free_bytes)} of {size(state.total_bytes)} free"
    text = f"{state.path}: writable, {room}"
    if state.free_bytes < least:
        text = f"{state.path}: {room}, less than the {size(least)} to leave free"
        return fail(name, ExitStatus.DIRECTORY, text, "make room, or lower min_free")
    if state.free_files is not None and state.free_files < 1000:
        return fail(name, ExitStatus.DIRECTORY, f"{text}, but no inodes", "make room")
    return ok(name, text)


def _judge_kind(state: DirectoryState) -> Finding:
    kind = f"network file system ({state.network})" if state.network else "local"
    if not state.has_attributes:
        return warn(
            "mirror file system",
            f"{kind}, without user attributes: copies cannot be marked",
            "files that are there already will be read once to be recognized",
        )
    return ok("mirror file system", f"{kind}, with user attributes")


def check_state(path: Path, journal_bytes: int) -> Iterator[Finding]:
    """Whether the books can be kept where they are to be kept."""
    state = look_at(path)
    if state.trouble is not None:
        yield _unusable("state directory", state, "[state] directory")
        return
    tag = look_for(path / "tag")
    if tag is not None and tag.st_uid != os.geteuid():
        yield fail(
            "state directory",
            ExitStatus.DIRECTORY,
            f"{path}: its books belong to {user_name(tag.st_uid)}",
            "run every command as one user, the daemon's",
        )
        return
    if state.network:
        yield fail(
            "state directory",
            ExitStatus.DIRECTORY,
            f"{path}: on a network file system ({state.network}), "
            "where locks and the catalogue are not safe",
            "set [state] directory to a local disk",
        )
        return
    if state.free_bytes < journal_bytes:
        yield warn(
            "state directory",
            f"{path}: {size(state.free_bytes)} free, "
            f"less than the {size(journal_bytes)} that the journal may use",
            "make room, or lower [journal] max_bytes",
        )
        return
    made = ", will be made" if state.is_missing else ""
    yield ok("state directory", f"{path}: {size(state.free_bytes)} free{made}")


def _unusable(name: str, state: DirectoryState, key: str) -> Finding:
    error = state.trouble
    reason = error.strerror if error is not None else ""
    remedies = {
        errno.ENOENT: f"make it, mount it, or set {key}",
        errno.EACCES: f"give {os.getuid()} (our uid) the right to write there",
        errno.EPERM: f"give {os.getuid()} (our uid) the right to write there",
        errno.EROFS: "mount it for writing",
        errno.ENOSPC: "make room",
        errno.EDQUOT: "make room, or raise the quota",
        errno.ENOTDIR: f"set {key} to a directory",
    }
    remedy = remedies.get(error.errno or 0, "") if error is not None else ""
    text = f"{state.path}: {reason}"
    return fail(name, ExitStatus.DIRECTORY, text, remedy)


def check_files(settings: Settings) -> Iterator[Finding]:
    """Whether the files that the configuration names could be written."""
    failures = settings.local.failedtasksfile
    if failures is not None:
        trouble = trouble_with_failures(failures)
        yield from _unwritable("[local] failedtasksfile", failures, trouble)
    appended = {
        "[log] file": settings.log.file,
        "[journal] export": settings.journal.export,
    }
    for key, path in appended.items():
        if path is not None:
            yield from _unwritable(key, path, trouble_with(path))


def _unwritable(key: str, path: Path, trouble: OSError | None) -> Iterator[Finding]:
    if trouble is not None:
        text = f"{path}: {trouble.strerror}"
        yield fail(key, ExitStatus.BAD_CONFIGURATION, text, FILE_REMEDY)


def check_failed_csv(path: Path) -> Finding:
    """Whether there are failures."""
    try:
        if look_for(path) is None:  # reading would leave a lock beside it
            return ok("failed.csv", f"{path}: no failures yet")
        rows, torn = FailedCsv(path).read()
    except NotOursError as error:
        return warn("failed.csv", str(error), "watch moves it aside")
    except DcmirrorError as error:
        return fail("failed.csv", error.exit_status, str(error))
    text = f"{path}: {len(rows)} rows" + (f", {torn} torn" if torn else "")
    if rows or torn:
        return warn("failed.csv", text, "see `dcmirror replay --dry-run`")
    return ok("failed.csv", text)


def _split(text: str) -> tuple[str, str]:
    """An error's message, as what is wrong and what to do."""
    what, _, remedy = text.removeprefix("proxy ").partition("; ")
    return what.removeprefix("CA directory "), remedy
