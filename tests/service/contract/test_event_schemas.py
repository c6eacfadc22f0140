"""Lines of POST /events as a schema."""

import pytest

from service.contract.errors import ServiceError
from service.contract.event_schemas import EventLine
from service.contract.parsing import parse_request

EVENT = {"user_id": "u", "ad_id": 7, "type": "impression"}


def test_only_user_ad_and_type_are_needed():
    assert parse_request(EVENT, EventLine).at is None
    for name in EVENT:
        with pytest.raises(ServiceError, match=f"the request has no {name}"):
            parse_request({key: value for key, value in EVENT.items() if key != name}, EventLine)
