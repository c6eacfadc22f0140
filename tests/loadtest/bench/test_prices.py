"""Winning prices: shares that add up, and files that hold none."""

import pytest

from loadtest.bench.prices import winning_prices
from model.data.tables import DataError


def test_prices_are_shares_of_each_campaign(tmp_path):
    (tmp_path / "prices").write_text('{"a": {"price_counter_train": [0, 3, 1]}, "b": {"price_counter_train": [5]}}')
    assert [shares.tolist() for shares in winning_prices(tmp_path / "prices")] == [[0, 0.75, 0.25], [1.0]]


@pytest.mark.parametrize("text", ["{", "[]", '{"a": {}}', '{"a": {"price_counter_train": "x"}}'])
def test_file_is_refused_when_it_holds_none(tmp_path, text):
    (tmp_path / "prices").write_text(text)
    with pytest.raises(DataError, match="holds no winning prices"):
        winning_prices(tmp_path / "prices")
