"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from dcmirror import config

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
#: A day has still a name in every zone.
_LATEST = datetime(9999, 12, 30, tzinfo=UTC).timestamp()
_Command = TypeVar("_Command", bound=Callable[..., Any])


def common(command: _Command) -> _Command:
    """The options that every command has."""
    options = (
        click.option(
            "--config",
            "-c",
            "config_path",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help=f"Configuration; default ${config.ENVIRONMENT}, "
            f"then {config.DEFAULT_PATH}.",
        ),
        click.option(
            "--instance",
            metavar="NAME",
            callback=_instance,
            help="Name of this instance; default [state] instance, "
            "then the consumer group.",
        ),
        click.option("--verbose", "-v", count=True, help="Say more; twice: debug."),
        click.option("--quiet", "-q", count=True, help="Say less."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def age(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """An age such as ``6h`` in seconds."""
    if value is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6})([smhdw])", value)
    if found is None:
        raise click.BadParameter(f"{value!r}: expected an age (90m, 2d)")
    return float(int(found[1]) * _SECONDS[found[2]])


def since(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """An age such as ``2d``, or a date and time, as seconds since the epoch."""
    if value is None:
        return None
    age = re.fullmatch(r"([0-9]{1,6})([smhdw])", value)
    if age is not None:
        return max(time.time() - int(age[1]) * _SECONDS[age[2]], 0.0)
    # Where a command has --utc, an eager flag, its times are else local ones.
    zone = UTC if ctx.params.get("utc", True) else None
    try:
        moment = datetime.fromisoformat(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        return min(max(moment.timestamp(), 0.0), _LATEST)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"{value!r}: expected an age (90m, 2d) or a time (2026-11-23T06:00)"
        ) from error


def namespace_path(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> Any:
    """A path as dCache has it: a relative one would match nothing, without a word."""
    if value is not None and not value.startswith("/"):
        raise click.BadParameter(f"{value}: a namespace path begins with /")
    return value


def _instance(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    from dcmirror.config_checks import expectation, instance_name

    if value is not None and not instance_name(value):
        raise click.BadParameter(f"{value!r}: expected {expectation(instance_name)}")
    return value
