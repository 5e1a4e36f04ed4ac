"""A command's engine and its children, before any of them runs."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from config_text import parsed, with_line
from dcmirror.adapters.state_directory import prepare, resolve
from dcmirror.processes import assembly


@pytest.mark.parametrize(("limit", "is_told"), [(1024, True), (10_000, False)])
def test_streams_that_need_more_descriptors_than_there_are_are_told_with_a_remedy(
    tmp_path: Path,
    limit: int,
    is_told: bool,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(assembly, "raise_descriptor_limit", lambda: limit)
    directory = f'[state]\ndirectory = "{tmp_path}"\n'
    settings = parsed(with_line("pipeline", "workers = 1") + directory)
    room = assembly.assemble(
        settings,
        prepare(resolve(settings, None)),
        "watch",
        instance=None,
        downloads=500,
        verbosity=0,
        ledgers=None,
        failed_csv=None,
    )
    with closing(room.catalogue), closing(room.journal), closing(room.log):
        room.log.flush()
    told = capfd.readouterr().err

    assert ("LimitNOFILE" in told) is is_told
    assert ("the 500 streams of a worker may need 2128 descriptors" in told) is is_told
