"""Bundles by their names."""

import pytest

from index_store.bundle.manifest import BundleError
from service.supervisor.releases import RefusedError, named, release_of
from tests.service.bundle_store import BundleStore


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return BundleStore.write(tmp_path_factory.mktemp("store") / "bundles")


def test_bundle_is_found_by_its_name(store):
    found = named(store.folder, "green")
    assert found == release_of(store.folder / "green")
    assert (found.name, found.bundle_id) == ("green", store.ids["green"])


@pytest.mark.parametrize(("name", "error_type", "said"), [
    ("purple", "unknown_bundle", "purple"), ("../red", "invalid_value", "is not a bundle name"),
    ("current", "invalid_value", "is not a bundle name")])
def test_name_is_refused_when_it_is_of_no_bundle(store, name, error_type, said):
    with pytest.raises(RefusedError, match=said) as caught:
        named(store.folder, name)
    assert caught.value.refusal.error_type == error_type


def test_error_says_what_is_broken_when_the_bundle_is(store):
    store.add_broken("cut", "manifest.json", "truncated")
    with pytest.raises(BundleError, match="not readable"):
        named(store.folder, "cut")
