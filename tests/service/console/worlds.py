"""A retriever of the tiny bundle with targeting, for tests of what the console shows."""

import asyncio

from index_store.bundle.bundle import Bundle
from service.contract.parsing import UNLIMITED, parse_request, to_query
from service.retrieval.retriever import Retriever

USER = {"user_id": "user-04", "top_k": 10, "beam_width": [2, 3]}


def opened(bundle):
    return Retriever(Bundle.open(bundle, verify=False))


def query_of(retriever, **body):
    return to_query(parse_request({**USER, **body}), retriever.bundle.manifest, UNLIMITED)


def answer(retriever, snapshot=None, **body):
    """The traced answer to a request, and what might be returned."""
    query = query_of(retriever, explain=True, **body)
    found = asyncio.run(retriever.retrieve(query, snapshot=snapshot, use_cache=False))
    user = retriever.encode(query, snapshot)
    return found, retriever.eligible(user, retriever.excluded(query, user, snapshot), snapshot)
