"""Every error dcmirror raises on purpose, with the exit status it ends a command with.

A message names the thing, the place and the remedy.  An error becomes an exit status
where a process ends: in ``cli`` for a command, in ``processes.child`` for its children.
"""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """The documented exit statuses of every command."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    CHILD_BOOT = 3
    BAD_CONFIGURATION = 4
    CHILDREN_DYING = 5
    LOCKED = 10
    INTAKE = 11
    CREDENTIAL = 12
    DIRECTORY = 13
    DOOR = 14
    ELASTIC = 15
    ROWS_REMAIN = 20
    SOURCES_REMAIN = 21
    BOOKS_DIFFER = 22
    COPIES_DIFFER = 23
    SOURCE_DIFFERS = 24
    SECOND_TERM = 143


class DcmirrorError(Exception):
    """Base of all errors that are explained to the user in one line."""

    exit_status: ExitStatus = ExitStatus.UNEXPECTED


class ConfigError(DcmirrorError):
    """The configuration, or a file a command was given, is not usable as it stands."""

    exit_status = ExitStatus.BAD_CONFIGURATION


class LockedError(DcmirrorError):
    """Another process holds the lock that this command needs."""

    exit_status = ExitStatus.LOCKED


class IntakeError(DcmirrorError):
    """Kafka cannot be reached, or the intake thread no longer beats."""

    exit_status = ExitStatus.INTAKE


class CredentialError(DcmirrorError):
    """The proxy certificate or the CA directory is missing, unreadable or expired."""

    exit_status = ExitStatus.CREDENTIAL


class DirectoryError(DcmirrorError):
    """The mirror or the state directory cannot be used."""

    exit_status = ExitStatus.DIRECTORY


class ChildBootError(DcmirrorError):
    """A child process did not report ready in time."""

    exit_status = ExitStatus.CHILD_BOOT


class ChildrenDyingError(DcmirrorError):
    """A child died again and again without having done anything in between."""

    exit_status = ExitStatus.CHILDREN_DYING


class BooksError(DcmirrorError):
    """Catalogue, spans or failed.csv cannot be written: a hold, until they can be.

    At the start it ends the command.
    """

    exit_status = ExitStatus.DIRECTORY


class ElasticError(DcmirrorError):
    """Elasticsearch or Kibana is out of reach, too old, or does not let us in."""

    exit_status = ExitStatus.ELASTIC


class EventDecodeError(DcmirrorError):
    """A Kafka record is not a dCache event; settled, told in the journal."""


class UnsafePathError(DcmirrorError):
    """A path of an event would leave the mirror or cannot exist there (G9)."""
