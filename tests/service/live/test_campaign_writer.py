"""The campaign writer: states by version and key, in one currency."""

import asyncio

import pytest

from index_store.changes.change_log import Kind, Write
from service.live.campaign_writer import CampaignWriter
from service.live.log_writer import LogWriter, RefusedWriteError
from tests.index_store.budgets.spending import campaign


@pytest.fixture
def log(tmp_path, shared_log):
    made = LogWriter(shared_log(tmp_path / "log"))
    yield made
    made.close()


def put(log, name="c", budget=1.0, currency="EUR", **more):
    fields = {**campaign(name, budget).fields, "currency": currency}
    (change,) = asyncio.run(CampaignWriter(log).put(Write(kind=Kind.CAMPAIGN, id=name, fields=fields, **more)))
    return change.sequence


def test_state_is_written_by_version_and_key_and_read(log):
    assert asyncio.run(CampaignWriter(log).state("c")) is None
    assert [put(log, if_version=0, key="k"), put(log, key="k", if_version=0), put(log, if_version=1)] == [1, 1, 2]
    for more, error_type in [({"if_version": 1}, "version_conflict"), ({"key": "k", "budget": 2.0}, "key_reused")]:
        with pytest.raises(RefusedWriteError) as caught:
            put(log, **more)
        assert caught.value.refusal.error_type == error_type
    assert asyncio.run(CampaignWriter(log).state("c")).sequence == log.opened().last() == 2


def test_all_campaigns_have_one_currency(log):
    put(log, "first")
    for name in ("first", "other"):
        with pytest.raises(RefusedWriteError, match=r'is USD, but that of campaign "first".* is EUR'):
            put(log, name, currency="USD")
    assert log.opened().last() == 1
