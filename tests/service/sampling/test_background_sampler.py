"""The thread beside the requests: what it works on, what it passes over, and how much of a core it takes."""

import threading
import time

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter

from service.sampling.background_sampler import BackgroundSampler, ClosedError, Pauses, PausingScorer

WAIT_SECONDS = 30


class Sampler(BackgroundSampler):
    """Works on callables."""

    def __init__(self, room=1, idle_seconds=None):
        self.passed_over = Counter("passed_over", "", registry=CollectorRegistry())
        super().__init__("test", room, self.passed_over, idle_seconds)
        self.failures, self.idle = [], threading.Event()
        self._thread.start()

    def _work(self, sample):
        sample(self)

    def _failed(self, sample, error):
        self.failures.append(error)

    def _idle(self):
        self.idle.set()


@pytest.fixture
def sampler():
    made = Sampler()
    yield made
    made.close()


def test_samples_are_passed_over_and_counted_when_too_many_wait(sampler):
    began, end, done = threading.Event(), threading.Event(), threading.Semaphore(0)
    sampler._take(lambda _: (began.set(), end.wait(WAIT_SECONDS), done.release()))
    assert began.wait(WAIT_SECONDS)
    for _ in range(5):  # one works, one waits
        sampler._take(lambda _: done.release())
    assert sampler.passed_over._value.get() == 4
    end.set()
    assert done.acquire(timeout=WAIT_SECONDS)
    assert done.acquire(timeout=WAIT_SECONDS)


def test_thread_goes_on_when_a_sample_fails(sampler):
    error, done = ValueError("broken"), threading.Event()

    def fail(_):
        raise error

    sampler._take(fail)
    while not sampler.failures:
        time.sleep(0.001)
    sampler._take(lambda _: done.set())
    assert done.wait(WAIT_SECONDS)
    assert sampler.failures == [error]


def test_thread_says_so_when_it_has_nothing_to_do():
    sampler = Sampler(idle_seconds=0.01)
    assert sampler.idle.wait(WAIT_SECONDS)
    sampler.close()
    assert not sampler._thread.is_alive()


def test_close_ends_a_search_in_the_middle(sampler):
    class Scorer:
        ensemble = ()
        blocks = 0

        def score(self, query, level, nodes):
            self.blocks += 1
            began.set()
            time.sleep(0.02)
            return np.zeros((len(nodes), 1), np.float32)

    scorer, began = Scorer(), threading.Event()
    sampler._take(lambda own: own._pausing(scorer).score(None, 1, np.arange(512 * 100)))
    assert began.wait(WAIT_SECONDS)
    sampler.close()
    assert not sampler._thread.is_alive()
    assert scorer.blocks < 100
    assert not sampler.failures  # to be closed is no failure


def test_thread_keeps_to_its_share_of_a_core_when_it_works():
    pauses = Pauses(threading.Event())
    pauses.begin()
    start, busy = time.perf_counter(), time.thread_time()
    while time.thread_time() - busy < 0.05:
        pass
    pauses.pause()
    assert time.perf_counter() - start >= 0.05 / 0.25
    pauses.closed.set()
    with pytest.raises(ClosedError):
        pauses.pause()


def test_scores_are_those_of_the_scorer_when_they_come_in_blocks():
    sizes = []

    class Twice:
        ensemble = (1,)

        def score(self, query, level, nodes):
            sizes.append(len(nodes))
            return nodes[:, None] * 2

    pauses = Pauses(threading.Event())
    pauses.begin()
    scorer = PausingScorer(Twice(), pauses)
    nodes = np.arange(1300)
    np.testing.assert_array_equal(scorer.score(None, 1, nodes), nodes[:, None] * 2)
    assert max(sizes) <= 512
    assert scorer.ensemble == (1,)
