"""What ``dcmirror check`` asks of Kafka."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dcmirror.adapters.kafka_check import TopicState, ask_topic, missing_packages
from dcmirror.adapters.kafka_client import probe_brokers
from dcmirror.commands.check_report import Finding, fail, ok, warn
from dcmirror.errors import ConfigError, ExitStatus, IntakeError
from dcmirror.settings import Settings


def check_kafka(settings: Settings, seconds: float) -> Iterator[Finding]:
    """Codecs, then each broker, then the topic by way of those that answer."""
    yield _check_codecs()
    kafka = settings.kafka
    try:
        answers = probe_brokers(kafka.servers, kafka.client, seconds)
        yield from _judge_brokers(answers)
        good = tuple(server for server, error in answers if error is None)
        if good:
            state = ask_topic(replace(kafka, servers=good), seconds)
            yield from _judge(settings, state)
    except ConfigError as error:
        yield fail("Kafka settings", ExitStatus.BAD_CONFIGURATION, str(error))
    except IntakeError as error:
        remedy = "look at [kafka.client], and at the rights of its user"
        yield fail("topic", ExitStatus.INTAKE, str(error), remedy)


def _check_codecs() -> Finding:
    missing = missing_packages()
    if not missing:
        return ok("Kafka codecs", "gzip, snappy, lz4, zstd, and a fast crc32c")
    packages = " ".join(missing.values())
    return fail(
        "Kafka codecs",
        ExitStatus.INTAKE,
        f"cannot unpack {', '.join(missing)}",
        f"pip install {packages}",
    )


def _judge_brokers(answers: Sequence[tuple[str, str | None]]) -> Iterator[Finding]:
    """One dead broker of several is a warning: the others serve."""
    has_one = any(error is None for _, error in answers)
    for server, error in answers:
        name = f"broker {server}"
        if error is None:
            yield ok(name, "takes connections")
        elif has_one:
            yield warn(name, error, "the other brokers serve meanwhile")
        else:
            yield fail(name, ExitStatus.INTAKE, error, _remedy(error))


def _remedy(error: str) -> str:
    if error.startswith("TLS"):
        return "look at ssl_cafile, ssl_certfile and ssl_keyfile in [kafka.client]"
    return "look at [kafka] servers; is it up, and does a firewall let us by?"


def _judge(settings: Settings, state: TopicState) -> Iterator[Finding]:
    name = settings.kafka.topic
    if not state.partitions:
        remedy = "create it, or look at [kafka] topic"
        yield fail("topic", ExitStatus.INTAKE, f"{name}: does not exist", remedy)
        return
    yield ok("topic", f"{name}: {state.partitions} partitions")
    group = settings.kafka.consumergroup
    others = f"{state.members} members now" if state.members else "no member now"
    yield ok("consumer group", f"{group}: {others}")
