"""The policy of a bundle: what it predicts, for users and ads that it knows and that it does not."""

import asyncio

import numpy as np

from index_store.bundle.bundle import Bundle
from model.evaluation.bundle_policy import BundlePolicy
from model.evaluation.logged_answers import ABSENT, LoggedAnswers
from service.contract.parsing import UNLIMITED, parse_request, to_query
from service.retrieval.retriever import Retriever


def test_predictions_are_the_probabilities_of_the_service(tiny_bundle):
    """Also for a user whom the bundle does not know; an ad that it does not know is never shown."""
    opened = Bundle.open(tiny_bundle)
    retriever = Retriever(opened)
    ads = ["ad-0007", "new", "ad-0100", "ad-0000"]
    logged = LoggedAnswers(users=np.array([b"user-03", b"nobody"]), answers=np.array([0, 0, 1, 1]),
                           ads=np.array([ad.encode() for ad in ads]), propensities=np.ones(4),
                           explored=np.zeros(4, bool), rewards={}, bids=[ABSENT] * 4, left_out=0)
    target = BundlePolicy(opened, by_ecpm=False).target(logged)
    for at, (user, ad) in enumerate(zip(["user-03", "user-03", "nobody", "nobody"], ads, strict=True)):
        if ad == "new":
            assert (target.predicted[at], target.probabilities[at]) == (0, 0)
            continue
        p = retriever.probabilities_of(user.encode(), ad.encode(), retriever.sealed)
        np.testing.assert_allclose(target.predicted[at], p[0], rtol=1e-4)
    for at, user in enumerate(("user-03", "nobody")):
        query = to_query(parse_request({"user_id": user, "top_k": 2}), opened.manifest, UNLIMITED)
        answer = asyncio.run(retriever.retrieve(query))
        np.testing.assert_allclose(target.expected[at], answer.probabilities[:, 0].sum(), rtol=1e-4)
    retriever.close()
