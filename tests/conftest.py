"""What all tests share: a clean environment, and real servers by the ladder."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

from servers.background import Background
from servers.ladder import Ladder, Unavailable, check_docker

# what they assert shall say what was found, as in test modules
pytest.register_assert_rewrite(
    *("contracts.door", "contracts.looks", "contracts.sources", "contracts.webdav")
)

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki
    from servers.apache import Apache
    from servers.chromium import Browser
    from servers.elasticsearch import Elasticsearch, LocalElasticsearch
    from servers.kafka import Kafka, LocalKafka
    from servers.nginx import Nginx
    from servers.xrootd import XRootD

SERVERS = {
    "kafka": ("kafka", "kafka_tls", "private_kafka"),
    "elasticsearch": (
        "elasticsearch",
        "secure_elasticsearch",
        "private_elasticsearch",
    ),
    "xrootd": ("xrootd",),
    "nginx": ("nginx", "nginx_door"),
    "apache": ("apache",),
    "chromium": ("chromium",),
}

# A busy machine is no failure of a property.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

LADDER = Ladder(dict(os.environ))


def climb_to_elasticsearch() -> Elasticsearch:
    from servers import elasticsearch as launcher

    return LADDER.climb(
        "elasticsearch",
        given=launcher.connect,
        docker=launcher.start_docker,
        local=launcher.start_local,
    )


#: It takes up to 20 s to start, in which other tests can run.
ELASTICSEARCH = Background(climb_to_elasticsearch)

for _name in list(os.environ):
    if _name.startswith(("DCMIRROR_", "X509_")):
        del os.environ[_name]

# Where local time is UTC, who mixes the two up would not be seen; half an hour shows a
# zone that is rounded to hours.  For children too.
os.environ["TZ"] = "Asia/Kolkata"
time.tzset()


def pytest_report_header() -> list[str]:
    try:
        check_docker(LADDER.environ)
        docker = "answers"
    except Unavailable as exc:
        docker = str(exc)
    given = {name: LADDER.address(name) for name in SERVERS}
    named = [f"{name} at {address}" for name, address in given.items() if address]
    required = "required" if LADDER.is_required else "skipped where missing"
    return [
        f"real servers: {required}; Docker: {docker}; "
        f"given: {', '.join(named) or 'none'}"
    ]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who asks for a server carries its mark: ``-m 'not real_kafka'`` needs none."""
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        for server, fixtures in SERVERS.items():
            if asked & set(fixtures):
                item.add_marker(f"real_{server}")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start early what takes long, if a test will ask for it."""
    if session.config.option.collectonly:
        return
    if any("elasticsearch" in getattr(i, "fixturenames", ()) for i in session.items):
        ELASTICSEARCH.begin()


def pytest_sessionfinish() -> None:
    ELASTICSEARCH.close()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not LADDER.stood:
        return
    terminalreporter.section("real servers")
    skipped = [
        str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])
    ]
    for server, rung in sorted(LADDER.stood.items()):
        count = sum(f"no real {server}:" in reason for reason in skipped)
        without = f"; {count} tests went without" if count else ""
        terminalreporter.line(f"{server}: {rung}{without}")


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """A test grid: CA, host, user and RFC 3820 proxy certificates."""
    from dcmirror.testing.pki import make_pki

    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """The broker that tests share; each makes its own topic and group."""
    from servers import kafka as launcher

    broker = LADDER.climb(
        "kafka",
        given=launcher.connect,
        docker=launcher.start_docker,
        local=lambda: launcher.start_local(tmp_path_factory.mktemp("kafka")),
    )
    yield broker
    broker.close()


@pytest.fixture(scope="session")
def kafka_tls(
    tmp_path_factory: pytest.TempPathFactory, pki: Pki
) -> Iterator[LocalKafka]:
    """A broker with ``tls_bootstrap`` (client certificates) and ``sasl_bootstrap``."""
    from servers import kafka as launcher

    directory = tmp_path_factory.mktemp("kafka-tls")
    broker = LADDER.climb(
        "kafka", local=lambda: launcher.start_local(directory, pki=pki)
    )
    yield broker
    broker.close()


@pytest.fixture
def private_kafka(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., LocalKafka]]:
    """Starts brokers that a test may kill, freeze and restart: ``private_kafka()``."""
    from servers import kafka as launcher

    brokers: list[LocalKafka] = []

    def start(**options: Any) -> LocalKafka:
        directory = tmp_path_factory.mktemp("kafka-private")
        broker = LADDER.climb(
            "kafka", local=lambda: launcher.start_local(directory, **options)
        )
        brokers.append(broker)
        return broker

    yield start
    for broker in brokers:
        broker.close()


@pytest.fixture(scope="session")
def elasticsearch() -> Elasticsearch:
    """The server that tests share; each asks it for a ``namespace()`` of its own.

    It knows neither TLS nor users; who tests those asks for a private one.
    """
    return ELASTICSEARCH.result()


@pytest.fixture(scope="session")
def secure_elasticsearch(pki: Pki) -> Iterator[LocalElasticsearch]:
    """One with TLS (``ca``), and a ``user`` with a ``password`` who may do all."""
    from servers import elasticsearch as launcher

    server = LADDER.climb(
        "elasticsearch",
        local=lambda: launcher.start_local(tls=pki, password="pass word"),
    )
    yield server
    server.close()


@pytest.fixture
def private_elasticsearch() -> Iterator[Callable[..., LocalElasticsearch]]:
    """Starts servers that a test may kill, freeze and restart.

    ``private_elasticsearch(settings, tls=pki, password="...", is_started=True)``
    """
    from servers import elasticsearch as launcher

    servers: list[LocalElasticsearch] = []

    def start(
        settings: dict[str, Any] | None = None,
        *,
        is_started: bool = True,
        **options: Any,
    ) -> LocalElasticsearch:
        make = launcher.start_local if is_started else launcher.LocalElasticsearch
        server = LADDER.climb("elasticsearch", local=lambda: make(settings, **options))
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def xrootd(pki: Pki) -> Iterator[XRootD]:
    """A grid door: ``url``, ``upload(path, data)``; proxies and Adler-32 digests."""
    from servers import xrootd as launcher

    door = LADDER.climb("xrootd", local=lambda: launcher.start_local(pki))
    yield door
    door.close()


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[Nginx]:
    """``url`` answers itself, ``door_url`` redirects to pools; user certificates."""
    from servers import nginx as launcher

    directory = tmp_path_factory.mktemp("nginx")
    server = LADDER.climb("nginx", local=lambda: launcher.start_local(directory, pki))
    yield server
    server.close()


@pytest.fixture(scope="session")
def nginx_door(nginx: Nginx) -> Nginx:
    """The same server, for who means its ``door_url``."""
    return nginx


@pytest.fixture(scope="session")
def apache(pki: Pki) -> Iterator[Apache]:
    """WebDAV with user certificates, without digests; ``url``, ``upload``."""
    from servers import apache as launcher

    server = LADDER.climb("apache", local=lambda: launcher.start_local(pki))
    yield server
    server.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A real browser: ``look`` opens a page at a width and tells how it was."""
    from servers import chromium as launcher

    program = LADDER.climb("chromium", local=launcher.start_local)
    with launcher.browser(program) as running:
        yield running
