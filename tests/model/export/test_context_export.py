"""Context from a log to answers: the hour decides the best ads, no position does, and parity holds."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.features.vocabulary import look_up
from index_store.value.calibration import sigmoid
from model.examples.clicks import Clicks
from model.export.seal import export
from model.training.normalized_entropy import impression_logits, impression_ne
from service.contract.query import Query
from service.retrieval.retriever import Retriever
from tests.model.tiny_runs import IN_CONTEXT, STACK, golden_answers_of, trained_run
from tests.model.worlds import TWINS, in_context, not_reading

USER = b"user00007"


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory):
    """The same log, read without context."""
    return trained_run(tmp_path_factory.mktemp("plain") / "run", IN_CONTEXT, not_reading(in_context()))


@pytest.fixture(scope="module")
def bundle(context_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    export(context_run, folder, {}, half=False)
    return folder


@pytest.fixture(scope="module")
def retriever(bundle):
    opened = Retriever(Bundle.open(bundle))
    yield opened
    opened.close()


def best(retriever, context, exact=True, user_id=USER):
    query = Query(user_id=user_id, top_k=12, task_weights=np.ones(1, np.float32), context=context, exact=exact)
    return asyncio.run(retriever.retrieve(query))


def categories(answer):
    return [row % 8 for row in answer.found.rows.tolist()]


def ne(run):
    test = run.dataset.test
    return impression_ne(run.reader, run.clicks, run.key_index, test)["click"]


@pytest.mark.parametrize("exact", [True, False])
def test_the_hour_decides_the_best_ads(retriever, exact):
    assert all(category % 2 == 0 for category in categories(best(retriever, {"hour": "day"}, exact)))
    assert all(category % 2 == 1 for category in categories(best(retriever, {"hour": "night"}, exact)))


def test_the_position_of_a_request_changes_nothing(retriever):
    answers = [best(retriever, context) for context in ({"hour": "day"}, {"hour": "day", "position": "2"},
                                                        {"hour": "day", "position": "unheard of"})]
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer.found.logits, answers[0].found.logits)
        assert answer.ad_ids == answers[0].ad_ids


def test_an_ad_that_was_always_on_top_scores_as_its_twin(context_run, plain_run):
    gaps = []
    for run in (context_run, plain_run):
        users = np.arange(60)
        with_history = run.reader.users(run.dataset.users.take(users), run.clicks.histories(users), run.key_index)
        rows = np.tile(np.array(TWINS), (60, 1))
        logits = run.reader.score_items(with_history, rows, run.reader.items(rows))[..., 0]
        gaps.append(float((logits[:, 0] - logits[:, 1]).mean().detach()))
    assert abs(gaps[0]) < 0.25
    assert gaps[1] > 0.5


def test_events_are_measured_in_their_own_context(context_run, plain_run):
    assert ne(context_run) < ne(plain_run) - 0.1
    test = context_run.dataset.test
    unknown = impression_ne(context_run.reader, context_run.clicks, context_run.key_index,
                            replace(test, context=np.zeros_like(test.context)))["click"]
    assert unknown > ne(context_run) + 0.1


def test_positions_shift_logits_by_what_they_are_worth(context_run):
    shifts = context_run.model.context.shifts[1].detach().numpy()[:, 0]
    assert shifts[1] - shifts[2] == pytest.approx(2.0, abs=0.5)
    assert shifts[0] == 0


def test_probabilities_are_those_of_the_position_that_is_served(context_run, bundle, retriever):
    """Calibrated on events on top and below, each with its own position."""
    predicted = []
    for hour in ("day", "night"):
        for user in range(0, 60, 6):
            answer = best(retriever, {"hour": hour}, user_id=b"user%05d" % user)
            predicted += sigmoid(retriever.bundle.content.calibrations.of_task[0](answer.found.logits[:, 0])).tolist()
    assert np.mean(predicted) == pytest.approx(1 / (1 + np.exp(-1.5)), abs=0.08)  # on top, by the right hour


def test_golden_requests_have_contexts_and_are_answered_as_in_training(bundle):
    requests = [golden["request"] for golden in Bundle.open(bundle).golden]
    assert {one["context"]["hour"] for one in requests if "context" in one} == {"day", "night"}
    assert not [one for one in requests if "position" in one.get("context", {})]
    assert any("context" not in one for one in requests)
    assert [done.problem for done in golden_answers_of(bundle)] == [None] * len(requests)


def test_served_logits_are_those_of_training_at_the_position_that_is_served(context_run, retriever):
    test = context_run.dataset.test
    chosen = test.where(np.arange(len(test)) < 200)
    on_top = replace(chosen, context=np.stack([chosen.context[:, 0], np.ones(len(chosen), np.int32)], axis=1))
    # with every click in the history, as it is served
    late = replace(on_top, timestamps=np.full(len(chosen), 1 << 40))
    clicks = Clicks.of(context_run.dataset.train, 60)
    trained = impression_logits(context_run.reader, clicks, context_run.key_index, late)
    for at in range(0, 200, 20):
        user_id = context_run.dataset.user_ids[chosen.users[at]]
        query = Query(user_id=user_id, top_k=1, task_weights=np.ones(1, np.float32),
                      context={"hour": ("day", "night")[chosen.context[at, 0] - 1], "position": 2})
        ad = context_run.dataset.encoder.item_ids[chosen.items[at]].decode()
        assert retriever.score_ads(query, [ad])[0] == pytest.approx(trained[at, 0], abs=1e-4)


def test_a_stack_reads_context_too(tmp_path):
    run = trained_run(tmp_path / "run", replace(STACK, epochs=1, rounds=1), in_context(600))
    export(run, tmp_path / "bundle", {})
    assert all(done.problem is None for done in golden_answers_of(tmp_path / "bundle"))
    content = Bundle.open(tmp_path / "bundle").content
    assert content.context.embeddings[0].shape[1] == Bundle.open(tmp_path / "bundle").manifest.dims["user_embedding"]
    assert look_up(content.encoder.vocabularies["context.hour"], np.array([b"night"])).tolist() == [1]
