"""Curl codes, HTTP statuses and errnos, as failure classes."""

from __future__ import annotations

import errno

import pytest

from dcmirror.core import diagnosis
from dcmirror.core.failures import FailureClass, Treatment


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (6, "Could not resolve host: door", FailureClass.HOST),
        (7, "Failed to connect", FailureClass.HOST),
        (18, "end of response with 9 bytes missing", FailureClass.TRANSIENT),
        (28, "no first byte within 400 s", FailureClass.TRANSIENT),
        (35, "Recv failure: Connection reset by peer", FailureClass.TRANSIENT),
        (35, "tlsv1 alert unknown ca", FailureClass.CREDENTIAL),
        (52, "Empty reply from server", FailureClass.TRANSIENT),
        (55, "sslv3 alert certificate expired", FailureClass.CREDENTIAL),
        (56, "tlsv13 alert certificate required", FailureClass.CREDENTIAL),
        (56, "ssl/tls alert certificate unknown", FailureClass.CREDENTIAL),
        (56, "sslv3 alert bad certificate", FailureClass.CREDENTIAL),
        (56, "Recv failure: Connection reset by peer", FailureClass.TRANSIENT),
        (58, "could not load PEM client certificate", FailureClass.CREDENTIAL),
        (60, "SSL certificate problem: certificate has expired", FailureClass.HOST),
        (60, "SSL certificate verification failed", FailureClass.CREDENTIAL),
        (77, "error setting certificate verify locations", FailureClass.CREDENTIAL),
        (1, "anything else", FailureClass.TRANSIENT),
    ],
)
def test_curl_code_at_the_door(code: int, message: str, expected: FailureClass) -> None:
    assert expected is diagnosis.of_curl(code, message)


def test_timeout_before_the_connection_stood_is_the_hosts() -> None:
    assert FailureClass.HOST is diagnosis.of_curl(28, "", is_connected=False)


def test_pool_that_wants_a_certificate_says_nothing_of_our_credential() -> None:
    text = "tlsv13 alert certificate required"

    assert FailureClass.TRANSIENT is diagnosis.of_curl(56, text, at_door=False)
    assert FailureClass.TRANSIENT is diagnosis.of_status(401, at_door=False)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, FailureClass.CREDENTIAL),
        (403, FailureClass.FORBIDDEN),
        (404, FailureClass.NOT_THERE),
        (410, FailureClass.REMOVED),
        (429, FailureClass.TRANSIENT),
        (500, FailureClass.NOT_THERE),
        (502, FailureClass.TRANSIENT),
        (503, FailureClass.TRANSIENT),
        (507, FailureClass.TRANSIENT),
        (400, FailureClass.TRANSIENT),
        (416, FailureClass.TRANSIENT),
        (204, FailureClass.TRANSIENT),
        (0, FailureClass.TRANSIENT),
    ],
)
def test_status_at_the_door(status: int, expected: FailureClass) -> None:
    assert expected is diagnosis.of_status(status)


@pytest.mark.parametrize(
    "name", ["ENOSPC", "EDQUOT", "EROFS", "EIO", "ENODEV", "ESTALE"]
)
def test_file_system_trouble_holds_the_destination(name: str) -> None:
    failure_class = diagnosis.of_errno(getattr(errno, name))

    assert FailureClass.DESTINATION is failure_class
    assert Treatment.HOLD is failure_class.treatment


@pytest.mark.parametrize(
    "number", [errno.EACCES, errno.EISDIR, errno.ENAMETOOLONG, None]
)
def test_trouble_of_one_file_holds_nothing(number: int | None) -> None:
    assert FailureClass.TRANSIENT is diagnosis.of_errno(number)


def test_only_what_may_stop_all_files_is_looked_into() -> None:
    assert diagnosis.may_be_everywhere(errno.EACCES)
    assert diagnosis.may_be_everywhere(errno.ENOTDIR)
    assert not diagnosis.may_be_everywhere(errno.EISDIR)
    assert not diagnosis.may_be_everywhere(errno.ENOSPC)
