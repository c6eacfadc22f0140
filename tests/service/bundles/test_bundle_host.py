"""One opened bundle: not ready before it is warm, never if it answers wrongly, and open while a request runs."""

import asyncio
import json
from dataclasses import replace

import pytest

from index_store.bundle.bundle import Bundle
from index_store.bundle.files import BundleFiles
from index_store.bundle.manifest import BundleError
from service.bundles.bundle_host import BundleHost, warming_problem
from service.bundles.control_channel import Release
from service.cache.user_cache import UserCache
from service.contract.errors import ServiceError
from service.retrieval.retriever import Retriever
from service.settings import Settings
from tests.resealed import reseal


def release(folder):
    return Release(folder.name, folder, BundleFiles(folder, verify=False).manifest.bundle_id)


async def opened(folder, cache=None):
    return await BundleHost.open(release(folder), Settings(), lambda _: cache)


def test_bundle_answers_once_it_is_warm(tiny_bundle):
    async def run():
        host = await opened(tiny_bundle)
        with pytest.raises(ServiceError, match="the golden requests are still being replayed") as caught:
            host.retriever  # noqa: B018
        assert caught.value.error_type == "not_ready"
        await host.warm([b'{"user_id": "user-01"}', b"not a request", b'{"user_id": "u", "context": {"no": 1}}'])
        assert host.problem is None
        assert host.retriever.bundle.bundle_id == host.release.bundle_id
        assert host.user_fields == {"age", "country", "interests"}
        await host.close()

    asyncio.run(run())


def test_bundle_never_answers_when_a_golden_answer_is_wrong(tiny_bundle, tmp_path):
    golden = json.loads((tiny_bundle / "golden.json").read_text())
    golden[1]["ads"][0]["score"] += 1
    reseal(tiny_bundle, tmp_path / "wrong", lambda writer: writer.json("golden.json", golden))

    async def run():
        host = await opened(tmp_path / "wrong")
        await host.warm()
        assert host.problem.startswith("golden request 2 scores ")
        with pytest.raises(ServiceError, match="does not serve: golden request 2") as caught:
            host.retriever  # noqa: B018
        assert "--check" in caught.value.help
        await host.close()

    asyncio.run(run())


def test_problem_is_reported_when_a_golden_request_cannot_be_answered(tiny_bundle, tmp_path):
    reseal(tiny_bundle, tmp_path / "odd", lambda writer: writer.json("golden.json", [{"request": {}, "ads": []}]))
    retriever = Retriever(Bundle.open(tmp_path / "odd"))
    problem = asyncio.run(warming_problem(retriever))
    retriever.close()
    assert problem == "a golden request fails: ServiceError: the request has no user_id"


def test_bundle_is_refused_when_another_one_was_verified(tiny_bundle):
    async def run():
        with pytest.raises(BundleError, match="0000 was verified"):
            await BundleHost.open(replace(release(tiny_bundle), bundle_id="0000"), Settings(), lambda _: None)

    asyncio.run(run())


def test_bundle_closes_after_its_last_request(tiny_bundle):
    async def run():
        host = await opened(tiny_bundle, UserCache(10, None))
        await host.warm()
        with host.request():
            with host.request():
                pass
            closing = asyncio.create_task(host.close())
            await asyncio.sleep(0.05)
            assert not closing.done()
            assert host.cache is not None
        await asyncio.wait_for(closing, 10)

    asyncio.run(run())
