"""Runbooks: the named ones, and those of files."""

import json

import numpy as np
import pytest

from loadtest.churn.runbook import RUNBOOKS, RunbookError, Step, read_runbook


def test_file_has_the_steps_that_it_says(tmp_path):
    (tmp_path / "book.json").write_text('[{"name": "a", "mix": {"add": 1, "click": 3}, "share": 0.1, "compare": 5}]')
    assert read_runbook(str(tmp_path / "book.json")) == (
        Step(name="a", mix={"add": 1, "click": 3}, share=0.1, compare=5),)


def test_changes_are_a_share_of_the_ads_or_as_many_as_the_rate_makes():
    random = np.random.default_rng(0)
    assert len(Step(name="a", mix={"add": 1}, share=0.01).kinds(50, 3_000, random)) == 30
    drawn = Step(name="a", mix={"pause": 3, "add": 1}, seconds=20).kinds(50, 3_000, random)
    assert len(drawn) == 1_000
    assert 200 < drawn.count("add") < 300
    assert Step(name="a", seconds=20).kinds(50, 3_000, random) == []
    changed = [step.kinds(1_000, 1_000_000, random) for step in RUNBOOKS["cycles"]]
    assert [len(kinds) for kinds in changed] == [0, *[10_000] * 20]


@pytest.mark.parametrize(("step", "message"), [
    ({"mix": {"add": 1}}, "needs a name"),
    ({"name": "a", "users": 3}, "may have mix, share, seconds, rate, compare"),
    ({"name": "a", "mix": {"ad": 1}}, "give weights of pause, retarget, add, delete, click"),
    ({"name": "a", "mix": {"add": -1}, "seconds": 1}, "below 0"),
    ({"name": "a", "seconds": "1"}, "below 0 or none"),
    ({"name": "a", "compare": 1.5}, "compare is 1.5 and rate None"),
    ({"name": "a", "mix": {"add": 1}, "seconds": 1, "rate": 0}, "compare is 0 and rate 0; give integers"),
    ({"name": "a", "mix": {"add": 1}}, "makes no changes"),
    ({"name": "a", "mix": {"add": 0}, "seconds": 1}, "makes no changes")])
def test_error_names_the_step_when_it_is_none(tmp_path, step, message):
    (tmp_path / "book.json").write_text(json.dumps([{"name": "fine"}, step]))
    with pytest.raises(RunbookError, match=r"^step 1") as caught:
        read_runbook(str(tmp_path / "book.json"))
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["[", "{}", "[]"])
def test_error_says_so_when_it_is_no_list(tmp_path, text):
    (tmp_path / "book.json").write_text(text)
    with pytest.raises(RunbookError, match=r"book\.json (cannot be read|is no list)"):
        read_runbook(str(tmp_path / "book.json"))
