"""Lines through planted measurements, and what they give; what does not suffice."""

import json

import pytest

from loadtest.__main__ import main
from loadtest.cluster.capacity import GIB, CapacityError, measured, plan
from tests.commands import run


def grown(*sizes):
    """A report of `grow`: 10 times the root of the ads in pairs at overlap 0.95; 1 ms, and 0.2 µs a pair."""
    def beam(pairs, overlap):
        return {"pairs": pairs, "p50_ms": 1 + 2e-4 * pairs, "overlap@100": overlap}

    return {"sizes": [{"ads": ads, "bench": {"beam": [beam(10 * ads**0.5, 0.95), beam(40 * ads**0.5, 0.99)]}}
                      for ads in sizes]}


def sharded(ads, shards=4, added=0.5):
    """A report of `sharded`: 300 bytes an ad in the root, beside a megabyte, and 600 in the shards."""
    return {"ads": ads, "shards": shards, "root_bytes": 300 * ads + 10**6,
            "shard_bytes": [600 * ads // shards] * shards,
            "shard_private_bytes": [10**8] * shards, "added_p50_ms": added}


def test_what_was_planted_is_found_between_the_sizes_and_beyond():
    slopes = measured(grown(10**6, 10**4, 10**5), [sharded(10**6, added=0.7), sharded(10**5)])
    assert slopes.pairs_exponent == pytest.approx(0.5)
    found = plan(slopes, 10**8, memory=16)
    assert found["pairs"] == pytest.approx(10 * 10**4)
    assert found["p50_ms"] == pytest.approx(1 + 2e-4 * 10**5 + 0.7)
    assert found["root_gib"] * GIB == pytest.approx(300 * 10**8 + 10**6)
    assert found["shards"] == 4  # 55.9 GiB of 16
    assert found["shard_gib"] * GIB == pytest.approx(600 * 10**8 / 4)
    assert plan(slopes, 10**8, memory=56)["shards"] == 1


@pytest.mark.parametrize(("growth", "roots", "problem"), [
    (grown(10**5), [sharded(10**5), sharded(10**6)], "grow.json is of one size; a slope needs two"),
    (grown(10**5, 10**6), [sharded(10**6), sharded(10**6)], "sharded.json is of one size"),
    ({"sizes": [{"ads": ads, "bench": {"beam": [{"pairs": 9, "p50_ms": 1.0, "overlap@100": 0.5}]}} for ads in (1, 2)]},
     [sharded(1), sharded(2)], "no beam of 1 or 2 ads reached overlap 0.95")])
def test_too_few_measurements_are_told(growth, roots, problem):
    with pytest.raises(CapacityError, match=problem):
        measured(growth, roots)


def test_the_command_prints_and_writes_its_plans_with_their_sources(tmp_path):
    for name, report in (("grow", grown(10**5, 10**6)), ("one", sharded(10**5)), ("two", sharded(10**6))):
        (tmp_path / f"{name}.json").write_text(json.dumps(report))
    words = ["--growth", tmp_path / "grow.json", "--sharded", tmp_path / "one.json", tmp_path / "two.json"]
    done = run(main, "capacity", *words, "--ads", "10000000,100000000", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert [row["ads"] for row in json.loads(last)["plans"]] == [10**7, 10**8]
    assert (tmp_path / "out" / "capacity.md").read_text().splitlines() == lines
    assert any("root: 300 bytes an ad" in line for line in lines)
    assert json.loads((tmp_path / "out" / "capacity.json").read_text()) == json.loads(last)


@pytest.mark.parametrize(("words", "problem"), [
    (["--growth", "nowhere.json", "--sharded", "nowhere.json"], "nowhere.json cannot be read"),
    (["--growth", "x", "--sharded", "x", "--memory", "0"], "0 GiB hold nothing"),
    (["--growth", "x", "--sharded", "x", "--ads", "ten"], "'ten' is not a list of numbers"),
    (["--growth", "x", "--sharded", "x", "--ads", "0"], "0 is not a number of ads")])
def test_what_cannot_be_read_is_told(words, problem):
    done = run(main, "capacity", *words)
    assert done.returncode in (1, 2)
    assert problem in done.stderr


def test_reports_of_another_command_are_told(tmp_path):
    (tmp_path / "grow.json").write_text(json.dumps(grown(1, 10)))
    done = run(main, "capacity", "--growth", tmp_path / "grow.json", "--sharded", tmp_path / "grow.json")
    assert done.returncode == 1
    assert "grow.json has no `shard_bytes`, so another command wrote it" in done.stderr
