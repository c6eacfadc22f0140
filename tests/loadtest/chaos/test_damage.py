"""Every file of a bundle, damaged in every way, is noticed when the bundle is verified and opened."""

import contextlib

from index_store.bundle.bundle import Bundle
from index_store.bundle.files import BundleFiles
from index_store.bundle.manifest import MANIFEST, BundleError
from loadtest.chaos.damage import WAYS, damage, damages, write_damaged
from service.retrieval.retriever import Retriever
from tests.loadtest.chaos.guarantees import held


def is_refused(folder):
    try:
        Retriever(Bundle.open(folder)).close()
    except BundleError:
        return True
    return False


def test_bundle_is_refused_when_any_of_its_files_is_damaged(two_bundles, tmp_path):
    source, other = two_bundles
    cases = list(damages(source, other))
    assert {way for _, way in cases} == set(WAYS)
    files = {str(file.relative_to(source)) for file in source.rglob("*") if file.is_file()}
    assert {file for file, _ in cases} == files
    accepted = []
    for number, (file, way) in enumerate(cases):
        write_damaged(source, other, tmp_path / str(number), file, way)
        if not is_refused(tmp_path / str(number)):
            accepted.append((file, way))
    assert accepted == []
    assert not is_refused(source)  # the damaged copies share its files


def test_bundle_is_refused_when_one_bit_of_its_manifest_is_flipped(two_bundles, tmp_path):
    source, other = two_bundles
    write_damaged(source, other, tmp_path / "damaged", MANIFEST, "bit flipped")
    content = (source / MANIFEST).read_bytes()
    accepted = []
    for at in range(0, len(content), 13):
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        (tmp_path / "damaged" / MANIFEST).write_bytes(changed)
        with contextlib.suppress(BundleError):
            BundleFiles(tmp_path / "damaged", verify=False)
            accepted.append((at, chr(content[at]), chr(changed[at])))
    assert accepted == []


def test_service_refuses_each_damaged_bundle_and_goes_on_with_the_first(testbed):
    facts = held(damage(testbed), "damaged bundles")["damaged bundles"].facts
    assert facts["answers"] == {"409 bundle_refused": testbed.scale.most_damages}
    assert sum(facts["cases"].values()) == testbed.scale.most_damages
