"""What a bundle lacks of what the requests of another one bring."""

from dataclasses import replace

from index_store.bundle.declaration import lacking
from index_store.bundle.files import BundleFiles
from index_store.declaration.spec import FeatureSpec, FieldSpec
from tests.resealed import reseal
from tests.tiny_bundle import write_tiny_bundle


def declared_otherwise(source, target, change):
    """A copy of a bundle with another declaration, which `change` makes of its own."""
    files = BundleFiles(source, verify=False).json("features.json")
    spec = change(FeatureSpec.from_json(files["spec"]))
    reseal(source, target, lambda writer: writer.json("features.json", {**files, "spec": spec.to_json()}))
    return target


def test_nothing_is_lacking_when_bundles_declare_the_same(tiny_bundle, tmp_path):
    write_tiny_bundle(tmp_path / "other", seed=1)
    assert lacking(tmp_path / "other", tiny_bundle) == []


def test_fields_are_named_with_both_kinds_when_they_are_missing_or_differ(tmp_path):
    write_tiny_bundle(tmp_path / "with", context=True)
    write_tiny_bundle(tmp_path / "without")
    assert lacking(tmp_path / "without", tmp_path / "with") == [
        "context field hour (categorical)", "context field position (categorical)",
        "context field inventory (categorical)"]
    assert lacking(tmp_path / "with", tmp_path / "without") == []  # requests just leave them out
    other = declared_otherwise(tmp_path / "without", tmp_path / "other", lambda spec: replace(
        spec, item_fields=tuple(replace(field, role="") for field in spec.item_fields)))
    assert lacking(other, tmp_path / "without") == [
        "ad field brand (categorical of the advertiser; here it is categorical)"]


def test_location_is_lacking_when_only_the_other_declares_it(tmp_path):
    write_tiny_bundle(tmp_path / "plain")
    located = declared_otherwise(tmp_path / "plain", tmp_path / "located", lambda spec: replace(
        spec, context_fields=(FieldSpec("place", "location"),)))
    assert lacking(tmp_path / "plain", located) == ["context field place (location)"]


def test_calibration_is_lacking_when_only_the_other_has_one(tmp_path):
    write_tiny_bundle(tmp_path / "calibrated")
    write_tiny_bundle(tmp_path / "not", calibrated=False)
    assert lacking(tmp_path / "not", tmp_path / "calibrated") == ["a calibration, by which eCPM ranks"]
