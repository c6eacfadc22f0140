"""A batch: answers in order, and what found no room sent again."""

import json

import httpx
import pytest

from monn_hill import AsyncClient, RefusedError
from monn_hill.batch import answers
from monn_hill.errors import RetrievalError, UnavailableError
from monn_hill.steps import Caller, Pause
from monn_hill.version import VERSION
from service.contract.errors import ErrorType, ServiceError
from service.contract.retrieve_batch import answered, batch_body, refused
from tests.service.http.app_in_process import in_app

FULL = ServiceError(ErrorType.OVERLOADED, "full", "later", retry_after=0)
LATER = ServiceError(ErrorType.OVERLOADED, "full", "later", retry_after=60)
BAD = ServiceError(ErrorType.INVALID_VALUE, "top_k is 0", "send 1")
OTHER = httpx.Response(200, json={"version": VERSION})


def reply(*outcomes):
    return httpx.Response(200, content=batch_body(
        refused(index, one) if isinstance(one, ServiceError) else answered(index, b'{"ads":[%d]}' % one)
        for index, one in enumerate(outcomes)))


def played(users, *replies):
    """The result of a batch with planned replies, and the users whose queries each try sent."""
    steps = answers(Caller({}, 10.0), [{"user_id": str(user)} for user in users], None)
    given, sent, replies = None, [], iter([*replies, OTHER])
    while True:
        try:
            step = steps.send(given)
        except StopIteration as end:
            return end.value, sent
        if isinstance(step, Pause):
            given = None
            continue
        if step.request["url"] != "/info":
            sent.append([json.loads(line)["user_id"] for line in step.request["content"].split(b"\n")])
        given = next(replies)


def test_only_what_found_no_room_is_sent_again():
    found, sent = played(range(5), reply(10, FULL, BAD, FULL, 14), reply(11, FULL), reply(13))
    assert sent == [["0", "1", "2", "3", "4"], ["1", "3"], ["3"]]
    assert [one["ads"] for one in found if isinstance(one, dict)] == [[10], [11], [13], [14]]
    assert isinstance(found[2], RefusedError)
    assert (found[2].status, found[2].message) == (422, "top_k is 0")


@pytest.mark.parametrize("second", [(), (httpx.Response(422, content=BAD.body()),)])
def test_answers_are_kept_when_the_rest_cannot_be_had(second):
    found, _ = played(range(2), reply(10, FULL if second else LATER), *second)
    assert found[0] == {"ads": [10]}
    assert isinstance(found[1], UnavailableError)


def test_whole_batch_fails_when_its_first_try_does():
    with pytest.raises(RefusedError):
        played(range(2), httpx.Response(422, content=BAD.body()))


def test_nothing_is_asked_when_there_is_no_query():
    assert played([]) == ([], [])


def test_service_answers_a_batch_with_a_bad_query(tiny_bundle):
    async def check(app):
        async with AsyncClient("http://service", transport=app.http._transport) as client:
            found = await client.retrieve_batch([{"user_id": "user-01", "top_k": 2}, {"user_id": "user-02", "top_k": 0},
                                                 {"user_id": "user-03"}])
            assert [isinstance(one, RetrievalError) for one in found] == [False, True, False]
            assert found[2]["ads"] == (await client.retrieve(user_id="user-03"))["ads"]
            with pytest.raises(RefusedError, match="the batch has 1001 queries"):
                await client.retrieve_batch([{"user_id": "1"}] * 1_001)

    in_app(tiny_bundle, check)
