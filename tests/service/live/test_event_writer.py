"""The event writer: which ads take events, and that nothing is written when one does not."""

import asyncio
from types import SimpleNamespace

import pytest

from index_store.changes.change_log import Kind, Write
from service.live.event_writer import EventWriter
from service.live.log_writer import LogWriter, RefusedWriteError


@pytest.fixture
def log(tmp_path, shared_log):
    made = LogWriter(shared_log(tmp_path / "log"))
    yield made
    made.close()


def click(ad_id, **more):
    return Write(kind=Kind.EVENT, id="u", fields={"ad_id": ad_id, "type": "click"}, **more)


def append(log, *events):
    """Sequence numbers; the bundle, which declares no campaigns, knows the ads a and b."""
    snapshot = SimpleNamespace(row={b"a": 0, b"b": 1}.get, gates=None)
    return [change.sequence for change in asyncio.run(EventWriter(log).append(events, snapshot))]


def test_ads_of_the_bundle_and_of_the_log_take_events_even_when_they_are_deleted(log):
    assert append(log, click("a"), click("b"), click("a")) == [1, 2, 3]
    log.group().append([Write(kind=Kind.AD, id="gone", fields={"status": "deleted"})])
    assert append(log, click("gone"), click("a")) == [5, 6]


def test_nothing_is_written_when_an_ad_is_unknown_or_a_key_reused(log):
    for ad_id in ("z", "u"):  # neither an ad nor, by its id, a user
        with pytest.raises(RefusedWriteError) as caught:
            append(log, click("a"), click(ad_id), click("y"))
        assert (caught.value.index, caught.value.refusal.error_type) == (1, "ad_not_found")
        log.group().append([Write(kind=Kind.USER, id="u", fields={})])
    assert append(log, click("a", key="k")) == append(log, click("a", key="k")) == [3]
    with pytest.raises(RefusedWriteError) as caught:
        append(log, click("a"), click("b", key="k"))
    assert (caught.value.index, caught.value.refusal.error_type) == (1, "key_reused")
    assert log.opened().last() == 3
