"""Which files of recorded beams are refused, and that the numbers arrive as they were written."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index_store.declaration.spec import FieldSpec
from index_store.features.encoder import Features
from index_store.features.ragged import Ragged
from index_store.tree.recorded_beams import RecordedBeams
from index_store.tree.tree import build_tree
from model.data.tables import DataError
from model.tree.recorded_beams import read_beams
from service.sampling.beam_files import write_beams
from tests.tiny_bundle import SPEC

NODES = 3


def tree_of(seed):
    """30 items below 3 nodes."""
    vectors = np.random.default_rng(seed).normal(size=(30, 4)).astype(np.float32)
    return build_tree(np.random.default_rng(seed).permutation(np.arange(30) % NODES)[:, None], vectors)


TREE = tree_of(0)
BEAMS = RecordedBeams(Features(np.array([[0.5], [-1.0]], np.float32), np.array([[3], [0]], np.int32),
                               (Ragged.of([[1, 2], []]),)),
                      Ragged.of([[29, 0], []]), (Ragged.of([[0, 2], [1]]), Ragged.of([[5, 29], [0]])))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "beams.parquet"
    write_beams(path, BEAMS, "bundle", TREE.digest)
    return path


def rewritten(path, *, metadata=None, drop=(), **columns):
    """The file with other columns or metadata; values are lists by row."""
    table = pq.read_table(path)
    for name, values in columns.items():
        at = table.column_names.index(name)
        kind = table.schema.field(name).type if not isinstance(values, pa.Array) else values.type
        table = table.set_column(at, name, pa.array(values, kind))
    changed = {key.encode(): value for key, value in (metadata or {}).items()}
    table = table.drop_columns(list(drop)).replace_schema_metadata(table.schema.metadata | changed)
    pq.write_table(table, path)
    return path


def test_beams_arrive_as_they_were_written_when_files_are_read(file):
    beams = read_beams([file, file], TREE, SPEC)
    assert len(beams) == 4
    assert beams.features.dense.tolist() == [[0.5], [-1.0]] * 2
    assert beams.features.dense.dtype == np.float32
    assert beams.features.categorical.tolist() == [[3], [0]] * 2
    assert [beams.features.multi[0].row(row).tolist() for row in range(4)] == [[1, 2], []] * 2
    assert [beams.history.row(row).tolist() for row in range(4)] == [[29, 0], []] * 2
    assert [beams.kept[0].row(row).tolist() for row in range(4)] == [[0, 2], [1]] * 2
    assert [beams.kept[1].row(row).tolist() for row in range(4)] == [[5, 29], [0]] * 2


@pytest.mark.parametrize("multi", [0, 3])
def test_fields_stay_apart_when_there_are_none_or_several(tmp_path, multi):
    lists = tuple(Ragged.of([[at], [at] * at]) for at in range(multi))
    spec = replace(SPEC, user_fields=tuple(FieldSpec(f"f{at}", "multi") for at in range(multi)), key_families=(
        SPEC.key_families))
    beams = replace(BEAMS, features=Features(np.empty((2, 0), np.float32), np.empty((2, 0), np.int32), lists))
    write_beams(tmp_path / "beams.parquet", beams, "bundle", TREE.digest)
    found = read_beams([tmp_path / "beams.parquet"], TREE, spec).features
    assert (found.dense.shape, found.categorical.shape, len(found.multi)) == ((2, 0), (2, 0), multi)
    assert [[one.row(row).tolist() for row in range(2)] for one in found.multi] == [
        [[at], [at] * at] for at in range(multi)]


@pytest.mark.parametrize(("change", "said"), [
    ({"metadata": {"format": "2"}}, "says format '2' of recorded beams, this program reads '1'"),
    ({"drop": ["history", "level_2"]}, "columns ['history', 'level_2'] are missing, the file has ['dense',"),
    ({"level_1": pa.array(["a", "b"])}, "column 'level_1' has type string, list<element: int32> was expected"),
    ({"level_1": [[0], [3]]}, "column 'level_1', row 1: value 3 does not fit: the tree has nodes 0 to 2"),
    ({"level_2": [[], [4, 30]]}, "column 'level_2', row 1: value 30 does not fit: the tree has nodes 0 to 29"),
    ({"level_2": [[-1], []]}, "column 'level_2', row 0: value -1 does not fit"),
    ({"history": [[0], [7, 30]]}, "column 'history', row 1: value 30 does not fit: the tree has items 0 to 29"),
    ({"history": [[0], None]}, "column 'history', row 1: value None is not a list"),
    ({"history": [[], [1, None]]}, "column 'history', row 1: value None is not a number"),
    ({"dense": [[0.5], [float("nan")]]}, "column 'dense', row 1: value nan is not a finite number"),
    ({"dense": [[0.5], [1, 2]]}, "column 'dense', row 1 is about 2 fields, features.json declares 1 dense"),
    ({"categorical": [[], []]}, "column 'categorical', row 0 is about 0 fields, features.json declares 1"),
    ({"categorical": [[0], [-7]]}, "column 'categorical', row 1: value -7 does not fit: ids are 0 or more"),
    ({"multi": [[[1]], [[1], [2]]]}, "column 'multi', row 1 is about 2 fields, features.json declares 1"),
    ({"multi": [[[1]], [[2, -1]]]}, "column 'multi', row 1: value -1 does not fit"),
    ({"multi": [[[1]], [None]]}, "column 'multi', row 1: value None is not a list"),
])
def test_file_is_refused_when_it_does_not_fit(file, change, said):
    rewritten(file, **change)
    with pytest.raises(DataError) as refused:
        read_beams([file], TREE, SPEC)
    assert said in str(refused.value).replace("<item: ", "<element: ")
    assert str(file) in str(refused.value)
    assert "; " in str(refused.value)


def test_file_is_refused_with_both_digests_when_it_is_of_another_tree(file):
    other = tree_of(1)
    with pytest.raises(DataError, match="these beams were recorded on another tree: use the run that the bundle was "
                                        "exported from") as refused:
        read_beams([file], other, SPEC)
    assert TREE.digest in str(refused.value)
    assert other.digest in str(refused.value)


def test_file_is_refused_when_it_is_no_parquet_or_not_there(tmp_path):
    (tmp_path / "text").write_text("no Parquet")
    with pytest.raises(DataError, match="is not a Parquet file"):
        read_beams([tmp_path / "text"], TREE, SPEC)
    with pytest.raises(DataError, match="is not a file; name those that a service wrote"):
        read_beams([tmp_path / "gone"], TREE, SPEC)
    with pytest.raises(DataError, match="0 files hold no recorded beam"):
        read_beams([], TREE, SPEC)
