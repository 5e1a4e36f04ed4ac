"""The command ``dcmirror cleanup``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from dcmirror import config
from dcmirror.cli_help import epilog
from dcmirror.cli_options import common
from dcmirror.errors import ExitStatus


@click.command(epilog=epilog("cleanup"))
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only print each source with the reasons for and against.",
)
@click.option("--yes", is_flag=True, help="Delete without a dry run before.")
@click.option(
    "--accept-gone",
    is_flag=True,
    help="Believe the door that sources are gone, however many.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Delete at most so many sources.",
)
@click.option("--under", metavar="PATH", help="Only files below this namespace path.")
@click.option(
    "--prune-empty",
    is_flag=True,
    help="Remove source directories, too, that cleanup has emptied.",
)
@click.option(
    "--local-only", is_flag=True, help="Only sweep here; the source is not asked."
)
@click.option(
    "--undo-list",
    is_flag=True,
    help="Print what was ever deleted, and where the copies are; `unknown` is what was "
    "begun, as by a run that was killed, until the next one finds out.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV, with a header.")
@common
def cleanup(
    dry_run: bool,
    yes: bool,
    accept_gone: bool,
    limit: int | None,
    under: str | None,
    prune_empty: bool,
    local_only: bool,
    undo_list: bool,
    as_json: bool,
    as_csv: bool,
    config_path: Path | None,
    instance: str | None,
    verbose: int,
    quiet: int,
) -> ExitStatus | int:
    """Delete sources whose copies are proved, and sweep what is left over here.

    A source goes when the catalogue holds a verified copy that is old enough, the copy
    is there unchanged, and the source is still the file that was copied, by its pnfsid,
    size and Adler-32. It is renamed first and looked at under that name, so that
    nothing that somebody puts in its place meanwhile can be deleted. The oldest go
    first, within the limits of [cleanup]; if more would go than max_fraction allows,
    nothing does. Every deletion is recorded before and after, for ever.

    What somebody else has removed is noted, and not looked at again. More than ten of
    these in a run may be a directory that is away for a while: they are told, and not
    noted without --accept-gone. So is a deletion that an earlier run left unfinished,
    if the directory is not there: a file in it may have its temporary name still.

    A door that fails for twenty sources in a row ends the run.

    The first time it wants to have been asked with --dry-run, asks on a terminal, and
    refuses elsewhere, unless --yes or [cleanup] allowed says so.

    Parts that nobody writes any more and journal segments over their limit are removed
    as well. It may run beside `dcmirror watch`; a second cleanup is refused.
    """
    if as_json + as_csv > 1:
        raise click.UsageError("--json and --csv: one of them")
    if as_csv and not (dry_run or undo_list):
        raise click.UsageError("--csv goes with --dry-run or --undo-list")
    if undo_list and (
        dry_run or local_only or prune_empty or limit or under or accept_gone
    ):
        raise click.UsageError("--undo-list goes alone")
    if local_only and (prune_empty or limit or under or yes or accept_gone):
        raise click.UsageError("--local-only does not ask the source for anything")
    settings = config.load(config_path, os.environ)

    from dcmirror.commands import cleanup as command
    from dcmirror.commands.cleanup_plan import Scope
    from dcmirror.commands.report import form_of

    options = command.CleanupOptions(
        settings=settings,
        dry_run=dry_run,
        undo_list=undo_list,
        local_only=local_only,
        prune_empty=prune_empty,
        yes=yes,
        accept_gone=accept_gone,
        scope=Scope(under, limit),
        form=form_of(as_json=as_json, as_csv=as_csv),
        confirm=_confirm if sys.stdin.isatty() and sys.stderr.isatty() else None,
        instance=instance,
        verbosity=verbose - quiet,
    )
    return command.cleanup(options)


def _confirm(question: str) -> bool:
    return click.confirm(question, err=True)
