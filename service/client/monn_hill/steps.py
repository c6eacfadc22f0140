"""A call as a generator of steps, which a client takes: the same tries and pauses, whether it blocks or awaits."""

from __future__ import annotations

import itertools
import random
import time
import warnings
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from monn_hill import calls
from monn_hill.calls import Call
from monn_hill.deadline import Deadline
from monn_hill.errors import DeadlineError, RetrievalError, UnavailableError, VersionWarning, content_of, error_of
from monn_hill.gate import Gate
from monn_hill.version import VERSION

Reply = TypeVar("Reply")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds: the bound of a pause between two tries doubles from the first to the longest."""

SHORTEST_TRY = 0.005
"""Seconds that a try needs: with less, it is not made."""

_COMPARISON_SECONDS = 1.0


@dataclass(frozen=True)
class Try:
    """Send a request, and give back the response or the error of the connection.

    Attributes:
        request: method, url, headers and so on, as httpx names them.
        seconds: until it has to be there.
    """

    request: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True)
class Pause:
    """Wait, and give back None."""

    seconds: float


Step = Try | Pause
Outcome = httpx.Response | httpx.RequestError | TimeoutError | None
Steps = Generator[Step, Outcome, Reply]


class Caller:
    """Makes the steps of calls.

    Args:
        tokens: by scope.
        timeout: seconds that a call has if it does not say.
        random: for the jitter of pauses.
        now: clock, in seconds.
    """

    def __init__(self, tokens: Mapping[str, str | None], timeout: float,
                 random: random.Random | None = None, now: Callable[[], float] = time.monotonic) -> None:
        # httpx hides the token in the representation of its headers.
        self._headers = {scope: httpx.Headers({"authorization": f"Bearer {token}"} if token else {})
                         for scope, token in tokens.items()}
        self._timeout, self._random, self._compared = timeout, random or _RANDOM, False
        self._now, self._gate = now, Gate(self._random.uniform, now)

    def answer(self, call: Call[Reply], timeout: float | None) -> Steps[Reply]:
        """Tries until there is an answer, within one deadline; returns it.

        Raises:
            RetrievalError: see there.
        """
        deadline = self.deadline(timeout)
        reply: Reply = yield from self.tries(call, deadline)
        yield from self.compare_versions(deadline)
        return reply

    def deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._timeout if timeout is None else timeout, self._now)

    def tries(self, call: Call[Reply], deadline: Deadline) -> Steps[Reply]:
        """The tries of one call, with a pause before each further one."""
        outcome: Outcome = TimeoutError("no connection could be made a moment ago")
        for number in itertools.count(1):
            while pause := self._gate.wait():
                if deadline.left < pause + SHORTEST_TRY:
                    raise _failure(outcome, deadline, number - 1) from _cause(outcome)
                yield Pause(pause)
            outcome = yield self._try(call, deadline.left)
            if isinstance(outcome, httpx.ConnectError | httpx.ConnectTimeout):
                self._gate.refused()
                continue
            if isinstance(outcome, httpx.Response):
                self._gate.passed()
                if outcome.is_success:
                    reply: Reply = content_of(outcome)
                    return reply
            error = _failure(outcome, deadline, number)
            until = self.pause(error, number, deadline.left)
            if until is None or deadline.left < until + SHORTEST_TRY:
                raise error from _cause(outcome)
            yield Pause(until)
        raise AssertionError("unreachable")

    def pause(self, error: RetrievalError, number: int, left: float) -> float | None:
        """Seconds before the next try, of those that are left; None if there is to be none.

        After a `Retry-After`, calls come back spread over as long again: all at once they would be refused again.
        """
        if not isinstance(error, UnavailableError | DeadlineError):
            return None
        if error.retry_after:
            spread = max(0.0, min(error.retry_after, (left - error.retry_after) / 2))
            return error.retry_after + self._random.uniform(0.0, spread)
        return self._random.uniform(0.0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(number - 1, 10)))

    def compare_versions(self, deadline: Deadline) -> Steps[None]:
        """Warns if the service is of another version; asks it once, with one try, after the first answer."""
        if self._compared or deadline.left < SHORTEST_TRY:
            return
        self._compared = True
        outcome = yield self._try(calls.info(), min(deadline.left, _COMPARISON_SECONDS))
        if not isinstance(outcome, httpx.Response) or not outcome.is_success:
            return
        try:
            version = outcome.json()["version"]
        except (ValueError, LookupError, TypeError):  # not the service itself
            return
        if version != VERSION:
            warnings.warn(f"the service is of version {version}, this client of {VERSION}; install "
                          f"monn-hill-client=={version}", VersionWarning, stacklevel=6)  # the caller of the client

    def _try(self, call: Call[Any], left: float) -> Try:
        headers = httpx.Headers(self._headers.get(call.scope or "", {}))
        content = None
        if call.content is not None:
            content = call.content(left)
            headers["content-type"] = call.media_type
        if call.key is not None:
            headers["idempotency-key"] = call.key
        return Try({"method": call.method, "url": call.path, "params": dict(call.parameters), "headers": headers,
                    "content": content}, left)


def _cause(outcome: Outcome) -> Exception | None:
    return outcome if isinstance(outcome, Exception) else None


def _failure(outcome: Outcome, deadline: Deadline, number: int) -> RetrievalError:
    if isinstance(outcome, httpx.Response):
        return error_of(outcome)
    reason = str(outcome) or type(outcome).__name__
    return DeadlineError("no_reply", f"no reply within {deadline.seconds:g} s; tries: {number}, the last one: {reason}",
                         "see whether the service runs at this address, or give a longer timeout")


_RANDOM = random.Random()
