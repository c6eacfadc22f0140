"""A market: draws that stay as they were, and spending read from a file."""

import gzip

import numpy as np
import pytest

from loadtest.pacing.market import MICROS, Market, daily_spend
from model.data.tables import DataError

HEAD = "spend,currency,start,end\n"


def drawn(seed=0):
    return Market.drawn([np.array([0, 0, 0.5, 0.5]), np.array([0] * 10 + [1.0])], np.array([1.0, 3.0]),
                        positions=300, campaigns=8, rate=0.1, seed=seed)


def test_market_is_the_same_for_the_same_seed_and_bids_yield_its_prices():
    one, other = drawn(), drawn()
    assert one.ads.of_tree.tolist() == other.ads.of_tree.tolist() != drawn(1).ads.of_tree.tolist()
    assert set(one.ads.of_tree.tolist()) == set(range(1, 9))
    assert [one.ads.numbers.name(number) for number in (1, 8)] == [one.names[0], one.names[7]]
    assert one.bids.micros.min() >= 2 * MICROS / 100
    assert one.bids.micros.max() <= 11 * MICROS / 100
    prices = [one.price(3, request, 0) for request in range(200)]
    assert prices == [other.price(3, request, 0) for request in range(200)]
    assert set(prices) <= {2, 3, 10}
    assert set(one.budgets) <= {1.0, 3.0}


def write(path, *rows):
    with gzip.open(path, "wt") as file:
        file.write(HEAD + "\n".join(rows))
    return path


def test_spending_is_that_of_a_day_of_the_run(tmp_path):
    found = daily_spend(write(tmp_path / "ads", "10,USD,2020/01/01 00:00:00Z,2020/01/06 00:00:00Z",
                              "10,USD,2020/01/01 00:00:00Z,2020/01/01 06:00:00Z", "0,USD,,2020/01/01 06:00:00Z",
                              "10,EUR,2020/01/01 00:00:00Z,2020/01/06 00:00:00Z", "10,USD,2020/01/01 00:00:00Z,"))
    assert found.tolist() == [2.0, 10.0]


@pytest.mark.parametrize("row", ["10,EUR,2020/01/01 00:00:00Z,2020/01/06 00:00:00Z", "x,USD,a,b"])
def test_file_is_refused_when_it_holds_no_spending(tmp_path, row):
    with pytest.raises(DataError, match="give a"):
        daily_spend(write(tmp_path / "ads", row))
    (tmp_path / "plain").write_text(HEAD)
    with pytest.raises(DataError, match="holds no spending"):
        daily_spend(tmp_path / "plain")
