"""The bundle contract: what was written is read back to the bit, and nothing else is accepted."""

import dataclasses
import json
import pickle
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from index_store.bundle.bundle import Bundle, write_content
from index_store.bundle.files import BundleFiles, BundleWriter
from index_store.bundle.manifest import FORMAT_VERSION, MANIFEST, BundleError, LevelEntry, SearchDefaults, hash_of
from index_store.features.ragged import Ragged
from tests.paths import BUNDLES
from tests.resealed import reseal
from tests.tiny_bundle import planted_world

ENTRIES = {"dims": {}, "tasks": ("click",), "calibrated": True, "levels": (LevelEntry(1, 1, "scorer_1.onnx", 4, True),),
           "counts": {"items": 1, "users": 0}, "search": SearchDefaults((), 1)}


@pytest.fixture
def copy(tiny_bundle, tmp_path):
    """A bundle that the test may damage."""
    return shutil.copytree(tiny_bundle, tmp_path / "copy")


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def refusal(folder):
    with pytest.raises(BundleError) as caught:
        Bundle.open(folder)
    assert str(folder) in str(caught.value)
    assert caught.value.file in str(caught.value)
    return caught.value


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


def test_manifest_is_refused_when_any_byte_is_flipped(copy):
    content = (copy / MANIFEST).read_bytes()
    for at in range(0, len(content), 11):
        (copy / MANIFEST).write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1:])
        with pytest.raises(BundleError) as caught:
            BundleFiles(copy, verify=False)
        assert caught.value.file


@pytest.mark.parametrize(("version", "remedy"), [
    (FORMAT_VERSION + 1, "install a newer release"), (0, "export it again"), ("1", "export it again"),
    (None, "export it again")])
def test_bundle_is_refused_when_its_format_is_another(copy, version, remedy):
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps(manifest | {"format_version": version}))
    error = refusal(copy)
    assert error.file == MANIFEST
    assert f"has format version {version}, this program reads up to {FORMAT_VERSION}" in error.reason
    assert remedy in str(error)


@pytest.mark.parametrize("text", ["", "[]", "3", "null", '{"format_version": 1}', '{"format_version": 1, "files": 3}',
                                  "\ud800".encode("utf-8", "surrogatepass")])
def test_bundle_is_refused_when_its_manifest_is_something_else(copy, text):
    (copy / MANIFEST).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert refusal(copy).file == MANIFEST


def test_bundle_is_refused_when_it_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    for name in ("file", "nothing"):
        assert "is no folder" in refusal(tmp_path / name).reason


def test_bundle_is_refused_when_it_was_never_sealed(tmp_path):
    writer = BundleWriter(tmp_path / "bundle")
    writer.json("golden.json", [])
    assert "no sealed bundle" in refusal(writer.folder).reason
    assert not (tmp_path / "bundle").exists()
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_writer_refuses_when_the_target_exists(tiny_bundle):
    before = files_of(tiny_bundle)
    with pytest.raises(BundleError, match="exists already"):
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
        assert "is no readable array" in error.reason


def test_writer_refuses_when_an_array_would_need_a_pickle(tmp_path):
    with pytest.raises(ValueError):
        BundleWriter(tmp_path / "bundle").array("tree/rows.npy", np.array([{}], dtype=object))


@pytest.mark.parametrize(("name", "values", "why"), [
    ("tree/rows.npy", np.zeros(300, np.int64), "has dtype int64, int32 was expected"),
    ("tree/rows.npy", np.zeros(299, np.int32), "has shape (299,), (300,) was expected"),
    ("tree/rows.npy", np.zeros(300, np.int32), "not a permutation"),
    ("tree/embeddings_3.npy", np.zeros((300, 7), np.float32), "has shape (300, 7)"),
    ("tables/user.country.npy", np.zeros((6, 4), np.float64), "has dtype float64"),
    ("users/history.indptr.npy", np.zeros(41, np.int64), "ends at 0, the values at"),
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


@pytest.mark.parametrize("name", ["../secret.npy", "a/b/c.npy", "/etc/passwd", "x.pkl", "users/.npy/../../x.npy"])
def test_bundle_is_refused_when_its_manifest_points_elsewhere(tmp_path, name):
    writer = BundleWriter(tmp_path / "bundle")
    manifest = dataclasses.asdict(writer.seal(**ENTRIES))
    manifest["files"] = {name: {"sha256": "0" * 64, "bytes": 0}}
    manifest["checksum"] = hash_of(manifest, "checksum")
    (tmp_path / "bundle" / MANIFEST).write_text(json.dumps(manifest))
    assert refusal(tmp_path / "bundle").reason == f"lists a file named {name!r}"


def same(left, right):
    """Whether two contents hold the same, arrays to the bit."""
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if dataclasses.is_dataclass(left):
        return all(same(getattr(left, f.name), getattr(right, f.name)) for f in dataclasses.fields(left))
    return left == right


def test_content_is_the_same_to_the_bit_when_read_back(tiny_bundle):
    assert same(planted_world()[0], Bundle.open(tiny_bundle).content)


def test_bundle_has_the_same_id_when_its_content_is_written_again(tiny_bundle, tmp_path):
    first = Bundle.open(tiny_bundle)
    again = reseal(tiny_bundle, tmp_path / "again", lambda writer: write_content(writer, first.content))
    assert again.bundle_id == first.bundle_id  # the date does not enter it


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


def test_tower_version_follows_what_determines_the_embedding_when_files_change(tiny_bundle, tmp_path):
    opened = Bundle.open(tiny_bundle)
    tables = opened.content.tables
    reseal(tiny_bundle, tmp_path / "item", lambda w: w.array("tables/item.brand.npy", tables["item.brand"] + 1))
    reseal(tiny_bundle, tmp_path / "user", lambda w: w.array("tables/history.brand.npy", tables["history.brand"] + 1))
    assert Bundle.open(tmp_path / "item").user_tower_version == opened.user_tower_version
    assert Bundle.open(tmp_path / "user").user_tower_version != opened.user_tower_version


@pytest.mark.parametrize(("place", "change", "said"), [
    (0, {"level": "1"}, "is not a manifest"), (2, {"level": 4}, "is not a manifest"),
    (0, {"scorer": []}, "is not a manifest"), (0, {"width": None}, "is not a manifest"),
    (0, {"ensemble": "no"}, "is not a manifest"), (0, {"ensemble": False}, "make up an item's logits"),
    (1, {"ensemble": True}, "make up an item's logits"), (1, {"scorer": "scorer_1.onnx"}, "make up an item's logits"),
    (1, {"width": 9}, "nodes of different widths")])
def test_a_stack_is_refused_when_its_levels_contradict_themselves(tmp_path, place, change, said):
    shutil.copytree(BUNDLES / "v3", tmp_path / "stack")
    manifest = json.loads((tmp_path / "stack" / MANIFEST).read_text())
    manifest["levels"][place] |= change
    manifest["checksum"] = hash_of(manifest, "checksum")
    (tmp_path / "stack" / MANIFEST).write_text(json.dumps(manifest))
    error = refusal(tmp_path / "stack")
    assert error.file == MANIFEST
    assert said in error.reason


def test_a_manifest_without_levels_is_refused(tmp_path):
    shutil.copytree(BUNDLES / "v3", tmp_path / "stack")
    manifest = json.loads((tmp_path / "stack" / MANIFEST).read_text()) | {"levels": []}
    manifest["checksum"] = hash_of(manifest, "checksum")
    (tmp_path / "stack" / MANIFEST).write_text(json.dumps(manifest))
    assert "it has no levels" in refusal(tmp_path / "stack").reason


@pytest.mark.parametrize("widths", [[], [3], [3, 6, 9]])
def test_bundle_is_refused_when_its_beam_has_another_number_of_widths_than_levels(tiny_bundle, tmp_path, widths):
    reseal(tiny_bundle, tmp_path / "sealed", lambda writer: None, search=SearchDefaults(tuple(widths), 10))
    error = refusal(tmp_path / "sealed")
    assert error.file == MANIFEST
    assert error.reason == f"has {len(widths)} beam widths, {widths}, but 2 levels above the items"
