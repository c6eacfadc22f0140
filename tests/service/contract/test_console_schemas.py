"""The bodies of the console's calls refuse what is unknown or too much."""

import pytest

from service.contract.console_schemas import MOST_ADS, AdsRequest, BesideRequest, TreeOptions
from service.contract.errors import ServiceError
from service.contract.parsing import parse_request


@pytest.mark.parametrize(("schema", "content", "says"), [
    (AdsRequest, {"ad_ids": ["a"] * (MOST_ADS + 1)}, "ad_ids"), (AdsRequest, {}, "ad_ids"),
    (AdsRequest, {"ad_ids": [], "more": 1}, "more"), (BesideRequest, {"user_id": "a"}, "bundle"),
    (TreeOptions, {"level": "-1"}, "level"), (TreeOptions, {"node": "x"}, "node")])
def test_request_is_refused_with_the_field_at_fault(schema, content, says):
    with pytest.raises(ServiceError, match=says):
        parse_request(content, schema)


def test_query_string_begins_at_the_root_when_it_is_empty():
    assert parse_request({}, TreeOptions) == TreeOptions(level=0, node=0)
