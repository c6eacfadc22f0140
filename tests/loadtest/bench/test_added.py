"""Searches while ads are added, on the tiny bundle."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index_store.bundle.bundle import Bundle
from loadtest.__main__ import main
from loadtest.bench.added import raw_features
from model.data import tables
from model.data.windows import Window, day_folder, window_schema


def added(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["loadtest", "added", *map(str, arguments)])
    return main()


def test_added_ads_are_found_and_counted(tiny_bundle, monkeypatch, capsys):
    assert added(monkeypatch, "--bundle", tiny_bundle, "--queries", 8) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    report = json.loads(last)
    assert (report["ads"], report["queries"]) == (300, 8)
    none, three, thirty = report["rows"]
    assert [row["added"] for row in (none, three, thirty)] == [0, 3, 30]
    assert (none["belong"], none["found"], none["apply_ms"]) == (0, None, None)
    assert thirty["belong"] > 8
    assert thirty["found"] > 0.9
    assert sum(line.startswith("| ") for line in lines) == 4


@pytest.fixture
def world(tiny_bundle, tmp_path):
    """Two days of a world of the tiny bundle: three of its ads are born again, and then one of these ends."""
    content = Bundle.open(tiny_bundle).content
    spec = content.encoder.spec
    tables.seal(tmp_path, spec)
    born = [{"ad_id": f"born{row}", "targeting": None} | raw_features(content, row) for row in range(3)]
    for day, (ads, ended) in enumerate([(born, ["a000"]), (born[:0], ["born1"])], start=1):
        folder = day_folder(tmp_path, day)
        folder.mkdir(parents=True)
        Window(events=window_schema(spec).empty_table(), labels=window_schema(spec).empty_table(),
               ads=pa.Table.from_pylist(ads, tables.side_schema(spec, "item", [tables.TARGETING])),
               users=tables.side_schema(spec, "user").empty_table(), ended=pa.table({"ad_id": ended}),
               forgotten=pa.table({"user_id": pa.array([], pa.string())})).write(folder)
    return tmp_path


def test_the_days_of_a_world_follow_each_other(tiny_bundle, world, monkeypatch, capsys):
    assert added(monkeypatch, "--bundle", tiny_bundle, "--world", world, "--queries", 4) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["added"] for row in report["rows"]] == [0, 3, 2]
    assert report["rows"][1]["belong"] > report["rows"][2]["belong"] > 0


def test_a_world_of_another_bundle_is_refused(tiny_bundle, world, monkeypatch, capsys):
    path = day_folder(world, 1) / "ads.parquet"
    ads = pq.read_table(path)
    pq.write_table(ads.rename_columns([f"my_{name}" if name == ads.column_names[1] else name
                                       for name in ads.column_names]), path)
    features = world / "features.json"
    features.write_text(features.read_text().replace(f'"{ads.column_names[1]}"', f'"my_{ads.column_names[1]}"'))
    assert added(monkeypatch, "--bundle", tiny_bundle, "--world", world, "--queries", 4) == 1
    assert "ad born0 does not fit bundle" in capsys.readouterr().err


def test_features_are_those_that_the_bundle_was_made_of(tiny_bundle):
    content = Bundle.open(tiny_bundle).content
    for row in range(20):
        encoded = content.encoder.encode_item(raw_features(content, row))
        assert encoded.categorical.tolist() == content.items.categorical[[row]].tolist()
        assert encoded.multi[0].values.tolist() == content.items.multi[0].row(row).tolist()


def test_status_is_1_when_there_is_no_bundle(tmp_path, monkeypatch, capsys):
    assert added(monkeypatch, "--bundle", tmp_path) == 1
    assert capsys.readouterr().err.startswith("error: bundle ")
