"""The manifest: read back as written, refused when it is damaged, newer, or contradicts itself."""

import dataclasses
import json
import shutil

import pytest

from index_store.bundle.files import BundleFiles, BundleWriter
from index_store.bundle.manifest import FORMAT_VERSION, MANIFEST, BundleError, SearchDefaults, hash_of
from tests.index_store.bundle.damage import ENTRIES, refusal
from tests.paths import BUNDLES
from tests.resealed import reseal


@pytest.fixture
def copy(tiny_bundle, tmp_path):
    """A bundle that the test may damage."""
    return shutil.copytree(tiny_bundle, tmp_path / "copy")


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


@pytest.mark.parametrize("name", ["../secret.npy", "a/b/c.npy", "/etc/passwd", "x.pkl", "users/.npy/../../x.npy"])
def test_bundle_is_refused_when_its_manifest_points_elsewhere(tmp_path, name):
    writer = BundleWriter(tmp_path / "bundle")
    manifest = dataclasses.asdict(writer.seal(**ENTRIES))
    manifest["files"] = {name: {"sha256": "0" * 64, "bytes": 0}}
    manifest["checksum"] = hash_of(manifest, "checksum")
    (tmp_path / "bundle" / MANIFEST).write_text(json.dumps(manifest))
    assert refusal(tmp_path / "bundle").reason == f"lists a file named {name!r}"


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


def test_manifest_is_the_same_when_read_back(tmp_path):
    writer = BundleWriter(tmp_path / "bundle")
    writer.json("golden.json", [])
    written = writer.seal(**ENTRIES)
    read = BundleFiles(tmp_path / "bundle", verify=True).manifest
    assert read == written
    assert (read.format_version, read.tasks, read.levels) == (FORMAT_VERSION, ("click",), ENTRIES["levels"])
    assert list(read.files) == ["golden.json"]


def test_layers_and_their_own_levels_are_told_apart_when_a_stack_is_read():
    stack, single = (BundleFiles(BUNDLES / version, verify=False).manifest for version in ("v3", "v2"))
    assert (stack.scorers, stack.ensemble) == (("scorer_1.onnx", "scorer_2.onnx"), (1,))
    assert (single.scorers, single.ensemble) == (("scorer_1.onnx",), ())


def test_changes_that_a_bundle_includes_are_read_and_none_in_older_formats(tmp_path):
    for version in range(1, FORMAT_VERSION + 1):
        manifest = BundleFiles(BUNDLES / f"v{version}", verify=False).manifest
        assert (manifest.changes_included, manifest.change_log_id) == (0, "")
    writer = BundleWriter(tmp_path / "later")
    writer.json("golden.json", {})
    writer.seal(**ENTRIES, changes_included=7, change_log_id="c0ffee")
    manifest = BundleFiles(tmp_path / "later", verify=True).manifest
    assert (manifest.changes_included, manifest.change_log_id) == (7, "c0ffee")


@pytest.mark.parametrize(("name", "value"), [
    *(("changes_included", value) for value in (-1, "7", True, 1.0, None)), ("change_log_id", None),
    ("change_log_id", 7)])
def test_position_in_the_change_log_is_refused_when_it_is_none(tmp_path, name, value):
    writer = BundleWriter(tmp_path / "wrong")
    writer.json("golden.json", {})
    writer.seal(**ENTRIES, **{name: value})
    with pytest.raises(BundleError, match=rf"is not a manifest .*{name} is"):
        BundleFiles(tmp_path / "wrong", verify=False)
