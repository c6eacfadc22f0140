"""Files of recorded beams: whole or not at all, in a folder that can be written."""

import os

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.features.ragged import Ragged
from index_store.tree.recorded_beams import RecordedBeams
from model.tree.recorded_beams import read_beams
from service.sampling.beam_files import BeamFolderError, check_folder, file_name, write_beams
from tests.tiny_bundle import SPEC


@pytest.fixture(scope="module")
def content(tiny_bundle):
    return Bundle.open(tiny_bundle).content


def beams(content, count, history=None):
    """Beams of the first users, which keep the first nodes of each level."""
    rows = np.arange(count)
    kept = tuple(Ragged.of([np.arange(2)] * count) for _ in range(content.tree.depth))
    return RecordedBeams(content.users.features.take(rows), history or content.users.history.take(rows), kept)


def test_beams_read_back_as_they_were_when_a_file_is_written(content, tmp_path):
    written = beams(content, 3)
    write_beams(tmp_path / "beams.parquet", written, "bundle", content.tree.digest)
    found = read_beams([tmp_path / "beams.parquet"], content.tree, SPEC)
    np.testing.assert_array_equal(found.features.dense, written.features.dense)
    np.testing.assert_array_equal(found.history.values, written.history.values)
    assert [level.values.tolist() for level in found.kept] == [level.values.tolist() for level in written.kept]
    assert os.listdir(tmp_path) == ["beams.parquet"]


def test_nothing_is_left_of_a_file_when_writing_it_fails(content, tmp_path):
    broken = beams(content, 1, history=Ragged(np.array([0, 1]), np.array([[1]])))  # Arrow takes no such values
    with pytest.raises(Exception, match="1-d"):
        write_beams(tmp_path / "beams.parquet", broken, "bundle", "tree")
    assert not list(tmp_path.iterdir())


def test_folder_is_made_and_left_empty_when_it_is_checked(tmp_path):
    check_folder(tmp_path / "a" / "b")
    assert not list((tmp_path / "a" / "b").iterdir())


def test_folder_is_refused_with_its_reason_when_a_file_is_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BeamFolderError, match=f"RETRIEVAL_BEAM_FOLDER {folder} cannot be written"):
            check_folder(folder)


def test_names_differ_when_they_are_made_at_the_same_time():
    names = {file_name("0123") for _ in range(1000)}
    assert len(names) == 1000
    assert all(name.startswith("beams-") and "-0123-" in name for name in names)
