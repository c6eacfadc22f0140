"""Foundation models: named by their weights, and refused where they cannot be one."""

from dataclasses import replace

import pytest
import torch

from model.config.errors import ConfigError
from model.speculation import foundation as module
from model.speculation.foundation import (
    check_foundation,
    foundation_hash,
    interaction_width,
    model_hash,
    open_foundation,
)
from tests.model.speculation.conftest import HELD_OUT
from tests.model.tiny_runs import STACK, TINY, run_of
from tests.model.worlds import impressions


def test_the_hash_is_that_of_the_weights(served, foundation):
    assert model_hash(served.model) == model_hash(served.model)
    assert model_hash(served.model) != model_hash(foundation.model)
    assert foundation_hash([served, foundation]) == f"{model_hash(served.model)}+{model_hash(foundation.model)}"
    before = model_hash(served.model)
    with torch.no_grad():
        served.model.level_offsets[0, 0] += 1
        assert model_hash(served.model) != before
        served.model.level_offsets[0, 0] -= 1


def test_the_width_is_that_of_what_the_head_reads(foundation):
    assert interaction_width(foundation.model) == foundation.model.layer(-1).over_arch.head.in_features


@pytest.mark.parametrize(("config", "said"), [
    (STACK, "is a stack, whose logits of an ad need its tree"),
    (replace(TINY, model=replace(TINY.model, over_arch="deepfm")), "has the over-arch deepfm; only that of a Wukong")])
def test_a_run_that_cannot_be_one_is_refused(tmp_path, config, said):
    with pytest.raises(ConfigError, match=said):
        check_foundation(run_of(tmp_path, config))


def test_it_needs_impressions_and_events_that_both_hold_out(tmp_path, served, foundation, tiny_run, monkeypatch):
    with pytest.raises(ConfigError, match="is a log of positives"):
        open_foundation([foundation.folder.path], tiny_run)
    nothing = run_of(tmp_path / "nothing", replace(HELD_OUT, holdout=0.0), impressions())
    with pytest.raises(ConfigError, match="has no held-out or test events"):
        open_foundation([foundation.folder.path], nothing)
    monkeypatch.setattr(module.Run, "open", lambda path: foundation)
    with pytest.raises(ConfigError, match="name one of the same data"):
        open_foundation([foundation.folder.path], served)
    monkeypatch.setattr(type(foundation), "data", served.data)
    assert open_foundation([foundation.folder.path] * 2, served) == [foundation, foundation]
    other = run_of(tmp_path / "other", replace(HELD_OUT, holdout=0.3), impressions())
    with pytest.raises(ConfigError, match=r"held out 0.2 of the events, the run .* 0.3"):
        open_foundation([foundation.folder.path], other)


def test_a_stack_is_refused_as_the_served_run(tmp_path, foundation):
    stack = run_of(tmp_path / "stack", replace(STACK, holdout=0.2), impressions())
    with pytest.raises(ConfigError, match="is a stack, whose logits of an ad need its tree, so what"):
        open_foundation([foundation.folder.path], stack)


def test_pairs_that_were_held_out_by_another_seed_are_refused(tmp_path, monkeypatch):
    data = impressions()
    unordered = replace(data, spec=replace(data.spec, history_ordered=False))
    one, same, other = (run_of(tmp_path / name, replace(HELD_OUT, seed=seed), unordered)
                        for name, seed in (("one", 0), ("same", 0), ("other", 1)))
    monkeypatch.setattr(type(one), "data", one.data)
    monkeypatch.setattr(module.Run, "open", lambda path: {"same": same, "other": other}[path.name])
    assert open_foundation([tmp_path / "same"], one) == [same]
    with pytest.raises(ConfigError, match=r"held out pairs drawn by seed 1, the run .* by seed 0"):
        open_foundation([tmp_path / "other"], one)
