"""``dcmirror check``: everything that a start needs, and what to do about it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dcmirror import config
from dcmirror.adapters.credentials import capath_of, proxy_of
from dcmirror.adapters.state_directory import failures_path, resolve
from dcmirror.commands.check_local import (
    check_cas,
    check_failed_csv,
    check_files,
    check_mirror,
    check_proxy,
    check_state,
)
from dcmirror.commands.check_report import (
    Finding,
    Result,
    as_json,
    exit_status,
    fail,
    ok,
)
from dcmirror.errors import ConfigError, DcmirrorError, DirectoryError, ExitStatus
from dcmirror.settings import Settings

_DEADLINE = 10.0  # seconds for each single probe


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What the command line says; ``echo`` prints a line."""

    config_path: Path
    environ: Mapping[str, str]
    echo: Callable[[str], None]
    instance: str | None = None
    file: str | None = None
    as_json: bool = False
    verbosity: int = 0
    probe_seconds: float = _DEADLINE


def check(options: CheckOptions) -> ExitStatus:
    """Look at one thing after the other, and print each line as soon as it is known."""
    findings = []
    for finding in _findings(options):
        findings.append(finding)
        is_wanted = options.verbosity >= 0 or finding.result is not Result.OK
        if is_wanted and not options.as_json:
            options.echo(finding.line)
    if options.as_json:
        options.echo(as_json(findings))
    return exit_status(findings)


def _findings(options: CheckOptions) -> Iterator[Finding]:
    try:
        settings = config.load(options.config_path, options.environ)
    except ConfigError as error:
        for line in str(error).splitlines():
            yield fail("configuration", ExitStatus.BAD_CONFIGURATION, line)
        return
    yield ok("configuration", str(options.config_path))
    probes = {
        "Kafka": (ExitStatus.INTAKE, _kafka(options, settings)),
        "credential": (ExitStatus.CREDENTIAL, _credential(options, settings)),
        "mirror": (ExitStatus.DIRECTORY, check_mirror(settings)),
        "books": (ExitStatus.DIRECTORY, _books(options, settings)),
        "descriptors": (ExitStatus.UNEXPECTED, _descriptors(settings)),
        "door": (ExitStatus.DOOR, _source(options, settings)),
        "Elasticsearch": (ExitStatus.ELASTIC, _elastic(options, settings)),
    }
    for name, (status, probe) in probes.items():
        yield from _whole(name, status, probe)


def _whole(
    name: str, status: ExitStatus, probe: Iterator[Finding]
) -> Iterator[Finding]:
    """One that breaks off is a finding too: the others are still looked at."""
    try:
        yield from probe
    except DcmirrorError as error:
        yield fail(name, error.exit_status, str(error))
    except OSError as error:
        yield fail(name, status, str(error))


def _elastic(options: CheckOptions, settings: Settings) -> Iterator[Finding]:
    if not settings.elasticsearch.urls:
        return
    from dcmirror.commands.check_elastic import check_elastic

    yield from check_elastic(
        settings.elasticsearch, options.environ, options.probe_seconds
    )


def _proxy(options: CheckOptions, settings: Settings) -> Path:
    return proxy_of(settings.local, options.environ)


def _capath(options: CheckOptions, settings: Settings) -> Path:
    return capath_of(settings.local, options.environ)


def _credential(options: CheckOptions, settings: Settings) -> Iterator[Finding]:
    yield check_proxy(_proxy(options, settings), time.time())
    yield check_cas(_capath(options, settings))


def _kafka(options: CheckOptions, settings: Settings) -> Iterator[Finding]:
    from dcmirror.commands.check_kafka import check_kafka

    yield from check_kafka(settings, options.probe_seconds)


def _descriptors(settings: Settings) -> Iterator[Finding]:
    from dcmirror.commands.check_limits import check_descriptors

    yield from check_descriptors(settings)


def _source(options: CheckOptions, settings: Settings) -> Iterator[Finding]:
    from dcmirror.adapters.curl_probe import Prober
    from dcmirror.commands.check_door import check_door, check_file

    proxy = _proxy(options, settings)
    prober = Prober(
        proxy if os.access(proxy, os.R_OK) else None,
        _capath(options, settings),
        options.probe_seconds,
    )
    yield check_door(settings, prober)
    if options.file is not None:
        yield from check_file(settings, prober, options.file)


def _books(options: CheckOptions, settings: Settings) -> Iterator[Finding]:
    try:
        state = resolve(settings, options.instance, options.environ)
    except DirectoryError as error:
        yield fail("state directory", ExitStatus.DIRECTORY, str(error))
        return
    yield from check_state(state, settings.journal.max_bytes)
    yield from check_files(settings)
    yield check_failed_csv(failures_path(settings, state))
