"""taobao-ad: codes as text, and which zeros mean a missing value."""

import pyarrow.parquet as pq
import pytest

from model.data.load import load_dataset
from model.data.tables import DataError
from model.sources import taobao_ad


def write_taobao(folder):
    folder.mkdir()
    (folder / "u.user").write_text("0 8 2 2 2 2 3 0 3 \r\n1 0 0 1 0 0 1 0 0 \r\n")
    (folder / "u.item").write_text("0 118 97 1\r\n1 0 0 0\r\n2 42 0 1\r\n")
    (folder / "train.txt").write_text("0 2 0\r\n1 1\r\n")
    (folder / "test.txt").write_text("1 0\r\n")
    return folder


def test_taobao_ad_when_the_files_are_tiny(tmp_path):
    taobao_ad.write(write_taobao(tmp_path / "source"), tmp_path / "out")
    assert pq.read_table(tmp_path / "out" / "ads.parquet").to_pylist() == [
        {"ad_id": "0", "category": "118", "brand": "97", "price_level": "1"},
        {"ad_id": "1", "category": "0", "brand": None, "price_level": "0"},
        {"ad_id": "2", "category": "42", "brand": None, "price_level": "1"},
    ]
    user = pq.read_table(tmp_path / "out" / "users.parquet").to_pylist()[1]
    assert user == {"user_id": "1", "cms_segid": "0", "cms_group_id": "0", "gender": "1", "age_level": "0",
                    "pvalue_level": None, "shopping_level": "1", "occupation": "0", "new_user_class_level": None}
    data = load_dataset(tmp_path / "out")
    assert data.spec == taobao_ad.SPEC
    assert list(zip(data.train.users.tolist(), data.train.items.tolist(), strict=True)) == [(0, 2), (0, 0), (1, 1)]
    assert list(zip(data.test.users.tolist(), data.test.items.tolist(), strict=True)) == [(1, 0)]
    assert data.train.labels.tolist() == [[1], [1], [1]]


@pytest.mark.parametrize(("name", "text", "says"), [
    ("u.user", "0 8 2 2 2 2 3 0\n", r"u\.user: row 0 has 8 entries, expected 9"),
    ("u.item", "0 1 2 x\n", r"u\.item: .*'x'.* every entry must be an integer"),
    ("test.txt", "0 -1\n", r"test\.txt: -1 is negative"),
    ("train.txt", "0 1.5\n", r"train\.txt: .*'1\.5'.* every entry must be an integer"),
])
def test_taobao_ad_is_refused_when_a_file_is_malformed(tmp_path, name, text, says):
    source = write_taobao(tmp_path / "source")
    (source / name).write_text(text)
    with pytest.raises(DataError, match=says):
        taobao_ad.write(source, tmp_path / "out")
