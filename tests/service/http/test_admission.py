"""Admission control in this process: which requests wait, are refused or are dropped."""

import asyncio
import threading
import time
from dataclasses import dataclass

import pytest

from service.contract.errors import ErrorType, ServiceError
from service.http.admission import Admission, ClientLeftError, RequestQueue
from service.retrieval.search_queue import DeadlinePassedError

HOUR = 3600.0


async def stays():
    return False


async def left():
    return True


@dataclass
class Search:
    """A finished search."""

    began: float
    ended: float
    coverage: float = 1.0


class Desk:
    """An Admission whose searches last until they are told to end."""

    def __init__(self, max_queue, threads=1):
        self.admission = Admission(threads, max_queue)
        self.order = []
        self.tasks = []

    async def ask(self, name, seconds=None, gone=stays):
        """A request that holds its place until `ends[name]` is set."""
        answer_by = None if seconds is None else time.perf_counter() + seconds

        async def search(search_by):
            self.order.append(name)
            began = time.perf_counter()
            await asyncio.to_thread(self.ends.setdefault(name, threading.Event()).wait, 10)
            return Search(began, time.perf_counter())

        found = await RequestQueue(self.admission, answer_by, gone).run(search)
        self.admission.observe_reply(time.perf_counter() - found.ended)
        return name

    async def start(self, *names, **kwargs):
        """Starts requests one after the other and lets each get as far as it can."""
        for name in names:
            self.tasks.append(asyncio.create_task(self.ask(name, **kwargs)))
            await asyncio.sleep(0.01)

    async def end(self):
        for name in "abcdefgh":
            self.ends.setdefault(name, threading.Event()).set()
        return await asyncio.gather(*self.tasks, return_exceptions=True)

    async def __aenter__(self):
        self.ends = {}
        return self

    async def __aexit__(self, *_):
        await self.end()


def in_queue(check, max_queue, **kwargs):
    """Runs `check` with a fresh Desk."""
    async def run():
        async with Desk(max_queue, **kwargs) as desk:
            return await check(desk)
    return asyncio.run(run())


def test_requests_are_served_in_their_order_when_they_have_to_wait():
    async def check(desk):
        await desk.start("a", "b", "c", "d", "e")
        assert desk.order == ["a", "b"]  # one searches, one is at hand so that the thread never waits for the loop
        assert await desk.end() == ["a", "b", "c", "d", "e"]
        assert desk.order == ["a", "b", "c", "d", "e"]
    in_queue(check, 64)


@pytest.mark.parametrize(("max_queue", "let_in"), [(0, "ab"), (2, "abcd")])
def test_request_is_refused_with_a_time_to_retry_when_the_queue_is_full(max_queue, let_in):
    async def check(desk):
        await desk.start(*"abcdefgh")
        outcomes = await desk.end()
        assert "".join(x for x in outcomes if isinstance(x, str)) == let_in
        refused = [x for x in outcomes if isinstance(x, ServiceError)]
        assert len(refused) == 8 - len(let_in)
        assert {x.error_type for x in refused} == {ErrorType.OVERLOADED}
        assert all(x.retry_after >= 1 for x in refused)
        desk.admission.refuse_if_full()  # now there is room again
    in_queue(check, max_queue)


def test_retry_after_follows_the_time_that_the_queue_takes_when_searches_are_slow():
    async def check(desk):
        desk.admission._service.observe(3.0)
        await desk.start(*"abcdefg")
        with pytest.raises(ServiceError) as caught:
            desk.admission.refuse_if_full()
        assert caught.value.retry_after == 20  # 7 x 3 s, half of the first one gone: 19.5 s
    in_queue(check, 5)


def test_request_is_refused_at_once_when_those_ahead_take_longer_than_its_deadline():
    async def check(desk):
        desk.admission._service.observe(3.0)
        await desk.start("a", "b", "c")
        for seconds, fits in ((5.0, False), (9.0, False), (11.0, True)):  # 7.5 s of waiting, 3 s of searching
            if fits:
                desk.admission.refuse_if_late(time.perf_counter() + seconds)
            else:
                with pytest.raises(ServiceError) as caught:
                    desk.admission.refuse_if_late(time.perf_counter() + seconds)
                assert caught.value.error_type is ErrorType.DEADLINE_UNREACHABLE
        desk.admission.refuse_if_late(None)
    in_queue(check, 64)


def test_request_is_let_in_when_nobody_is_ahead_however_slow_searches_were():
    async def check(desk):
        desk.admission._service.observe(HOUR)
        desk.admission._reply.observe(HOUR)
        desk.admission.refuse_if_late(time.perf_counter() + 0.5)
        with pytest.raises(ServiceError):
            desk.admission.refuse_if_late(time.perf_counter() - 0.5)
    in_queue(check, 64)


def test_request_is_dropped_without_a_search_when_its_deadline_passes_in_the_queue():
    async def check(desk):
        await desk.start("a", "b")
        await desk.start("c", seconds=0.05)
        await desk.start("d")
        await asyncio.sleep(0.1)
        outcomes = await desk.end()
        assert desk.order == ["a", "b", "d"]
        assert outcomes[2].error_type is ErrorType.DEADLINE_UNREACHABLE
    in_queue(check, 64)


def test_request_is_dropped_without_a_search_when_its_client_left_while_it_waited():
    async def check(desk):
        await desk.start("a", "b")
        await desk.start("c", gone=left)
        await desk.start("d")
        outcomes = await desk.end()
        assert desk.order == ["a", "b", "d"]
        assert isinstance(outcomes[2], ClientLeftError)
        assert outcomes[3] == "d"
    in_queue(check, 64)


def test_client_is_not_asked_about_when_its_request_need_not_wait():
    async def check(desk):
        await desk.start("a", "b", gone=left)
        assert await desk.end() == ["a", "b"]
    in_queue(check, 64)


def test_place_is_passed_on_when_a_waiting_request_is_cancelled():
    async def check(desk):
        await desk.start("a", "b", "c", "d")
        desk.tasks[2].cancel()
        outcomes = await desk.end()
        assert desk.order == ["a", "b", "d"]
        assert isinstance(outcomes[2], asyncio.CancelledError)
        await desk.start("e", "f")
        assert desk.order[-2:] == ["e", "f"]  # and both places are free again
    in_queue(check, 64)


def test_narrowed_searches_count_as_whole_ones_when_the_wait_is_estimated():
    async def check(desk):
        async def search(search_by):
            return Search(10.0, 10.02, coverage=0.1)

        await RequestQueue(desk.admission, None, stays).run(search)
        assert desk.admission._service.mean == pytest.approx(0.2)
    in_queue(check, 64)


def test_time_for_the_reply_is_kept_free_when_a_request_has_a_deadline():
    async def check(desk):
        desk.admission.observe_reply(0.25)

        async def search(search_by):
            assert search_by == answer_by - 0.25
            return Search(0.0, 1.0)

        answer_by = time.perf_counter() + HOUR
        assert (await RequestQueue(desk.admission, answer_by, stays).run(search)).ended == 1.0
    in_queue(check, 64)


@pytest.mark.parametrize(("raised", "seen"), [(DeadlinePassedError(), ServiceError), (ValueError("x"), ValueError)])
def test_slot_is_free_again_and_nothing_is_measured_when_a_search_fails(raised, seen):
    async def check(desk):
        async def search(search_by):
            raise raised

        for _ in range(3):  # there are two slots
            with pytest.raises(seen) as caught:
                await RequestQueue(desk.admission, None, stays).run(search)
        assert getattr(caught.value, "error_type", None) in (None, ErrorType.DEADLINE_UNREACHABLE)
        assert desk.admission._service.mean == 0.0
    in_queue(check, 0)
