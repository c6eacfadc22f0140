"""Ranges in this process: in order, none before it is asked for."""

import os

from model.progress.range_workers import HERE
from model.progress.ranges import ranges_of


def test_ranges_are_computed_one_after_the_other_when_they_are_asked_for():
    computed, told = [], []

    def work(own, worker):
        computed.append(own.first)
        worker.done(len(own))
        return own.first, worker.threads

    results = HERE.results(work, ranges_of(10, 4), told.append)
    assert computed == []
    assert next(results) == (0, os.cpu_count())
    assert (computed, told) == ([0], [4])
    assert [first for first, _ in results] == [4, 8]
    assert told == [4, 4, 2]
