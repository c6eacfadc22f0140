"""Every over-arch and every size goes the whole way: trained, exported, and served with the scores of torch."""

from dataclasses import replace

import pytest

from model.config.monn import SIZES
from model.export.seal import export
from tests.model.tiny_runs import TINY, golden_answers_of, recall_of, trained_run

VARIANTS = [("dot", "small"), ("deepfm", "medium"), ("dhen", "large"), ("wukong", "large")]
"""Each over-arch and each size; Wukong of the small size is what the other tests export."""


@pytest.mark.parametrize(("over_arch", "size"), VARIANTS)
def test_the_service_gives_the_scores_of_torch_for(over_arch, size, tmp_path, tolerance=1e-4):
    shape = replace(SIZES[size], over_arch=over_arch, table_width=8, user_hidden=(16,), item_hidden=(16,))
    run = trained_run(tmp_path / "run", replace(TINY, model=shape))
    manifest = export(run, tmp_path / "bundle", {}, half=False)
    found = golden_answers_of(tmp_path / "bundle")
    assert len(found) >= 3
    assert all(answer.ads and answer.problem is None and answer.difference <= tolerance for answer in found)
    node = run.model.level_offsets[:1].reshape(1, shape.item_tokens, shape.dim)
    terms = run.model.layer(-1).over_arch.item_terms(node)
    assert manifest.levels[-1].width == sum(term.numel() for term in terms)


@pytest.mark.parametrize("over_arch", ["deepfm", "dhen"])
def test_an_over_arch_learns_the_planted_category(over_arch, tmp_path, at_least=0.9):
    run = trained_run(tmp_path, replace(TINY, model=replace(TINY.model, over_arch=over_arch), epochs=4))
    assert recall_of(run, 4) > at_least
