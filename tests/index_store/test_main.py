"""The command line `python -m index_store`."""

import json
import re
import shutil
import subprocess
import sys
from contextlib import closing

import pytest

from index_store.__main__ import main, trim
from index_store.bundle import pointer
from index_store.bundle.files import BundleFiles
from index_store.bundle.manifest import BundleError
from index_store.bundle.pointer import Pointer, PointerError
from index_store.changes.change_log import ChangeLogError, Kind, Write
from index_store.changes.open_log import open_log
from tests.commands import run
from tests.index_store.budgets.spending import NOON, campaign
from tests.paths import ROOT
from tests.resealed import reseal


def index_store(*words):
    return run(main, *words)


@pytest.fixture
def bundles(tiny_bundle, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(tiny_bundle, tmp_path / "bundles" / name)
    return tmp_path / "bundles"


def test_changes_are_trimmed_as_far_as_every_bundle_includes_them(tiny_bundle, tmp_path):
    bundles = tmp_path / "bundles"
    with closing(open_log(str(tmp_path / "log"), "ads")) as log:
        log.append([Write(kind=Kind.AD, id=f"a{number % 2}", fields={"n": number}) for number in range(9)])
        with pytest.raises(PointerError, match="cannot be read"):
            trim(log, bundles)
        bundles.mkdir()
        with pytest.raises(PointerError, match="there is no bundle in it, so all changes are needed"):
            trim(log, bundles)
        for name, included in (("old", 0), ("two", 8), ("three", 5)):
            reseal(tiny_bundle, bundles / name, lambda writer: None, changes_included=included)
        assert trim(log, bundles) == "trimmed up to 0; no bundle includes less than old, the changes up to 0"
        shutil.rmtree(bundles / "old")
        done = index_store("changes", "trim", tmp_path / "log", "--bundles", bundles)
        assert done.stdout == "trimmed up to 5; no bundle includes less than three, the changes up to 5\n", done.stderr
        shown = json.loads(index_store("changes", "show", tmp_path / "log").stdout)
        assert (shown["trimmed"], shown["id"]) == (5, log.log_id)
        reseal(tiny_bundle, bundles / "other", lambda writer: None, changes_included=6, change_log_id="c0ffee")
        with pytest.raises(ChangeLogError, match=f"bundle other includes changes of log c0ffee, .* log {log.log_id}"):
            trim(log, bundles)
        assert (log.state(Kind.AD, "a1").fields, log.trimmed()) == ({"n": 7}, 5)
        (bundles / "three" / "manifest.json").write_text("{")
        with pytest.raises(BundleError, match="three"):
            trim(log, bundles)
        assert log.trimmed() == 5


def test_what_campaigns_spent_lately_is_not_trimmed(tiny_bundle, tmp_path, monkeypatch):
    reseal(tiny_bundle, tmp_path / "bundles" / "one", lambda writer: None, changes_included=3)
    with closing(open_log(str(tmp_path / "log"), "ads")) as log:
        for hours, write in [(60, Write(kind=Kind.CAMPAIGN, id="c", fields=campaign("c", 1.0).fields)),
                             (59, Write(kind=Kind.EVENT, id="u", fields={})),
                             (51, Write(kind=Kind.EVENT, id="u", fields={}))]:
            monkeypatch.setattr("index_store.changes.sqlite_log.time.time", lambda at=NOON - 3600 * hours: at)
            log.append([write])
        monkeypatch.setattr("index_store.__main__.time.time", lambda: NOON)
        assert trim(log, tmp_path / "bundles") == (
            "trimmed up to 2; no bundle includes less than one, the changes up to 3; those after 2 say what campaigns "
            "have spent lately")
        assert log.state(Kind.CAMPAIGN, "c").sequence == 1


def test_promote_sets_the_pointer_when_the_bundle_is_sound(bundles):
    for name, previous in (("one", None), ("two", "one"), ("two", "one")):
        done = index_store("promote", bundles, name)
        assert done.returncode == 0, done.stderr
        assert pointer.read(bundles) == Pointer(name, previous)
    assert pointer.bundle_names(bundles) == ["one", "two"]


def test_promote_mends_the_pointer_when_it_is_unreadable(bundles):
    (bundles / "current").write_text("one")
    assert index_store("promote", bundles, "two").returncode == 0
    assert json.loads((bundles / "current").read_text()) == {"bundle": "two", "previous": None}


@pytest.mark.parametrize(("name", "status", "said"), [("two", 1, "is missing"), ("three", 1, "is not a folder"),
                                                      ("..", 2, "is not a bundle name")])
def test_promote_leaves_the_pointer_when_the_bundle_is_not_fit(bundles, name, status, said):
    pointer.replace(bundles, Pointer("one"), None)
    (bundles / "two" / "scorer_1.onnx").unlink()
    done = index_store("promote", bundles, name)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr
    assert pointer.read(bundles) == Pointer("one")


def test_inspect_prints_the_manifest_without_its_files(tiny_bundle):
    done = subprocess.run([sys.executable, "-m", "index_store", "inspect", tiny_bundle], cwd=ROOT, capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["counts"] == {"items": 300, "users": 40}
    assert "files" not in printed
    assert printed["total_bytes"] > 0


def test_verify_tells_a_sound_bundle_from_a_broken_one(bundles):
    done = index_store("verify", bundles / "one")
    assert done.returncode == 0, done.stderr
    assert "is sound" in done.stdout
    path = bundles / "one" / "tree" / "rows.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = index_store("verify", bundles / "one")
    assert (done.returncode, "tree/rows.npy: has checksum" in done.stderr) == (1, True), done.stderr


def test_a_change_log_is_shown_backed_up_and_restored(tmp_path):
    log = open_log(str(tmp_path / "changes.db"), "ads")
    log.append([Write(kind=Kind.AD, id="a1", fields={"name": "für 2 €"}), Write(kind=Kind.AD, id="a2", fields={}),
                Write(kind=Kind.AD, id="a1", fields={"bid": 2})])
    done = index_store("changes", "backup", log.path, tmp_path / "backup.db")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/backup.db: 3 changes of index ads\n"), done.stderr
    log.append([Write(kind=Kind.AD, id="a3", fields={})])
    log.close()
    log.path.unlink()
    done = index_store("changes", "restore", tmp_path / "backup.db", log.path)
    assert (done.returncode, "3 changes restored" in done.stdout) == (0, True), done.stderr
    shown = [json.loads(line) for arguments in ((), ("--ad", "a1"), ("--after", 1))
             for line in index_store("changes", "show", log.path, *arguments).stdout.splitlines()]
    assert [(line.get("index"), line.get("last")) for line in shown[:1]] == [("ads", 3)]
    assert [(line["sequence"], line["id"], line["fields"]) for line in shown[1:]] == [
        (3, "a1", {"name": "für 2 €", "bid": 2}), (2, "a2", {}), (3, "a1", {"name": "für 2 €", "bid": 2})]
    assert index_store("changes", "show", log.path, "--ad", "a3").stdout == "never changed\n"


def test_a_change_log_that_is_missing_is_told(tmp_path):
    done = index_store("changes", "show", tmp_path / "changes.db")
    assert (done.returncode, f"error: there is no change log at {tmp_path}/changes.db" in done.stderr) == (1, True)
    assert not list(tmp_path.iterdir())


def test_shard_writes_a_root_whose_parts_it_lists_and_verify_checks_all(tiny_bundle, tmp_path):
    done = index_store("shard", tiny_bundle, "--shards", 2, "--out", tmp_path / "root")
    assert done.returncode == 0, done.stderr
    root_id = BundleFiles(tmp_path / "root", verify=False).manifest.bundle_id
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{tmp_path / 'root'}: root {root_id} of 2 shards, made of bundle ")
    assert re.fullmatch(r"root +0\.\d MB  300 ads", lines[1])
    assert re.fullmatch(r"shard 1 +0\.\d MB  150 ads, positions 150 to 299", lines[-1])
    assert "300 items, 40 users, 2 shards\n" in index_store("verify", tmp_path / "root").stdout
    assert index_store("verify", tmp_path / "root" / "shards" / "1").stdout == (
        f"{tmp_path / 'root' / 'shards' / '1'}: shard 1 of 2 of root {root_id} is sound, positions 150 to 299\n")
    shutil.rmtree(tmp_path / "root" / "shards" / "1")
    done = index_store("verify", tmp_path / "root")
    assert (done.returncode, "shards/1: is missing; the root has 2 shards" in done.stderr) == (1, True)


def test_shard_ends_with_an_error_when_there_are_more_than_leaf_nodes(tiny_bundle, tmp_path):
    done = index_store("shard", tiny_bundle, "--shards", 25, "--out", tmp_path / "root")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: bundle {tiny_bundle}: tree: has 24 leaf nodes, and 25 shards were asked for")
