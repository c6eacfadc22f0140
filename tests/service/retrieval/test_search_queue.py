"""The queue that is none: it runs a search at once and without a deadline."""

import asyncio

from service.retrieval.search_queue import NoQueue


def test_search_runs_without_a_deadline_when_there_is_no_queue():
    seen = []

    async def search(search_by):
        seen.append(search_by)
        return "found"

    assert asyncio.run(NoQueue().run(search)) == "found"
    assert seen == [None]
