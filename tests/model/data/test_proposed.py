"""Any log, brought in by guesses: whatever form it comes in, the planted declaration is found and the tables load."""

import json
import subprocess
import sys

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import model.data
from model.data.load import load_dataset
from model.data.proposed import from_frames, from_source
from model.data.tables import DataError
from model.infer.roles import Given
from model.sources import parquet
from tests.model.infer.tables import PLANTED, part, summary, told, wide, write_csv, write_parquet
from tests.paths import ROOT

LOG = wide()


def csv_file(folder):
    return write_csv(folder / "log.csv", LOG)


def zipped_tsv(folder):
    return write_csv(folder / "log.tsv.gz", LOG, "\t")


def parquet_file(folder):
    return write_parquet(folder / "log.parquet", LOG)


def csv_parts(folder):
    for at in range(3):
        write_csv(folder / "log" / f"part-{at}.csv", part(LOG, 300 * at, 300 * at + 300))
    return folder / "log"


def pattern(folder):
    csv_parts(folder)
    return folder / "log" / "*.csv"


def partitions(folder):
    for at in range(3):
        write_parquet(folder / "log" / f"day=0{at}" / "a.parquet", part(LOG, 300 * at, 300 * at + 300))
    (folder / "log" / "_SUCCESS").touch()
    return folder / "log"


def three_tables(folder):
    """What describes users and ads in tables of their own, of which the ads name their id `id`."""
    users = dict(zip(LOG["userId"], zip(LOG["city"], LOG["age"], strict=True), strict=True))
    ads = dict(zip(LOG["item_id"], zip(LOG["price"], LOG["shop_city"], LOG["genres"], strict=True), strict=True))
    write_csv(folder / "log" / "events.csv", {name: LOG[name] for name in (
        "userId", "item_id", "event_time", "click", "purchase", "placement")})
    write_csv(folder / "log" / "users.csv", {"userId": list(users), "city": [u[0] for u in users.values()],
                                             "age": [u[1] for u in users.values()]})
    write_parquet(folder / "log" / "items.parquet", {
        "id": list(ads), "price": [a[0] for a in ads.values()], "shop_city": [a[1] for a in ads.values()],
        "genres": [a[2].split("|") for a in ads.values()]})
    return folder / "log"


def database(folder):
    with duckdb.connect(str(folder / "log.duckdb")) as con:
        con.register("frame", pa.table(LOG))
        con.execute("CREATE TABLE shown AS SELECT * FROM frame")
    return folder / "log.duckdb"


def query(folder):
    return f"SELECT * FROM '{parquet_file(folder)}' WHERE event_time > 0"


def statements(folder):
    return f"ATTACH '{database(folder)}' AS mine; SELECT * FROM mine.shown"


SOURCES = (csv_file, zipped_tsv, parquet_file, csv_parts, pattern, partitions, three_tables, database, query,
           statements)


@pytest.mark.parametrize("source", SOURCES)
def test_the_planted_declaration_is_found_in_every_kind_of_source(source, tmp_path):
    proposed = from_source(str(source(tmp_path)), Given())
    assert summary(proposed.spec) == PLANTED
    proposed.save(tmp_path / "out")
    check_tables(load_dataset(tmp_path / "out"))


def as_pandas():
    """With what pandas does: whole floats beside NaN, categories, truth values, times, an index of its own."""
    frame = pd.DataFrame(LOG)
    frame["userId"] = frame["userId"].astype(float)
    frame["city"] = frame["city"].astype("category")
    frame["click"] = frame["click"].astype(bool)
    frame["event_time"] = pd.to_datetime(frame["event_time"], unit="s")
    return frame[frame["price"] > 0]


def as_polars():
    return pl.DataFrame(LOG).with_columns(pl.col("genres").str.split("|"), pl.col("city").cast(pl.Categorical))


@pytest.mark.parametrize("frame", [as_pandas, as_polars, lambda: pa.table(LOG)], ids=["pandas", "polars", "arrow"])
def test_the_planted_declaration_is_found_in_every_kind_of_frame(frame, tmp_path):
    proposed = model.data.from_frames(frame())
    assert summary(proposed.spec) == PLANTED
    proposed.save(tmp_path / "out")
    check_tables(load_dataset(tmp_path / "out"))


def check_tables(data):
    """The tables say of every user, ad and event what the planted log says."""
    assert data.user_ids.tolist() == sorted({str(user).encode() for user in LOG["userId"]})
    assert data.encoder.item_ids.tolist() == sorted({ad.encode() for ad in LOG["item_id"]})
    assert len(data.train) + len(data.test) == len(LOG["click"])
    assert data.train.labels[:, 0].sum() + data.test.labels[:, 0].sum() == sum(LOG["click"])
    assert data.train.timestamps.max() < data.test.timestamps.min()
    assert 0.05 < len(data.test) / len(LOG["click"]) < 0.15
    age = next(f for f in data.spec.user_fields if f.name == "age")
    assert age.optional
    assert (data.users.dense != data.users.dense).sum() == 1  # the user whose age is missing
    for at in (0, 17, 400):
        city = data.encoder.encode_user({"city": LOG["city"][at]}).categorical[0, 0]
        assert data.users.categorical[data.user_ids.tolist().index(str(LOG["userId"][at]).encode()), 0] == city
        row = data.encoder.item_ids.tolist().index(LOG["item_id"][at].encode())
        assert {data.encoder.vocabularies["item.genres"][value - 1].decode() for value in data.items.multi[0].row(row)
                } == set(LOG["genres"][at].split("|"))


def test_frames_of_users_and_ads_are_joined_and_completed(tmp_path):
    events = pd.DataFrame(LOG)[["userId", "item_id", "event_time", "click", "purchase"]]
    users = pd.DataFrame({"userId": LOG["userId"], "city": LOG["city"]}).drop_duplicates("userId").iloc[1:]
    proposed = from_frames(events, users=users.set_index("userId"))
    assert told(proposed.guesses, "users")[1].startswith("1 of 40 users of the events are not in users")
    proposed.save(tmp_path / "out")
    data = load_dataset(tmp_path / "out")
    assert len(data.user_ids) == 40
    assert (data.users.categorical[:, 0] == 0).sum() == 1


def test_what_was_saved_is_converted_edited_and_never_overwritten(tmp_path):
    proposed = from_frames(pa.table(LOG))
    proposed.save(tmp_path / "log")
    page = (tmp_path / "log" / "features.md").read_text()
    assert all(guess.about in page for guess in proposed.guesses)
    assert "city_is_shop_city" in str(proposed)
    declared = json.loads((tmp_path / "log" / "features.json").read_text())
    declared["user_fields"] = [{"name": "city", "kind": "categorical"}, {"name": "age", "kind": "categorical"}]
    (tmp_path / "log" / "features.json").write_text(json.dumps(declared))
    parquet.write(tmp_path / "log", tmp_path / "out")
    assert load_dataset(tmp_path / "out").encoder.vocabularies["user.age"].dtype == "S2"
    with pytest.raises(DataError, match=r"features.json exists, and what was edited there would be lost"):
        proposed.save(tmp_path / "log")


def test_test_events_of_the_log_stay_test_events(tmp_path):
    proposed = from_frames(pa.table(part(LOG, 0, 700)), test_events=pl.DataFrame(part(LOG, 700, 900)))
    proposed.save(tmp_path / "out")
    data = load_dataset(tmp_path / "out")
    assert (len(data.train), len(data.test)) == (700, 200)
    assert told(proposed.guesses, "test events")[0] == "those of the log"


def test_duckdb_is_loaded_where_it_is_used_and_frames_never():
    program = """
import sys
class NotInstalled:
    def find_spec(self, name, *_):
        if name in ("pandas", "polars"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NotInstalled())
import pyarrow, model.data, model.data.load
print("duckdb" in sys.modules, end=" ")
print(model.data.from_frames(pyarrow.table({"user_id": [1, 1, 2], "ad_id": [1, 2, 1]})).spec.negatives)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "False sampled", done.stderr
