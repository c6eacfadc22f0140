"""Files of a bundle: what was written is read back to the bit, and nothing else is accepted."""

import pickle
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from index_store.bundle.bundle import Bundle
from index_store.bundle.files import BundleFiles, BundleWriter
from index_store.bundle.manifest import BundleError
from index_store.features.ragged import Ragged
from tests.index_store.bundle.damage import ENTRIES, files_of, refusal, same
from tests.resealed import reseal


@pytest.fixture
def copy(tiny_bundle, tmp_path):
    """A bundle that the test may damage."""
    return shutil.copytree(tiny_bundle, tmp_path / "copy")


@pytest.mark.parametrize("damage", ["missing", "truncated", "longer", "one bit flipped"])
def test_bundle_is_refused_when_any_file_is_damaged(copy, damage):
    for name in files_of(copy):
        path = copy / name
        content = path.read_bytes()
        middle = len(content) // 2
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes({"truncated": content[:-2], "longer": content + b"\0",
                              "one bit flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1:],
                              }[damage])
        assert refusal(copy).file == name
        path.write_bytes(content)
    Bundle.open(copy)


def test_bundle_is_refused_when_it_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    for name in ("file", "nothing"):
        assert "is not a folder" in refusal(tmp_path / name).reason


def test_bundle_is_refused_when_it_was_never_sealed(tmp_path):
    writer = BundleWriter(tmp_path / "bundle")
    writer.json("golden.json", [])
    assert "not a sealed bundle" in refusal(writer.folder).reason
    assert not (tmp_path / "bundle").exists()
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_writer_refuses_when_the_target_exists(tiny_bundle):
    before = files_of(tiny_bundle)
    with pytest.raises(BundleError, match="already exists"):
        BundleWriter(tiny_bundle)
    assert files_of(tiny_bundle) == before


def test_pickle_is_refused_when_a_sealed_array_holds_one(tiny_bundle, tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    def objects(writer):
        with writer.path("users/ids.npy").open("wb") as file:
            np.save(file, np.array([Trap()], dtype=object), allow_pickle=True)

    def plain_pickle(writer):
        writer.path("tree/rows.npy").write_bytes(pickle.dumps(Trap()))

    for number, (change, name) in enumerate([(objects, "users/ids.npy"), (plain_pickle, "tree/rows.npy")]):
        reseal(tiny_bundle, tmp_path / str(number), change)
        error = refusal(tmp_path / str(number))
        assert error.file == name
        assert "is not a readable array" in error.reason


def test_writer_refuses_when_an_array_would_need_a_pickle(tmp_path):
    with pytest.raises(ValueError):
        BundleWriter(tmp_path / "bundle").array("tree/rows.npy", np.array([{}], dtype=object))


@pytest.mark.parametrize(("name", "values", "why"), [
    ("tree/rows.npy", np.zeros(300, np.int64), "has dtype int64, expected int32"),
    ("tree/rows.npy", np.zeros(299, np.int32), "has shape (299,), expected (300,)"),
    ("tree/rows.npy", np.zeros(300, np.int32), "not a permutation"),
    ("tree/embeddings_3.npy", np.zeros((300, 7), np.float32), "has shape (300, 7)"),
    ("tables/user.country.npy", np.zeros((6, 4), np.float64), "has dtype float64"),
])
def test_bundle_is_refused_when_a_sealed_array_does_not_fit(tiny_bundle, tmp_path, name, values, why):
    reseal(tiny_bundle, tmp_path / "sealed", lambda writer: writer.array(name, values))
    error = refusal(tmp_path / "sealed")
    assert name.startswith(error.file)
    assert why in error.reason


def test_bundle_is_refused_when_it_lacks_a_file_that_is_needed(tiny_bundle, tmp_path):
    reseal(tiny_bundle, tmp_path / "sealed", lambda writer: writer.path("tables/item.brand.npy").unlink())
    error = refusal(tmp_path / "sealed")
    assert (error.file, error.reason) == ("tables/item.brand.npy", "is not listed in manifest.json")


@settings(max_examples=40, deadline=None)
@given(array=arrays.arrays(st.sampled_from([np.float32, np.int32, np.int64]), arrays.array_shapes(max_side=40)),
       lists=st.lists(st.lists(st.integers(-2**31, 2**31 - 1), max_size=5), max_size=8))
def test_arrays_and_lists_are_the_same_to_the_bit_when_read_back(tmp_path_factory, array, lists):
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    writer = BundleWriter(folder)
    writer.array("users/array.npy", array)
    writer.ragged("users/lists", Ragged.of(lists))
    writer.seal(**ENTRIES)
    files = BundleFiles(folder, verify=True)
    read = files.array("users/array.npy", array.dtype, (None,) * array.ndim)
    assert same(read, np.ascontiguousarray(array))
    ragged = files.ragged("users/lists", len(lists))
    assert [ragged.row(r).tolist() for r in range(len(lists))] == lists
    with pytest.raises(BundleError):
        files.ragged("users/lists", len(lists) + 1)


def test_large_array_is_mapped_when_it_is_opened(tiny_bundle):
    embeddings = Bundle.open(tiny_bundle).content.embeddings[2]
    assert isinstance(embeddings.base, np.memmap)
    assert not embeddings.flags.writeable


@pytest.mark.parametrize(("indptr", "why"), [
    ([1, 2, 3, 4], "runs from 1 to 4, there are 4 values"),
    ([0, 2, 3, 3], "runs from 0 to 3, there are 4 values"),
    ([0, 2, 3, 5], "runs from 0 to 5, there are 4 values"),
    ([0, 3, 1, 4], "falls from 3 to 1 after row 1"),
    ([0, 6, 5, 4], "falls from 6 to 5 after row 1"),
    ([0, -1, 3, 4], "falls from 0 to -1 after row 0"),
])
def test_lists_are_refused_when_their_offsets_do_not_rise_to_the_number_of_values(tmp_path, indptr, why):
    writer = BundleWriter(tmp_path / "bundle")
    writer.array("users/lists.indptr.npy", np.array(indptr, np.int64))
    writer.array("users/lists.values.npy", np.arange(4, dtype=np.int32))
    writer.seal(**ENTRIES)
    with pytest.raises(BundleError) as caught:
        BundleFiles(tmp_path / "bundle", verify=True).ragged("users/lists", 3)
    assert (caught.value.file, caught.value.reason) == ("users/lists.indptr.npy", why)


def test_lists_are_read_when_some_are_empty(tmp_path):
    writer = BundleWriter(tmp_path / "bundle")
    writer.ragged("users/lists", Ragged.of([[], [3, 1], [], [0], []]))
    writer.seal(**ENTRIES)
    found = BundleFiles(tmp_path / "bundle", verify=True).ragged("users/lists", 5, below=4)
    assert [found.row(row).tolist() for row in range(5)] == [[], [3, 1], [], [0], []]


@pytest.mark.parametrize(("lists", "why"), [([[0], [4]], "from 0 to 4"), ([[-1], [3]], "from -1 to 3")])
def test_lists_are_refused_when_a_value_lies_outside(tmp_path, lists, why):
    writer = BundleWriter(tmp_path / "bundle")
    writer.ragged("users/lists", Ragged.of(lists))
    writer.seal(**ENTRIES)
    with pytest.raises(BundleError, match=rf"has values {why}, they must lie in 0\.\.3"):
        BundleFiles(tmp_path / "bundle", verify=True).ragged("users/lists", 2, below=4)


def test_json_is_refused_when_it_is_not_valid(tiny_bundle, tmp_path):
    reseal(tiny_bundle, tmp_path / "sealed", lambda writer: writer.path("golden.json").write_text("{"))
    with pytest.raises(BundleError, match=r"golden\.json: is not valid JSON"):
        BundleFiles(tmp_path / "sealed", verify=True).json("golden.json")
