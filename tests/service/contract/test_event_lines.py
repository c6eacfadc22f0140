"""Lines of POST /events: what they say, and what is refused."""

import pytest

from index_store.changes.change_log import Kind, Write
from service.contract.errors import ServiceError
from service.contract.event_lines import parse_events

NOW = 1_700_000_000.0


def test_lines_become_events_of_their_users():
    body = (b'{"user_id": 7, "ad_id": 42, "type": "click"}\n'
            b'{"user_id": "u", "ad_id": "a", "type": "conversion", "at": 1700000060, "request_id": "r.1", "key": "k"}')
    assert [(one.line, one.write) for one in parse_events(body, "call", NOW)] == [
        (1, Write(kind=Kind.EVENT, id="7", fields={"ad_id": "42", "type": "click"}, key="call/1")),
        (2, Write(kind=Kind.EVENT, id="u", key="k", fields={"ad_id": "a", "type": "conversion", "at": 1_700_000_060.0,
                                                            "request_id": "r.1"}))]


def test_propensity_of_the_answer_is_kept():
    body = (b'{"user_id": 7, "ad_id": 42, "type": "impression", "request_id": "r", "propensity": 0.25, '
            b'"explored": true}')
    assert parse_events(body, None, NOW)[0].write.fields == {
        "ad_id": "42", "type": "impression", "request_id": "r", "propensity": 0.25, "explored": True}


@pytest.mark.parametrize(("more", "said"), [
    (b'"propensity": 0.5', "line 1: propensity is 0.5, but request_id is missing"),
    (b'"request_id": "r", "explored": true', "line 1: explored is true, but propensity is missing"),
    (b'"request_id": "r", "propensity": 0', "line 1: propensity is 0"),
    (b'"request_id": "r", "propensity": 1.5', "line 1: propensity is 1.5"),
    (b'"at": 1700000061', "line 1: at is 1700000061.0, later than this service's clock, 1700000000.000, by more than"),
    (b'"at": -1', "line 1: at is -1"), (b'"at": "now"', 'line 1: at is "now"'), (b'"at": true', "line 1: at is true"),
    (b'"type": "view"', 'line 1: type is "view"'), (b'"user_id": ""', "line 1: user_id is empty"),
    (b'"ad_id": "%s"' % (b"x" * 129), "line 1: ad_id has 129 bytes"), (b'"request_id": "a b"', "line 1: request_id is"),
    (b'"value": 1', 'line 1: the request has a field "value"')])
def test_line_is_refused_when_a_value_does_not_fit(more, said):
    with pytest.raises(ServiceError) as caught:
        parse_events(b'{"user_id": "u", "ad_id": "a", "type": "click", ' + more + b"}", None, NOW)
    assert (caught.value.error_type, caught.value.message[:len(said)]) == ("invalid_line", said)
