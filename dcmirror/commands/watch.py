"""``dcmirror watch``: the daemon that copies each file as its event arrives."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from dcmirror import config
from dcmirror.adapters.failed_csv import FailedCsv
from dcmirror.adapters.locks import LOOK_SECONDS, acquire, wait_for_children
from dcmirror.adapters.named_files import FILE_REMEDY, trouble_with_failures
from dcmirror.adapters.state_directory import (
    StateDirectory,
    failures_path,
    instance_name,
    prepare,
    resolve,
)
from dcmirror.core.entries import State
from dcmirror.core.journal_daemon import DaemonState
from dcmirror.core.ledger import Ledgers
from dcmirror.errors import ConfigError, ExitStatus
from dcmirror.processes.assembly import EngineRoom, assemble, engine_plan, planner_of
from dcmirror.processes.credential_watch import CredentialWatch
from dcmirror.processes.intake import Intake
from dcmirror.processes.kafka_feed import KafkaFeed
from dcmirror.processes.outbox import write_outboxes
from dcmirror.processes.reception import Reception
from dcmirror.processes.reconcile_timer import ReconcileTimer
from dcmirror.processes.status import StatusBoard
from dcmirror.processes.status_parts import ready_for
from dcmirror.processes.supervisor import Supervisor
from dcmirror.processes.tellers import log_level
from dcmirror.settings import Settings

#: How often the running tasks are listed in the human log (seconds).
_LIST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What the command line says."""

    settings: Settings
    config_path: Path | None = None
    instance: str | None = None
    verbosity: int = 0


def watch(options: WatchOptions) -> ExitStatus:
    """Run until told to stop.

    Raises:
        ConfigError: a rule, a path or a file that is named will not do.
        LockedError: another watch runs on this state directory.
        DirectoryError: the state directory cannot be used.
        IntakeError, ChildBootError, ChildrenDyingError: what ended the work.
    """
    settings = options.settings
    planner_of(settings)  # a bad rule or path is told before anything starts
    _judge_failures_file(settings.local.failedtasksfile)
    state = prepare(resolve(settings, options.instance))
    with acquire(state.lock("watch"), LOOK_SECONDS):
        wait_for_children(state.children_lock("watch"))
        failed_csv = FailedCsv(failures_path(settings, state.path))
        ledgers = Ledgers(settings.kafka.topic)
        room = assemble(
            settings,
            state,
            "watch",
            instance=options.instance,
            downloads=settings.dcache.maxdownloads,
            verbosity=options.verbosity,
            ledgers=ledgers,
            failed_csv=failed_csv,
        )

        def tell(moved: Path) -> None:
            text = f"{failed_csv.path} was not a list of ours; moved to {moved}"
            room.engine.story.note(text, level="warning")

        failed_csv.on_set_aside = tell
        if moved := failed_csv.set_aside_if_not_ours():
            tell(moved)
        return _run(options, state, room, ledgers)


def _judge_failures_file(path: Path | None) -> None:
    trouble = None if path is None else trouble_with_failures(path)
    if trouble is not None:
        where = f"[local] failedtasksfile = {path}"
        raise ConfigError(f"{where}: {trouble.strerror}; {FILE_REMEDY}")


def _run(
    options: WatchOptions, state: StateDirectory, room: EngineRoom, ledgers: Ledgers
) -> ExitStatus:
    settings, engine = options.settings, room.engine
    reception = Reception(
        engine,
        planner_of(settings),
        room.catalogue,
        ledgers,
        task_space=uuid.uuid5(uuid.NAMESPACE_OID, state.tag),
        net_seconds=settings.source.net_seconds,
        requests_without_mover=settings.source.requests_without_mover,
    )
    wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    intake = Intake(
        settings,
        f"dcmirror-{state.tag}",
        wake,
        first_epoch=room.catalogue.last_epoch() + 1,
    )
    feed = KafkaFeed(intake, wake, reception, engine)
    hooks = WatchHooks(options, state, room, feed)
    supervisor = Supervisor(
        engine,
        room.fleet,
        feed,
        hooks,
        drain_seconds=settings.pipeline.drain_seconds,
    )
    supervisor.listen()
    write_outboxes(engine.settler, state, "watch")
    engine.story.started(settings)
    hooks.every_second(time.monotonic(), time.time())
    feed.start()
    with hooks.board.until_the_end():
        return supervisor.run()


def reconcile_timer(
    options: WatchOptions, state: StateDirectory, room: EngineRoom
) -> ReconcileTimer:
    """What begins `dcmirror reconcile` each [reconcile] every_hours."""
    arguments: list[str] = []
    if options.config_path is not None:
        arguments += ["--config", os.fspath(options.config_path.absolute())]
    if options.instance is not None:
        arguments += ["--instance", options.instance]
    return ReconcileTimer(
        options.settings.reconcile.every_hours,
        room.catalogue,
        room.engine.story.note,
        arguments,
        state.path / "reconcile.log",
    )


class WatchHooks:
    """Once a second, and on HUP: what is neither a job nor a record."""

    def __init__(
        self,
        options: WatchOptions,
        state: StateDirectory,
        room: EngineRoom,
        feed: KafkaFeed,
    ) -> None:
        self._options = options
        self._settings = options.settings
        self._room = room
        self._feed = feed
        self._credential = CredentialWatch(
            room.proxy, room.engine, room.fleet.tell_workers
        )
        self.board = StatusBoard(
            state.status,
            "watch",
            options.settings,
            instance_name(options.settings, options.instance),
            room,
            time.time(),
        )
        self._reconcile = reconcile_timer(options, state, room)
        self._listed_at = time.monotonic()

    def every_second(self, now: float, wall: float) -> None:
        """Credential, status.json, and the list of what runs."""
        engine = self._room.engine
        self._credential.look(now, wall)
        self._reconcile.look(wall, is_stopping=engine.is_stopping)
        self.board.show(
            now, wall, **self._feed.status(now), **self._credential.status(wall)
        )
        if now - self._listed_at >= _LIST_SECONDS:
            self._listed_at = now
            engine.story.running([e.job.task for e in engine.dispatcher.out()])
            engine.story.health(
                engine.dispatcher,
                engine.tally,
                self._settings.dcache.maxdownloads,
                self._feed.lag,
                self._settings.kafka.topic,
                holds=len(engine.holds.all()),
                credential_left=self._credential.seconds_left(wall),
                state=self._state(now, wall),
            )

    def _state(self, now: float, wall: float) -> DaemonState:
        """What else a sample of health says."""
        engine = self._room.engine
        next_for = ready_for(engine.dispatcher.next_ready(), now, wall)
        return DaemonState(
            held=engine.dispatcher.count(State.HELD),
            # Not unknown but nothing: whoever asks for the last value gets this one.
            oldest_age_s=next_for or 0.0,
            restarts=self._room.fleet.restarts,
            holds=tuple(str(hold.key) for hold in engine.holds.all()),
            free_bytes=engine.space.free_bytes,
            reserved_bytes=engine.space.reserved_bytes(),
            min_free_bytes=engine.space.min_free,
        )

    def reload(self) -> None:
        """HUP: filters, log and limits at once; the rest asks for a restart."""
        story = self._room.engine.story
        try:
            wanted = config.load(self._options.config_path, os.environ)
            fresh = config.reloaded(self._settings, wanted)
            planner = planner_of(fresh)
        except ConfigError as exc:
            story.note(f"configuration not reloaded: {exc}", level="error")
            return
        reloaded, restart = config.changed_keys(self._settings, wanted)
        if restart:
            named = ", ".join(restart)
            story.note(f"{named} changed: needs a restart", level="warning")
        level = log_level(fresh, self._options.verbosity)
        if trouble := self._room.log.reopen(fresh.log.file, level):
            story.note(trouble, level="error")
        plan = engine_plan(fresh, suspects_source=True)
        self._room.engine.replan(plan, time.monotonic())
        self._feed.reception.planner = planner
        self._settings = fresh
        story.reconfigured(f"reloaded: {', '.join(reloaded) or 'nothing changed'}")
