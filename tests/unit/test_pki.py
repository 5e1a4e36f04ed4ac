"""The test PKI is one that OpenSSL and Python's ssl accept."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from dcmirror.testing.pki import Pki, make_pki


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


def openssl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no openssl command")
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=20
    )


def test_hashed_names_are_those_of_openssl(made: Pki) -> None:
    hashes = openssl(
        "x509", "-in", made.ca_pem, "-noout", "-subject_hash", "-subject_hash_old"
    )

    expected = {f"{name}.0" for name in hashes.stdout.split()}
    assert expected == {path.name for path in made.capath.glob("*.0")}


def test_host_certificate_is_valid_and_not_revoked(made: Pki) -> None:
    result = openssl("verify", "-CApath", made.capath, "-crl_check", made.host_cert)

    assert result.returncode == 0, result.stderr


def verify_proxy(made: Pki, proxy: Path) -> subprocess.CompletedProcess[str]:
    trust = ("-allow_proxy_certs", "-CApath", made.capath)
    return openssl("verify", *trust, "-untrusted", made.user_cert, proxy)


def test_proxy_is_an_rfc_3820_proxy_of_the_user(made: Pki) -> None:
    result = verify_proxy(made, made.proxy)

    assert result.returncode == 0, result.stderr


def test_expired_proxy_is_refused(made: Pki, tmp_path: Path) -> None:
    expired = made.make_proxy(-60, tmp_path / "expired")

    assert "certificate has expired" in verify_proxy(made, expired).stderr


def test_proxy_file_is_a_credential_that_only_the_owner_reads(made: Pki) -> None:
    context = ssl.create_default_context(capath=str(made.capath))
    context.load_cert_chain(made.proxy)

    assert made.proxy.stat().st_mode & 0o777 == 0o600


def test_another_host_gets_its_own_files(made: Pki) -> None:
    certificate, key = made.make_host("expired", lifetime_seconds=-60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    assert certificate.read_bytes() != made.host_cert.read_bytes()
