"""etc/cron.d/dcmirror, run as cron would: silent while all is well, and only then."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from crontab import Job, parse
from deployment import Deployment

from dcmirror.adapters.catalogue import Catalogue
from dcmirror.adapters.locks import acquire
from dcmirror.testing.fake_dcache import FakeDCache
from helpers import wait_until

if TYPE_CHECKING:
    from servers.kafka import Kafka

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "etc/cron.d/dcmirror"
RAW = "/pnfs/example.org/data/exp/raw"
JOBS = {
    re.search(r"dcmirror (\w+)", job.text)[1]: job  # type: ignore[index]
    for job in parse(TABLE, with_samples=True)
}


@pytest.fixture
def site(
    deploy: Callable[..., Deployment], dcache: FakeDCache, kafka: Kafka, topic: str
) -> Deployment:
    """A mirror of a few files in which all is well, and where cleanup may delete."""
    made = deploy(
        kafka.bootstrap,
        dcache.door_url,
        reconcile={"grace_minutes": 0},
        cleanup={"allowed": True, "min_age_days": 0.0, "max_fraction": 1.0},
    )
    for number in range(3):
        dcache.upload(f"{RAW}/f{number}", size=1000, seed=number)
    running = made.watch("-q")
    group = made.tables["kafka"]["consumergroup"]
    wait_until(
        lambda: (
            len(made.copies()) == 3
            and kafka.committed(group, topic) == kafka.end_offsets(topic)
        ),
        60,
        what="all is mirrored",
    )
    assert running.stop() == 0
    return made


def here(job: Job, site: Deployment) -> Job:
    """The job with the installed command's directory replaced by the tests'."""
    programs = site.home / "bin"
    programs.mkdir(exist_ok=True)
    command = programs / "dcmirror"
    command.write_text(
        "#!/bin/sh\n"
        f'DCMIRROR_CONFIG={site.config} exec {sys.executable} -m dcmirror "$@"\n'
    )
    command.chmod(0o755)
    path = job.variables["PATH"]
    assert path.split(":")[0] == "/opt/dcmirror/bin", "where README installs it"
    place = path.replace("/opt/dcmirror/bin", str(programs))
    return replace(job, variables=job.variables | {"PATH": place})


def mail(name: str, site: Deployment) -> str:
    """What cron would send after this command's line."""
    return here(JOBS[name], site).run().stdout


def test_the_table_runs_what_a_mirror_needs_as_its_user() -> None:
    running = {job.text for job in parse(TABLE)}

    assert set(JOBS) == {"cleanup", "audit", "reconcile", "replay"}
    assert running == {JOBS[name].text for name in ("cleanup", "audit", "reconcile")}
    assert {job.user for job in JOBS.values()} == {"dcmirror"}
    assert len({job.when for job in JOBS.values()}) == len(JOBS)


def test_the_table_has_the_state_directory_of_the_unit() -> None:
    unit = (ROOT / "etc/dcmirror.service").read_text()
    found = re.search(r"^Environment=XDG_STATE_HOME=(.*)$", unit, re.MULTILINE)

    assert found is not None
    assert {j.variables["XDG_STATE_HOME"] for j in JOBS.values()} == {found[1]}


def test_no_mail_comes_while_all_is_well(site: Deployment, dcache: FakeDCache) -> None:
    """All lines in the order of a week; cleanup deletes what is proved, in silence."""
    for name in ("reconcile", "audit", "replay", "cleanup"):
        assert mail(name, site) == "", name
    assert dcache.files == {}
    for name in ("reconcile", "audit", "cleanup"):
        assert mail(name, site) == "", name
    assert len(site.files()) == 3


def test_mail_tells_what_is_wrong(site: Deployment, dcache: FakeDCache) -> None:
    (site.mirror / "f1").unlink()
    dcache.upload(f"{RAW}/unannounced", size=10, seed=1, publish=False)
    audited, listed = mail("audit", site), mail("reconcile", site)

    assert re.search(r"^missing: .*/f1", audited, re.MULTILINE)
    assert audited.endswith("\nexit status 23\n")
    assert re.search(r"^missing .*/unannounced", listed, re.MULTILINE)
    assert listed.endswith("\nexit status 24\n")
    cleaned = mail("cleanup", site)
    assert f"{RAW}/f1" in cleaned
    assert cleaned.endswith("\nexit status 21\n")
    assert set(dcache.files) == {f"{RAW}/f1", f"{RAW}/unannounced"}


def test_mail_tells_that_nothing_may_be_deleted_yet(
    site: Deployment, dcache: FakeDCache
) -> None:
    site.tables["cleanup"]["allowed"] = False
    site.write()

    assert "cleanup --dry-run" in mail("cleanup", site)
    assert len(dcache.files) == 3
    assert site.run("cleanup", "--dry-run").returncode == 0
    assert mail("cleanup", site) == ""
    assert dcache.files == {}


@pytest.mark.parametrize("name", sorted(JOBS))
def test_mail_tells_of_a_configuration_that_is_wrong(
    deployment: Deployment, name: str
) -> None:
    deployment.tables["cleanup"] = {"allowd": True}
    deployment.write()
    told = mail(name, deployment)

    assert "allowed" in told
    assert told.endswith("\nexit status 4\n")


@pytest.mark.parametrize("name", sorted(JOBS))
def test_mail_tells_of_a_command_that_is_not_there(name: str) -> None:
    told = JOBS[name].run().stdout

    assert "dcmirror" in told
    assert told.endswith("\nexit status 127\n")


@pytest.mark.parametrize("name", ["cleanup", "reconcile", "replay"])
def test_a_run_that_still_goes_on_is_no_news(deployment: Deployment, name: str) -> None:
    Catalogue(deployment.state / "catalogue.db").close()
    with acquire(deployment.state / f"{name}.lock"):
        assert mail(name, deployment) == ""


def test_two_at_once_are_one_run_and_no_mail(
    site: Deployment, dcache: FakeDCache
) -> None:
    dcache.faults.add("stall", "*", methods=["PROPFIND"], seconds=6.0)
    job = here(JOBS["reconcile"], site)
    both = [job.start(), job.start()]

    assert [process.communicate(timeout=60)[0] for process in both] == ["", ""]
    assert len(dcache.requests.of("PROPFIND", RAW)) == 1


def test_mail_tells_of_a_door_that_is_away(site: Deployment) -> None:
    site.tables["dcache"]["url"] = "https://localhost:9"
    site.write()
    job = here(JOBS["cleanup"], site)
    told = job.run(DCMIRROR_TEST_PROBE_SCALE="0.001").stdout

    assert "localhost:9" in told
    assert told.endswith("\nexit status 14\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("echo one%two%three", "one\n"),
        ("cat%two%three", "two\nthree"),
        (r"printf '\%s' x", "x"),
        ("echo $HOME$USER", "\n"),
        ("pwd; test -t 0 || echo no terminal", "/\nno terminal\n"),
        ('out=; true; eval "$TELL"', ""),
        ('out=; false; eval "$TELL"', "\nexit status 1\n"),
        (r'out="a\nb \%s"; false; eval "$TELL"', "a\\nb %s\nexit status 1\n"),
    ],
)
def test_the_reader_of_tables_runs_lines_as_cron_does(text: str, expected: str) -> None:
    job = replace(JOBS["audit"], text=text)

    assert job.run().stdout == expected
