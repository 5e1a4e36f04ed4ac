"""``dcmirror check``: each thing that fails shows its line and its exit status."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dcmirror import cli
from dcmirror.commands import check_limits
from dcmirror.commands.check import CheckOptions, check
from dcmirror.errors import ExitStatus
from dcmirror.testing.broker import MockBroker
from dcmirror.testing.fake_dcache import FakeDCache
from dcmirror.testing.fake_faults import Kind

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki
    from servers.kafka import Kafka, LocalKafka
    from servers.nginx import Nginx
    from servers.xrootd import XRootD

FOLDER = "exp/raw"


@dataclass
class Site:
    """A configuration in which everything is well, to be spoilt by a test."""

    directory: Path
    values: dict[str, dict[str, Any]]
    environ: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def check(self, **options: Any) -> ExitStatus:
        path = self.directory / "dcmirror.toml"
        path.write_text(toml(self.values))
        self.lines.clear()
        return check(
            CheckOptions(
                config_path=path,
                environ=self.environ,
                echo=self.lines.append,
                probe_seconds=3.0,
                **options,
            )
        )

    def bad_lines(self) -> list[str]:
        return [line for line in self.lines if not line.startswith("OK ")]


def toml(values: dict[str, dict[str, Any]]) -> str:
    text = ""
    for table, keys in values.items():
        text += f"[{table}]\n"
        text += "".join(f"{key} = {json.dumps(v)}\n" for key, v in keys.items())
    return text


@pytest.fixture(scope="module")
def broker() -> Iterator[MockBroker]:
    with MockBroker() as broker:
        broker.create_topic("billing", 3)
        yield broker


@pytest.fixture(scope="module")
def door(pki: Pki) -> Iterator[FakeDCache]:
    with FakeDCache(pki) as door:
        door.upload(f"{door.root}/{FOLDER}/a b.dat", b"x" * 2048)
        yield door


@pytest.fixture
def site(tmp_path: Path, pki: Pki, broker: MockBroker, door: FakeDCache) -> Site:
    (tmp_path / "mirror").mkdir()
    return Site(
        tmp_path,
        {
            "kafka": {
                "topic": "billing",
                "servers": [broker.bootstrap],
                "consumergroup": "g",
            },
            "kafka.client": {"api_version": "2.3"},
            "dcache": {"url": door.door_url, "pool": door.root, "folder": FOLDER},
            "local": {
                "downloadfolder": str(tmp_path / "mirror"),
                "proxy": str(pki.make_proxy(7200, tmp_path / "x509up")),
                "capath": str(pki.capath),
            },
            "destination": {"min_free": 0},
            "journal": {"max_bytes": 16 << 20},
            "state": {"directory": str(tmp_path / "state")},
        },
    )


@pytest.fixture
def refusing_port() -> Iterator[int]:
    """A port that is taken, and on which nobody listens."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def only(site: Site) -> str:
    """The one line that is not OK."""
    (line,) = site.bad_lines()
    return line


def test_a_good_site_gives_a_line_for_each_thing_and_status_0(
    site: Site, pki: Pki
) -> None:
    assert (site.check(), site.bad_lines()) == (ExitStatus.DONE, [])
    names = [line[6:].split(":")[0] for line in site.lines]
    assert names == [
        "configuration",
        "Kafka codecs",
        "broker 127.0.0.1",
        "topic",
        "consumer group",
        "proxy",
        "CA directory",
        "mirror",
        "mirror file system",
        "state directory",
        "failed.csv",
        "descriptors",
        "door",
    ]
    assert f"{pki.user_dn}, no VO, 1 h 59 min left" in "".join(site.lines)


def test_a_check_leaves_nothing_behind(site: Site) -> None:
    site.check()

    assert sorted(os.listdir(site.directory)) == ["dcmirror.toml", "mirror", "x509up"]
    assert os.listdir(site.directory / "mirror") == []


def test_json_tells_the_same_to_machines(site: Site) -> None:
    site.values["kafka"]["topic"] = "none"

    assert site.check(as_json=True) == ExitStatus.INTAKE
    (document,) = site.lines
    answer = json.loads(document)
    assert answer["exit_status"] == 11
    assert [each for each in answer["checks"] if each["result"] != "OK"] == [
        {
            "name": "topic",
            "result": "FAIL",
            "text": "none: does not exist",
            "remedy": "create it, or look at [kafka] topic",
        }
    ]


def test_quiet_shows_only_what_is_not_well(site: Site) -> None:
    site.values["kafka"]["topic"] = "none"
    site.check(verbosity=-1)

    assert site.lines == site.bad_lines()


def test_bad_configuration_is_told_by_line_and_ends_with_4(site: Site) -> None:
    site.values["kafka"]["serverss"] = 3

    assert site.check() == ExitStatus.BAD_CONFIGURATION
    assert only(site).endswith(
        "dcmirror.toml:5: [kafka] serverss: unknown key; did you mean servers?"
    )


def test_a_bad_filter_rule_ends_with_4(site: Site) -> None:
    site.values["filter"] = {"rules": ["exclude [z-a]x"]}

    assert site.check() == ExitStatus.BAD_CONFIGURATION
    assert "[z-a]x" in only(site)


def test_an_elasticsearch_that_is_down_is_a_warning_only(
    site: Site, refusing_port: int
) -> None:
    site.values["elasticsearch"] = {"urls": [f"http://127.0.0.1:{refusing_port}"]}

    assert site.check() == ExitStatus.DONE
    assert only(site).startswith("WARN  Elasticsearch: Elasticsearch cannot be reached")


def test_a_broker_that_is_down_ends_with_11(site: Site, refusing_port: int) -> None:
    site.values["kafka"]["servers"] = [f"127.0.0.1:{refusing_port}"]

    assert site.check() == ExitStatus.INTAKE
    assert only(site).startswith(
        f"FAIL  broker 127.0.0.1:{refusing_port}: Connection refused; "
        "look at [kafka] servers"
    )


def test_one_broker_of_two_that_is_down_is_a_warning(
    site: Site, refusing_port: int
) -> None:
    site.values["kafka"]["servers"].append(f"127.0.0.1:{refusing_port}")

    assert site.check() == ExitStatus.DONE
    assert only(site).startswith(f"WARN  broker 127.0.0.1:{refusing_port}: ")


def test_a_broker_that_never_answers_tls_is_given_up(
    site: Site, silent_port: int
) -> None:
    site.values["kafka"]["servers"] = [f"127.0.0.1:{silent_port}"]
    site.values["kafka.client"]["security_protocol"] = "SSL"

    assert site.check() == ExitStatus.INTAKE
    assert "no answer within 3 s" in only(site)


def test_a_ca_file_for_kafka_that_holds_none_ends_with_4(site: Site) -> None:
    junk = site.directory / "junk.pem"
    junk.write_text("junk")
    site.values["kafka.client"] |= {
        "security_protocol": "SSL",
        "ssl_cafile": str(junk),
    }

    assert site.check() == ExitStatus.BAD_CONFIGURATION
    assert f'ssl_cafile = "{junk}": expected a PEM file' in only(site)


def test_a_missing_proxy_ends_with_12(site: Site) -> None:
    site.values["local"]["proxy"] = str(site.directory / "none")

    assert site.check() == ExitStatus.CREDENTIAL
    assert (
        f"proxy: {site.directory}/none: no such file; make one" in site.bad_lines()[0]
    )


def test_the_proxy_may_come_from_the_environment(site: Site) -> None:
    site.environ["X509_USER_PROXY"] = site.values["local"].pop("proxy")
    site.environ["X509_CERT_DIR"] = site.values["local"].pop("capath")

    assert (site.check(), site.bad_lines()) == (ExitStatus.DONE, [])


def test_an_expired_proxy_ends_with_12_at_the_door_too(site: Site, pki: Pki) -> None:
    pki.make_proxy(-120, Path(site.values["local"]["proxy"]))

    assert site.check() == ExitStatus.CREDENTIAL
    proxy, door = site.bad_lines()
    assert proxy.endswith(f"{pki.user_dn}: expired 2 min ago; make a new one")
    assert "the server refuses our certificate: look at the proxy" in door


def test_a_proxy_that_soon_expires_is_a_warning(site: Site, pki: Pki) -> None:
    pki.make_proxy(600, Path(site.values["local"]["proxy"]))

    assert site.check() == ExitStatus.DONE
    assert only(site).endswith("9 min left; renew it")


def test_a_proxy_that_others_can_read_is_a_warning(site: Site) -> None:
    Path(site.values["local"]["proxy"]).chmod(0o644)

    assert site.check() == ExitStatus.DONE
    assert "others may read its key; chmod 600" in only(site)


def test_an_empty_ca_directory_ends_with_12(site: Site) -> None:
    empty = site.directory / "cas"
    empty.mkdir()
    site.values["local"]["capath"] = str(empty)

    assert site.check() == ExitStatus.CREDENTIAL
    cas, door = site.bad_lines()
    assert cas.startswith(f"FAIL  CA directory: {empty}: no certificate")
    assert "[local] capath" in door


def test_a_door_that_is_down_ends_with_14(site: Site, refusing_port: int) -> None:
    site.values["dcache"]["url"] = f"https://localhost:{refusing_port}"

    assert site.check() == ExitStatus.DOOR
    assert only(site).startswith(f"FAIL  door: https://localhost:{refusing_port}/")


def test_a_door_that_never_answers_is_given_up(site: Site, silent_port: int) -> None:
    site.values["dcache"]["url"] = f"https://localhost:{silent_port}"

    assert site.check() == ExitStatus.DOOR
    assert "timed out" in only(site)


def test_a_folder_that_is_not_there_ends_with_14(site: Site) -> None:
    site.values["dcache"]["folder"] = "exp/row"

    assert site.check() == ExitStatus.DOOR
    assert "status 404; look at [dcache] url, pool and folder" in only(site)


def test_a_folder_that_is_pool_itself_is_asked_for(site: Site) -> None:
    site.values["dcache"]["folder"] = "/"

    assert (site.check(), site.bad_lines()) == (ExitStatus.DONE, [])


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        (401, ExitStatus.CREDENTIAL),
        (403, ExitStatus.CREDENTIAL),
        (429, ExitStatus.DOOR),
        (503, ExitStatus.DOOR),
    ],
)
def test_a_door_that_refuses_says_whose_business_it_is(
    site: Site, door: FakeDCache, status: int, ending: ExitStatus
) -> None:
    door.faults.add(Kind.STATUS, status=status, methods="PROPFIND")
    try:
        assert site.check() == ending
    finally:
        door.faults.clear()
    assert f"status {status}" in only(site)


def test_a_named_file_shows_the_redirect_and_the_digest(
    site: Site, door: FakeDCache
) -> None:
    assert site.check(file=f"{door.root}/{FOLDER}/a b.dat") == ExitStatus.DONE
    redirect, pool, digest = site.lines[-3:]
    assert redirect.startswith("OK    redirect: to https://localhost:")
    assert pool.endswith(": sends 2.0 KiB")
    assert digest == "OK    digest: Adler-32 comes with the file"


def test_the_one_time_id_of_a_redirect_is_never_shown(
    site: Site, door: FakeDCache
) -> None:
    site.check(file=f"{door.root}/{FOLDER}/a b.dat")

    assert "uuid" not in "".join(site.lines)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://localhost/x", "redirect to scheme 'ftp', not in redirect_schemes"),
        ("https://elsewhere.invalid/x?authz=secret", "elsewhere.invalid"),
    ],
)
def test_a_redirect_against_policy_ends_with_14(
    site: Site, door: FakeDCache, url: str, reason: str
) -> None:
    site.values["source"] = {"redirect_hosts": ["localhost"]}
    door.faults.add(Kind.REDIRECT_TO, url=url)
    try:
        assert site.check(file=f"{door.root}/{FOLDER}/a b.dat") == ExitStatus.DOOR
    finally:
        door.faults.clear()
    assert reason in site.lines[-1]
    assert "secret" not in "".join(site.lines)


def test_a_door_that_sends_us_to_itself_gets_our_certificate_again(
    site: Site, door: FakeDCache
) -> None:
    path = f"{door.root}/{FOLDER}/a b.dat"
    door.faults.add(Kind.REDIRECT_TO, url=f"{door.url_of(path)}?again", times=1)
    try:
        assert site.check(file=path) == ExitStatus.DONE
    finally:
        door.faults.clear()
    assert sum("redirect: to" in line for line in site.lines) == 2


def test_a_missing_digest_is_a_warning(site: Site, door: FakeDCache) -> None:
    door.faults.add(Kind.DIGEST_MISSING)
    try:
        assert site.check(file=f"{door.root}/{FOLDER}/a b.dat") == ExitStatus.DONE
    finally:
        door.faults.clear()
    assert only(site).startswith("WARN  digest: no Adler-32")


def test_a_file_outside_of_the_folder_ends_with_4(site: Site, door: FakeDCache) -> None:
    assert site.check(file=f"{door.root}/other") == ExitStatus.BAD_CONFIGURATION
    assert f"not below {door.root}/{FOLDER}/" in only(site)


def test_a_pool_that_is_down_ends_with_14(site: Site, door: FakeDCache) -> None:
    door.faults.add(Kind.POOL_REFUSED)
    try:
        assert site.check(file=f"{door.root}/{FOLDER}/a b.dat") == ExitStatus.DOOR
    finally:
        door.faults.clear()
    assert site.lines[-1].startswith("FAIL  pool: https://localhost:")


def test_a_missing_mirror_ends_with_13_and_is_not_made(site: Site) -> None:
    (site.directory / "mirror").rmdir()

    assert site.check() == ExitStatus.DIRECTORY
    assert only(site) == (
        f"FAIL  mirror: {site.directory}/mirror: No such file or directory; "
        "make it, mount it, or set [local] downloadfolder"
    )
    assert not (site.directory / "mirror").exists()


def test_a_file_in_place_of_the_mirror_ends_with_13(site: Site) -> None:
    site.values["local"]["downloadfolder"] = site.values["local"]["proxy"]

    assert site.check() == ExitStatus.DIRECTORY
    assert "Not a directory; set [local] downloadfolder" in only(site)


def test_a_full_mirror_ends_with_13(site: Site) -> None:
    site.values["destination"]["min_free"] = 1 << 60

    assert site.check() == ExitStatus.DIRECTORY
    assert "less than the 1024.0 PiB to leave free; make room" in only(site)


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (errno.EACCES, "Permission denied; give "),
        (errno.EROFS, "Read-only file system; mount it for writing"),
        (errno.ENOSPC, "No space left on device; make room"),
        (errno.EDQUOT, "Disk quota exceeded; make room, or raise the quota"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_mirror_that_cannot_be_written_ends_with_13(
    site: Site, monkeypatch: pytest.MonkeyPatch, number: int, line: str
) -> None:
    def refuse(place: Path) -> bool:
        if place.name == "mirror":
            raise OSError(number, os.strerror(number))
        return True

    monkeypatch.setattr("dcmirror.adapters.directory_probe._try_writing", refuse)

    assert site.check() == ExitStatus.DIRECTORY
    assert line in only(site)


def test_a_state_directory_without_place_ends_with_13(site: Site) -> None:
    site.values["state"]["directory"] = f"{site.values['local']['proxy']}/state"

    assert site.check() == ExitStatus.DIRECTORY
    assert site.bad_lines()[0].startswith("FAIL  state directory: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_books_of_another_user_end_with_13(site: Site) -> None:
    state = Path(site.values["state"]["directory"])
    state.mkdir(parents=True, exist_ok=True)
    (state / "tag").write_text("01234567\n")
    os.chown(state / "tag", 65534, 65534)

    assert site.check() == ExitStatus.DIRECTORY
    assert "its books belong to nobody" in only(site)


def test_a_state_directory_on_a_network_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_nfs(target: str) -> str:
        return "nfs"

    monkeypatch.setattr("dcmirror.adapters.directory_probe.network_file_system", as_nfs)

    assert site.check() == ExitStatus.DIRECTORY
    assert "on a network file system (nfs)" in only(site)


def test_a_file_system_without_attributes_is_a_warning(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.setxattr", refuse)

    assert site.check() == ExitStatus.DONE
    assert "without user attributes" in only(site)


@pytest.mark.parametrize(
    ("table", "key"),
    [("local", "failedtasksfile"), ("log", "file"), ("journal", "export")],
)
def test_a_file_in_a_directory_that_is_not_there_ends_with_4(
    site: Site, table: str, key: str
) -> None:
    site.values.setdefault(table, {})[key] = "/nonexistent/x"

    assert site.check() == ExitStatus.BAD_CONFIGURATION
    assert only(site).startswith(
        f"FAIL  [{table}] {key}: /nonexistent/x: No such file or directory"
    )


@pytest.mark.parametrize(
    ("table", "key"),
    [("local", "failedtasksfile"), ("log", "file"), ("journal", "export")],
)
def test_a_directory_in_place_of_a_file_ends_with_4(
    site: Site, table: str, key: str
) -> None:
    place = site.directory / "place"
    place.mkdir()
    site.values.setdefault(table, {})[key] = str(place)

    assert site.check() == ExitStatus.BAD_CONFIGURATION
    assert site.bad_lines()[0].startswith(f"FAIL  [{table}] {key}: {place}: not a file")


def test_a_failed_csv_that_cannot_be_read_ends_with_13(site: Site) -> None:
    (site.directory / "state" / "failed.csv").mkdir(parents=True)

    assert site.check() == ExitStatus.DIRECTORY
    assert only(site).startswith("FAIL  failed.csv: ")


def test_a_log_file_that_exists_is_enough(site: Site) -> None:
    """Its directory may belong to somebody else, as /var/log does."""
    site.values["log"] = {"file": "/dev/null"}

    assert (site.check(), site.bad_lines()) == (ExitStatus.DONE, [])


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_log_file_that_we_may_not_write_ends_with_4(site: Site) -> None:
    path = site.directory / "log"
    path.touch(mode=0o400)
    site.values["log"] = {"file": str(path)}

    assert site.check() == ExitStatus.BAD_CONFIGURATION
    assert only(site).startswith(f"FAIL  [log] file: {path}: Permission denied")


@pytest.mark.parametrize("key", ["failedtasksfile", "downloadfolder"])
def test_a_name_that_no_file_can_have_is_a_line_like_others(
    site: Site, key: str
) -> None:
    site.values["local"][key] = "/" + "x" * 300
    status = site.check(as_json=True)
    document = json.loads("\n".join(site.lines))

    assert status != ExitStatus.DONE
    assert document["exit_status"] == status
    assert "door" in [check["name"] for check in document["checks"]]


def test_a_file_whose_name_is_no_text_ends_with_4(site: Site, door: FakeDCache) -> None:
    status = site.check(file=f"{door.root}/{FOLDER}/\udcff", as_json=True)

    assert status == ExitStatus.BAD_CONFIGURATION
    assert "not Unicode text" in json.loads("\n".join(site.lines))["checks"][-1]["text"]


def test_a_probe_that_breaks_off_is_a_line_like_others(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Iterator[None]:
        raise PermissionError(errno.EACCES, "Permission denied", "/somewhere")
        yield

    monkeypatch.setattr("dcmirror.commands.check.check_mirror", broken)

    assert site.check() == ExitStatus.DIRECTORY
    assert only(site).startswith("FAIL  mirror: [Errno 13] Permission denied")
    assert site.lines[-1].startswith("OK    door")


def test_rows_in_failed_csv_are_a_warning_and_another_file_too(site: Site) -> None:
    path = site.directory / "failed.csv"
    path.write_text("name,size\nx,1\n")
    site.values["local"]["failedtasksfile"] = str(path)

    assert site.check() == ExitStatus.DONE
    assert only(site).startswith(f"WARN  failed.csv: {path}")


def test_the_lowest_status_of_several_failures_decides(
    site: Site, refusing_port: int
) -> None:
    site.values["dcache"]["url"] = f"https://localhost:{refusing_port}"
    (site.directory / "mirror").rmdir()

    assert site.check() == ExitStatus.DIRECTORY
    site.values["kafka"]["topic"] = "none"
    assert site.check() == ExitStatus.INTAKE


def test_the_command_line_ends_with_the_status(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.values["kafka"]["topic"] = "none"
    site.check()
    path = str(site.directory / "dcmirror.toml")

    assert cli.run(["check", "-c", path]) == ExitStatus.INTAKE
    assert "FAIL  topic: none: does not exist" in capsys.readouterr().out


def test_a_real_broker_tells_topic_and_partitions(site: Site, kafka: Kafka) -> None:
    topic = f"check-{os.urandom(4).hex()}"
    kafka.create_topic(topic, 2)
    site.values["kafka"] |= {"topic": topic, "servers": [kafka.bootstrap]}
    site.values["kafka.client"] = {}

    assert (site.check(), site.bad_lines()) == (ExitStatus.DONE, [])
    assert f"OK    topic: {topic}: 2 partitions" in site.lines
    site.values["kafka"]["topic"] = "none"
    assert site.check() == ExitStatus.INTAKE
    assert only(site).startswith("FAIL  topic: none: does not exist")


def test_a_real_grid_door_shows_folder_file_and_digest(
    site: Site, xrootd: XRootD
) -> None:
    xrootd.upload("/check/raw/one", b"x" * 100)
    site.values["dcache"] = {"url": xrootd.url, "pool": "/", "folder": "/check/raw"}

    assert site.check(file="/check/raw/one") == ExitStatus.DONE, site.lines
    assert site.bad_lines() == []
    assert "the door sends it itself, 100 B" in "".join(site.lines)
    site.values["dcache"]["folder"] = "/check/none"
    assert site.check() == ExitStatus.DOOR


def test_a_real_grid_door_refuses_a_stranger(
    site: Site, xrootd: XRootD, pki: Pki
) -> None:
    xrootd.upload("/check/raw/one", b"x")
    site.values["dcache"] = {"url": xrootd.url, "pool": "/", "folder": "/check/raw"}
    stranger = pki.make_user("Somebody Else")
    pki.make_proxy(user=stranger, path=Path(site.values["local"]["proxy"]))

    assert site.check() == ExitStatus.CREDENTIAL
    assert "status 403" in only(site)


def test_a_real_server_without_propfind_is_a_warning(
    site: Site, nginx_door: Nginx, pki: Pki
) -> None:
    nginx_door.upload("/check/one", b"x" * 100)
    both = Path(site.values["local"]["proxy"])
    both.write_bytes(pki.user_cert.read_bytes() + pki.user_key.read_bytes())
    site.values["dcache"] = {
        "url": nginx_door.door_url,
        "pool": "/",
        "folder": "/check",
    }

    assert site.check(file="/check/one") == ExitStatus.DONE, site.lines
    assert "does no PROPFIND" in site.bad_lines()[0]
    assert "OK    redirect: to " in "\n".join(site.lines)
    site.values["dcache"]["url"] = nginx_door.url
    assert site.check() == ExitStatus.DONE
    assert "(status 405)" in only(site)


Client = dict[str, Any]


def tls_client(pki: Pki) -> Client:
    return {
        "security_protocol": "SSL",
        "ssl_cafile": str(pki.ca_pem),
        "ssl_certfile": str(pki.user_cert),
        "ssl_keyfile": str(pki.user_key),
    }


def sasl_client(pki: Pki) -> Client:
    return {
        "security_protocol": "SASL_SSL",
        "ssl_cafile": str(pki.ca_pem),
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "alice",
        "sasl_plain_password": "alice-secret",
    }


@pytest.mark.parametrize(
    ("client", "spoilt", "line"),
    [
        (tls_client, {}, ""),
        (tls_client, {"ssl_certfile": None, "ssl_keyfile": None}, "certificate"),
        (tls_client, {"ssl_cafile": None}, "certificate"),
        (sasl_client, {}, ""),
        # kafka-python sees the broker's words, or only that it hung up
        (sasl_client, {"sasl_plain_password": "wrong"}, "authentication"),
        (sasl_client, {"sasl_mechanism": "SCRAM-SHA-256"}, "authentication"),
    ],
)
def test_a_real_broker_tells_reasons_of_tls_and_sasl(
    site: Site,
    pki: Pki,
    kafka_tls: LocalKafka,
    client: Callable[[Pki], Client],
    spoilt: Client,
    line: str,
) -> None:
    topic = f"check-{os.urandom(4).hex()}"
    kafka_tls.create_topic(topic, 1)
    settings = client(pki) | spoilt
    has_sasl = settings["security_protocol"] == "SASL_SSL"
    address = kafka_tls.sasl_bootstrap if has_sasl else kafka_tls.tls_bootstrap
    site.values["kafka"] |= {"topic": topic, "servers": [address]}
    site.values["kafka.client"] = {k: v for k, v in settings.items() if v}

    status = site.check()

    assert status == (ExitStatus.INTAKE if line else ExitStatus.DONE), site.lines
    assert line in "".join(site.bad_lines()).lower()
    assert "wrong" not in "".join(site.lines)


def test_streams_that_need_more_descriptors_than_there_are_are_a_warning(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_limits, "raise_descriptor_limit", lambda: 1024)
    site.values["dcache"]["maxdownloads"] = 1000
    site.values["pipeline"] = {"workers": 2}

    assert site.check() == ExitStatus.DONE
    (line,) = [line for line in site.lines if "descriptors" in line]
    assert line.startswith("WARN  descriptors: the 500 streams of a worker may need ")
    assert "and 1024 is the limit of a process here; raise LimitNOFILE" in line
