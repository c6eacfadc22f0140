"""The schemas of requests: strict, closed, and their descriptions are the help of refusals."""

import pytest
from pydantic import ValidationError

from service.contract.schemas import ExplainReply, ExplainRequest, RetrieveReply, RetrieveRequest


@pytest.mark.parametrize("schema", [RetrieveRequest, ExplainRequest])
def test_every_field_says_what_it_takes(schema):
    assert all(field.description for field in schema.model_fields.values())


@pytest.mark.parametrize("body", [
    {"top_k": True}, {"top_k": "5"}, {"top_k": 5.0}, {"exact": 1}, {"task_weights": {"click": float("nan")}},
    {"timeout_ms": float("inf")}, {"unknown": None}, {"exclude_ad_ids": [1.5]}, {"beam_width": [True]},
    {"rank_by": "bid"}, {"floor": -1}, {"floor": 1.5}])
def test_values_are_never_converted_when_a_request_is_read(body):
    with pytest.raises(ValidationError):
        RetrieveRequest.model_validate({"user_id": "u", **body})


def test_null_counts_as_absent_when_a_field_is_optional():
    optional = {name: None for name, field in RetrieveRequest.model_fields.items() if field.default is None}
    assert len(optional) == 15
    assert RetrieveRequest.model_validate(optional) == RetrieveRequest()


@pytest.mark.parametrize("reply", [RetrieveReply, ExplainReply])
def test_replies_have_no_field_beyond_their_documentation(reply):
    assert reply.model_config["extra"] == "forbid"
    assert "history" in reply.model_fields
