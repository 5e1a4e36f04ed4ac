"""One copy at a time: where doors and pools send us."""

from __future__ import annotations

import pytest

from copy_site import Site, configured, failure_of, fake
from dcmirror.core.failures import FailureClass
from dcmirror.core.jobs import ResultKind


def test_redirect_loop_ends(site: Site) -> None:
    site.dcache.faults.add("redirect-loop")

    failure = failure_of(site.copy(site.upload("file", b"x")))

    assert FailureClass.REDIRECT is failure.failure_class
    assert 6 == len(site.asked())


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://localhost/file?dcache-http-uuid=secret", "scheme 'ftp'"),
        ("file:///etc/passwd", "not a URL with a host"),
    ],
)
def test_redirect_against_policy_is_refused_without_its_secret(
    site: Site, url: str, why: str
) -> None:
    site.dcache.faults.add("redirect-to", url=url)

    failure = failure_of(site.copy(site.upload("file", b"x")))

    assert FailureClass.REDIRECT is failure.failure_class
    assert why in failure.message
    assert "secret" not in repr(failure)


@configured(redirect_hosts=("*.example.org",))
def test_redirect_to_a_host_outside_the_list_is_refused(site: Site) -> None:
    failure = failure_of(site.copy(site.upload("file", b"x")))

    assert "host localhost, not in redirect_hosts" in failure.message


@configured(redirect_schemes=("https",))
@fake(pool_tls=False)
def test_redirect_to_http_can_be_forbidden(site: Site) -> None:
    failure = failure_of(site.copy(site.upload("file", b"x")))

    assert FailureClass.REDIRECT is failure.failure_class


def test_pool_that_sends_us_back_is_asked_anew_at_the_door(site: Site) -> None:
    site.dcache.faults.add("bounce", times=1)

    result = site.copy(site.upload("file", b"x"))

    assert (ResultKind.MIRRORED, 4) == (result.kind, result.requests)
    assert [302, 307, 302, 200] == [status for _, _, status in site.asked()]


def test_stale_id_at_the_pool_is_asked_anew_at_the_door(site: Site) -> None:
    site.dcache.faults.add("status", where="pool", status=400, times=1)

    result = site.copy(site.upload("file", b"x"))

    assert (ResultKind.MIRRORED, 4) == (result.kind, result.requests)


def test_kept_connection_that_was_closed_is_tried_again_at_once(site: Site) -> None:
    site.copy(site.upload("a", b"x"))
    site.dcache.close_connections()

    assert ResultKind.MIRRORED is site.copy(site.upload("b", b"x")).kind


def test_kept_connection_that_closes_on_our_request_is_tried_again(site: Site) -> None:
    site.copy(site.upload("a", b"x"))
    site.dcache.faults.add("hang-up", times=1)

    assert ResultKind.MIRRORED is site.copy(site.upload("b", b"x")).kind


def test_new_connection_that_closes_is_a_failure(site: Site) -> None:
    site.dcache.faults.add("hang-up")

    failure = failure_of(site.copy(site.upload("a", b"x")))

    assert FailureClass.TRANSIENT is failure.failure_class
