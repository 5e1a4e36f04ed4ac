"""``elastic resend``: what was refused for good is sent again, and none is lost."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from config_text import SHORTEST, parsed
from contracts.shipping import Place
from dcmirror import cli
from dcmirror.adapters import dead_letters
from dcmirror.adapters.dead_letters import DeadLetters
from dcmirror.adapters.elastic_sink import ElasticSink
from dcmirror.adapters.sinks import ShippedLine
from dcmirror.commands.elastic_resend import ResendOptions, resend
from dcmirror.core.bulk import Refusal
from dcmirror.errors import DirectoryError, ElasticError, ExitStatus
from dcmirror.settings import Elasticsearch
from helpers import free_port
from servers.elastic_stub import ElasticStub, Fault, error

BAD_1 = (400, "document_parsing_exception")


@pytest.fixture
def stub() -> Iterator[ElasticStub]:
    with ElasticStub() as stub:
        yield stub


class Site:
    """A state directory with dead letters, and a configuration that names it."""

    def __init__(self, directory: Path, url: str) -> None:
        self.state = directory / "state"
        self.state.mkdir()
        self.letters = DeadLetters(self.state / "dead-letters.ndjson")
        self.place = Place(Elasticsearch(urls=(url,)), "default", dict, dict)
        self.text = (
            f'{SHORTEST}[state]\ndirectory = "{self.state}"\n'
            f'[elasticsearch]\nurls = ["{url}"]\n'
        )
        self.config = directory / "dcmirror.toml"
        self.config.write_text(self.text)
        self.said: list[str] = []

    def refuse(self, *numbers: int) -> None:
        why = Refusal(0, 400, "document_parsing_exception", 'no,"document":"\n')
        self.letters.add([(self.place.line(n), why) for n in numbers])

    def resend(self) -> ExitStatus:
        return resend(
            ResendOptions(parsed(self.text), self.said.append, lambda low, _high: low)
        )

    def left(self) -> list[int]:
        """The numbers of the letters that still lie there."""
        found = [pair for path in self.letters.files() for pair in read(path)]
        return sorted(json.loads(line.body)["event"]["duration"] for line, _ in found)


def read(path: Path) -> Sequence[tuple[ShippedLine, str]]:
    return [found for found in dead_letters.read(path) if found is not None]


@pytest.fixture
def site(tmp_path: Path, stub: ElasticStub) -> Site:
    return Site(tmp_path, stub.url)


def arrived(stub: ElasticStub) -> list[int]:
    found = [json.loads(body) for body in stub.documents.values()]
    return sorted(document["event"]["duration"] for document in found)


def only(text: bytes, item: tuple[int, str]) -> Callable[[bytes], object]:
    return lambda body: item if text in body else None


def test_what_was_refused_is_sent_as_it_was(site: Site, stub: ElasticStub) -> None:
    site.refuse(1, 2, 3)

    assert ExitStatus.DONE == site.resend()
    assert ["3 events sent"] == site.said
    lines = [site.place.line(n) for n in (1, 2, 3)]
    assert [line.body for line in lines] == list(stub.documents.values())
    assert ["resend.lock", "tag"] == sorted(path.name for path in site.state.iterdir())


def test_it_is_not_doubled_by_a_second_resend(site: Site, stub: ElasticStub) -> None:
    site.refuse(1, 2)
    site.resend()
    site.refuse(2, 3)

    assert ExitStatus.DONE == site.resend()
    assert "1 event sent, 1 there already" == site.said[-1]
    assert [1, 2, 3] == arrived(stub)


def test_nothing_to_send_is_no_error(site: Site) -> None:
    assert ExitStatus.DONE == site.resend()
    assert ["0 events sent"] == site.said


def test_both_files_are_sent_the_older_first(site: Site, stub: ElasticStub) -> None:
    site.letters = DeadLetters(site.letters.path, max_bytes=10)
    site.refuse(1, 2)
    site.refuse(3)
    assert 2 == len(site.letters.files())

    assert ExitStatus.DONE == site.resend()
    assert [1, 2, 3] == [
        json.loads(body)["event"]["duration"] for body in stub.documents.values()
    ]


def test_what_is_refused_again_lies_there_again(site: Site, stub: ElasticStub) -> None:
    stub.rule = only(b"number 2", BAD_1)
    site.refuse(1, 2, 3)

    assert ExitStatus.ELASTIC == site.resend()
    assert "2 events sent, 1 refused again (--dry-run says why)" == site.said[-1]
    assert ([1, 3], [2]) == (arrived(stub), site.left())
    stub.rule = lambda _: None
    assert ExitStatus.DONE == site.resend()
    assert ([1, 2, 3], []) == (arrived(stub), site.left())


def test_while_the_reason_lasts_all_stays(site: Site, stub: ElasticStub) -> None:
    stub.rule = lambda _: (400, "illegal_argument_exception")
    site.refuse(1, 2)

    with pytest.raises(ElasticError, match=r"illegal_argument.*the dead letters stay"):
        site.resend()
    assert [1, 2] == site.left()
    stub.rule = lambda _: None
    assert ExitStatus.DONE == site.resend()
    assert ([1, 2], []) == (arrived(stub), site.left())


@pytest.mark.parametrize(
    "fault",
    [error(403, "security_exception"), Fault(items={"*": (403, "security_exception")})],
    ids=["request", "items"],
)
def test_what_needs_a_person_ends_it_at_once(
    site: Site, stub: ElasticStub, fault: Fault
) -> None:
    stub.faults.append(fault)
    site.refuse(1, 2)

    with pytest.raises(ElasticError, match="security_exception"):
        site.resend()
    assert (1, [1, 2]) == (len(stub.bulks), site.left())


def test_a_busy_server_is_asked_again(site: Site, stub: ElasticStub) -> None:
    stub.faults += [error(429, "es_rejected_execution_exception")] * 3
    site.refuse(1, 2)

    assert ExitStatus.DONE == site.resend()
    assert [1, 2] == arrived(stub)


def test_many_are_sent_in_parts_and_a_bad_one_keeps_back_none(
    site: Site, stub: ElasticStub
) -> None:
    stub.rule = only(b"number 70", BAD_1)
    site.refuse(*range(1, 1500))

    assert ExitStatus.ELASTIC == site.resend()
    bad = [70, *range(700, 710)]
    assert bad == site.left()
    assert sorted(set(range(1, 1500)) - set(bad)) == arrived(stub)


def test_a_servers_own_error_keeps_back_none(site: Site, stub: ElasticStub) -> None:
    stub.rule = only(b"number 70", (500, "boom"))
    site.refuse(*range(1, 1500))

    with pytest.raises(ElasticError, match="1,488 sent, the dead letters stay"):
        site.resend()
    stub.rule = lambda _: None
    assert ExitStatus.DONE == site.resend()
    assert "11 events sent, 1,488 there already" == site.said[-1]
    assert (list(range(1, 1500)), []) == (arrived(stub), site.left())


def test_letters_that_have_no_place_any_more_are_told(
    site: Site, stub: ElasticStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DeadLetters.__init__, "__defaults__", (10,))
    for number in (10, 20, 30):
        site.refuse(number, number + 1)
        site.letters.path.rename(
            site.letters.path.with_suffix(f".resend.{number}.ndjson")
        )
    stub.rule = lambda body: BAD_1 if re.search(rb"number \d1", body) else None

    assert ExitStatus.ELASTIC == site.resend()
    assert (
        ", 3 refused again (--dry-run says why), 1 lost for want of space"
        in site.said[-1]
    )
    assert [21, 31] == site.left()


def test_what_came_during_a_cut_off_resend_is_sent_too(
    site: Site, stub: ElasticStub
) -> None:
    site.refuse(1)
    stub.faults.append(error(403, "security_exception"))
    with pytest.raises(ElasticError):
        site.resend()
    site.refuse(2)

    assert ExitStatus.DONE == site.resend()
    assert ([1, 2], []) == (arrived(stub), site.left())


def test_a_torn_letter_is_told_and_ends_nothing(site: Site, stub: ElasticStub) -> None:
    site.refuse(1, 2)
    whole = site.letters.path.read_bytes()
    site.letters.path.write_bytes(b'{"segment":\n[]\n' + whole[:-9])

    assert ExitStatus.DONE == site.resend()
    assert "1 event sent, 3 not readable and removed" == site.said[-1]
    assert [1] == arrived(stub)


def test_letters_that_cannot_be_set_aside_again_stay(
    site: Site, stub: ElasticStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.rule = only(b"number 2", BAD_1)
    site.refuse(1, 2)

    def full(fd: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(dead_letters, "write_all", full)
        with pytest.raises(DirectoryError, match="No space left on device; all stays"):
            site.resend()
    assert [1, 2] == site.left()


def test_none_is_lost_while_the_logger_adds(site: Site, stub: ElasticStub) -> None:
    """A letter that is being written when the file is taken goes with it or stays."""
    done = threading.Event()

    def add() -> None:
        for number in range(1, 400):
            site.refuse(number)
        done.set()

    thread = threading.Thread(target=add)
    thread.start()
    while not done.is_set():
        site.resend()
    thread.join()
    site.resend()
    assert list(range(1, 400)) == arrived(stub)


def test_the_sinks_own_letters_can_be_sent(site: Site, stub: ElasticStub) -> None:
    """With a text that looks like the letter's own."""
    stub.rule = only(b"number 1", BAD_1)
    odd = site.place.line(1, error={"message": 'a,"document":{"b":1}}\\\n'})
    sink = ElasticSink(site.place.settings, site.letters)
    sink.ship([odd, site.place.line(2)])
    sink.close()
    stub.rule = lambda _: None

    assert ExitStatus.DONE == site.resend()
    assert odd.body in stub.documents.values()


def run(site: Site, *arguments: str) -> int:
    return cli.run(["elastic", "resend", "--config", str(site.config), *arguments])


def test_a_dry_run_says_why_and_sends_nothing(
    site: Site, stub: ElasticStub, capsys: pytest.CaptureFixture[str]
) -> None:
    site.refuse(1, 2)

    assert 0 == run(site, "--dry-run")
    told = capsys.readouterr().out
    assert '2  HTTP 400 document_parsing_exception: no,"document":"\\n\n' in told
    assert ([], [1, 2]) == (stub.bulks, site.left())


def test_the_command_tells_one_line(
    site: Site, stub: ElasticStub, capsys: pytest.CaptureFixture[str]
) -> None:
    site.refuse(1)

    assert 0 == run(site)
    assert ("1 event sent\n", "") == tuple(capsys.readouterr())
    assert 0 == run(site, "-q")
    assert ("", "") == tuple(capsys.readouterr())
    assert 0 == run(site, "--dry-run")
    assert "no dead letters\n" == capsys.readouterr().out


def test_without_elasticsearch_it_is_a_matter_of_configuration(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.config.write_text(site.text.partition("[elasticsearch]")[0])

    assert 4 == run(site)
    assert "[elasticsearch] urls is empty" in capsys.readouterr().err


def test_a_server_that_is_away_and_a_missing_directory_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site(tmp_path, f"http://127.0.0.1:{free_port()}")
    site.refuse(1)

    with pytest.raises(ElasticError, match="Connection refused"):
        site.resend()
    assert [1] == site.left()
    away = site.text.replace(str(site.state), str(tmp_path / "none"))
    site.config.write_text(away)
    assert 13 == run(site)
    assert "has dcmirror watch run here" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
