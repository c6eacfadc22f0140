"""The file of trials: what it may say, and that nobody's word gets lost."""

import json

import pytest

from index_store.bundle import trials
from index_store.bundle.pointer import BundleNameError, PointerChangedError, PointerError, check_name
from index_store.bundle.trials import Ended, Trial, Trials

CANARY, SHADOW = Trial("green", "red", 0.05), Trial("blue", "red")


def test_trials_are_what_was_written_when_read(tmp_path):
    assert trials.read(tmp_path) == Trials()
    assert trials.stamp(tmp_path) is None
    both = Trials().to("canary", CANARY).to("shadow", SHADOW)
    trials.replace(tmp_path, both, Trials())
    assert trials.read(tmp_path) == both
    ended = both.without("canary", "it fails")
    trials.replace(tmp_path, ended, both)
    assert trials.read(tmp_path) == Trials({"shadow": SHADOW}, {"canary": Ended("green", "it fails")})
    assert ended.to("canary", CANARY) == both  # one that begins takes the place of the one that ended


def test_trials_of_another_process_are_kept_when_one_writes_without_having_seen_them(tmp_path):
    trials.replace(tmp_path, Trials().to("canary", CANARY), Trials())
    with pytest.raises(PointerChangedError, match="green"):
        trials.replace(tmp_path, Trials().to("shadow", SHADOW), Trials())
    assert trials.read(tmp_path).running == {"canary": CANARY}


def said(**canary):
    return json.dumps({"running": {"canary": {"bundle": "green", "beside": "red", "share": 0.5, **canary}}})


@pytest.mark.parametrize("content", [
    "", "canary", "[]", '{"canary": {}}', '{"running": 7}', '{"running": {"pilot": {"bundle": "a", "beside": "b"}}}',
    '{"running": {"canary": {"bundle": "green"}}}', '{"ended": {"canary": {"bundle": "green", "reason": 7}}}',
    said(share=0), said(share=1.5), said(share="half"), said(share=True), said(bundle="../green"), said(beside=7),
    said(weight=1), '{"running": {"shadow": {"bundle": "a", "beside": "b", "share": 0.5}}}'])
def test_file_is_refused_when_it_says_something_else(tmp_path, content):
    (tmp_path / "trials").write_text(content)
    with pytest.raises(PointerError, match="trials: is not readable") as refused:
        trials.read(tmp_path)
    assert "remove it" in str(refused.value)


def test_file_cannot_be_written_when_the_folder_is_missing(tmp_path):
    with pytest.raises(PointerError, match="cannot be written"):
        trials.replace(tmp_path / "none", Trials().to("canary", CANARY), Trials())


def test_no_bundle_may_have_the_name_of_the_file():
    with pytest.raises(BundleNameError, match="'trials'"):
        check_name("trials")
