"""A report on a terminal, or as plain aligned text elsewhere."""

from __future__ import annotations

from typing import TextIO

from dcmirror.core.escapes import shown
from dcmirror.core.report import Report
from dcmirror.core.report_tables import Heading, Table, notes, period, plain, tables


def show(report: Report, heading: Heading, stream: TextIO) -> None:
    """Print it all."""
    under = f", below {shown(report.query.under)}" if report.query.under else ""
    title = f"dcmirror report: {shown(heading.instance)}, {period(report)}{under}"
    if stream.isatty():
        _rich(title, tables(report, heading), notes(report), stream)
    else:
        _plain(title, tables(report, heading), notes(report), stream)


def _plain(title: str, found: list[Table], told: list[str], stream: TextIO) -> None:
    lines = [title]
    for table in found:
        lines += ["", table.title, *(f"  {line}" for line in plain(table))]
    lines += ["", *(f"Note: {note}" for note in told)] if told else []
    stream.write("\n".join(lines) + "\n")


def _rich(title: str, found: list[Table], told: list[str], stream: TextIO) -> None:
    from rich import box  # only a terminal needs it
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(file=stream, highlight=False)
    console.print(Text(title, style="bold"))
    for table in found:
        rich = RichTable(
            title=Text(table.title, style="bold"),
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            show_header=any(table.columns),
        )
        for number, column in enumerate(table.columns):
            justify = "left" if table.is_text(number) else "right"
            rich.add_column(Text(column), justify=justify, overflow="fold")  # type: ignore[arg-type]
        for row in table.rows:
            # Text: names are no markup.  A number stays with its unit.
            cells = (
                c.replace(" ", "\u00a0") if not table.is_text(n) else c
                for n, c in enumerate(row)
            )
            rich.add_row(*map(Text, cells))
        console.print(rich)
    for note in told:
        console.print(Text(f"Note: {note}", style="yellow"))
