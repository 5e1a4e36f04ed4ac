"""``dcmirror reconcile`` finds what differs, copies it, and survives anything."""

from __future__ import annotations

import csv
import json
import os
import zlib
from typing import Any

from deployment import Deployment

from dcmirror.testing.fake_dcache import FakeDCache

RAW = "/pnfs/example.org/data/exp/raw"
OLD = ("--grace", "0s")


def found(deployment: Deployment, *args: str, status: int = 24) -> dict[str, Any]:
    """What a dry run reports."""
    done = deployment.run("reconcile", "--dry-run", "--json", *OLD, *args)
    assert done.returncode == status, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def kinds(document: dict[str, Any]) -> dict[str, str]:
    """The kind of each difference by its path below the folder."""
    return {each["relative"]: each["kind"] for each in document["differences"]}


def test_a_dry_run_names_what_is_missing_and_copies_nothing(
    deployment: Deployment, source: FakeDCache
) -> None:
    deployment.tables["filter"] = {"rules": ["exclude *.tmp"]}
    deployment.write()
    for name in ("a", "sub/b", "sub/deep/c", "x.tmp"):
        source.upload(f"{RAW}/{name}", size=1000, seed=1)
    document = found(deployment)

    assert kinds(document) == dict.fromkeys(("a", "sub/b", "sub/deep/c"), "missing")
    assert document["files"] == 3
    assert document["directories"] == 3
    assert document["no_difference"]["excluded"] == 1
    assert deployment.files() == set()

    young = deployment.run("reconcile", "--dry-run", "--json")

    assert young.returncode == 0
    assert json.loads(young.stdout)["no_difference"]["recent"] == 3


def test_what_is_missing_is_copied_and_then_both_sides_are_equal(
    deployment: Deployment, source: FakeDCache
) -> None:
    for name in ("a", "sub/b", "sub/deep/c"):
        source.upload(f"{RAW}/{name}", size=1000, seed=1)
    done = deployment.run("reconcile", *OLD)
    finished = [
        event["dcmirror"]["reconcile"]
        for event in deployment.journal()
        if event["event"]["action"] == "reconcile-finished"
    ]

    assert done.returncode == 0, done.stderr
    assert [each["copied"] for each in finished] == [3]
    assert [each["found"]["missing"] for each in finished] == [3]
    assert [(each["whole"], each["dry_run"]) for each in finished] == [(True, False)]
    assert deployment.files() == {"a", "sub/b", "sub/deep/c"}
    assert set(deployment.copies()) == deployment.files()
    assert found(deployment, status=0)["equal"] is True


def damage(deployment: Deployment, name: str) -> None:
    """Other bytes, as many as before."""
    path = deployment.mirror / name
    data = bytearray(path.read_bytes())
    data[0] ^= 0xFF
    path.write_bytes(data)


def test_each_difference_is_named_as_what_it_is_and_what_can_be_cured_is(
    deployment: Deployment, source: FakeDCache
) -> None:
    for name in ("same", "cut", "bad", "replaced", "d/old", "removed", "gone"):
        source.upload(f"{RAW}/{name}", size=1000, seed=1)
    assert deployment.run("reconcile", *OLD).returncode == 0
    os.truncate(deployment.mirror / "cut", 10)
    damage(deployment, "bad")
    (deployment.mirror / "removed").unlink()
    source.replace(f"{RAW}/replaced")
    source.site.namespace.move(f"{RAW}/d/old", f"{RAW}/d/new")
    source.site.namespace.remove(f"{RAW}/gone")
    source.upload(f"{RAW}/fresh", size=1000, seed=2)
    source.begin(f"{RAW}/unfinished")
    source.upload(f"{RAW}/line\nend", size=10, seed=3)
    (deployment.mirror / "own").write_bytes(b"ours")
    before = found(deployment)
    expected = {
        "cut": "size",
        "bad": "checksum",
        "removed": "missing",
        "replaced": "replaced",
        "d/new": "renamed",
        "gone": "only-here",
        "own": "only-here",
        "fresh": "missing",
        "unfinished": "incomplete",
    }

    unreadable = [p for p, kind in kinds(before).items() if kind == "unreadable"]
    assert len(unreadable) == 1
    assert {p: k for p, k in kinds(before).items() if p != unreadable[0]} == expected
    assert before["found"]["missing"] == 2

    done = deployment.run("reconcile", *OLD, "--json")
    after = json.loads(done.stdout)

    assert done.returncode == 24, done.stderr
    outcomes = {each["relative"]: each["outcome"] for each in after["differences"]}
    cured = {"cut", "bad", "removed", "replaced", "d/new", "fresh"}
    assert {name for name, outcome in outcomes.items() if outcome == "copied"} == cured
    assert after["old_names"] == 1
    assert after["requests"]["copying"] > 0
    left = kinds(found(deployment))
    assert set(left) == {"gone", "own", "d/old", "unfinished", *unreadable}
    for version, name in ((source.files[f"{RAW}/{each}"], each) for each in cured):
        data = (deployment.mirror / name).read_bytes()
        assert (len(data), zlib.adler32(data)) == (version.size, version.adler32)


def test_an_existing_mirror_is_adopted_and_only_what_is_wrong_is_fetched(
    deployment: Deployment, source: FakeDCache
) -> None:
    for number in range(6):
        source.upload(f"{RAW}/f{number}", size=1000, seed=number)
        version = source.files[f"{RAW}/f{number}"]
        data = bytes(version.content.piece(0, 1000))
        (deployment.mirror / f"f{number}").write_bytes(data)
    damage(deployment, "f0")
    inodes = {n: (deployment.mirror / n).stat().st_ino for n in deployment.files()}
    assert set(kinds(found(deployment)).values()) == {"unadopted"}
    done = deployment.run("reconcile", *OLD, "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outcomes"] == {"adopted": 5, "copied": 1}
    assert set(deployment.copies()) == deployment.files()
    kept = {n for n, i in inodes.items() if (deployment.mirror / n).stat().st_ino == i}
    assert kept == {f"f{number}" for number in range(1, 6)}
    assert len(source.requests.of("GET", server="pool")) == 1


def test_with_trust_size_nothing_is_read_and_the_rows_say_so_until_they_are_proved(
    deployment: Deployment, source: FakeDCache
) -> None:
    source.upload(f"{RAW}/a", size=1000, seed=1)
    (deployment.mirror / "a").write_bytes(bytes(1000))  # wrong, but who looks?
    done = deployment.run("reconcile", *OLD, "--trust-size")

    assert done.returncode == 0, done.stderr
    assert deployment.query("SELECT verified, adler32 FROM copies") == [(0, None)]
    assert (deployment.mirror / "a").read_bytes() == bytes(1000)

    proved = deployment.run("reconcile", *OLD)

    assert proved.returncode == 0, proved.stderr
    version = source.files[f"{RAW}/a"]
    assert deployment.query("SELECT verified, adler32 FROM copies") == [
        (1, version.adler32)
    ]
    assert zlib.adler32((deployment.mirror / "a").read_bytes()) == version.adler32


def test_a_list_is_looked_at_without_a_listing_and_bad_lines_are_numbered(
    deployment: Deployment, source: FakeDCache
) -> None:
    for name in ("a", "b c", "unlisted"):
        source.upload(f"{RAW}/{name}", size=1000, seed=1)
    names = deployment.home / "names.txt"
    names.write_bytes(
        f"# ours\n{RAW}/a\n\n{RAW}/b c\n/elsewhere/x\n{RAW}/never\n".encode()
        + b"\xff\n"
    )
    done = deployment.run("reconcile", *OLD, "--from", str(names))

    assert done.returncode == 24, done.stderr
    assert deployment.files() == {"a", "b c"}
    assert "line 5: not a path below /pnfs/example.org/data/exp/raw/" in done.stderr
    assert "line 6: neither at the source nor here" in done.stderr
    assert "line 7: not UTF-8" in done.stderr
    asked = {r.headers["depth"] for r in source.requests.of("PROPFIND")}
    assert asked == {"0"}


def test_a_dump_is_compared_without_asking_the_source(
    deployment: Deployment, source: FakeDCache
) -> None:
    source.upload(f"{RAW}/a", size=1000, seed=1)
    dump = deployment.home / "dump.txt"
    dump.write_text(f"{RAW}/a 1000 00000001\n{RAW}/gone\t5\n")
    document = found(deployment, "--from", str(dump))

    assert kinds(document) == {"a": "missing", "gone": "missing"}
    assert source.requests.of("PROPFIND") == []

    done = deployment.run("reconcile", *OLD, "--json", "--from", str(dump))

    assert json.loads(done.stdout)["outcomes"] == {"copied": 1, "vanished": 1}
    assert deployment.failed_rows() == []
    assert "dump.txt is a dump of paths and sizes\n" in done.stderr


def test_a_list_of_paths_that_end_in_numbers_is_no_dump(
    deployment: Deployment, source: FakeDCache
) -> None:
    numbered = {f"file {number}" for number in (1, 2, 3)}
    for name in numbered:
        source.upload(f"{RAW}/{name}", size=1000, seed=1)
    names = deployment.home / "names.txt"
    names.write_text("".join(f"{RAW}/{name}\n" for name in sorted(numbered)))
    done = deployment.run("reconcile", *OLD, "--from", str(names))

    assert done.returncode == 0, done.stderr
    assert deployment.files() == numbered
    assert "is a list of paths that end in numbers; in a dump" in done.stderr
    quiet = deployment.run("reconcile", *OLD, "-q", "--from", str(names))
    assert (quiet.stdout, quiet.stderr) == ("", "")


def test_a_listing_that_breaks_off_makes_no_file_look_deleted(
    deployment: Deployment, source: FakeDCache
) -> None:
    for name in ("good/a", "good/b", "bad/a", "bad/b"):
        source.upload(f"{RAW}/{name}", size=1000, seed=1)
    assert deployment.run("reconcile", *OLD).returncode == 0
    source.site.namespace.remove(f"{RAW}/good/b")
    source.site.namespace.remove(f"{RAW}/bad/b")
    source.faults.add("status", f"{RAW}/bad*", status=403, methods=["PROPFIND"])
    document = found(deployment)

    assert kinds(document) == {"bad": "unreadable", "good/b": "only-here"}
    assert document["unlisted"] == 1

    source.faults.clear()
    source.faults.add("listing-cut", f"{RAW}/bad*", times=2)

    assert kinds(found(deployment)) == {"bad/b": "only-here", "good/b": "only-here"}


def test_a_directory_that_is_excluded_may_be_private(
    deployment: Deployment, source: FakeDCache
) -> None:
    deployment.tables["filter"] = {"rules": ["exclude private/"]}
    deployment.write()
    for name in ("a", "private/b", "d/private/c"):
        source.upload(f"{RAW}/{name}", size=1000, seed=1)
    source.faults.add("status", f"{RAW}*/private", status=403, methods=["PROPFIND"])

    document = found(deployment)

    assert kinds(document) == {"a": "missing"}
    assert (document["directories"], document["unlisted"]) == (2, 0)
    assert document["no_difference"]["excluded"] == 2


def test_a_listing_that_was_cut_short_makes_no_file_look_deleted(
    deployment: Deployment, source: FakeDCache
) -> None:
    for name in ("a", "b", "c", "d/e"):
        source.upload(f"{RAW}/{name}", size=1000, seed=1)
    assert deployment.run("reconcile", *OLD).returncode == 0
    source.upload(f"{RAW}/new", size=1000, seed=1)
    source.faults.add("listing-lacks", RAW, names="[bdn]*")

    document = found(deployment)

    assert kinds(document) == {"": "unreadable"}
    assert "cut short" in document["differences"][0]["detail"]
    assert document["unlisted"] == 1
    source.faults.clear()
    assert kinds(found(deployment)) == {"new": "missing"}


def test_what_failed_before_is_named_and_left_to_replay(
    deployment: Deployment, source: FakeDCache
) -> None:
    source.upload(f"{RAW}/a", size=1000, seed=1)
    source.faults.add("status", f"{RAW}/a", status=403)
    first = deployment.run("reconcile", *OLD)

    assert first.returncode == 24, first.stderr
    assert [row["class"] for row in deployment.failed_rows()] == ["forbidden"]

    source.faults.clear()
    second = deployment.run("reconcile", *OLD, "--json")

    assert second.returncode == 24
    assert kinds(json.loads(second.stdout)) == {"a": "known-failure"}
    assert len(deployment.failed_rows()) == 1
    assert deployment.run("replay").returncode == 0
    assert found(deployment, status=0)["differences"] == []


def test_the_limit_is_kept_and_the_next_run_goes_on(
    deployment: Deployment, source: FakeDCache
) -> None:
    for number in range(10):
        source.upload(f"{RAW}/d{number}/f", size=1000, seed=number)
    first = deployment.run("reconcile", *OLD, "--limit", "4")

    assert first.returncode == 24
    assert len(deployment.files()) == 4
    assert "the limit is reached" in first.stderr

    second = deployment.run("reconcile", *OLD)

    assert second.returncode == 0, second.stderr
    assert "goes on where an earlier run was interrupted" in second.stderr
    assert len(deployment.files()) == 10


def test_the_csv_has_what_the_json_has_and_names_forge_nothing(
    deployment: Deployment, source: FakeDCache
) -> None:
    source.upload(f"{RAW}/a\x1b[2J", size=1000, seed=1)
    source.upload(f"{RAW}/b", size=1000, seed=1)
    done = deployment.run("reconcile", "--dry-run", "--csv", *OLD)
    rows = list(csv.DictReader(done.stdout.splitlines()))

    assert done.returncode == 24
    assert "\x1b" not in done.stdout
    assert {row["kind"] for row in rows} == {"missing", "unreadable"}
    missing = next(row for row in rows if row["kind"] == "missing")
    version = source.files[f"{RAW}/b"]
    assert missing["adler32"] == f"{version.adler32:08x}"
    assert missing["pnfsid"] == version.pnfsid
    assert missing["size"] == "1000"


def test_nonsense_is_told_in_a_line(deployment: Deployment) -> None:
    for args, status, says in (
        (("--under", "/elsewhere"), 4, "not below"),
        (("--from", "/nowhere/list"), 4, "No such file"),
        (("--json", "--csv"), 2, "one of them"),
        (("--ignore", "nonsense"), 2, "ignore"),
    ):
        done = deployment.run("reconcile", *args)

        assert done.returncode == status
        assert says in done.stderr
        assert "Traceback" not in done.stderr


def test_a_folder_that_is_not_there_is_an_error_and_no_empty_source(
    deployment: Deployment, source: FakeDCache
) -> None:
    (deployment.mirror / "a").write_bytes(b"a")
    done = deployment.run("reconcile", "--dry-run", *OLD)

    assert done.returncode == 14, done.stderr
    assert "only-here" not in done.stdout
