"""A whole bundle: its content is read back to the bit, and its ids follow what determines them."""

import json

import pytest

from index_store.bundle.bundle import Bundle, describe, write_content
from tests.index_store.bundle.damage import refusal, same
from tests.resealed import reseal
from tests.tiny_bundle import planted_world


def test_content_is_the_same_to_the_bit_when_read_back(tiny_bundle):
    assert same(planted_world()[0], Bundle.open(tiny_bundle).content)


def test_bundle_has_the_same_id_when_its_content_is_written_again(tiny_bundle, tmp_path):
    first = Bundle.open(tiny_bundle)
    again = reseal(tiny_bundle, tmp_path / "again", lambda writer: write_content(writer, first.content))
    assert again.bundle_id == first.bundle_id  # the date does not enter it


def test_tower_version_follows_what_determines_the_embedding_when_files_change(tiny_bundle, tmp_path):
    opened = Bundle.open(tiny_bundle)
    tables = opened.content.tables
    reseal(tiny_bundle, tmp_path / "item", lambda w: w.array("tables/item.brand.npy", tables["item.brand"] + 1))
    reseal(tiny_bundle, tmp_path / "user", lambda w: w.array("tables/history.brand.npy", tables["history.brand"] + 1))
    assert Bundle.open(tmp_path / "item").user_tower_version == opened.user_tower_version
    assert Bundle.open(tmp_path / "user").user_tower_version != opened.user_tower_version


def test_description_is_the_manifest_with_the_bytes_of_its_files_added_up(tiny_bundle):
    manifest = Bundle.open(tiny_bundle).manifest
    described = describe(manifest)
    assert "files" not in described
    assert described["bundle_id"] == manifest.bundle_id
    assert described["total_bytes"] == sum((tiny_bundle / name).stat().st_size for name in manifest.files)


def test_user_is_found_by_id_when_the_bundle_knows_it(tiny_bundle):
    users = Bundle.open(tiny_bundle).content.users
    assert users.row(users.ids[3]) == 3
    assert users.row(b"no such user") == -1


@pytest.mark.parametrize(("change", "file", "why"), [
    ({"tasks": [{"name": "click"}]}, "features.json", "declares the tasks ['click'], the manifest"),
    ({"history_ordered": False}, "features.json", "interaction features, the manifest"),
    ({"negatives": "some"}, "features.json", "negatives 'some' is unknown"),
    ({"unheard": 1}, "features.json", "the declaration has the unknown key 'unheard'"),
])
def test_bundle_is_refused_when_its_declaration_does_not_fit(tiny_bundle, tmp_path, change, file, why):
    def rewrite(writer):
        declared = json.loads(writer.path("features.json").read_text())
        writer.json("features.json", declared | {"spec": declared["spec"] | change})

    reseal(tiny_bundle, tmp_path / "sealed", rewrite)
    error = refusal(tmp_path / "sealed")
    assert error.file == file
    assert why in error.reason


@pytest.mark.parametrize(("features", "why"), [
    ([], "does not hold a spec and scales (TypeError"), ({"scales": {}}, "does not hold a spec and scales (KeyError"),
    ({"spec": {}}, "KeyError('scales')"), ({"spec": {}, "scales": {"user.age": 1.0}}, "TypeError"),
    ({"spec": {}, "scales": {"user.age": [1.0, "x"]}}, "ValueError"),
    ({"spec": {}, "scales": {}}, "the declaration lacks the key 'user_fields'")])
def test_bundle_is_refused_when_its_features_are_not_declared(tiny_bundle, tmp_path, features, why):
    reseal(tiny_bundle, tmp_path / "sealed", lambda writer: writer.json("features.json", features))
    error = refusal(tmp_path / "sealed")
    assert error.file == "features.json"
    assert why in error.reason


def test_bundle_is_refused_when_it_lacks_the_scale_of_a_dense_field(tiny_bundle, tmp_path):
    def rewrite(writer):
        declared = json.loads(writer.path("features.json").read_text())
        del declared["scales"]["user.age"]
        writer.json("features.json", declared)

    reseal(tiny_bundle, tmp_path / "sealed", rewrite)
    assert refusal(tmp_path / "sealed").reason == "lacks the scales of ['user.age']"
