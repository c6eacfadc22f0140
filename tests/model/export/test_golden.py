"""Golden requests: who is asked, what the torch model answers, and when parity fails."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from index_store.search.exhaustive_search import ExhaustiveSearch
from model.export import golden
from model.export.golden import (
    TOP_K,
    USERS,
    ParityError,
    check_parity,
    golden_answers,
    golden_users,
    torch_scorers,
    user_input,
)
from model.export.onnx_graphs import onnx_layers, onnx_user_tower, write_graphs
from model.export.seal import assemble, item_parts
from model.network.folding import FoldedNetwork, torch_layers
from tests.model.tiny_runs import TINY, run_of


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Model and content of a run with a random tree."""
    run = run_of(tmp_path_factory.mktemp("run"))
    run.model.eval()
    return run.model, assemble(run, np.random.default_rng(0).integers(0, 4, (80, 2)).astype(np.int32))


def tower_of(model):
    """The user tower of the torch model over pooled inputs."""
    def tower(inputs):
        with torch.no_grad():
            return model.layer(0).embed_users(torch.from_numpy(inputs)).numpy()
    return tower


def test_known_users_an_inline_one_and_an_unknown_one_are_asked(exported):
    users = golden_users(exported[1])
    assert len(users) == USERS + 2
    assert [user.request["user_id"] for user in users[-2:]] == ["golden-inline", "golden-unknown"]
    assert all(user.request["top_k"] == TOP_K and user.request["exact"] for user in users)
    inline, unknown = users[-2:]
    assert inline.request["user_features"]["history"] == [
        exported[1].encoder.item_ids[row].decode() for row in inline.history]
    assert 0 < len(inline.history) <= 5
    assert len(unknown.history) == 0


def test_answers_are_the_best_ads_of_the_torch_model(exported):
    model, content = exported
    users = golden_users(content)
    answers = golden_answers(content, model, users)
    assert json.loads(json.dumps(answers, allow_nan=False)) == answers
    for user, answer in zip(users, answers, strict=True):
        scores = [ad["score"] for ad in answer["ads"]]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) == TOP_K
        query = content.query(tower_of(model)(user_input(content, user.features, user.history)), user.features,
                              user.history)
        found = ExhaustiveSearch(content.tree, content.scorer(torch_scorers(model))).search(
            query, top_k=1, task_weights=np.ones(1, np.float32))
        assert found.scores[0] == pytest.approx(scores[0], abs=1e-5)


def test_parity_gap_is_zero_for_the_model_itself_and_fails_for_another_tower(exported, tolerance=1e-5):
    model, content = exported
    users, scorers = golden_users(content), torch_scorers(model)
    assert check_parity(content, content, model, tower_of(model), [scorers], users) <= tolerance
    with pytest.raises(ParityError, match=r"scorer and torch differ by .* at most 0.0001 is allowed, so nothing was"):
        check_parity(content, content, model, lambda inputs: tower_of(model)(inputs) + 1, [scorers], users)


def test_halves_that_are_too_coarse_are_told_with_the_remedy(exported):
    model, content = exported
    halves = replace(content, embeddings=[level.astype(np.float16) for level in content.embeddings])
    scorers = [lambda user, items, features, one=one: one(user, items.astype(np.float32), features)
               for one in torch_scorers(model)]
    with pytest.raises(ParityError, match=r"at most 0.01 is allowed, so nothing was written; .*: try --float32"):
        check_parity(halves, content, model, lambda inputs: tower_of(model)(inputs) + 1, [scorers],
                     golden_users(content))


def test_parity_of_a_sample_of_the_nodes_finds_another_tower_too(exported, monkeypatch, tolerance=1e-5):
    model, content = exported
    users, scorers, asked = golden_users(content), torch_scorers(model), []
    counting = [lambda *pair, one=one: asked.append(len(pair[1])) or one(*pair) for one in scorers]
    monkeypatch.setattr(golden, "PARITY_NODES", 10)
    assert check_parity(content, content, model, tower_of(model), [counting], users) <= tolerance
    assert set(asked) <= {4, 10}
    with pytest.raises(ParityError, match="nothing was written"):
        check_parity(content, content, model, lambda inputs: tower_of(model)(inputs) + 1, [scorers], users)


def test_graphs_of_another_model_fail_parity(tiny_run, tmp_path):
    content = assemble(tiny_run)
    other = run_of(tmp_path / "other", replace(TINY, seed=9)).model.eval()

    class Folder:
        """Where `write_graphs` writes to."""

        def path(self, name):
            return tmp_path / name

    write_graphs(Folder(), other, FoldedNetwork(other), content.encoder.spec, half=False)
    tower = onnx_user_tower(tmp_path / "user_tower.onnx")
    layers = [onnx_layers(tmp_path / f"scorer_{number}.onnx") for number in (1, 2)]
    served = replace(content, embeddings=item_parts(FoldedNetwork(other), content.embeddings, half=False))
    with pytest.raises(ParityError, match="the exported scorer and torch differ by"):
        check_parity(served, content, tiny_run.model.eval(), tower, [layers], golden_users(content))


def test_a_wrong_scorer_of_the_nodes_fails_parity_though_items_are_right(tiny_run):
    model, content, folded = tiny_run.model.eval(), assemble(tiny_run), FoldedNetwork(tiny_run.model.eval())
    served = replace(content, embeddings=item_parts(folded, content.embeddings, half=False))
    nodes, items = torch_layers(folded.scorers)

    def tower(inputs):
        with torch.no_grad():
            return folded.user_part(torch.from_numpy(tower_of(model)(inputs))).numpy()

    users = golden_users(content)
    assert check_parity(served, content, model, tower, [[nodes, items]], users) <= 1e-4
    with pytest.raises(ParityError, match="the exported scorer and torch differ by"):
        check_parity(served, content, model, tower, [[nodes, items], [lambda *pair: nodes(*pair) + 0.01, items]], users)
