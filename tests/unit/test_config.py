"""The configuration: what is accepted, and the one line for what is not."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from config_text import SHORTEST, parsed, problems, with_line
from dcmirror import config
from dcmirror.config_checks import CHECKS, expectation
from dcmirror.config_reader import table_classes
from dcmirror.errors import ConfigError, ExitStatus

ANCESTOR = """\
[kafka]
topic = "billingEGEE"
servers = [ "172.17.0.37:9092", "172.17.0.111:9092", "172.17.0.63:9092",]
consumergroup = "imsimprod001"

[dcache]
url = "https://door.example.org:2880/lsst"
pool = "/pnfs/in2p3.fr/data/lsst"
folder = "/lsst/user/i/imsim"
retryseconds = 1
retrytimes = 10
maxdownloads = 10
timeout = 600

[local]
proxy = "/pbs/home/l/lsstdata/software/dcalcr/x509_proxy"
capath = "/pbs/home/l/lsstdata/software/dcalcr/certificates"
downloadfolder = "/sps/lssttest/datasets/desc/DC2/Run2.2i/sim/input"
permissions = '2755'
failedtasksfile = "/pbs/home/l/lsstdata/software/dcalcr/failed.csv"
"""


def test_the_ancestors_file_works_as_it_is() -> None:
    settings = parsed(ANCESTOR)

    assert settings.kafka.servers == (
        "172.17.0.37:9092",
        "172.17.0.111:9092",
        "172.17.0.63:9092",
    )
    assert (settings.dcache.retryseconds, settings.dcache.timeout) == (1.0, 600.0)
    assert isinstance(settings.dcache.timeout, float)
    assert settings.local.permissions == "2755"
    assert settings.local.failedtasksfile == Path(
        "/pbs/home/l/lsstdata/software/dcalcr/failed.csv"
    )


def test_the_required_keys_suffice() -> None:
    settings = parsed(SHORTEST)

    assert settings.kafka.start == "earliest"
    assert settings.local.proxy is None


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("local", "failedtasksfile"),
        ("state", "directory"),
        ("journal", "export"),
        ("log", "file"),
    ],
)
@pytest.mark.parametrize("below", ["", "/x/y"])
def test_no_upload_can_replace_a_file_of_ours(table: str, key: str, below: str) -> None:
    mirror = parsed(SHORTEST).local.downloadfolder
    line = f'{key} = "{mirror}{below}"'
    (problem,) = problems(with_line(table, line))

    assert f"[{table}] {line}: expected a path outside of the mirror" in problem
    assert parsed(with_line(table, f'{key} = "{mirror}-beside{below}"'))


def test_all_missing_required_keys_are_named_at_once() -> None:
    assert problems('[kafka]\ntopic = "t"\n') == [
        "t.toml: missing required [kafka] servers, [kafka] consumergroup, "
        "[dcache] url, [dcache] pool, [dcache] folder, [local] downloadfolder"
    ]


@pytest.mark.parametrize(
    ("table", "line", "message"),
    [
        (
            "dcache",
            'retrytimes = "ten"',
            't.toml:6: [dcache] retrytimes = "ten": expected a whole number',
        ),
        (
            "dcache",
            "retrytimes = 1.5",
            "t.toml:6: [dcache] retrytimes = 1.5: expected a whole number",
        ),
        (
            "dcache",
            "retrytimes = true",
            "t.toml:6: [dcache] retrytimes = true: expected a whole number",
        ),
        (
            "dcache",
            "retrytimes = -1",
            "t.toml:6: [dcache] retrytimes = -1: expected a number from 0 to 1000000",
        ),
        (
            "dcache",
            "timeout = nan",
            "t.toml:6: [dcache] timeout = nan: expected a number",
        ),
        (
            "dcache",
            "maxdownloads = 0",
            "t.toml:6: [dcache] maxdownloads = 0: expected a number from 1 to 10000",
        ),
        (
            "dcache",
            "retrytime = 3",
            "t.toml:6: [dcache] retrytime: unknown key; did you mean retrytimes?",
        ),
        (
            "dcache",
            'proxy = "/p"',
            "t.toml:6: [dcache] proxy: unknown key; did you mean [local] proxy?",
        ),
        (
            "dcache",
            "qqqqqqqq = 1",
            "t.toml:6: [dcache] qqqqqqqq: unknown key",
        ),
        (
            "local",
            "permissions = 2755",
            "t.toml:10: [local] permissions = 2755: expected a string in quotes",
        ),
        (
            "local",
            'proxy = "x509"',
            't.toml:10: [local] proxy = "x509": expected an absolute path',
        ),
        (
            "local",
            'proxy = "/a/../b"',
            't.toml:10: [local] proxy = "/a/../b": expected an absolute path',
        ),
        (
            "local",
            'capath = ""',
            't.toml:10: [local] capath = "": expected a path in quotes',
        ),
        (
            "local",
            'proxy = "/a\\nb"',
            't.toml:10: [local] proxy = "/a\\nb": '
            "expected text without control characters",
        ),
        (
            "destination",
            'shared = "yes"',
            't.toml:12: [destination] shared = "yes": expected true or false',
        ),
        (
            "destination",
            'sync = "always"',
            't.toml:12: [destination] sync = "always": '
            'expected "group", "file" or "none"',
        ),
        (
            "source",
            'redirect_schemes = ["https", "ftp"]',
            't.toml:12: [source] redirect_schemes = "ftp": expected "https" or "http"',
        ),
        (
            "source",
            "redirect_schemes = []",
            "t.toml:12: [source] redirect_schemes = []: expected at least one entry",
        ),
        (
            "filter",
            'rules = ["drop *.tmp"]',
            't.toml:12: [filter] rules = "drop *.tmp": '
            'expected "include GLOB" or "exclude GLOB", with a glob such as "*.tmp"',
        ),
        (
            "filter",
            'rules = ["include [z-a]"]',
            't.toml:12: [filter] rules = "include [z-a]": '
            'expected "include GLOB" or "exclude GLOB", with a glob such as "*.tmp"',
        ),
        (
            "cleanup",
            'exclude = ["a", "[z-a]"]',
            't.toml:12: [cleanup] exclude = "[z-a]": '
            'expected a glob, such as "scratch/**"',
        ),
        (
            "source",
            "connect_seconds = 1e300",
            "t.toml:12: [source] connect_seconds = 1e+300: "
            "expected a number above 0, at most 1000000",
        ),
        (
            "pipeline",
            "workers = 100000",
            "t.toml:12: [pipeline] workers = 100000: expected a number from 0 to 1000",
        ),
        (
            "destination",
            "min_free = 9223372036854775808",
            "t.toml:12: [destination] min_free = 9223372036854775808: "
            "expected a whole number",
        ),
        (
            "filtre",
            "rules = []",
            "t.toml:11: [filtre]: unknown table; did you mean filter?",
        ),
    ],
)
def test_each_mistake_gives_line_key_value_and_what_is_expected(
    table: str, line: str, message: str
) -> None:
    assert problems(with_line(table, line)) == [message]


def test_problems_come_in_the_order_of_the_file() -> None:
    text = SHORTEST.replace('"/raw"', "7").replace('["k:9092"]', '["k"]')

    assert problems(text) == [
        't.toml:3: [kafka] servers = "k": '
        'expected host:port, such as "kafka.example.org:9092"',
        "t.toml:8: [dcache] folder = 7: expected a string in quotes",
    ]


def test_lines_are_right_after_multi_line_values_and_comments() -> None:
    text = SHORTEST.replace(
        'servers = ["k:9092"]',
        'servers = [ # why, "] =\n  "k:9092",\n\n  "l:9092", # [dcache]\n]',
    ).replace('folder = "/raw"', 'folder = """\n/raw\n"""\n')

    assert problems(text) == [
        't.toml:12: [dcache] folder = "/raw\\n": '
        "expected text without control characters"
    ]


def test_dotted_keys_and_inline_tables_have_lines_too() -> None:
    text = "destination.shared = 1\nreplay = { maxdownloads = 0 }\n" + SHORTEST

    assert problems(text) == [
        "t.toml:1: [destination] shared = 1: expected true or false",
        "t.toml:2: [replay] maxdownloads = 0: expected a number from 1 to 10000",
    ]


def test_a_key_outside_of_tables_is_told_where_it_belongs() -> None:
    assert problems('downloadfolder = "/x"\n' + SHORTEST) == [
        "t.toml:1: downloadfolder: stands outside of a table; it belongs under [local]"
    ]


def test_a_value_in_place_of_a_table_is_an_error() -> None:
    assert problems("journal = 3\n" + SHORTEST) == [
        "t.toml:1: journal = 3: expected a table"
    ]


def test_a_long_value_is_cut() -> None:
    (line,) = problems(with_line("local", f'proxy = "{"x" * 500}"'))

    assert len(line) < 160
    assert "xxx...: expected" in line


@pytest.mark.parametrize(
    "url",
    [
        "http://door.example.org:2880",
        "https://user:secret@door.example.org",
        "https://door.example.org/?authz=token",
        "https://door.example.org/#x",
        "https://door.example.org:99999/",
        "https://door.example.org:port/",
        "https:///data",
        "https://door.example.org/a/../b",
        "door.example.org:2880",
        "https://[::1",
        "https://door.example.org/a b",
        "https://door.example.org/\u0142\u00f3d\u017a",
        "https://door.example.org/caf\u00e9",
        "https://d\u00f6\u00f6r.example.org",
        "https://door.example.org/\x7f",
    ],
)
def test_urls_that_are_not_a_doors_are_refused(url: str) -> None:
    assert not CHECKS["https_url"](url)


@pytest.mark.parametrize(
    "url",
    [
        "https://door.example.org",
        "https://192.0.2.1:2443/",
        "https://[::1]:2443/a",
        "https://door.example.org/%C5%82%C3%B3d%C5%BA",
    ],
)
def test_urls_of_doors_are_taken(url: str) -> None:
    assert CHECKS["https_url"](url)
    assert CHECKS["http_url"](url)


@pytest.mark.parametrize(
    ("table", "key"), [("dcache", "url"), ("elasticsearch", "urls")]
)
def test_a_url_that_is_no_ascii_is_told_to_be_percent_encoded(
    table: str, key: str
) -> None:
    url = '"https://h.example.org/\u0142"'
    if key == "url":
        text = SHORTEST.replace('"https://door.example.org:2880"', url)
    else:
        text = with_line(table, f"{key} = [{url}]")
    (line,) = problems(text)

    assert f"[{table}] {key} = {url}: expected an http" in line
    assert "percent-encode" in line


@pytest.mark.parametrize(
    ("address", "is_good"),
    [
        ("k:9092", True),
        ("192.0.2.1:1", True),
        ("[2001:db8::1]:9092", True),
        ("2001:db8::1:9092", False),
        ("k", False),
        ("k:", False),
        (":9092", False),
        ("k:0", False),
        ("k:65536", False),
        ("k:٣", False),
        ("SSL://k:9092", False),
    ],
)
def test_a_broker_is_host_and_port(address: str, is_good: bool) -> None:
    assert CHECKS["host_ports"](address) is is_good


@pytest.mark.parametrize(
    ("mode", "is_good"),
    [
        ("2755", True),
        ("0755", True),
        ("700", True),
        ("0o2775", True),
        ("755x", False),
        ("855", False),
        ("0055", False),
        ("77777", False),
    ],
)
def test_a_directory_mode_is_octal_and_lets_the_owner_in(
    mode: str, is_good: bool
) -> None:
    assert CHECKS["octal_mode"](mode) is is_good


def test_every_validator_says_what_it_expects_and_is_used() -> None:
    used = {
        setting.metadata["check"]
        for table in table_classes().values()
        for setting in fields(table)
    }

    assert used - {""} == set(CHECKS)
    assert all(expectation(check) for check in CHECKS.values())


@pytest.mark.parametrize(
    ("table", "key"), [("dcache", "timeout"), ("source", "stall_seconds")]
)
def test_a_whole_number_beyond_every_float_is_one_line(table: str, key: str) -> None:
    (line,) = problems(with_line(table, f"{key} = {'9' * 400}"))

    assert f"[{table}] {key} = 0x" in line
    assert line.endswith("...: expected a number")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (f"retrytimes = {'9' * 5000}", "a number with too many digits"),
        (f"retrytimes = {'[' * 5000}{']' * 5000}", "nested too deeply"),
    ],
)
def test_what_tomllib_gives_up_at_names_the_line(line: str, what: str) -> None:
    assert problems(with_line("dcache", line)) == [f"t.toml:6: not to be read: {what}"]


def test_tables_that_are_nested_too_deeply_are_one_line() -> None:
    name = ".".join(["a"] * 5000)

    assert problems(f"{SHORTEST}[{name}]\nb = 1\n") == [
        "t.toml: not to be read: nested too deeply"
    ]


def test_a_hexadecimal_number_without_end_is_one_line() -> None:
    (line,) = problems(with_line("dcache", f"retrytimes = 0x{'f' * 5000}"))

    assert line.endswith("...: expected a whole number")


def test_lines_are_right_where_they_end_as_in_windows() -> None:
    text = with_line("dcache", "retrytimes = -1").replace("\n", "\r\n")

    assert problems(text)[0].startswith("t.toml:6: [dcache] retrytimes")


def test_syntax_errors_name_the_line() -> None:
    assert problems("[kafka]\ntopic = \n") == [
        "t.toml:2: not TOML: Invalid value (column 9)"
    ]


def test_a_key_given_twice_names_the_line() -> None:
    (line,) = problems('[kafka]\ntopic = "a"\ntopic = "b"\n')

    assert line.startswith("t.toml:3: not TOML: ")


def test_a_missing_file_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(ConfigError) as caught:
        config.load(path, {})

    assert str(caught.value) == (
        f"{path}: no such file; name one with --config or $DCMIRROR_CONFIG"
    )
    assert caught.value.exit_status is ExitStatus.BAD_CONFIGURATION


def test_a_file_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b"[kafka]\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=rf"{path}:2: not UTF-8"):
        config.load(path, {})


def test_a_directory_in_place_of_a_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        config.load(tmp_path, {})


def test_a_byte_order_mark_is_tolerated(tmp_path: Path) -> None:
    path = tmp_path / "bom.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SHORTEST.encode())

    assert config.load(path, {}).kafka.topic == "billing"


def test_the_environment_names_the_file_unless_the_command_line_does() -> None:
    environ = {"DCMIRROR_CONFIG": "/env.toml"}

    assert config.locate(Path("/cli.toml"), environ) == Path("/cli.toml")
    assert config.locate(None, environ) == Path("/env.toml")
    assert config.locate(None, {}) == Path("/etc/dcmirror/dcmirror.toml")


def test_changed_keys_are_split_by_what_a_hup_may_change() -> None:
    old = parsed(SHORTEST)
    new = parsed(
        with_line("dcache", "retrytimes = 3\nmaxdownloads = 3")
        + '[log]\nlevel = "debug"\n[filter]\nrules = ["exclude *.tmp"]\n'
    )

    assert config.changed_keys(old, new) == (
        ("[dcache] retrytimes", "[filter] rules", "[log] level"),
        ("[dcache] maxdownloads",),
    )
    assert config.changed_keys(old, old) == ((), ())


def test_a_reload_takes_what_it_may_and_keeps_the_rest() -> None:
    old = parsed(SHORTEST)
    new = parsed(with_line("dcache", "retrytimes = 3\nmaxdownloads = 3"))
    merged = config.reloaded(old, new)

    assert (merged.dcache.retrytimes, merged.dcache.maxdownloads) == (3, 10)
    assert config.changed_keys(old, merged) == (("[dcache] retrytimes",), ())
