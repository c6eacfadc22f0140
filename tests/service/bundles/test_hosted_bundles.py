"""What one worker keeps open while bundles come and go, and for how long."""

import asyncio
import gc
import weakref

import pytest
from pydantic import SecretStr

from index_store.bundle.manifest import BundleError
from index_store.changes.change_log import Kind, Write
from service.bundles import hosted_bundles
from service.bundles.control_channel import Failed, Release, Serving
from service.bundles.hosted_bundles import HostedBundles
from service.contract.errors import ServiceError
from service.live.follower import Follower
from service.live.log_place import LogPlace
from service.sampling.recent_requests import RecentRequests
from service.settings import Settings
from tests.resealed import reseal
from tests.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("releases")
    made = [Release(f"r{seed}", folder / f"r{seed}", write_tiny_bundle(folder / f"r{seed}", seed=seed).bundle_id)
            for seed in range(3)]
    newer = reseal(folder / "r0", folder / "r0-newer", lambda writer: writer.json("evaluation.json", {"note": "newer"}))
    return [*made, Release("r0-newer", folder / "r0-newer", newer.bundle_id)]


def hosted(body, first):
    """Runs `body(bundles, follow)`; `follow` waits for the report."""
    async def run():
        reports = asyncio.Queue()
        bundles = HostedBundles(Settings(), RecentRequests(4), reports.put_nowait)
        await bundles.open(first)
        assert await reports.get() == Serving(first)

        async def follow(release):
            bundles.follow(release)
            return await reports.get()

        await body(bundles, follow)
        await bundles.close()

    asyncio.run(run())


def write(path, ad_id):
    """Pauses an ad."""
    log = LogPlace(SecretStr(str(path))).open()
    log.append([Write(kind=Kind.AD, id=ad_id, fields={"status": "paused"})])
    log.close()


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def test_bundle_is_freed_when_two_others_have_come(releases):
    async def body(bundles, follow):
        first = weakref.ref(bundles.current.retriever)
        for release in releases[1:3]:
            assert await follow(release) == Serving(release)
            assert first() is not None or release is releases[2]
        gc.disable()  # by its references alone: a collection would stop a worker for long
        try:
            await until(lambda: first() is None)
        finally:
            gc.enable()

    hosted(body, releases[0])


def test_bundle_stays_open_when_a_request_still_runs_on_it(releases):
    async def body(bundles, follow):
        host = bundles.current
        with host.request():
            for release in (releases[1], releases[2], releases[1]):
                await follow(release)
            await asyncio.sleep(0.1)
            answer = await asyncio.get_running_loop().run_in_executor(host.retriever._threads, lambda: "answered")
        assert answer == "answered"
        await until(lambda: host.retriever._threads._shutdown)

    hosted(body, releases[0])


def test_same_host_serves_again_when_rolled_back(releases):
    async def body(bundles, follow):
        first = bundles.current
        await follow(releases[1])
        assert await follow(releases[0]) == Serving(releases[0])
        assert bundles.current is first

    hosted(body, releases[0])


def test_bundle_opens_beside_the_current_one_and_is_freed_when_another_is_asked_for(releases):
    async def body(bundles, follow):
        assert await bundles.beside(releases[0]) is bundles.current
        other = await bundles.beside(releases[1])
        assert (other.release, other.problem, other.cache) == (releases[1], None, None)
        assert await bundles.beside(releases[1]) is other
        assert bundles.current.release == releases[0]
        gone = weakref.ref(other)
        del other
        await bundles.beside(releases[2])
        await until(lambda: gc.collect() is not None and gone() is None)
        await follow(releases[1])
        assert await bundles.beside(releases[0]) is not bundles.current  # the previous one, which is still open

    hosted(body, releases[0])


def test_bundle_beside_is_closed_when_nobody_has_asked_for_a_while(releases, monkeypatch):
    monkeypatch.setattr(hosted_bundles, "_BESIDE_SECONDS", 0.05)

    async def body(bundles, follow):
        gone = weakref.ref(await bundles.beside(releases[1]))
        await until(lambda: gc.collect() is not None and gone() is None)

    hosted(body, releases[0])


def test_bundle_beside_is_refused_when_it_cannot_be_opened(releases, tmp_path):
    async def body(bundles, follow):
        with pytest.raises(BundleError):
            await bundles.beside(Release("none", tmp_path / "none", "0" * 16))
        assert (await bundles.beside(releases[1])).release == releases[1]

    hosted(body, releases[0])


def test_user_cache_goes_on_when_the_user_tower_is_the_same(releases):
    async def body(bundles, follow):
        cache = bundles.current.cache
        await follow(releases[3])
        assert bundles.current.cache is cache
        await follow(releases[1])
        assert bundles.current.cache is not cache

    hosted(body, releases[0])


def test_worker_goes_on_when_a_bundle_cannot_be_opened(releases, tmp_path):
    async def body(bundles, follow):
        first = bundles.current
        for release in (Release("gone", tmp_path / "gone", "0" * 16),
                        Release("other", releases[1].folder, "0" * 16)):
            failed = await follow(release)
            assert isinstance(failed, Failed)
            assert failed.release == release
            assert bundles.current is first
            assert first.problem is None

    hosted(body, releases[0])


def test_first_bundle_does_not_answer_before_it_knows_the_changes(releases, tmp_path, shared_log):
    log = tmp_path / "log"
    log.write_text("this is no log")
    follower = Follower(shared_log(log))

    async def run():
        reports = asyncio.Queue()
        bundles = HostedBundles(Settings(), RecentRequests(4), reports.put_nowait, follower)
        await bundles.open(releases[0])
        await until(lambda: "change log" in (bundles.current.problem or ""))
        with pytest.raises(ServiceError, match=r"does not serve: .*log"):
            _ = bundles.current.retriever
        assert reports.empty()
        log.unlink()
        write(log, "ad-0001")
        assert await reports.get() == Serving(releases[0])
        assert bundles.current.snapshot.withdrawal(1)
        await bundles.close()

    asyncio.run(run())
    follower.close()


def test_every_open_bundle_follows_the_changes_and_a_closed_one_does_not(releases, tmp_path, shared_log):
    log = tmp_path / "log"
    write(log, "ad-0001")
    follower = Follower(shared_log(log))

    async def run():
        reports = asyncio.Queue()
        bundles = HostedBundles(Settings(), RecentRequests(4), reports.put_nowait, follower)
        await bundles.open(releases[0])
        assert await reports.get() == Serving(releases[0])
        hosts = [bundles.current]
        for release in releases[1:3]:
            bundles.follow(release)
            assert await reports.get() == Serving(release)
            assert bundles.current.snapshot.as_of == 1
            hosts.append(bundles.current)
        await until(lambda: hosts[0].retriever._threads._shutdown)
        write(log, "ad-0002")
        await until(lambda: hosts[1].snapshot.as_of == hosts[2].snapshot.as_of == 2)
        assert hosts[0].snapshot.as_of == 1
        await bundles.close()

    asyncio.run(run())
    follower.close()
