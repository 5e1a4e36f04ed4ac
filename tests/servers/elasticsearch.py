"""A real Elasticsearch: one node from Maven's build, one in Docker, or one given."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import ssl
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from helpers import free_ports, wait_until
from servers.elasticsearch_install import (
    VERSION,
    install,
    java_home,
    open_directory,
    reachable,
)
from servers.ladder import Unavailable
from servers.programs import Program

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki

START_SECONDS = 110.0
USER = "admin"

#: The server refuses root; this is nobody's number on every Linux.
NOBODY = "65534"

JVM_OPTIONS = """\
-Xms256m
-Xmx512m
-XX:TieredStopAtLevel=1
-XX:-AlwaysPreTouch
-XX:-UseG1GC
-XX:+UseSerialGC
-Des.queryable_built_in_roles_enabled=false
-Xlog:disable
-Xlog:all=warning:stderr:utctime,level,tags
"""


class Refused(Exception):
    """An answer of 400 or more."""

    def __init__(self, request: str, status: int, body: Any) -> None:
        super().__init__(f"{request}: {status}: {json.dumps(body)[:2000]}")
        self.status, self.body = status, body


class Elasticsearch:
    """A server, and what tests do with one; the client is urllib, never ours.

    Args:
        url: address; its user and password, if any, are sent and not shown.
        ca: PEM of the CA that signed the server's certificate.

    Namespaces that ``namespace`` gave are removed at the end, and nothing else is:
    the server may be somebody's.
    """

    def __init__(self, url: str, *, ca: Path | None = None) -> None:
        parts = urlsplit(url)
        self.url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self.user = unquote(parts.username or "")
        self.password = unquote(parts.password or "")
        self.ca = ca
        self.namespaces: list[str] = []
        context = ssl.create_default_context(cafile=str(ca)) if ca else None
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=context),
        )

    def __repr__(self) -> str:
        return f"<Elasticsearch {self.url}>"

    def namespace(self) -> str:
        """A namespace of data streams of a test's own."""
        self.namespaces.append(f"t{uuid.uuid4().hex[:10]}")
        return self.namespaces[-1]

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        timeout: float = 60,
    ) -> tuple[int, Any]:
        """Status and JSON of the answer, whatever it is.

        ``body`` is sent as JSON; bytes go as they are, as lines of JSON.
        """
        raw = isinstance(body, bytes)
        data = body if raw or body is None else json.dumps(body).encode()
        kind = "application/x-ndjson" if raw else "application/json"
        request = urllib.request.Request(
            f"{self.url}/{path.lstrip('/')}", data, method=method
        )
        given = {"Content-Type": kind, **self._credentials(), **(headers or {})}
        for name, value in given.items():
            request.add_header(name, value)
        try:
            with self._opener.open(request, timeout=timeout) as answer:
                return answer.status, _decoded(answer.read())
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, _decoded(exc.read())

    def _credentials(self) -> dict[str, str]:
        if not self.user:
            return {}
        token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {token}"}

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The JSON of a good answer; raises Refused."""
        status, answer = self.ask(method, path, body, **options)
        if status >= 400:
            raise Refused(f"{method} {path}", status, answer)
        return answer

    def bulk(self, stream: str, documents: Iterable[tuple[str, Any]]) -> list[Any]:
        """Create documents of these ids; the answer's items."""
        lines = []
        for identifier, document in documents:
            lines += [{"create": {"_id": identifier}}, document]
        body = "".join(json.dumps(line) + "\n" for line in lines).encode()
        answer = self.request("POST", f"{quote(stream)}/_bulk", body)
        return [item["create"] for item in answer["items"]]

    def refresh(self, index: str = "_all") -> None:
        """What was written before is found from now on."""
        self.ask("POST", f"{_pattern(index)}/_refresh?expand_wildcards=all")

    def count(self, index: str, query: dict[str, Any] | None = None) -> int:
        """How many documents there are, after a refresh; 0 if there is no index."""
        self.refresh(index)
        body = {"query": query} if query else None
        status, answer = self._read(f"{_pattern(index)}/_count", body)
        if status == 404:
            return 0
        if status >= 400:
            raise Refused(f"count {index}", status, answer)
        return int(answer["count"])

    def search(self, index: str, **body: Any) -> Any:
        """A search after a refresh; keywords are members of its body."""
        self.refresh(index)
        path = f"{_pattern(index)}/_search"
        status, answer = self._read(path, body)
        if status >= 400:
            raise Refused(path, status, answer)
        return answer

    def documents(self, index: str, **body: Any) -> Iterator[dict[str, Any]]:
        """All hits: ``_id``, ``_index``, ``_source``; in no order."""
        self.refresh(index)
        path = f"{_pattern(index)}/_search?scroll=1m"
        status, page = self._read(path, {"size": 2000, "sort": ["_doc"], **body})
        if status == 404:
            return
        if status >= 400:
            raise Refused(path, status, page)
        while page["hits"]["hits"]:
            yield from page["hits"]["hits"]
            again = {"scroll": "1m", "scroll_id": page["_scroll_id"]}
            page = self.request("POST", "_search/scroll", again)
        self.ask("DELETE", "_search/scroll", {"scroll_id": page["_scroll_id"]})

    def _read(self, path: str, body: Any) -> tuple[int, Any]:
        """Ask again while the shards of an index that was just made are not there."""
        last: tuple[int, Any] = (0, None)

        def is_there() -> bool:
            nonlocal last
            last = self.ask("POST", path, body)
            return last[0] != 503

        with suppress(AssertionError):
            wait_until(is_there, 20)
        return last

    def is_ready(self) -> bool:
        """Whether it answers and has all primary shards."""
        path = "_cluster/health?wait_for_status=yellow&timeout=1s"
        try:
            return self.ask("GET", path, timeout=5)[0] == 200
        except (OSError, ValueError):
            return False

    def remove_namespaces(self) -> None:
        """Remove the data streams of the tests."""
        for namespace in self.namespaces:
            with suppress(OSError):
                self.ask("DELETE", f"_data_stream/*-*-{namespace}")
        self.namespaces.clear()

    def close(self) -> None:
        self.remove_namespaces()


def _pattern(index: str) -> str:
    return quote(index, safe="*,")


def _decoded(body: bytes) -> Any:
    return json.loads(body) if body.strip() else None


class LocalElasticsearch(Elasticsearch):
    """A server of our own: may be stopped, killed, frozen and started again.

    Args:
        settings: more of elasticsearch.yml; None takes one away.
        tls: HTTPS with the host certificate of this PKI.
        password: turns security on; ``user`` "admin" with it may do everything.
    """

    def __init__(
        self,
        settings: dict[str, Any] | None = None,
        *,
        tls: Pki | None = None,
        password: str | None = None,
    ) -> None:
        home = install()
        self.root = open_directory("dcmirror-elasticsearch-")
        self.home = reachable(home, self.root)
        port, transport = free_ports(2)
        scheme = "https" if tls else "http"
        user = f"{USER}:{quote(password, safe='')}@" if password else ""
        super().__init__(
            f"{scheme}://{user}localhost:{port}", ca=tls.ca_pem if tls else None
        )
        self.config = self.root / "config"
        shutil.copytree(self.home / "config", self.config)
        options = self._options(port, transport, is_secure=bool(password))
        if tls:
            options |= self._write_certificate(tls)
        if password:
            self._write_user(password)
        self._write_options(options | (settings or {}))
        self.program = self._make_program()

    def _options(self, port: int, transport: int, *, is_secure: bool) -> dict[str, Any]:
        return {
            "cluster.name": "tests",
            "node.name": "one",
            "discovery.type": "single-node",
            "network.host": "127.0.0.1",
            "http.port": port,
            "transport.port": transport,
            "path.data": self.root / "data",
            "path.logs": self.root / "logs",
            # the disk of a laptop may be fuller than a server's should
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            "xpack.security.enabled": str(is_secure).lower(),
        }

    def _write_certificate(self, pki: Pki) -> dict[str, Any]:
        shutil.copy(pki.host_cert, self.config / "host.pem")
        shutil.copy(pki.host_key, self.config / "host.key")
        prefix = "xpack.security.http.ssl"
        return {
            f"{prefix}.enabled": "true",
            f"{prefix}.certificate": "host.pem",
            f"{prefix}.key": "host.key",
        }

    def _write_user(self, password: str) -> None:
        """A superuser of the file realm, which takes this old kind of hash."""
        digest = base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()
        (self.config / "users").write_text(f"{USER}:{{SHA}}{digest}\n")
        (self.config / "users_roles").write_text(f"superuser:{USER}\n")

    def _write_options(self, options: dict[str, Any]) -> None:
        lines = [f"{k}: {v}\n" for k, v in options.items() if v is not None]
        (self.config / "elasticsearch.yml").write_text("".join(lines))
        (self.config / "jvm.options.d").mkdir(exist_ok=True)
        (self.config / "jvm.options.d" / "tests.options").write_text(JVM_OPTIONS)

    def _make_program(self) -> Program:
        # must not contain the configuration
        (self.root / "tmp").mkdir()
        is_root = os.geteuid() == 0
        if is_root:
            for path in (self.root, *_below(self.root, but=self.home)):
                os.chown(path, int(NOBODY), int(NOBODY))
        return Program(
            [f"{self.home}/bin/elasticsearch", "-p", f"{self.root}/pid"],
            self.root,
            self.root / "server.log",
            user=NOBODY if is_root else None,
            environ={
                "PATH": "/usr/bin:/bin",
                "HOME": str(self.root),
                "ES_JAVA_HOME": str(java_home()),
                "ES_PATH_CONF": str(self.config),
                "ES_TMPDIR": str(self.root / "tmp"),
            },
        )

    def start(self, timeout: float = START_SECONDS) -> LocalElasticsearch:
        """Start it, or again with its data and on its port, and wait for it."""
        self.begin()
        return self.await_ready(timeout)

    def begin(self) -> None:
        """Start it without waiting."""
        self.program.start()

    def await_ready(self, timeout: float = START_SECONDS) -> LocalElasticsearch:
        try:
            wait_until(self._is_up, timeout, what=f"{self!r} is ready")
        except AssertionError as exc:
            tail = self.program.tail()
            self.stop()
            raise RuntimeError(f"no server on {self.url}:\n{tail}") from exc
        return self

    def _is_up(self) -> bool:
        if not self.program.is_running:
            raise AssertionError("the server ended")
        return self.is_ready()

    @property
    def pid(self) -> int:
        """The server's; the program we started is only its launcher."""
        return int((self.root / "pid").read_text())

    def kill9(self) -> None:
        """kill -9; ``start`` brings it back with its data, on its port."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.program.process is not None
        self.program.process.wait(30)

    def stop(self) -> None:
        self.program.stop(60)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it with all its data; nothing of it is worth an orderly end."""
        if self.program.is_running:
            with suppress(OSError, ValueError):  # no pid file yet
                os.kill(self.pid, signal.SIGKILL)
            self.program.kill()
        shutil.rmtree(self.root, ignore_errors=True)


def _below(root: Path, *, but: Path) -> Iterator[Path]:
    """Everything below ``root`` but the twin of the home, whose files are shared."""
    for path in root.iterdir():
        if path != but:
            yield path
            yield from path.rglob("*")


def start_local(
    settings: dict[str, Any] | None = None, **options: Any
) -> LocalElasticsearch:
    """A server of our own; tries twice, since free ports can be taken meanwhile."""
    first = LocalElasticsearch(settings, **options)
    try:
        return first.start()
    except RuntimeError:
        first.close()
        return LocalElasticsearch(settings, **options).start()


class DockerElasticsearch(Elasticsearch):
    """A server in a container, without security."""

    def __init__(self) -> None:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of testcontainers' own decorators
            from testcontainers.elasticsearch import ElasticSearchContainer

            image = f"docker.elastic.co/elasticsearch/elasticsearch:{VERSION}"
            self._container = (
                ElasticSearchContainer(image, mem_limit="2g")
                .with_env("discovery.type", "single-node")
                .with_env("ES_JAVA_OPTS", "-Xms512m -Xmx512m")
            )
            self._container.start()
        host = self._container.get_container_host_ip()
        super().__init__(f"http://{host}:{self._container.get_exposed_port(9200)}")

    def close(self) -> None:
        self._container.stop()


def start_docker() -> DockerElasticsearch:
    try:
        return DockerElasticsearch()
    except Exception as exc:  # whatever Docker says, the next rung is asked
        raise Unavailable(f"the container did not start: {exc}") from exc


def connect(address: str) -> Elasticsearch:
    """One given: ``http://host:port``, perhaps with user and password."""
    return Elasticsearch(address if "://" in address else f"http://{address}")
