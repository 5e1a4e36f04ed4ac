"""A real Apache with mod_dav: a second WebDAV server, TLS with client certificates.

It refuses RFC 3820 proxies and knows no digests; user certificates serve here.  It
closes connections that idle for five seconds or have served a hundred requests.
"""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import free_port
from servers.ladder import Unavailable
from servers.programs import Program

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki

USER = "www-data"
MODULES = Path("/usr/lib/apache2/modules")
CONFIG = """\
ServerRoot {root}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {root}/run/apache.pid
Mutex file:{root}/run
ErrorLog {root}/error.log
LogLevel warn
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule dir_module {modules}/mod_dir.so
LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so
LoadModule ssl_module {modules}/mod_ssl.so
LoadModule dav_module {modules}/mod_dav.so
LoadModule dav_fs_module {modules}/mod_dav_fs.so

StartServers 1
ThreadsPerChild 32
MaxRequestWorkers 32
KeepAlive On
KeepAliveTimeout 5
MaxKeepAliveRequests 100

SSLEngine on
SSLProtocol -all +TLSv1.2 +TLSv1.3
SSLCertificateFile {root}/pki/hostcert.pem
SSLCertificateKeyFile {root}/pki/hostkey.pem
SSLCACertificateFile {root}/pki/ca.pem
SSLSessionCache shmcb:{root}/run/sessions(512000)
SSLVerifyClient require
SSLVerifyDepth 3
LogFormat "%m %U %>s %{{SSL_CLIENT_S_DN}}x" tests
CustomLog {root}/access.log tests

DocumentRoot {data}
DavLockDB {root}/locks/lock
<Directory {data}>
  Require all granted
  Dav On
  DavDepthInfinity off
  DirectoryIndex disabled
</Directory>
<DirectoryMatch "^{data}/(.*/)?forbidden(/|$)">
  Require all denied
</DirectoryMatch>
"""


class Apache:
    """``url`` stands for its data directory; ``upload`` puts a file there.

    Nobody may look into a directory called ``forbidden``: 403.

    Args:
        data: serves this directory, to which the way must be open for its user.
    """

    def __init__(self, pki: Pki, *, data: Path | None = None) -> None:
        self.pki = pki
        program = _find()
        # below /tmp and not pytest's directory: its user has to find the way there
        self.root = Path(tempfile.mkdtemp(prefix="dcmirror-apache-"))
        self.data = data or self.root / "data"
        self.port = free_port()
        self.url = f"https://localhost:{self.port}"
        self._lay_out()
        command = [program, "-X", "-f", str(self.root / "apache.conf")]
        self.program = Program(
            command,
            self.root,
            self.root / "apache.log",
            user=USER if os.geteuid() == 0 else None,
        )

    def __repr__(self) -> str:
        return f"<Apache {self.url}>"

    def _lay_out(self) -> None:
        for name in ("run", "locks", "pki"):
            (self.root / name).mkdir()
        self.data.mkdir(parents=True, exist_ok=True)
        config = CONFIG.format(
            root=self.root, port=self.port, data=self.data, modules=MODULES
        )
        (self.root / "apache.conf").write_text(config)
        for source, name in (
            (self.pki.host_cert, "hostcert.pem"),
            (self.pki.host_key, "hostkey.pem"),
            (self.pki.ca_pem, "ca.pem"),
        ):
            shutil.copy(source, self.root / "pki" / name)
        for path in (self.root, self.data, *self.root.rglob("*")):
            _give_away(path)
        self.root.chmod(0o755)

    def start(self) -> Apache:
        self.program.start()
        try:
            self.program.wait_for(self.port)
        except AssertionError as exc:
            text = self._logs()
            self.close()
            raise RuntimeError(f"no Apache on {self.url}: {text}") from exc
        return self

    def _logs(self) -> str:
        error = self.root / "error.log"
        return self.program.tail() + (error.read_text() if error.exists() else "")

    def upload(self, path: str, data: bytes) -> Path:
        """Put a file at the source."""
        target = self.data / path.lstrip("/")
        self.make_directory(str(target.parent.relative_to(self.data)))
        target.write_bytes(data)
        _give_away(target)
        return target

    def make_directory(self, path: str) -> Path:
        """A directory that the server can delete files from."""
        target = self.data / path.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        for directory in (target, *target.parents):
            if directory == self.data:
                break
            _give_away(directory)
        return target

    @property
    def requests(self) -> list[str]:
        """Lines "method path status client" of all requests answered so far."""
        return (self.root / "access.log").read_text().splitlines()

    def stop(self) -> None:
        self.program.stop()

    def kill(self) -> None:
        self.program.kill()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)


def start_local(pki: Pki, *, data: Path | None = None) -> Apache:
    """An Apache of our own; tries twice, since a free port can be taken meanwhile."""
    try:
        return Apache(pki, data=data).start()
    except RuntimeError:
        return Apache(pki, data=data).start()


def _find() -> str:
    found = shutil.which("apache2") or shutil.which("apache2", path="/usr/sbin")
    if found is None or not (MODULES / "mod_dav_fs.so").exists():
        raise Unavailable("Apache 2.4 (Debian's apache2) is not installed")
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(USER)
        except KeyError:
            raise Unavailable(f"there is no user {USER}") from None
    return found


def _give_away(path: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(path, USER, USER)
