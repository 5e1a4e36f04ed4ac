"""The command line: all commands in one group, and the one end of their process.

The flags of each stand in a ``cli_*`` module of its own.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from dcmirror import (
    __version__,
    cli_audit,
    cli_cleanup,
    cli_elastic,
    cli_reconcile,
    cli_replay,
    cli_report,
    cli_status,
    config,
)
from dcmirror.cli_help import epilog
from dcmirror.cli_options import common as _common
from dcmirror.core.escapes import shown, shown_lines, without_secrets
from dcmirror.errors import DcmirrorError, ExitStatus

_STOPPED_BY_INT = 128 + signal.SIGINT
_READER_LEFT = 128 + signal.SIGPIPE
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dcmirror", message="%(prog)s %(version)s")
def cli() -> None:
    """Mirror files from a dCache storage site as their upload events arrive.

    Begin with `dcmirror check`, which looks at everything that a start needs.
    """


@cli.command(epilog=epilog("watch"))
@_common
def watch(
    config_path: Path | None, instance: str | None, verbose: int, quiet: int
) -> ExitStatus:
    """Copy each file that the source announces, until told to stop.

    Reads upload events from Kafka and copies the files below [dcache] folder to
    [local] downloadfolder: each appears under its name only when it is complete and
    its checksum is right. What cannot be copied becomes a row of failed.csv. A full
    disk, an expired proxy or a door that is down pauses the work until it is cured.

    TERM or INT finishes what runs, for at most [pipeline] drain_seconds; a second one
    stops at once. HUP reads the configuration again.
    """
    path = config.locate(config_path, os.environ)
    settings = config.load(path, os.environ)

    from dcmirror.commands import watch as command

    options = command.WatchOptions(
        settings=settings,
        config_path=path,
        instance=instance,
        verbosity=verbose - quiet,
    )
    return command.watch(options)


@cli.command(epilog=epilog("check"))
@click.option(
    "--file",
    "file",
    metavar="PATH",
    help="A file in the namespace: also ask the door for it, and look at the redirect.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@_common
def check(
    file: str | None,
    as_json: bool,
    config_path: Path | None,
    instance: str | None,
    verbose: int,
    quiet: int,
) -> ExitStatus:
    """Look at everything that a start needs.

    One line each with OK, WARN or FAIL: configuration, codecs, brokers, topic, proxy,
    CA directory, mirror, state directory, door and, where events are shipped,
    Elasticsearch (which only ever warns: no transfer needs it). Changes nothing but
    for a small file that it writes to the directories and removes again. If several
    things fail, the exit status is the lowest of theirs.
    """
    from dcmirror.commands import check as command

    options = command.CheckOptions(
        config_path=config.locate(config_path, os.environ),
        environ=dict(os.environ),
        instance=instance,
        file=file,
        as_json=as_json,
        verbosity=verbose - quiet,
        echo=click.echo,
    )
    return command.check(options)


cli.add_command(cli_audit.audit)
cli.add_command(cli_cleanup.cleanup)
cli.add_command(cli_elastic.elastic)
cli.add_command(cli_reconcile.reconcile)
cli.add_command(cli_replay.replay)
cli.add_command(cli_report.report)
cli.add_command(cli_status.status)


def every_command(group: click.Group = cli) -> dict[str, click.Command]:
    """Whatever a user may type, by all its words: ``elastic setup``."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        below = every_command(command) if isinstance(command, click.Group) else {}
        found |= {f"{name} {word}": each for word, each in below.items()}
        found |= {} if below else {name: command}
    return found


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with a documented status."""
    sys.exit(run(sys.argv[1:] if args is None else args))


def run(args: Sequence[str]) -> int:
    """Run the command line; the exit status."""
    status = _run(args)
    lost = _lost_output()
    return status if lost is None else _without_output(lost, status)


def _run(args: Sequence[str]) -> int:
    out = sys.stdout
    try:
        return int(cli.main(list(args), "dcmirror", standalone_mode=False) or 0)
    except SystemExit as end:  # click's: completion is done, or the reader is gone,
        # for which it puts something before standard output
        return _READER_LEFT if sys.stdout is not out else int(end.code or 0)
    except click.Abort:
        return _STOPPED_BY_INT  # click's word for KeyboardInterrupt
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except DcmirrorError as error:
        return explain(error)
    except Exception as error:  # noqa: BLE001  # the last place that can explain it
        if isinstance(error, OSError) and error.errno in _FULL:
            return _full(error)
        return _unexpected(error, is_verbose=_verbosity(args) >= 2)


def _verbosity(args: Sequence[str]) -> int:
    flags = (re.fullmatch(r"-(v+)|--(v)erbose", arg) for arg in args)
    return sum(len(flag[1] or flag[2]) for flag in flags if flag)


def explain(error: DcmirrorError) -> int:
    """Tell the user what is wrong; the exit status."""
    for line in str(error).split("\n"):
        text = "".join(c if c.isprintable() else "?" for c in line)
        _tell(text or type(error).__name__)
    return int(error.exit_status)


def _tell(text: str) -> None:
    with suppress(OSError):  # nobody can be told that nobody can be told
        click.echo(f"dcmirror: {text}", err=True)


def _lost_output() -> OSError | None:
    """Why what was printed cannot be written; what failed before fails here again."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error
    return None


def _full(error: OSError) -> int:
    """No mistake of ours; ``run`` tells it where standard output is to blame."""
    if _lost_output() is None:
        place = f" {error.filename}" if error.filename else ""
        _tell(f"cannot write{place}: {error.strerror}")
    return int(ExitStatus.UNEXPECTED)


def _without_output(error: OSError, status: int) -> int:
    """The status where standard output took not all."""
    # Python flushes once more at its end, and would complain in its own words.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        return _READER_LEFT
    _tell(f"cannot write to standard output: {error.strerror}")
    return status or int(ExitStatus.UNEXPECTED)


def _unexpected(error: Exception, *, is_verbose: bool) -> int:
    text = "".join(traceback.format_exception(error))
    if is_verbose:
        with suppress(OSError):
            click.echo(shown_lines(without_secrets(text)), err=True)
    what = " ".join(traceback.format_exception_only(error)[-1].split())
    _tell(f"unexpected: {shown(without_secrets(what))} ({_keep(text)})")
    return int(ExitStatus.UNEXPECTED)


def _keep(text: str) -> str:
    """Write the traceback where only this user can read it, and say where."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="dcmirror-", suffix=".traceback", delete=False
        ) as file:
            file.write(text)
    except OSError:
        return "-vv shows the traceback"
    return f"traceback in {file.name}; please report it"
