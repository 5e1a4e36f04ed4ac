"""Where a door may send us: the redirect policy (DESIGN 5.6, G9)."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

#: Hops a file may take from the door to its bytes.
MAX_HOPS = 5

_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#\\]*")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Place:
    """Scheme, host and port of a URL: who gets the request."""

    scheme: str
    host: str
    port: int

    @property
    def name(self) -> str:
        """``host:port``, as failures and holds name it."""
        return f"{self.host}:{self.port}"


def place_of(url: str) -> Place | None:
    """Who a URL asks; None if that cannot be told."""
    origin = _ORIGIN.match(url)
    return _place_of_origin(origin.group()) if origin else None


@lru_cache(maxsize=1024)
def _place_of_origin(origin: str) -> Place | None:
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    scheme = parts.scheme.lower()
    return Place(scheme, parts.hostname.lower(), port or _PORTS.get(scheme, 0))


def is_local_address(address: str) -> bool:
    """Loopback, link-local or unspecified: this host, or the cloud's metadata service.

    Accepts ``host`` spellings too, where a name counts by what it is reserved for.
    """
    name = address.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return any(
        one.is_loopback or one.is_link_local or one.is_unspecified
        for one in (ip, mapped)
        if one is not None
    )


def check_redirect(
    door_url: str,
    location: str,
    schemes: Sequence[str],
    hosts: Sequence[str],
    resolved_ip: str | None = None,
    door_ip: str | None = None,
) -> str | None:
    """Why ``location`` is refused, None if it may be followed.

    The answer names scheme, host and port only: path and query may hold a one-time
    right. ``resolved_ip`` and ``door_ip`` are what the names became, where known.
    """
    place = place_of(location)
    if place is None:
        return "redirect to something that is not a URL with a host"
    if place.scheme not in schemes:
        return f"redirect to scheme {place.scheme!r}, not in redirect_schemes"
    if "@" in location.partition("://")[2].partition("/")[0]:
        return f"redirect to {place.name} with a user name in it"
    if hosts and not any(_matches(place.host, glob) for glob in hosts):
        return f"redirect to host {place.host}, not in redirect_hosts"
    if is_local_door(door_url, door_ip):
        return None
    return _check_addresses(place.host, resolved_ip)


def _matches(host: str, glob: str) -> bool:
    return fnmatch.fnmatchcase(host, glob.lower())


def is_local_door(door_url: str, door_ip: str | None) -> bool:
    """Whether the door itself is on this host: then its pools may be, too."""
    door = place_of(door_url)
    names = (door.host if door else "", door_ip or "")
    return any(is_local_address(name) for name in names)


def _check_addresses(*addresses: str | None) -> str | None:
    for address in addresses:
        if address and is_local_address(address):
            return f"redirect to the local address {address}"
    return None
