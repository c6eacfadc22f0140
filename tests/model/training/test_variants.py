"""Every over-arch and every size goes the whole way: trained, exported, and served with the scores of torch."""

import asyncio
from dataclasses import replace

import pytest

from index_store.bundle.bundle import Bundle
from model.config import SIZES
from model.export.seal import export
from service.bundles.golden import replay
from service.retrieval.retriever import Retriever
from tests.model.training.test_trainer import TINY, recall_of, trainer_of

VARIANTS = [("dot", "small"), ("deepfm", "medium"), ("dhen", "large"), ("wukong", "large")]
"""Each over-arch and each size; Wukong of the small size is what the other tests export."""


async def served(folder):
    """What the service's own retriever makes of the golden requests."""
    retriever = Retriever(Bundle.open(folder))
    try:
        return [found async for found in replay(retriever)]
    finally:
        retriever.close()


@pytest.mark.parametrize(("over_arch", "size"), VARIANTS)
def test_the_service_gives_the_scores_of_torch_for(over_arch, size, tmp_path, tolerance=1e-4):
    shape = replace(SIZES[size], over_arch=over_arch, table_width=8, user_hidden=(16,), item_hidden=(16,))
    trainer = trainer_of(tmp_path / "run", replace(TINY, model=shape))
    trainer.fit()
    manifest = export(trainer, tmp_path / "bundle", {})
    found = asyncio.run(served(tmp_path / "bundle"))
    assert len(found) >= 3
    assert all(answer.ads and answer.problem is None and answer.difference <= tolerance for answer in found)
    node = trainer.model.level_offsets[:1].reshape(1, shape.item_tokens, shape.dim)
    terms = trainer.model.layer(-1).over_arch.item_terms(node)
    assert manifest.levels[-1].width == sum(term.numel() for term in terms)


@pytest.mark.parametrize("over_arch", ["deepfm", "dhen"])
def test_an_over_arch_learns_the_planted_category(over_arch, tmp_path, at_least=0.9):
    trainer = trainer_of(tmp_path, replace(TINY, model=replace(TINY.model, over_arch=over_arch), epochs=4))
    trainer.fit()
    assert recall_of(trainer, 4) > at_least
