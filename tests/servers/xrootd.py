"""A real XRootD HTTPS door: RFC 3820 proxies, a gridmap, an Adler-32 with each file.

XRootD listens on every address and cannot be told otherwise, so it stands in a network
namespace of its own.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import wait_until
from servers.ladder import Unavailable
from servers.programs import Program
from servers.wires import Wire

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki

USER = "xrootd"
PORT = 2443
READY = f":{PORT} initialization completed."
CONFIG = """\
all.role server
all.adminpath {root}/admin
all.pidpath {root}/run
oss.localroot {root}/data
all.export /
xrd.port 1094
xrd.network nodnr norpipa
xrd.sched mint 16 avlt 8 idle 600 maxt 256
xrd.timeout idle 600
xrd.tls {root}/pki/hostcert.pem {root}/pki/hostkey.pem
xrd.tlsca certdir {root}/pki/certificates
xrd.protocol XrdHttp:{port} libXrdHttp.so
http.desthttps yes
http.selfhttps2http no
http.listingdeny no
http.gridmap {root}/gridmap
http.secxtractor libXrdHttpVOMS.so
http.tlsreuse off
xrootd.chksum max 4 adler32
ofs.authorize 1
acc.authdb {root}/authdb
acc.authrefresh 3600
"""


class XRootD:
    """The door.  ``url`` stands for its data directory; ``upload`` puts a file there.

    Only the test user gets in, by certificate or by proxy; others read 403.
    """

    def __init__(self, pki: Pki) -> None:
        if shutil.which("xrootd") is None:
            raise Unavailable("xrootd is not installed")
        self.wire = Wire()
        self.pki = pki
        # below /tmp and not pytest's directory: user xrootd has to find its way there
        self.root = Path(tempfile.mkdtemp(prefix="dcmirror-xrootd-"))
        self.data = self.root / "data"
        self.url = f"https://{self.wire.host}:{PORT}"
        self._lay_out()
        command = ["xrootd", "-c", str(self.root / "xrootd.cfg"), "-n", "tests"]
        self.program = Program(
            command,
            self.root,
            self.root / "xrootd.log",
            user=USER,
            prefix=self.wire.prefix,
        )

    def __repr__(self) -> str:
        return f"<XRootD {self.url}>"

    def _lay_out(self) -> None:
        for name in ("admin", "run", "data", "pki"):
            (self.root / name).mkdir()
        config = CONFIG.format(root=self.root, port=PORT)
        (self.root / "xrootd.cfg").write_text(config)
        (self.root / "gridmap").write_text(f'"{self.pki.user_dn}" tester\n')
        (self.root / "authdb").write_text("u tester / a\n")
        names = (self.wire.host, "localhost", "127.0.0.1")
        certificate, key = self.pki.make_host("xrootd", names=names)
        shutil.copy(certificate, self.root / "pki" / "hostcert.pem")
        shutil.copy(key, self.root / "pki" / "hostkey.pem")
        shutil.copytree(
            self.pki.capath, self.root / "pki" / "certificates", symlinks=True
        )
        for path in (self.root, *self.root.rglob("*")):
            shutil.chown(path, USER, USER)
        (self.root / "pki" / "hostkey.pem").chmod(0o400)
        self.root.chmod(0o755)

    def start(self) -> XRootD:
        starts = self.log.count(READY)
        self.program.start(stdin=subprocess.PIPE)
        assert self.program.process is not None
        self.wire.connect(self.program.process)
        try:
            wait_until(lambda: self._is_ready(starts), 60, what="XRootD is ready")
        except AssertionError as exc:
            tail = self.program.tail()
            self.close()
            raise RuntimeError(f"no XRootD on {self.url}:\n{tail}") from exc
        return self

    def _is_ready(self, starts: int) -> bool:
        if not self.program.is_running:
            raise AssertionError("xrootd ended")
        return self.log.count(READY) > starts

    @property
    def log(self) -> str:
        """What the server said, "login as tester" among it."""
        return self.program.tail(1_000_000)

    def stop(self) -> None:
        self.program.stop()

    def kill(self) -> None:
        self.program.kill()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def upload(self, path: str, data: bytes, *, has_digest: bool = True) -> Path:
        """Put a file at the source, its Adler-32 kept with it.

        XRootD 5.5 makes a digest that is not kept yet when it is asked for one.  It
        loses the first answer then, under load for every file from some moment on, and
        several such requests at once crash it.
        """
        target = self.data / path.lstrip("/")
        self._make_parents(target)
        # an attribute of the file holds its checksum, and would outlive the old bytes
        target.unlink(missing_ok=True)
        target.write_bytes(data)
        shutil.chown(target, USER, USER)
        if has_digest:
            keep_digest(target, zlib.adler32(data))
        return target

    def _make_parents(self, target: Path) -> None:
        for parent in reversed(target.relative_to(self.data).parents[:-1]):
            directory = self.data / parent
            if not directory.exists():
                directory.mkdir()
                shutil.chown(directory, USER, USER)


def keep_digest(target: Path, adler32: int) -> None:
    """Keep a file's digest where XRootD itself does: believed while the mtime holds.

    Name, mtime, seconds from there to the digest's making, three spare bytes, length
    and value: ``XrdCksData`` in ``XrdCks/XrdCksData.hh``, numbers in network order.
    """
    mtime = int(target.stat().st_mtime)
    value = adler32.to_bytes(4, "big")
    record = struct.pack(">16sqi3xB64s", b"adler32", mtime, 0, len(value), value)
    os.setxattr(target, "user.XrdCks.adler32", record)


def start_local(pki: Pki) -> XRootD:
    if os.geteuid() != 0:
        raise Unavailable("its network namespace needs root")
    door = XRootD(pki)
    try:
        return door.start()
    except BaseException:
        door.close()
        raise
