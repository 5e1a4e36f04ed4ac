"""What a proxy file says of itself, and what is told of a broken one."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dcmirror.adapters.credentials import (
    default_capath,
    default_proxy,
    read_ca_directory,
    read_proxy,
)
from dcmirror.adapters.voms import read_attributes
from dcmirror.errors import CredentialError, ExitStatus

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki


def der(tag: int, *contents: bytes) -> bytes:
    body = b"".join(contents)
    if len(body) < 128:
        return bytes((tag, len(body))) + body
    size = (len(body).bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + len(body).to_bytes(size, "big") + body


def voms_extension(*fqans: str, end: str = "20300102030405Z") -> bytes:
    """An attribute certificate as voms-proxy-init embeds it, without its signature."""
    policy = der(0xA0, der(0x86, b"exp://voms.example.org:15000"))
    values = der(0x30, *(der(0x04, fqan.encode()) for fqan in fqans))
    attribute = der(
        0x30,
        der(0x06, bytes.fromhex("2b06010401be45646404")),
        der(0x31, der(0x30, policy, values)),
    )
    validity = der(0x30, der(0x18, b"20200101000000Z"), der(0x18, end.encode()))
    serial = der(0x02, b"\x01")
    info = der(0x30, serial, der(0x30, der(0x06, b"\x2a\x03")), validity)
    certificate = der(0x30, der(0x30, info, der(0x30, attribute)), der(0x03, b"\0x"))
    return der(0x30, der(0x30, certificate))


@pytest.fixture
def proxy(pki: Pki, tmp_path: Path) -> Path:
    return pki.make_proxy(3600, tmp_path / "x509up")


def refusal(path: Path) -> str:
    with pytest.raises(CredentialError) as caught:
        read_proxy(path)
    return str(caught.value).removeprefix(f"proxy {path}: ")


def test_a_proxy_tells_identity_without_its_own_names(pki: Pki, proxy: Path) -> None:
    info = read_proxy(proxy)

    assert info.identity == pki.user_dn


def test_time_left_is_that_of_the_earliest_end_in_the_chain(proxy: Path) -> None:
    assert 3590 <= read_proxy(proxy).seconds_left(time.time()) <= 3600


def test_an_expired_proxy_is_read_and_has_negative_time_left(
    pki: Pki, tmp_path: Path
) -> None:
    info = read_proxy(pki.make_proxy(-60, tmp_path / "old"))

    assert -70 <= info.seconds_left(time.time()) <= -60


def test_a_key_that_others_can_read_is_noticed(proxy: Path) -> None:
    assert not read_proxy(proxy).is_exposed
    proxy.chmod(0o640)

    assert read_proxy(proxy).is_exposed


def test_a_user_certificate_with_its_key_serves_too(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "both.pem"
    path.write_bytes(pki.user_cert.read_bytes() + pki.user_key.read_bytes())

    assert read_proxy(path).identity == pki.user_dn


def test_a_missing_file_names_the_remedy(tmp_path: Path) -> None:
    assert refusal(tmp_path / "x") == "no such file; make one, or set [local] proxy"
    assert CredentialError.exit_status is ExitStatus.CREDENTIAL


def test_a_directory_is_not_a_proxy(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "Is a directory"


def test_a_key_of_another_certificate_is_refused(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "mixed"
    path.write_bytes(pki.user_cert.read_bytes() + pki.host_key.read_bytes())

    assert "not that of the first certificate" in refusal(path)


def test_a_proxy_without_its_chain_is_refused(pki: Pki, proxy: Path) -> None:
    text = proxy.read_bytes()
    proxy.write_bytes(text.replace(pki.user_cert.read_bytes(), b""))

    assert f"{pki.user_dn}, which issued" in refusal(proxy)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no certificate in it"),
        (b"hello", "no certificate in it"),
        (
            b"-----BEGIN CERTIFICATE-----\nxxxx\n-----END CERTIFICATE-----\n",
            "a certificate in it cannot be read",
        ),
    ],
)
def test_a_file_that_is_no_proxy_is_refused(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "junk"
    path.write_bytes(content)

    assert refusal(path).startswith(reason)


def test_a_certificate_without_key_is_refused(pki: Pki) -> None:
    assert refusal(pki.user_cert).startswith("no private key in it")


def test_a_key_with_a_passphrase_is_refused(pki: Pki, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    key = pki.user.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    path = tmp_path / "locked"
    path.write_bytes(pki.user_cert.read_bytes() + key)

    assert "passphrase" in refusal(path)


def test_a_truncated_proxy_is_refused_wherever_it_ends(proxy: Path) -> None:
    text = proxy.read_bytes()
    for length in range(0, len(text) - 40, 97):
        proxy.write_bytes(text[:length])
        assert refusal(proxy)


def test_the_vo_is_read_from_the_proxys_extension(pki: Pki, tmp_path: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    now = datetime.now(UTC)
    extension = voms_extension("/exp/Role=production", "/exp", "/other")
    name = x509.NameAttribute(x509.NameOID.COMMON_NAME, "proxy")
    user = pki.user.certificate
    signed = (
        x509.CertificateBuilder()
        .subject_name(x509.Name((*user.subject, name)))
        .issuer_name(user.subject)
        .public_key(pki.user.key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.UnrecognizedExtension(
                x509.ObjectIdentifier("1.3.6.1.4.1.8005.100.100.5"), extension
            ),
            critical=False,
        )
        .sign(pki.user.key, hashes.SHA256())
    )
    path = tmp_path / "voms"
    path.write_bytes(
        signed.public_bytes(Encoding.PEM)
        + pki.user_key.read_bytes()
        + pki.user_cert.read_bytes()
    )
    info = read_proxy(path)

    assert info.vos == ("exp", "other")
    assert info.fqans == ("/exp/Role=production", "/exp", "/other")
    assert info.voms_not_after == datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    assert info.identity == pki.user_dn


def test_a_broken_voms_extension_is_no_error() -> None:
    whole = voms_extension("/exp/Role=production")
    for length in range(len(whole)):
        attributes = read_attributes(whole[:length])

        assert attributes.vos in ((), ("exp",))
    for at in range(len(whole)):
        read_attributes(whole[:at] + b"\xff" + whole[at + 1 :])


def test_control_characters_in_an_fqan_do_not_reach_the_terminal() -> None:
    assert read_attributes(voms_extension("/exp\n[OK]\x1b[2J")).fqans == (
        "/exp?[OK]?[2J",
    )


def test_a_ca_directory_is_counted_by_hashed_names(pki: Pki) -> None:
    assert read_ca_directory(pki.capath).hashed == 2


def test_a_ca_directory_without_hashed_names_names_the_remedy(
    pki: Pki, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(pki.ca_pem.read_bytes())
    (tmp_path / "5f8f5c2e.0").symlink_to("gone.pem")
    with pytest.raises(CredentialError, match="openssl rehash"):
        read_ca_directory(tmp_path)


def test_a_missing_ca_directory_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match="X509_CERT_DIR"):
        read_ca_directory(tmp_path / "none")


def test_defaults_follow_the_grids_environment() -> None:
    environ = {"X509_USER_PROXY": "/p", "X509_CERT_DIR": "/c"}

    assert (default_proxy(environ, 5), default_capath(environ)) == (
        Path("/p"),
        Path("/c"),
    )
    assert default_proxy({}, 1234) == Path("/tmp/x509up_u1234")
    assert default_capath({}) == Path("/etc/grid-security/certificates")


def test_importing_the_module_does_not_import_cryptography() -> None:
    code = (
        "import sys, dcmirror.adapters.credentials;"
        "sys.exit('cryptography' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
