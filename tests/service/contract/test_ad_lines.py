"""Lines of a batch: what they say, and which one is named when it does not fit."""

import pytest

from index_store.changes.change_log import Kind, Write
from service.contract.ad_lines import parse_lines
from service.contract.errors import ServiceError

GOOD = b'{"op":"delete","ad_id":"a"}'


def test_lines_become_writes_with_their_numbers_and_keys():
    body = b'\n{"op": "patch", "ad_id": 7, "status": "paused", "if_version": 3, "key": "k"}\r\n\n' + GOOD
    found = parse_lines(body, "call")
    assert [(one.line, one.write) for one in found] == [
        (2, Write(kind=Kind.AD, id="7", fields={"status": "paused"}, if_version=3, key="k")),
        (4, Write(kind=Kind.AD, id="a", fields={"status": "deleted"}, key="call/4"))]
    assert parse_lines(GOOD, None)[0].write.key is None
    put, patch = parse_lines(b'{"op":"put","ad_id":"a","features":{"price":1}}\n'
                             b'{"op":"patch","ad_id":"a","targeting":null}', None)
    assert put.write.fields == {"features": {"price": 1}, "targeting": None, "bid": None, "status": "active"}
    assert patch.write.fields == {"targeting": None}
    (bid,) = parse_lines(b'{"op":"patch","ad_id":"a","bid":{"micros":5,"type":"CPM"}}', None)
    assert bid.write.fields == {"bid": {"micros": 5, "type": "CPM"}}


@pytest.mark.parametrize(("line", "said"), [
    (b"{", "line 2 is not valid JSON"), (b'{"op":"post","ad_id":"a"}', 'line 2: op is "post"'),
    (b'{"op":"put","ad_id":"a"}', "line 2: a put gives nothing"),
    (b'{"op":"put","ad_id":"a","features":null}', "line 2: features is null"),
    (b'{"op":"patch","ad_id":"a","features":{}}', "line 2: a patch gives features"),
    (b'{"op":"patch","ad_id":"a","status":null}', "line 2: status is null"),

    (b'{"ad_id":"a","status":"paused"}', "line 2: the request has no op"), (b"[]", "line 2: the body is a list"),
    (b'{"op":"patch","ad_id":"a"}', "line 2: a patch gives nothing"),
    (b'{"op":7,"ad_id":"a","status":"paused"}', "line 2: op is 7"),
    (b'{"op":"patch","ad_id":"a","status":"deleted"}', 'line 2: status is "deleted"'),
    (b'{"op":"delete","ad_id":"a","status":"paused"}', "line 2: a delete gives status"),
    (b'{"op":"delete","ad_id":""}', "line 2: ad_id is empty"), (b'{"op":"delete"}', "line 2: the request has no ad_id"),
    (b'{"op":"delete","ad_id":"a","key":"a b"}', 'line 2: key is "a b"'), (b"\xff", "line 2 is not valid JSON")])
def test_first_bad_line_is_named_with_what_is_wrong(line, said):
    with pytest.raises(ServiceError, match=r"^line 2") as caught:
        parse_lines(b"\n".join([GOOD, line, b"neither this"]), None)
    assert (caught.value.error_type, caught.value.message[:len(said)]) == ("invalid_line", said)
