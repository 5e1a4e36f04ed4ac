"""Where a door may send us."""

from __future__ import annotations

import pytest

from dcmirror.core.policy import check_redirect, locality, place_of

DOOR = "https://door.example.org:2880/data/f"
BOTH = ("https", "http")


def refusal(location: str, *, door: str = DOOR, **over: object) -> str | None:
    options: dict[str, object] = {"schemes": BOTH, "hosts": ()} | over
    return check_redirect(door, location, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "location",
    [
        "https://pool.example.org:20000/f?dcache-http-uuid=1",
        "http://192.0.2.7:20000/f",
        "http://[2001:db8::1]:20000/f",
        "https://elsewhere.net/f",
    ],
)
def test_pools_anywhere_are_allowed_by_default(location: str) -> None:
    assert refusal(location) is None


@pytest.mark.parametrize(
    "location",
    [
        "https://localhost:20000/f",
        "https://LOCALHOST./f",
        "https://a.localhost/f",
        "http://127.0.0.1/f",
        "http://127.8.9.1/f",
        "http://[::1]/f",
        "http://[::ffff:127.0.0.1]/f",
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1%25eth0]/f",
        "http://0.0.0.0/f",
        "http://[::]/f",
    ],
)
def test_this_host_and_link_local_addresses_are_refused(location: str) -> None:
    assert "local address" in (refusal(location) or "")


def test_a_door_on_this_host_may_not_name_link_local_addresses() -> None:
    location = "http://169.254.169.254/latest/meta-data"

    assert refusal(location, door="https://localhost:2880/f") is not None
    assert refusal(location, door="https://169.254.1.1:2880/f") is None


def test_local_door_may_have_local_pools() -> None:
    location = "http://127.0.0.1:20000/f"

    assert refusal(location, door="https://localhost:2880/f") is None
    assert refusal(location, door_ip="127.0.0.1") is None
    assert refusal("http://[::1]:20000/f", door="https://[::1]/f") is None


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("ftp://pool.example.org/f", "scheme 'ftp'"),
        ("file:///etc/passwd", "not a URL with a host"),
        ("/relative", "not a URL with a host"),
        ("https://", "not a URL with a host"),
        ("https://pool:99999/f", "not a URL with a host"),
        ("https://[bad/f", "not a URL with a host"),
        ("https://me:word@pool.example.org/f", "user name"),
    ],
)
def test_odd_targets_are_refused_in_words(location: str, why: str) -> None:
    assert why in (refusal(location) or "")


def test_scheme_can_be_restricted() -> None:
    location = "http://pool.example.org/f"

    assert "redirect_schemes" in (refusal(location, schemes=("https",)) or "")


def test_hosts_can_be_restricted_by_globs() -> None:
    hosts = ("*.Example.org", "192.0.2.*")

    assert refusal("https://Pool.example.org/f", hosts=hosts) is None
    assert refusal("https://192.0.2.9/f", hosts=hosts) is None
    assert "redirect_hosts" in (refusal("https://evil.net/f", hosts=hosts) or "")
    # a host that only looks like one of ours
    assert refusal("https://example.org.evil.net/f", hosts=hosts) is not None


def test_refusal_never_shows_path_or_query() -> None:
    for location in (
        "ftp://pool.example.org/secret?dcache-http-uuid=secret",
        "http://127.0.0.1/secret?dcache-http-uuid=secret",
        "https://secret:secret@pool.example.org/",
    ):
        assert "secret" not in (refusal(location) or "secret")


def test_place_names_host_and_port() -> None:
    place = place_of("HTTPS://Door.Example.org/data")

    assert place is not None
    assert ("door.example.org:443", "https") == (place.name, place.scheme)
    assert "192.0.2.1:80" == getattr(place_of("http://192.0.2.1/x?y"), "name", None)


@pytest.mark.parametrize("name", ["pool.example.org", "192.0.2.1", "2001:db8::1", ""])
def test_public_names_and_addresses_are_not_local(name: str) -> None:
    assert locality(name) is None
