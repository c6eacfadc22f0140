"""Tries, pauses and the deadline, with planned outcomes and a planned clock."""

import json
import warnings

import httpx
import pytest

from monn_hill import calls
from monn_hill.errors import DeadlineError, FailedError, RefusedError, RetrievalError, UnavailableError, VersionWarning
from monn_hill.steps import Caller, Pause, Try
from monn_hill.version import VERSION
from service.contract.errors import ErrorType, ServiceError

CALL = calls.retrieve({"user_id": "7"})
ANSWER = httpx.Response(200, json={"ads": []})
REFUSED = httpx.ConnectError("refused")
LOST = httpx.ReadError("reset")


def reply(error_type, retry_after=None):
    error = ServiceError(error_type, "found", "do", retry_after)
    return httpx.Response(error.status, content=error.body(), headers=error.headers)


class Low:
    """The shortest pause."""

    def uniform(self, low, high):
        return low


class High:
    def uniform(self, low, high):
        return high


class Played:
    """Takes the steps of a call with outcomes in order; a try takes no time, a pause its own."""

    def __init__(self, outcomes, *, seconds=10.0, random=None, call=CALL):
        self.now, self.tries, self.pauses, self.reply, self.error = 0.0, [], [], None, None
        caller = Caller({"read": "secret", "write": None}, seconds, random or Low(), lambda: self.now)
        steps = caller.tries(call, caller.deadline(None))
        given, outcomes = None, iter(outcomes)
        try:
            while True:
                step = steps.send(given)
                if isinstance(step, Pause):
                    self.pauses.append(step.seconds)
                    self.now += step.seconds
                    given = None
                else:
                    self.tries.append(step)
                    given = next(outcomes)
        except StopIteration as end:
            self.reply = end.value
        except RetrievalError as error:
            self.error = error


@pytest.mark.parametrize("failure", [
    REFUSED, LOST, httpx.RemoteProtocolError("closed"), TimeoutError(), httpx.Response(502),
    httpx.Response(504), reply(ErrorType.OVERLOADED, 1), reply(ErrorType.RATE_LIMITED, 1),
    reply(ErrorType.DRAINING, 1), reply(ErrorType.NOT_READY), reply(ErrorType.CHANGE_LOG_UNAVAILABLE)])
def test_call_is_tried_again_when_that_may_help(failure):
    played = Played([failure, ANSWER])
    assert played.reply == {"ads": []}
    assert len(played.tries) == 2


@pytest.mark.parametrize(("failure", "kind"), [
    (reply(ErrorType.INVALID_VALUE), RefusedError), (reply(ErrorType.UNAUTHORIZED), RefusedError),
    (reply(ErrorType.VERSION_CONFLICT), RefusedError), (reply(ErrorType.INTERNAL), FailedError),
    (reply(ErrorType.NOT_APPLIED), FailedError), (httpx.Response(200, content=b"<html>"), FailedError)])
def test_call_is_not_tried_again_when_that_cannot_help(failure, kind):
    played = Played([failure])
    assert type(played.error) is kind
    assert (len(played.tries), played.pauses) == (1, [])


def test_pauses_double_up_to_a_second_when_the_service_does_not_say():
    played = Played([LOST] * 8 + [ANSWER], random=High())
    assert played.pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]
    assert played.reply


@pytest.mark.parametrize(("random", "seconds", "pause"), [(Low(), 10.0, 3.0), (High(), 10.0, 6.0), (High(), 5.0, 4.0)])
def test_pause_is_as_long_as_asked_for_and_leaves_time_for_a_try(random, seconds, pause):
    assert Played([reply(ErrorType.OVERLOADED, 3), ANSWER], random=random, seconds=seconds).pauses == [pause]


def test_error_of_the_service_is_raised_when_its_pause_would_pass_the_deadline():
    played = Played([reply(ErrorType.OVERLOADED, 11)])
    assert isinstance(played.error, UnavailableError)
    assert (played.error.error_type, played.error.retry_after, played.pauses) == ("overloaded", 11.0, [])


@pytest.mark.parametrize(("failure", "tries"), [(LOST, 6), (REFUSED, 5)])
def test_deadline_bounds_all_tries_together_and_is_told_to_the_service(failure, tries):
    played = Played([failure] * 100, seconds=2.0, random=High())
    assert isinstance(played.error, DeadlineError)
    assert played.error.__cause__ is failure
    assert f"no reply within 2 s; tries: {tries}, the last one: {failure}" in str(played.error)
    assert played.now < 2.0
    sent = [json.loads(step.request["content"])["timeout_ms"] for step in played.tries]
    assert sent == pytest.approx([900 * step.seconds for step in played.tries])
    assert played.tries[0].seconds == 2.0
    assert played.tries[-1].seconds == pytest.approx(2.0 - played.now)


def test_one_call_tries_for_all_when_nobody_listens():
    now = [0.0]
    caller = Caller({}, 10.0, Low(), lambda: now[0])
    calls = [caller.tries(CALL, caller.deadline(None)) for _ in range(5)]
    assert isinstance(next(calls[0]), Try)
    assert calls[0].send(REFUSED) == Pause(0.05)
    assert [next(call) for call in calls[1:]] == [Pause(0.05)] * 4
    now[0] += 0.05
    steps = [call.send(None) for call in calls]
    assert [isinstance(step, Try) for step in steps] == [True, False, False, False, False]
    assert isinstance(calls[0].send(TimeoutError()), Pause)  # which says nothing about connections
    now[0] += 0.05
    steps = [call.send(None) for call in calls]
    assert [isinstance(step, Try) for step in steps] == [True, False, False, False, False]
    with pytest.raises(StopIteration):
        calls[0].send(ANSWER)
    assert all(isinstance(call.send(None), Try) for call in calls[1:])


def test_key_is_the_same_in_every_try_of_a_write():
    played = Played([REFUSED, REFUSED, ANSWER], call=calls.delete_user(7, "durable", None))
    keys = {step.request["headers"]["idempotency-key"] for step in played.tries}
    assert (len(played.tries), len(keys)) == (3, 1)


def test_token_is_sent_where_it_belongs_and_shown_nowhere():
    (read,), (write,) = (Played([ANSWER], call=call).tries for call in (CALL, calls.ad(7)))
    assert read.request["headers"]["authorization"] == "Bearer secret"
    assert "authorization" not in write.request["headers"]
    assert "secret" not in repr(read)
    assert "secret" not in repr(vars(Caller({"read": "secret"}, 1.0)))


def versions(*outcomes):
    """Warnings while one caller makes calls, each with the outcome of its version call; and what was asked besides."""
    caller, asked = Caller({}, 10.0), []
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for outcome in outcomes:
            steps = caller.answer(CALL, None)
            tries = list(map(steps.send, (None, ANSWER, outcome)))  # until the call ends
            asked += [step.request["url"] for step in tries[1:]]
    return [str(one.message) for one in found if one.category is VersionWarning], asked


def test_both_versions_are_told_once_when_they_differ():
    (message,), asked = versions(*[httpx.Response(200, json={"version": "9.9"})] * 3)
    assert message == f"the service is of version 9.9, this client of {VERSION}; install monn-hill-client==9.9"
    assert asked == ["/info"]


@pytest.mark.parametrize("outcome", [httpx.Response(200, json={"version": VERSION}), httpx.Response(404), REFUSED,
                                     httpx.Response(200, content=b"<html>"), httpx.Response(200, json={}),
                                     httpx.Response(200, json=[])])
def test_nothing_is_told_when_versions_are_alike_or_unknown(outcome):
    assert versions(outcome, outcome) == ([], ["/info"])
