"""What the values of the configuration must be: ``settings`` names them in ``check=``.

Each function judges one value (of a list: each item) and its docstring completes the
sentence "expected ..." in the message and in the manual.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from dcmirror.config_globs import compiled

#: Of seconds, days, tries and the like: libcurl counts milliseconds in 32 bits.
_MOST = 1_000_000


def absolute_path(value: str | Path) -> bool:
    """an absolute path"""
    text = str(value)
    return text.startswith("/") and not _has_dots(text)


def folder_path(value: str) -> bool:
    """a path without "." and ".." components"""
    return not _has_dots(value)


def _has_dots(path: str) -> bool:
    return any(part in (".", "..") for part in path.split("/"))


def host_ports(value: str) -> bool:
    """host:port, such as "kafka.example.org:9092\""""
    host, colon, port = value.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    name = host[1:-1] if bracketed else host
    if ":" in name and not bracketed:
        return False
    return bool(colon) and _is_host(name) and _is_port(port)


def _is_host(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_.:%-]+", name) is not None


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 0 < int(text) < 65536


def https_url(value: str) -> bool:
    """an https URL in printable ASCII (percent-encode the rest) without user, query \
and fragment, such as "https://door.example.org:2880/data\""""
    if re.fullmatch(r"[!-~]+", value) is None:
        return False  # what libcurl is given are bytes, and servers differ on others
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme == "https"
        and _is_host(parts.hostname or "")
        and port != 0
        and "@" not in parts.netloc
        and not any(mark in value for mark in "?#\\")
        and not _has_dots(parts.path)
    )


def http_url(value: str) -> bool:
    """an http or https URL in printable ASCII (percent-encode the rest) without \
user, query and fragment, such as "https://elastic.example.org:9200\""""
    return https_url(re.sub("^http:", "https:", value))


def stream_namespace(value: str) -> bool:
    """at most 100 lower-case letters, digits, "." and "_" """
    return re.fullmatch(r"[a-z0-9][a-z0-9._]{0,99}", value) is not None


def port_number(value: int) -> bool:
    """a port from 1 to 65535"""
    return 1 <= value <= 65535


def ip_address(value: str) -> bool:
    """an IP address, such as "127.0.0.1" or "::1\""""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def topic_name(value: str) -> bool:
    """a topic name: at most 249 letters, digits, ".", "_" and "-\""""
    return re.fullmatch(r"[A-Za-z0-9._-]{1,249}", value) is not None


def instance_name(value: str) -> bool:
    """a name of letters, digits, ".", "_" and "-" that begins with a letter or digit"""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", value) is not None


def octal_mode(value: str) -> bool:
    """an octal mode in quotes that lets the owner in, such as "2755\""""
    if re.fullmatch(r"(0o)?[0-7]{3,5}", value) is None:
        return False
    mode = int(value, 8)
    return mode <= 0o7777 and mode & 0o700 == 0o700


def filter_rules(value: str) -> bool:
    """ "include GLOB" or "exclude GLOB", with a glob such as "*.tmp\""""
    word, glob = (*value.split(maxsplit=1), "", "")[:2]
    return word in ("include", "exclude") and _is_glob(glob)


def positive(value: float) -> bool:
    """a number above 0, at most 1000000"""
    return 0 < value <= _MOST


def not_negative(value: float) -> bool:
    """a number from 0 to 1000000"""
    return 0 <= value <= _MOST


def zero_or_more(value: int) -> bool:
    """0 or more"""
    return value >= 0


def at_least_one(value: int) -> bool:
    """1 or more"""
    return value >= 1


def at_least_16_mib(value: int) -> bool:
    """16777216 (16 MiB) or more"""
    return value >= 16 << 20


def at_least_64_kib(value: int) -> bool:
    """65536 (64 KiB) or more"""
    return value >= 64 << 10


def earliest_or_latest(value: str) -> bool:
    """ "earliest" or "latest\""""
    return value in ("earliest", "latest")


def auto_hint_ignore(value: str) -> bool:
    """ "auto", "hint" or "ignore\""""
    return value in ("auto", "hint", "ignore")


def schemes(value: str) -> bool:
    """ "https" or "http\""""
    return value in ("https", "http")


def retry_fail_accept(value: str) -> bool:
    """ "retry", "fail" or "accept\""""
    return value in ("retry", "fail", "accept")


def group_file_none(value: str) -> bool:
    """ "group", "file" or "none\""""
    return value in ("group", "file", "none")


def recopy_leave(value: str) -> bool:
    """ "recopy" or "leave\""""
    return value in ("recopy", "leave")


def stat_deep(value: str) -> bool:
    """ "stat" or "deep\""""
    return value in ("stat", "deep")


def always_try_never(value: str) -> bool:
    """ "always", "try" or "never\""""
    return value in ("always", "try", "never")


def up_to_a_million(value: int) -> bool:
    """a number from 1 to 1000000"""
    return 1 <= value <= _MOST


def up_to_10000(value: int) -> bool:
    """a number from 1 to 10000"""
    return 1 <= value <= 10_000


def process_count(value: int) -> bool:
    """a number from 0 to 1000"""
    return 0 <= value <= 1000


def up_to_64(value: int) -> bool:
    """a number from 1 to 64"""
    return 1 <= value <= 64


def exclude_glob(value: str) -> bool:
    """a glob, such as "scratch/**\""""
    return _is_glob(value)


def _is_glob(text: str) -> bool:
    try:
        compiled(text.strip())
    except ValueError:
        return False
    return True


def fraction(value: float) -> bool:
    """above 0, at most 1"""
    return 0 < value <= 1


def log_level(value: str) -> bool:
    """ "debug", "info", "warning" or "error\""""
    return value in ("debug", "info", "warning", "error")


Check = Callable[..., bool]

CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        absolute_path,
        folder_path,
        host_ports,
        https_url,
        http_url,
        stream_namespace,
        port_number,
        ip_address,
        topic_name,
        instance_name,
        octal_mode,
        filter_rules,
        positive,
        not_negative,
        zero_or_more,
        at_least_one,
        at_least_16_mib,
        at_least_64_kib,
        earliest_or_latest,
        auto_hint_ignore,
        schemes,
        retry_fail_accept,
        group_file_none,
        recopy_leave,
        stat_deep,
        always_try_never,
        up_to_a_million,
        up_to_10000,
        process_count,
        up_to_64,
        exclude_glob,
        fraction,
        log_level,
    )
}


def expectation(check: Check) -> str:
    """What ``check`` accepts, in words."""
    return (check.__doc__ or "").strip()
