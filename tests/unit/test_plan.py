"""From a Kafka value to a decision, and the cheap test before it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmirror.core.events import StorageEvent, parse_event
from dcmirror.core.filters import Rules
from dcmirror.core.jobs import JobKind, Origin
from dcmirror.core.paths import PathMap
from dcmirror.core.plan import (
    NOT_OURS,
    Decision,
    Garbage,
    NotOurs,
    Planner,
    Skip,
    Unsafe,
    Upload,
)
from dcmirror.core.prefilter import Prefilter
from dcmirror.core.uploads import Verdict

DATA = Path(__file__).parents[1] / "data"
EVENTS = DATA / "events"
ROOT = "/pnfs/example.org/data"
WRITTEN = Planner(PathMap("https://door:2880/d", ROOT, "/exp"), Rules())
RECORDED = Planner(PathMap("https://door:2880", "/data", ""), Rules())

# Every other message is an Upload.
KINDS = {
    (NotOurs, ""): """
        check-dcap hit-billing-cell recorded-remove-by-door recorded-remove-of-replica
        recorded-request-read recorded-transfer-read recorded-transfer-read-aborted
        remove-by-door remove-nfs-billing-cell remove-of-replica remove-srm request-read
        restore-7.2 store-5.2 store-7.2 transfer-nfs-path-unknown transfer-p2p
        transfer-read warning-billing-cell
    """,
    (Skip, "failed"): """
        recorded-request-never-connected recorded-transfer-cut-upload
        recorded-transfer-killed-mover recorded-transfer-never-connected transfer-failed
    """,
    (Skip, "failed-request"): """
        recorded-request-cut-while-relayed recorded-request-get-of-unfinished-upload
        request-ftp-reply-451 request-srm-abort
    """,
    (Skip, "unknown-type"): "unknown-type",
    (Unsafe, ""): """
        transfer-path-dotdot transfer-path-latin1 transfer-path-lone-surrogate
        transfer-path-newline
    """,
}
EXPECTED = {name: kind for kind, names in KINDS.items() for name in names.split()}


def value_of(name: str) -> bytes:
    return (EVENTS / f"{name}.json").read_bytes().strip()


def planner_of(name: str) -> Planner:
    return RECORDED if name.startswith("recorded-") else WRITTEN


def kind_of(decision: Decision) -> tuple[type, str]:
    return type(decision), decision.reason if isinstance(decision, Skip) else ""


def transfer(path: str, **over: object) -> bytes:
    record: dict[str, Any] = json.loads(value_of("transfer-12.0"))
    record |= {"billingPath": path, "transferPath": path, **over}
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


@pytest.mark.parametrize("name", sorted(path.stem for path in EVENTS.glob("*.json")))
def test_message_gets_its_decision(name: str) -> None:
    decision = planner_of(name).decide(value_of(name))

    assert EXPECTED.get(name, (Upload, "")) == kind_of(decision)


@pytest.mark.parametrize("name", sorted(path.stem for path in EVENTS.glob("*.json")))
def test_message_of_another_tree_is_not_ours(name: str) -> None:
    planner = Planner(PathMap("https://door:2880", "/pnfs/elsewhere", "exp"), Rules())

    assert planner.decide(value_of(name)) is NOT_OURS


def test_upload_says_where_from_and_where_to() -> None:
    decision = WRITTEN.decide(value_of("transfer-12.0"))

    assert isinstance(decision, Upload)
    assert decision.verdict is Verdict.TRIGGER
    assert decision.relative == "run7/a.h5"
    assert decision.url == "https://door:2880/d/exp/run7/a.h5"


def test_srm_upload_and_its_commit_name_the_same_file() -> None:
    upload = WRITTEN.decide(value_of("transfer-srm-upload"))
    commit = WRITTEN.decide(value_of("request-srm-putdone"))

    assert isinstance(upload, Upload)
    assert isinstance(commit, Upload)
    assert (upload.relative, upload.url) == (commit.relative, commit.url)
    assert commit.verdict is Verdict.COMMIT


def test_every_file_of_the_recording_is_triggered_once_per_write() -> None:
    lines = (DATA / "dcache-11.2.5-events.ndjson").read_bytes().splitlines()
    uploads = [d for d in map(RECORDED.decide, lines) if isinstance(d, Upload)]

    triggers = [u.relative for u in uploads if u.verdict is Verdict.TRIGGER]
    nets = [u.relative for u in uploads if u.verdict is Verdict.NET]
    assert sorted(triggers) == sorted(nets)
    assert len(triggers) == 7
    assert [u.relative for u in uploads if u.verdict is Verdict.HINT] == [
        ".probe",
        "bm1.dat",
    ]


def test_path_that_is_unsafe_is_told_with_its_reason() -> None:
    decision = WRITTEN.decide(value_of("transfer-path-newline"))

    assert isinstance(decision, Unsafe)
    assert "control character" in decision.reason
    assert decision.event.pnfsid is not None


def test_file_of_a_directory_name_is_unsafe() -> None:
    decision = WRITTEN.decide(transfer(f"{ROOT}/exp/run7/"))

    assert isinstance(decision, Unsafe)


def test_double_slash_and_single_slash_are_the_same_file() -> None:
    decision = WRITTEN.decide(transfer(f"/{ROOT}//exp//run7//a.h5"))

    assert isinstance(decision, Upload)
    assert decision.relative == "run7/a.h5"


def test_unsafe_path_that_a_rule_excludes_is_excluded() -> None:
    planner = Planner(
        PathMap("https://d", ROOT, "exp"), Rules.parse(("exclude tmp/**",))
    )

    assert isinstance(planner.decide(transfer(f"{ROOT}/exp/tmp/a\nb")), Skip)


def test_excluded_upload_is_skipped_and_names_the_rule() -> None:
    planner = Planner(PathMap("https://d", ROOT, "exp"), Rules.parse(("exclude *.h5",)))
    decision = planner.decide(value_of("transfer-12.0"))

    assert isinstance(decision, Skip)
    assert (decision.reason, decision.detail) == ("excluded", "exclude *.h5")


def test_sites_own_filter_has_the_last_word() -> None:
    def not_alice(event: StorageEvent) -> str | None:
        return "too small" if (event.file_size or 0) < 2_000_000 else None

    planner = Planner(PathMap("https://d", ROOT, "exp"), Rules(), not_alice)
    small, big = transfer(f"{ROOT}/exp/a"), transfer(f"{ROOT}/exp/a", fileSize=3 << 20)
    decision = planner.decide(small)

    assert isinstance(decision, Skip)
    assert (decision.reason, decision.detail) == ("filtered", "too small")
    assert isinstance(planner.decide(big), Upload)


@pytest.mark.parametrize(
    "value",
    [None, b"", b"\xff\x00\x1b[2J", b"{", b'{"a":1', b"[1]", b"text\nforged line"],
    ids=repr,
)
def test_garbage_is_told_with_a_printable_excerpt(value: bytes | None) -> None:
    decision = WRITTEN.decide(value)

    assert isinstance(decision, Garbage)
    assert decision.reason
    assert decision.excerpt.isprintable()
    assert decision.excerpt.isascii()


def test_excerpt_of_garbage_is_short() -> None:
    decision = WRITTEN.decide(b"x" * 100_000)

    assert isinstance(decision, Garbage)
    assert len(decision.excerpt) == 200


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("transfer-12.0", True),
        ("transfer-4.1", True),
        ("transfer-read", True),
        ("transfer-initiator-undefined", True),
        ("request-6.2-webdav", False),
        ("request-billing-cell-11.2", False),
        ("remove-of-replica", False),
        ("hit-billing-cell", False),
    ],
)
def test_topic_shows_transfers_only_by_a_pools_own_record(
    name: str, expected: bool
) -> None:
    elsewhere = Planner(PathMap("https://d", "/elsewhere", ""), Rules())

    assert elsewhere.shows_transfer(value_of(name)) is expected


@pytest.mark.parametrize("value", [None, b"", b'{"transfer" "initiator"'])
def test_garbage_shows_no_transfer(value: bytes | None) -> None:
    assert WRITTEN.shows_transfer(value) is False


@pytest.mark.parametrize(
    ("name", "kind", "awaits_commit"),
    [
        ("transfer-12.0", JobKind.TRIGGER, False),
        ("transfer-srm-upload", JobKind.TRIGGER, True),
        ("request-6.2-webdav", JobKind.NET, False),
        ("request-srm-upload", JobKind.NET, True),
        ("request-srm-putdone", JobKind.COMMIT, False),
        ("request-5.2-webdav", JobKind.HINT, False),
    ],
)
def test_job_carries_what_the_event_says(
    name: str, kind: JobKind, awaits_commit: bool
) -> None:
    upload = WRITTEN.decide(value_of(name))
    origin = Origin("billing", 2, 17)
    assert isinstance(upload, Upload)
    job = WRITTEN.job_of(upload, task="t-1", origin=origin, accepted_at=5.0)

    assert (job.kind, job.awaits_commit) == (kind, awaits_commit)
    assert (job.task, job.origin, job.accepted_at) == ("t-1", origin, 5.0)
    assert job.path == f"{ROOT}/exp/run7/a.h5"
    assert (job.relative, job.url) == (upload.relative, upload.url)
    assert (job.size, job.pnfsid) == (1048576, upload.event.pnfsid)
    assert job.event_time == upload.event.event_time


# The cheap test on the bytes ------------------------------------------------------

NASTY = '/\\"ab\u00e9\u2028\U0001f600\x01\ud800'
folder_names = st.sampled_from(["a", "ab", "exp", "data", 'q"', "\\", "é", "b\b"])
roots = st.lists(folder_names, max_size=4).map(lambda names: "/".join(["", *names]))


def spelled(text: str, data: st.DataObject) -> str:
    """A JSON string in one of the many spellings that a writer may choose."""
    # One style for the whole string: with a \\u in it the cheap test never rejects.
    style = data.draw(st.sampled_from(["plain", "slashes", "letters"]))
    return f'"{"".join(data.draw(spellings(char, style)) for char in text)}"'


def spellings(char: str, style: str) -> st.SearchStrategy[str]:
    short = {'"': '\\"', "\\": "\\\\", "\b": "\\b"}.get(char)
    found = [short] if short else [char]
    if char == "\b":
        found.append(char)  # not allowed, and yet understood
    if char == "/" and style == "slashes":
        found.append("\\/")
    if style == "letters":
        found.append("".join(f"\\u{unit:04x}" for unit in utf16(char)))
    return st.sampled_from(found)


def utf16(char: str) -> list[int]:
    units = char.encode("utf-16-be", "surrogatepass")
    return [high << 8 | low for high, low in zip(units[::2], units[1::2], strict=True)]


@given(st.data())
def test_what_the_cheap_test_rejects_the_full_decision_finds_not_ours(
    data: st.DataObject,
) -> None:
    root = data.draw(roots)
    # Below the folder, beside it, or anywhere.
    start = data.draw(
        st.sampled_from([f"{root}/", root + "x", "/" + root, root[:-1], ""])
    )
    path = start + data.draw(st.text(NASTY, max_size=5))
    text = (
        '{"msgType":"transfer","isWrite":"write","status":{"code":0},'
        f'"billingPath":{spelled(path, data)}}}'
    )
    planner = Planner(PathMap("https://d", "/", root), Rules())
    value = text.encode("utf-8", "surrogatepass")

    full = planner.decide_parsed(value)
    if not Prefilter(f"{root.rstrip('/')}/").may_match(value):
        assert isinstance(full, (NotOurs, Garbage))
    if isinstance(full, (Upload, Unsafe, Skip)):
        assert full == planner.decide(value)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)
KEYS = """
    date cellName cellType status session initiator isWrite isP2p pnfsid fileSize
    storageInfo protocolInfo moverInfo transferPath
"""


@given(
    st.sampled_from(["transfer-12.0", "request-6.2-webdav", "request-5.2-webdav"]),
    st.dictionaries(st.sampled_from(KEYS.split()), JSON_VALUES, max_size=4),
    st.text(NASTY, min_size=1, max_size=8),
)
def test_record_of_ours_with_odd_values_gets_a_decision_and_perhaps_a_job(
    name: str, odd: dict[str, object], below: str
) -> None:
    record = json.loads(value_of(name)) | odd | {"billingPath": f"{ROOT}/exp/{below}"}
    decision = WRITTEN.decide(json.dumps(record).encode())

    assert not isinstance(decision, Garbage)
    if not isinstance(decision, Upload):
        return
    job = WRITTEN.job_of(decision, task="t", origin=None, accepted_at=0.0)
    assert job.relative.isprintable()
    assert job.path.encode().startswith(f"{ROOT}/exp/".encode())
    assert job.size is None or 0 <= job.size < 2**63


@given(st.binary(max_size=60), st.sampled_from(["/", "/a", "/a/b"]))
def test_arbitrary_bytes_never_crash_a_decision(value: bytes, root: str) -> None:
    planner = Planner(PathMap("https://d", "/", root), Rules())

    assert isinstance(planner.decide(value), (NotOurs, Garbage))
    assert planner.shows_transfer(value) is False


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("slash", ["/", "\\/", "//"])
@pytest.mark.parametrize(
    "name", ['q"', "a\\b", "\b", "tab\t", "\x1f", "é", "\x7f", "+"]
)
def test_folder_of_an_odd_name_is_found_however_it_is_spelled(
    name: str, slash: str, ascii_only: bool
) -> None:
    planner = Planner(PathMap("https://d", "/", f"/deep/{name}/below"), Rules())
    record = json.loads(value_of("transfer-12.0"))
    record["billingPath"] = f"/deep/{name}/below/file"
    text = json.dumps(record, ensure_ascii=ascii_only).replace("/", slash)

    assert isinstance(planner.decide(text.encode()), Upload)


def test_folder_with_a_raw_control_character_is_found() -> None:
    planner = Planner(PathMap("https://d", "/", "/a\tb/below"), Rules())
    value = transfer("/a\tb/below/file").replace(b"\\t", b"\t")

    assert isinstance(planner.decide(value), Upload)


@pytest.mark.parametrize(
    "name", ["transfer-escaped-slashes", "transfer-escaped-letters"]
)
def test_other_spellings_of_the_folder_are_found(name: str) -> None:
    assert isinstance(WRITTEN.decide(value_of(name)), Upload)


def test_cheap_test_spares_the_parsing_of_what_is_not_ours() -> None:
    cheap = Prefilter("/pnfs/example.org/data/exp/")

    assert not cheap.may_match(transfer("/pnfs/example.org/data/other/f"))
    assert not cheap.may_match(transfer("/pnfs/example.org/data/experiment/f"))
    assert not cheap.may_match(transfer("/store/pnfs/example.org/data/exp/f"))
    assert cheap.may_match(transfer("/pnfs/example.org/data/exp/f"))


def test_what_the_cheap_test_rejects_is_not_parsed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed: list[bytes | None] = []

    def parse(value: bytes | None) -> StorageEvent:
        parsed.append(value)
        return parse_event(value)

    monkeypatch.setattr("dcmirror.core.plan.parse_event", parse)
    ours = transfer(f"{ROOT}/exp/f")

    assert WRITTEN.decide(transfer(f"{ROOT}/other/f")) is NOT_OURS
    assert WRITTEN.decide(ours) is not NOT_OURS

    assert parsed == [ours]


def test_site_with_all_of_the_namespace_parses_every_record() -> None:
    everything = Planner(PathMap("https://d", "/", "/"), Rules())
    decision = everything.decide(transfer("/a/b"))

    assert isinstance(decision, Upload)
    assert decision.relative == "a/b"
    assert parse_event(transfer("/a/b")).path == "/a/b"
