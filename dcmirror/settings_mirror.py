"""The tables of this host: the mirror, how it is written, and the books."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dcmirror.settings_field import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """The mirror and the credential."""

    downloadfolder: Path = setting(
        "Directory that mirrors `folder`. No file of dcmirror's own may lie in it, "
        "where an upload could replace it.",
        check="absolute_path",
        sample="/data/mirror",
    )
    proxy: Path | None = setting(
        "X.509 proxy: certificate, key and chain in one PEM file. "
        "Default: $X509_USER_PROXY, then /tmp/x509up_u<uid>.",
        None,
        check="absolute_path",
        sample="/etc/dcmirror/x509_proxy",
    )
    capath: Path | None = setting(
        "Directory of trusted CA certificates with hashed names. "
        "Default: $X509_CERT_DIR, then /etc/grid-security/certificates.",
        None,
        check="absolute_path",
        sample="/etc/grid-security/certificates",
    )
    permissions: str = setting(
        "Octal mode of directories that are made; files get it without x and setgid.",
        "2755",
        check="octal_mode",
    )
    failedtasksfile: Path | None = setting(
        "CSV of files that could not be copied. "
        "Default: failed.csv in the state directory.",
        None,
        check="absolute_path",
        sample="/var/lib/dcmirror/failed.csv",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """How files are written."""

    sync: str = setting(
        'How a file is made durable before its name appears: "group" (a few syncs '
        'for all files that are ready), "file" (each by itself), "none".',
        "group",
        check="group_file_none",
    )
    min_free: int | None = setting(
        "Space to leave free. Default: the smaller of 1 % and 10 GiB.",
        None,
        unit="B",
        check="zero_or_more",
        sample=10737418240,
        reload=True,
    )
    shared: bool = setting(
        "The mirror is shared with instances on other hosts. "
        "Known by itself on network file systems.",
        False,
    )
    missing: str = setting(
        "A copy that somebody removed, when its event comes again: "
        '"recopy" or "leave".',
        "recopy",
        check="recopy_leave",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where the books are kept."""

    directory: Path | None = setting(
        "State directory, on a local file system. Set it where several users are to "
        "find the same one: the daemon, cron, and you in a shell. "
        "Default: /var/lib/dcmirror/<instance> for root, "
        "else $XDG_STATE_HOME/dcmirror/<instance>.",
        None,
        check="absolute_path",
        sample="/var/lib/dcmirror/main",
    )
    instance: str | None = setting(
        "Name of this instance. Default: the consumer group.",
        None,
        check="instance_name",
        sample="main",
    )
