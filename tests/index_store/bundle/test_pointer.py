"""The pointer of a folder of bundles: what it may say, that it is replaced whole, and that nobody's word gets lost."""

import threading

import pytest

from index_store.bundle import pointer
from index_store.bundle.pointer import BundleNameError, Pointer, PointerChangedError, PointerError


def test_pointer_says_what_was_written_when_read(tmp_path):
    pointer.replace(tmp_path, Pointer("one"), None)
    assert pointer.read(tmp_path) == Pointer("one")
    before = pointer.stamp(tmp_path)
    pointer.replace(tmp_path, Pointer("two", "one"), Pointer("one"))
    assert pointer.read(tmp_path) == Pointer("two", "one")
    assert pointer.stamp(tmp_path) != before
    assert [path.name for path in tmp_path.iterdir()] == ["current"]


def test_pointer_set_by_another_process_meanwhile_is_kept(tmp_path):
    pointer.replace(tmp_path, Pointer("theirs"), None)
    with pytest.raises(PointerChangedError, match="theirs"):
        pointer.replace(tmp_path, Pointer("ours"), None)
    assert pointer.read(tmp_path) == Pointer("theirs")


def test_one_writer_wins_when_many_replace_the_same_pointer(tmp_path):
    pointer.replace(tmp_path, Pointer("first"), None)
    start, won = threading.Barrier(8), []

    def write(name):
        start.wait()
        try:
            pointer.replace(tmp_path, Pointer(name, "first"), Pointer("first"))
            won.append(name)
        except PointerChangedError:
            pass

    writers = [threading.Thread(target=write, args=(f"w{number}",)) for number in range(8)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    assert [pointer.read(tmp_path).bundle] == won


@pytest.mark.parametrize(("content", "said"), [
    (b"", "is not readable"), (b"two", "is not readable"), (b"\xff\xfe", "is not readable"),
    (b"[" * 4000, "is not readable"), (b'["two"]', "an object"),
    (b'{"previous": "one"}', "names None"), (b'{"bundle": 7}', "names 7"),
    (b'{"bundle": "../two"}', "is not a bundle name"),
    (b'{"bundle": "two", "previous": ".."}', "is not a bundle name"), (b'{"bundle": "two", "weight": 1}', "an object"),
    (b'{"bundle": "' + b"x" * 5000 + b'"}', "is not readable"),
])
def test_pointer_is_refused_when_it_says_something_else(tmp_path, content, said):
    (tmp_path / "current").write_bytes(content)
    with pytest.raises(PointerError, match=said) as refused:
        pointer.read(tmp_path)
    assert "python -m index_store promote" in str(refused.value)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", ".hidden", "-x", "current", "a\n", "a b", "x" * 129])
def test_name_is_refused_when_it_is_no_path_component(name):
    with pytest.raises(BundleNameError, match="is not a bundle name"):
        pointer.check_name(name)


def test_pointer_is_refused_when_the_folder_is_gone(tmp_path):
    with pytest.raises(PointerError, match="cannot be written"):
        pointer.replace(tmp_path / "nowhere", Pointer("one"), None)


def test_a_folder_of_bundles_is_told_from_a_bundle(tiny_bundle, tmp_path):
    (tmp_path / "one").symlink_to(tiny_bundle)
    (tmp_path / ".two.partial").symlink_to(tiny_bundle)
    (tmp_path / "notes").mkdir()
    assert pointer.is_bundle_folder(tmp_path)
    assert not pointer.is_bundle_folder(tiny_bundle)
    assert not pointer.is_bundle_folder(tmp_path / "notes")
    assert not pointer.is_bundle_folder(tmp_path / "nowhere")
    assert pointer.bundle_names(tmp_path) == ["one"]
    assert pointer.served_bundle(tiny_bundle) == tiny_bundle
    with pytest.raises(PointerError, match="is missing"):
        pointer.served_bundle(tmp_path)
    pointer.replace(tmp_path, Pointer("one"), None)
    assert pointer.served_bundle(tmp_path) == tmp_path / "one"


def test_previous_bundle_is_remembered_when_another_is_promoted():
    assert Pointer("one").to("two") == Pointer("two", "one")
    assert Pointer("two", "one").to("two") == Pointer("two", "one")
