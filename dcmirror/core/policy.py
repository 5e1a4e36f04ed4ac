"""Where a door may send us: the redirect policy (DESIGN 5.6, G9)."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
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
    name: str = field(init=False, compare=False)
    """``host:port``, as failures and holds name it; one string, which pickles once."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.host}:{self.port}")


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


class Locality(StrEnum):
    """Addresses that no redirect may name, unless the door itself is such a one."""

    LOOPBACK = "local"  # this host
    LINK_LOCAL = "link-local"  # this wire: a cloud's metadata service, for one


def locality(address: str) -> Locality | None:
    """What kind of local address it is; None for one that is not.

    Accepts ``host`` spellings too, where a name counts by what it is reserved for.
    """
    name = address.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return Locality.LOOPBACK
    try:
        ip = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return None
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback or ip.is_unspecified:
        return Locality.LOOPBACK
    return Locality.LINK_LOCAL if ip.is_link_local else None


def refused_localities(door_url: str, door_ip: str | None) -> frozenset[Locality]:
    """The kinds that this door may not send us to: its own kind it may."""
    door = place_of(door_url)
    names = (door.host if door else "", door_ip or "")
    return frozenset(Locality) - {locality(name) for name in names}


def check_redirect(
    door_url: str,
    location: str,
    schemes: Sequence[str],
    hosts: Sequence[str],
    door_ip: str | None = None,
) -> str | None:
    """Why ``location`` is refused, None if it may be followed.

    The answer names scheme, host and port only: path and query may hold a one-time
    right.  ``door_ip`` is what the door's name became, where known; what the
    location's own name becomes is judged when it is connected to.
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
    kind = locality(place.host)
    if kind and kind in refused_localities(door_url, door_ip):
        return refusal_of(kind, place.host)
    return None


def refusal_of(kind: Locality, address: str) -> str:
    """Why an address is refused, in words."""
    return f"redirect to the {kind.value} address {address}"


def _matches(host: str, glob: str) -> bool:
    return fnmatch.fnmatchcase(host, glob.lower())
