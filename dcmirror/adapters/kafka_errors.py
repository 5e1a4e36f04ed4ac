"""What goes wrong with Kafka: sorted by what can be done, or told as one line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from kafka import errors as foreign

from dcmirror.adapters.kafka_client import capture_log, connection_hint
from dcmirror.errors import IntakeError
from dcmirror.settings import Kafka


class SourceError(Exception):
    """Base of what goes wrong with the consumer; says what and, where known, why."""


class SourceUnreachable(SourceError):
    """No broker answers; no consumer was made."""


class SourceTrouble(SourceError):
    """The broker is away or slow; the consumer recovers by itself."""


class SourceBroken(SourceError):
    """The consumer is of no further use; another one may do."""


class SourceFatal(SourceError):
    """Trying again cannot help: configuration, authorization, or fenced."""


class CommitRefused(SourceError):
    """The group is rebalancing or has dropped us; polling on sets it right."""


class OffsetsGone(SourceError):
    """The position is outside of the log.

    ``positions`` maps partitions to where reading can go on, None for the oldest.
    """

    def __init__(self, positions: dict[int, int | None]) -> None:
        super().__init__(f"offsets out of range: {positions}")
        self.positions = positions


_FATAL = {
    foreign.TopicAuthorizationFailedError: (
        "not allowed to read topic {topic!r}: Read and Describe on it are needed"
    ),
    foreign.GroupAuthorizationFailedError: (
        "not allowed to use consumer group {group!r}: Read on it is needed"
    ),
    foreign.FencedInstanceIdError: (
        "another instance has joined with the same group_instance_id: "
        "each needs one of its own"
    ),
    foreign.InconsistentGroupProtocolError: (
        "the members of consumer group {group!r} use another way of assigning "
        "partitions: stop them, or take a group of our own"
    ),
    foreign.UnsupportedCodecError: (
        "topic {topic!r} holds records whose compression is not installed here: {error}"
    ),
}

_FATAL_AS_TOLD = (
    foreign.AuthorizationError,
    foreign.KafkaConfigurationError,
    foreign.SaslAuthenticationFailedError,
    foreign.UnsupportedSaslMechanismError,
    foreign.IllegalSaslStateError,
    foreign.UnsupportedVersionError,
    foreign.InvalidSessionTimeoutError,
    foreign.InvalidGroupIdError,
    foreign.InvalidTopicError,
    foreign.GroupMaxSizeReachedError,
    foreign.OffsetMetadataTooLargeError,
    foreign.InvalidCommitOffsetSizeError,
)

_REBALANCING = (
    foreign.CommitFailedError,
    foreign.RebalanceInProgressError,
    foreign.IllegalGenerationError,
    foreign.UnknownMemberIdError,
)


def sorted_error(exc: Exception, settings: Kafka, reason: str = "") -> SourceError:
    """The error of ours that says what can be done about ``exc``."""
    cause = exc.args[0] if exc.args else None
    for fatal, text in _FATAL.items():
        if isinstance(exc, fatal) or isinstance(cause, fatal):
            return SourceFatal(
                text.format(
                    topic=settings.topic, group=settings.consumergroup, error=_told(exc)
                )
            )
    if isinstance(exc, _FATAL_AS_TOLD):
        return SourceFatal(_told(exc))
    if isinstance(exc, _REBALANCING):
        return CommitRefused(_told(exc))
    text = f"{_told(exc)} ({reason})" if reason else _told(exc)
    return SourceTrouble(text) if _is_retriable(exc) else SourceBroken(text)


@contextmanager
def told_errors(settings: Kafka) -> Iterator[None]:
    """Raise IntakeError for what the library raises; the reason is in its log."""
    log, began = capture_log(), time.monotonic()
    try:
        yield
    except foreign.KafkaError as exc:
        reason = connection_hint(settings.client, log.reason(began) or "")
        text = str(exc) or type(exc).__name__
        raise IntakeError(f"{text} ({reason})" if reason else text) from exc
    except (OSError, ValueError, TypeError, AssertionError) as exc:
        raise IntakeError(f"[kafka.client]: {exc}") from exc


def _is_retriable(exc: Exception) -> bool:
    return bool(getattr(exc, "retriable", False))


def _told(exc: Exception) -> str:
    return str(exc).removesuffix(": None") or type(exc).__name__
