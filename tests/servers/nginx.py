"""A real nginx: TLS with client certificates, and a door that redirects to pools.

It refuses RFC 3820 proxies and knows no digests; user certificates serve here.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers import free_ports
from servers.ladder import Unavailable
from servers.programs import Program

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki

POOLS = 3

CONFIG = """\
daemon off;
{user}
worker_processes {workers};
pid {root}/nginx.pid;
error_log {root}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  log_format tests '$server_port $request_method $request_uri $status $ssl_client_s_dn';
  access_log {access_log};
  default_type application/octet-stream;
  client_body_temp_path {root}/tmp/b;
  proxy_temp_path {root}/tmp/p;
  fastcgi_temp_path {root}/tmp/f;
  uwsgi_temp_path {root}/tmp/u;
  scgi_temp_path {root}/tmp/s;
  sendfile on;
  sendfile_max_chunk 1m;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_timeout 300s;
  keepalive_requests 10000000;
  etag on;
  root {data};
  ssl_certificate {host_cert};
  ssl_certificate_key {host_key};
  ssl_client_certificate {ca_pem};
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384;
  ssl_session_cache shared:tests:5m;

  # answers itself
  server {{
    listen 127.0.0.1:{plain} ssl backlog=1024;
    ssl_verify_client on;
  }}
  # sends every reader to a pool
  map $uri $pool {{
    default {pools[0]};
    "~[3-5]$" {pools[1]};
    "~[6-9]$" {pools[2]};
  }}
  server {{
    listen 127.0.0.1:{door} ssl backlog=1024;
    ssl_verify_client on;
    location / {{
      if (!-e $request_filename) {{ return 404; }}
      if ($request_method = HEAD) {{ break; }}
      return 302 $scheme://localhost:$pool$request_uri?dcache-http-uuid=$request_id;
    }}
  }}
  # pools: no client certificate is asked for; the last one speaks plain HTTP
  server {{ listen 127.0.0.1:{pools[0]} ssl backlog=1024; ssl_verify_client off; }}
  server {{ listen 127.0.0.1:{pools[1]} ssl backlog=1024; ssl_verify_client off; }}
  server {{ listen 127.0.0.1:{bare} backlog=1024; }}
  server {{
    listen 127.0.0.1:{pools[2]} ssl backlog=1024;
    ssl_verify_client off;
    return 307 http://127.0.0.1:{bare}$request_uri;
  }}
}}
"""


class Nginx:
    """``url`` answers GETs itself, ``door_url`` redirects them to three pools.

    The third pool redirects once more, to plain HTTP.
    """

    def __init__(
        self,
        root: Path,
        pki: Pki,
        *,
        data: Path | None = None,
        workers: int = 2,
        has_access_log: bool = True,
    ) -> None:
        nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if nginx is None:
            raise Unavailable("nginx is not installed")
        self.root, self.pki, self.data = root, pki, data or root / "data"
        for directory in (self.data, root / "tmp"):
            directory.mkdir(parents=True, exist_ok=True)
        plain, door, bare, *pools = free_ports(3 + POOLS)
        self.url = f"https://localhost:{plain}"
        self.door_url = f"https://localhost:{door}"
        self.port = plain
        config = CONFIG.format(
            user="user root;" if Path(root).owner() == "root" else "",
            workers=workers,
            access_log=f"{root}/access.log tests" if has_access_log else "off",
            root=root,
            data=self.data,
            host_cert=pki.host_cert,
            host_key=pki.host_key,
            ca_pem=pki.ca_pem,
            plain=plain,
            door=door,
            bare=bare,
            pools=pools,
        )
        (root / "nginx.conf").write_text(config)
        command = [nginx, "-p", str(root), "-c", str(root / "nginx.conf")]
        command += ["-e", str(root / "error.log")]
        self.program = Program(command, root, root / "nginx.log")

    def __repr__(self) -> str:
        return f"<Nginx {self.url} door {self.door_url}>"

    def start(self) -> Nginx:
        self.program.start()
        try:
            self.program.wait_for(self.port)
        except AssertionError as exc:
            self.close()
            raise RuntimeError(f"no nginx on {self.url}: {self._logs()}") from exc
        return self

    def _logs(self) -> str:
        error = self.root / "error.log"
        return self.program.tail() + (error.read_text() if error.exists() else "")

    def upload(self, path: str, data: bytes) -> Path:
        """Put a file at the source."""
        target = self.data / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return target

    @property
    def requests(self) -> list[str]:
        """Lines "port method uri status client" of all requests answered so far."""
        return (self.root / "access.log").read_text().splitlines()

    def stop(self) -> None:
        self.program.stop()

    def kill(self) -> None:
        self.program.kill()

    def close(self) -> None:
        self.stop()


def start_local(root: Path, pki: Pki, **options: Any) -> Nginx:
    """An nginx of our own; tries twice, since free ports can be taken meanwhile."""
    try:
        return Nginx(root / "1", pki, **options).start()
    except RuntimeError:
        return Nginx(root / "2", pki, **options).start()
