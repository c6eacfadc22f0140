import tracemalloc
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.declaration.spec import FeatureSpec, FieldSpec, KeyFamily, TaskSpec
from model.data.label_windows import NEVER
from model.data.load import as_bytes, joined, load_dataset
from model.data.tables import DataError, write_folder


def test_load_dataset_when_the_log_is_tiny(tiny, tmp_path):
    data = load_dataset(tiny.save(tmp_path))
    assert data.user_ids.tolist() == [b"u10", b"u2", "ü1".encode()]
    assert data.encoder.item_ids.tolist() == [b"a", b"b", b"c", b"d"]
    assert data.encoder.vocabularies["user.country"].tolist() == [b"de", b"nl"]
    assert data.users.categorical[:, 0].tolist() == [0, 2, 1]
    assert data.encoder.scales["user.age"] == (40.0, pytest.approx(np.std([20, 40, 60])))
    assert data.users.dense[:, 0] == pytest.approx([0.0, -1.2247449, 1.2247449])
    assert [data.users.multi[0].row(r).tolist() for r in range(3)] == [[], [1, 2], []]
    assert data.items.dense[:, 0].tolist() == [0.0] * 4  # a constant column carries nothing, and divides by 1
    assert [data.items.multi[0].row(r).tolist() for r in range(4)] == [[2, 1], [1], [], []]
    assert data.test is None


def test_events_are_sorted_by_user_time_and_file_order(tiny, tmp_path):
    train = load_dataset(tiny.save(tmp_path)).train
    assert train.users.tolist() == [0, 0, 0, 1, 2]
    assert train.items.tolist() == [3, 0, 1, 2, 0]
    assert train.timestamps.tolist() == [3, 3, 9, 1, 5]
    assert train.labels.tolist() == [[0, 0], [1, 0], [1, 1], [0, 0], [1, 0]]


def test_offline_encoding_equals_the_encoding_of_a_request(tiny, tmp_path):
    data = load_dataset(tiny.save(tmp_path))
    for row, user in enumerate(tiny.tables["users"].sort_by("user_id").to_pylist()):
        raw = {name: user[name] for name in ("age", "country", "interests")}
        online = data.encoder.encode_user(raw)
        offline = data.users.take(np.array([row]))
        assert online.dense.tolist() == offline.dense.tolist()
        assert online.categorical.tolist() == offline.categorical.tolist()
        assert online.multi[0].row(0).tolist() == offline.multi[0].row(0).tolist()


words = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=12)


@st.composite
def logs(draw):
    users = draw(st.lists(words, min_size=1, max_size=6, unique=True))
    ads = draw(st.lists(words, min_size=1, max_size=6, unique=True))
    brands = draw(st.lists(st.none() | words, min_size=len(ads), max_size=len(ads)))
    tags = draw(st.lists(st.none() | st.lists(words, max_size=3), min_size=len(ads), max_size=len(ads)))
    pairs = st.tuples(st.integers(0, len(users) - 1), st.integers(0, len(ads) - 1), st.integers(-5, 5),
                      st.integers(0, 1))
    return users, ads, brands, tags, draw(st.lists(pairs, min_size=1, max_size=12))


@settings(max_examples=40, deadline=None)
@given(logs())
def test_load_dataset_round_trips_any_log(tmp_path_factory, log):
    users, ads, brands, tags, events = log
    spec = FeatureSpec((), (FieldSpec("brand", "categorical"), FieldSpec("tags", "multi")), (TaskSpec("click"),),
                       "impressions", (KeyFamily("brand", "brand", "match"),))
    folder = tmp_path_factory.mktemp("log")
    write_folder(folder, spec, pa.table({"user_id": users}),
                 pa.table({"ad_id": ads, "brand": pa.array(brands, pa.string()),
                           "tags": pa.array(tags, pa.list_(pa.string()))}),
                 pa.table({"user_id": [users[u] for u, *_ in events], "ad_id": [ads[a] for _, a, *_ in events],
                           "timestamp": [t for *_, t, _ in events], "click": [c for *_, c in events]}))
    data = load_dataset(folder)

    def names(column, ids):
        vocabulary = [None, *data.encoder.vocabularies[column].tolist()]
        return [vocabulary[i] for i in ids]

    order = sorted(range(len(ads)), key=lambda at: ads[at].encode())
    assert data.encoder.item_ids.tolist() == [ads[at].encode() for at in order]
    assert names("item.brand", data.items.categorical[:, 0]) == [brands[at] and brands[at].encode() for at in order]
    for row, at in enumerate(order):
        assert names("item.tags", data.items.multi[0].row(row)) == [tag.encode() for tag in tags[at] or []]
    read = zip(data.user_ids[data.train.users], data.encoder.item_ids[data.train.items], data.train.timestamps,
               data.train.labels[:, 0], strict=True)
    assert list(read) == sorted(((users[u].encode(), ads[a].encode(), t, c) for u, a, t, c in events),
                                key=lambda event: (event[0], event[2]))


def test_as_bytes_when_the_array_is_a_slice_and_when_it_is_empty():
    assert as_bytes(pa.array(["aa", "b", "éé", "d"])[1:3]).tolist() == [b"b", "éé".encode()]
    assert as_bytes(pa.array([], pa.string())).tolist() == []


def test_ids_come_as_dictionaries_too(tiny, tmp_path):
    events = tiny.tables["events"]
    tiny.change("events", "ad_id", events["ad_id"].dictionary_encode())
    assert load_dataset(tiny.save(tmp_path)).train.items.tolist() == [3, 0, 1, 2, 0]


def test_test_events_are_loaded_when_they_are_there(tiny, tmp_path):
    tiny.tables["test_events"] = tiny.tables["events"].slice(1, 1)
    assert load_dataset(tiny.save(tmp_path)).test.items.tolist() == [1]


def test_an_empty_table_of_test_events_is_as_good_as_none(tiny, tmp_path):
    tiny.tables["test_events"] = tiny.tables["events"].slice(0, 0)
    assert load_dataset(tiny.save(tmp_path)).test is None


def test_write_folder_removes_what_another_source_left(tiny, tmp_path):
    tiny.tables["test_events"] = tiny.tables["events"]
    tiny.save(tmp_path)
    (tmp_path / "truth").mkdir()
    (tmp_path / "mine.txt").write_text("stays")
    tables = tiny.tables
    write_folder(tmp_path, tiny.spec, tables["users"], tables["ads"], tables["events"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ads.parquet", "events.parquet", "features.json",
                                                                "mine.txt", "users.parquet"]


@pytest.mark.parametrize(("text", "says"), [
    ("{", "declares no fields: .* see docs/data.md"),
    ("[]", r"the declaration is \[\]; give an object with user_fields"),
    ('{"tasks": []}', r"lacks the key 'user_fields'; give a list, each entry an object with name, kind"),
])
def test_features_json_is_refused_when_it_is_no_spec(tiny, tmp_path, text, says):
    tiny.save(tmp_path)
    (tmp_path / "features.json").write_text(text)
    with pytest.raises(DataError, match=says):
        load_dataset(tmp_path)


def test_a_folder_is_refused_when_a_file_is_missing_or_no_parquet(tiny, tmp_path):
    with pytest.raises(DataError, match=r"features\.json does not exist"):
        load_dataset(tmp_path)
    tiny.save(tmp_path)
    (tmp_path / "ads.parquet").write_text("ad_id,price")
    with pytest.raises(DataError, match=r"ads\.parquet is not a Parquet file"):
        load_dataset(tmp_path)
    (tmp_path / "users.parquet").unlink()
    with pytest.raises(DataError, match=r"users\.parquet does not exist"):
        load_dataset(tmp_path)


def test_a_column_of_another_type_is_refused_with_both_types(tiny, tmp_path):
    tiny.change("users", "age", pa.array(["1", "2", "3"]))
    with pytest.raises(DataError, match="'age' has type string, which cannot be read as float"):
        load_dataset(tiny.save(tmp_path))


def test_a_table_is_refused_when_it_is_empty(tiny, tmp_path):
    tiny.tables["events"] = tiny.tables["events"].slice(0, 0)
    with pytest.raises(DataError, match="holds no event"):
        load_dataset(tiny.save(tmp_path))
    tiny.tables["ads"] = tiny.tables["ads"].slice(0, 0)
    with pytest.raises(DataError, match="holds no row"):
        load_dataset(tiny.save(tmp_path))
    assert pq.read_metadata(tmp_path / "ads.parquet").num_rows == 0


def test_loading_holds_the_features_of_a_side_once(tmp_path):
    rows, columns = 20_000, 100
    names = [f"f{column}" for column in range(columns)]
    spec = FeatureSpec(user_fields=tuple(FieldSpec(name, "categorical" if at % 2 else "dense")
                                         for at, name in enumerate(names)),
                       item_fields=(), tasks=(TaskSpec("click"),), negatives="sampled",
                       key_families=(KeyFamily("same_ad", "ad_id", "match"),))
    ids = pa.array([f"u{row}" for row in range(rows)])
    values = {name: pa.array((np.arange(rows) + at) % 7) for at, name in enumerate(names)}
    write_folder(tmp_path, spec, pa.table({"user_id": ids, **values}), pa.table({"ad_id": ["a"]}),
                 pa.table({"user_id": ["u0"], "ad_id": ["a"], "timestamp": [0], "click": [1]}))
    load_dataset(tmp_path)  # imports and caches
    tracemalloc.start()
    try:
        data = load_dataset(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    held = data.users.dense.nbytes + data.users.categorical.nbytes
    assert held == 4 * rows * columns
    assert peak < 1.4 * held  # with the columns kept beside the matrices: twice


def late(tiny, times, windows=(1 / 3600, 4 / 3600)):
    """The tiny log, whose purchases come late, those of the train events at these times."""
    tiny.spec = replace(tiny.spec, tasks=(tiny.spec.tasks[0], TaskSpec("buy", windows=windows, time="bought_at")))
    tiny.change("events", "buy", pa.array([int(time is not None) for time in times], pa.int8()))
    tiny.tables["events"] = tiny.tables["events"].append_column("bought_at", pa.array(times, pa.int64()))
    return tiny


def test_late_labels_of_train_events_are_those_known_at_the_last_one_and_of_test_events_all(tiny, tmp_path):
    late(tiny, [None, 12, 8, 5, None])  # of users ü1, u10, u10, u2, u10 at 5, 9, 3, 1, 3
    tiny.tables["test_events"] = tiny.tables["events"]
    data = load_dataset(tiny.save(tmp_path))
    assert data.windows.now == 9
    assert data.windows.spans == ((1, 4),)
    assert data.train.timestamps.tolist() == [3, 3, 9, 1, 5]
    assert data.train.delays[:, 0].tolist() == data.test.delays[:, 0].tolist() == [5, NEVER, 3, 4, NEVER]
    assert data.train.labels[:, 1].tolist() == [0, 0, 0, 1, 0]  # 5 is too late, 9 + 3 is to come
    assert data.test.labels[:, 1].tolist() == [0, 0, 1, 1, 0]
    both = joined(data.train, data.test)
    assert both.delays[:, 0].tolist() == [5, NEVER, 5, NEVER, 3, 3, 4, 4, NEVER, NEVER]
    assert data.train.where(data.train.users == 1).delays.tolist() == [[4]]


def test_late_labels_may_come_with_arrow_times(tiny, tmp_path):
    late(tiny, [None, 12, None, 3, None])
    for name in ("timestamp", "bought_at"):
        tiny.change("events", name, tiny.tables["events"][name].cast(pa.timestamp("s")).cast(pa.timestamp("ms")))
    data = load_dataset(tiny.save(tmp_path))
    assert data.windows.spans == ((1000, 4000),)
    assert sorted(data.train.delays[:, 0].tolist()) == [NEVER, NEVER, NEVER, 2000, 3000]


@pytest.mark.parametrize(("change", "said"), [
    (("buy", pa.array([1, 1, 0, 0, 0], pa.int8())), "column 'bought_at', row 0: value None is null where buy is 1"),
    (("buy", pa.array([0, 0, 0, 0, 0], pa.int8())), "column 'bought_at', row 1: value 12 is given where buy is 0"),
    (("bought_at", pa.array([None, 8, None, None, None], pa.int64())), "row 1: value 8 is before the impression"),
    (("bought_at", pa.array(["", "8", "", "", ""])), "column 'bought_at' has type string, which cannot be read as")])
def test_times_of_late_labels_that_cannot_be_right_are_named(tiny, tmp_path, change, said):
    late(tiny, [None, 12, None, None, None])
    tiny.change("events", *change)
    with pytest.raises(DataError, match=said):
        load_dataset(tiny.save(tmp_path))


def test_a_log_without_the_times_of_its_late_labels_is_refused(tiny, tmp_path):
    late(tiny, [None, 12, None, None, None])
    tiny.tables["events"] = tiny.tables["events"].drop_columns("bought_at")
    with pytest.raises(DataError, match="column 'bought_at' is missing"):
        load_dataset(tiny.save(tmp_path))
