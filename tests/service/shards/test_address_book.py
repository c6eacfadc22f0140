"""The address book: read anew when it changes, and refused in words when it is none."""

import pytest

from service.shards.address_book import AddressBook, AddressBookError, parse_address, write_addresses


def test_addresses_are_those_of_the_file_and_follow_it(tmp_path):
    book = AddressBook(tmp_path / "book.json")
    write_addresses(book.path, [["a:1"], ["b:2", "[::1]:3"]])
    assert (book.addresses(0), book.addresses(1), book.addresses(2)) == ([("a", 1)], [("b", 2), ("::1", 3)], [])
    write_addresses(book.path, [["a:1"], []])
    assert book.addresses(1) == []
    assert [path.name for path in tmp_path.iterdir()] == ["book.json"]


def test_a_missing_file_is_told_until_it_is_there(tmp_path):
    book = AddressBook(tmp_path / "book.json")
    with pytest.raises(AddressBookError, match=r"book.json cannot be read \(No such file or directory\)"):
        book.addresses(0)
    write_addresses(book.path, [["a:1"]])
    assert book.addresses(0) == [("a", 1)]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"shards": 1}', '{"shards": [["a"]]}', '{"shards": [["a:0"]]}',
                                  '{"shards": [[1]]}', '{"shards": [["a:70000"]]}', '{"shards": [[":1"]]}', "null"])
def test_a_file_of_another_form_is_refused(tmp_path, text):
    (tmp_path / "book.json").write_text(text)
    with pytest.raises(AddressBookError, match="is no address book"):
        AddressBook(tmp_path / "book.json").addresses(0)


def test_an_address_has_host_and_port():
    assert parse_address("[fe80::1]:80") == ("fe80::1", 80)
    with pytest.raises(ValueError, match="'host' is not HOST:PORT"):
        parse_address("host")
