"""Rows of failed.csv for tests of who reads them."""

from __future__ import annotations

from deployment import Deployment

from dcmirror.adapters.failed_csv import FailedCsv, FailedRow

RAW = "/pnfs/example.org/data/exp/raw"


def row(name: str, failure_class: str = "gone", at: float = 1e9) -> FailedRow:
    """A row of a file that failed."""
    return FailedRow(
        time=at,
        task=f"task-{name}",
        path=f"{RAW}/{name}",
        url="https://door.example.org/stale",
        failure_class=failure_class,
        error="it failed",
        event_time=at,
    )


def write_rows(deployment: Deployment, *rows: FailedRow) -> FailedCsv:
    """failed.csv with these rows."""
    book = FailedCsv(deployment.state / "failed.csv")
    book.append(rows)
    return book


def names(deployment: Deployment) -> list[str]:
    """The files that failed.csv names."""
    return [r["path"].removeprefix(RAW + "/") for r in deployment.failed_rows()]
