"""HUP: each key that is said to be reloaded has its effect at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dcmirror import config
from dcmirror.adapters.failed_csv import FailedCsv
from dcmirror.adapters.state_directory import failures_path, prepare, resolve
from dcmirror.commands.watch import WatchHooks, WatchOptions
from dcmirror.config_reader import table_classes
from dcmirror.core.ledger import Ledgers
from dcmirror.core.plan import Upload
from dcmirror.processes.assembly import EngineRoom, assemble, planner_of
from helpers import make_event

PATH = "/pnfs/example.org/data/raw/a.tmp"
RELOADED = [
    (table, setting.name)
    for table, cls in table_classes().items()
    for setting in fields(cls)
    if setting.metadata["reload"]
]


class Daemon:
    """What ``watch`` is made of, without its children and without Kafka."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / "dcmirror.toml"
        (home / "mirror").mkdir()
        self.write("")
        settings = config.load(self.path, {})
        state = prepare(resolve(settings, None))
        self.room: EngineRoom = assemble(
            settings,
            state,
            "watch",
            instance=None,
            downloads=1,
            verbosity=0,
            ledgers=Ledgers("t"),
            failed_csv=FailedCsv(failures_path(settings, state.path)),
        )
        self.reception = SimpleNamespace(planner=planner_of(settings))
        options = WatchOptions(settings, self.path)
        feed = cast("Any", SimpleNamespace(reception=self.reception))
        self.hooks = WatchHooks(options, state, self.room, feed)

    def write(self, more: str) -> None:
        """The configuration, as short as can be, and more."""
        self.path.write_text(
            f"""[kafka]
topic = "t"
servers = ["k:9092"]
consumergroup = "g"
{self._table("dcache", more)}
url = "https://door.example.org:2880"
pool = "/pnfs/example.org/data"
folder = "/raw"
[local]
downloadfolder = "{self.home}/mirror"
[state]
directory = "{self.home}/state"
{"" if more.startswith("[dcache]") else more}
"""
        )

    @staticmethod
    def _table(name: str, more: str) -> str:
        return more if more.startswith(f"[{name}]") else f"[{name}]"

    def close(self) -> None:
        self.room.log.close()
        self.room.journal.close()
        self.room.catalogue.close()

    def judges(self) -> bool:
        """Whether a record of the file becomes a job."""
        event = make_event(billingPath=PATH, transferPath=PATH)
        return isinstance(self.reception.planner.decide(event), Upload)

    def logs_to(self, path: Path) -> bool:
        self.room.log.line("TEST", "a line", level="error")
        return path.exists() and "a line" in path.read_text()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with closing(Daemon(tmp_path)) as made:
        yield made


def policy(name: str) -> Callable[[Daemon], Any]:
    return lambda daemon: getattr(daemon.room.engine.plan.policy, name)


#: What each key is set to, where its effect shows, and what shows then.
EFFECTS: dict[tuple[str, str], tuple[str, Callable[[Daemon], Any], Any]] = {
    ("dcache", "retryseconds"): ("7.5", policy("retry_seconds"), 7.5),
    ("dcache", "retrytimes"): ("77", policy("retry_times"), 77),
    ("source", "grace_seconds"): ("71.5", policy("grace_seconds"), 71.5),
    ("source", "commit_grace_seconds"): ("72.5", policy("commit_grace_seconds"), 72.5),
    ("filter", "rules"): ('["exclude *.tmp"]', Daemon.judges, False),
    ("destination", "min_free"): (
        "12345",
        lambda daemon: daemon.room.engine.space.min_free,
        12345,
    ),
    ("log", "file"): (
        '"{home}/human.log"',
        lambda daemon: daemon.logs_to(daemon.home / "human.log"),
        True,
    ),
    ("log", "level"): ('"debug"', lambda daemon: daemon.room.log.shows("debug"), True),
}


@pytest.mark.parametrize(("table", "key"), RELOADED)
def test_a_key_that_hup_reloads_has_its_effect_at_once(
    daemon: Daemon, table: str, key: str
) -> None:
    assert (table, key) in EFFECTS, "marked reload=True: what does HUP change?"
    value, look, expected = EFFECTS[table, key]
    assert look(daemon) != expected

    daemon.write(f"[{table}]\n{key} = {value.format(home=daemon.home)}")
    daemon.hooks.reload()

    assert look(daemon) == expected


def test_a_key_that_workers_are_started_with_is_not_said_to_be_reloaded(
    daemon: Daemon, capfd: pytest.CaptureFixture[str]
) -> None:
    daemon.write('[source]\nmissing_digest = "fail"')
    daemon.hooks.reload()
    daemon.room.log.flush()

    told = capfd.readouterr().err
    assert "[source] missing_digest changed: needs a restart" in told
    assert "reloaded: nothing changed" in told
