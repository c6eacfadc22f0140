"""Bundle swaps under load, and replies of the previous bundle."""

import pytest

from loadtest.chaos.swaps import SwapError, of_another_bundle, swap, swaps
from tests.loadtest.chaos.guarantees import held
from tests.loadtest.chaos.outcomes import outcome


def test_every_reply_is_of_one_bundle_and_of_the_new_one_after_a_swap(testbed):
    facts = held(swaps(testbed), "swaps")["swaps"].facts
    assert (facts["swaps"], facts["rollbacks"], facts["mixed"], facts["of_the_bundle_before"]) == (2, 1, 0, 0)


def test_replies_count_as_of_another_bundle_only_between_swaps():
    done = [(0.0, 0.0, "a"), (10.0, 11.0, "b")]
    planted = [outcome(at=5.0, bundle_id="b"), outcome(at=5.0, bundle_id="a"),
               outcome(at=10.5, bundle_id="a"), outcome(at=10.5, bundle_id="b"),  # while it swaps: both will do
               outcome(at=12.0, bundle_id="a"), outcome(at=12.0, bundle_id="b"),
               outcome(at=12.0, bundle_id="a", status=503)]
    assert of_another_bundle(planted, done) == 2


def test_refused_swap_is_an_error_with_the_reason():
    class Refusing:
        def call(self, path, body):
            return 409, {"message": f"no, not {body['bundle']}"}

    with pytest.raises(SwapError, match=r"/admin/bundles/load .* answered with 409: no, not green"):
        swap(Refusing(), "green")
