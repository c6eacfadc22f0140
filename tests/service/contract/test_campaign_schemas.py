"""The body of PUT /campaigns/{campaign_id}."""

import pytest

from service.contract.campaign_schemas import CampaignPut
from service.contract.errors import ServiceError
from service.contract.parsing import parse_request


@pytest.mark.parametrize(("body", "error_type"), [
    ({"currency": "EUR"}, "missing_field"), ({"daily_budget_micros": "5", "currency": "EUR"}, "wrong_type"),
    ({"daily_budget_micros": True, "currency": "EUR"}, "wrong_type"),
    ({"daily_budget_micros": 5, "currency": "EUR", "if_version": -1}, "invalid_value"),
    ({"daily_budget_micros": 5, "currency": "EUR", "budget": 1}, "unknown_field")])
def test_put_is_refused_when_its_body_does_not_fit(body, error_type):
    with pytest.raises(ServiceError) as caught:
        parse_request(body, CampaignPut)
    assert caught.value.error_type == error_type
