"""Lines of JSON: which become writes, and which one is named when it does not fit."""

import pytest

from index_store.changes.change_log import Kind, Write
from index_store.declaration.values import FeatureError
from service.contract.errors import ErrorType, ServiceError
from service.contract.lines import at_line, read_lines


def write(line, key):
    if line == b"feature":
        raise FeatureError("age", "age is low", "raise it")
    if line == b"service":
        raise ServiceError(ErrorType.INVALID_VALUE, "it is wrong", "mend it")
    return Write(kind=Kind.AD, id=line.decode(), fields={}, key=key)


def test_lines_are_numbered_from_one_and_empty_ones_passed_over():
    found = read_lines(b"\na\r\n \nb", "k", write, "")
    assert [(one.line, one.write.id.strip(), one.write.key) for one in found] == [(2, "a", "k/2"), (4, "b", "k/4")]
    assert read_lines(b"a", None, write, "")[0].write.key is None


@pytest.mark.parametrize(("line", "said", "remedy"), [(b"feature", "line 2: age is low", "raise it"),
                                                      (b"service", "line 2: it is wrong", "mend it")])
def test_first_bad_line_is_named(line, said, remedy):
    with pytest.raises(ServiceError) as caught:
        read_lines(b"\n".join([b"a", line, b"service"]), None, write, "")
    assert (caught.value.error_type, caught.value.message, caught.value.help) == ("invalid_line", said, remedy)


def test_body_without_a_line_is_refused_with_an_example():
    with pytest.raises(ServiceError, match="the body of 2 bytes has no line") as caught:
        read_lines(b"\n\n", None, write, "EXAMPLE")
    assert caught.value.help == "send lines such as EXAMPLE"


def test_refusal_gets_the_number_of_its_line_and_keeps_its_type():
    found = at_line(ServiceError(ErrorType.AD_DELETED, "it is deleted", "pause it"), 3)
    assert (found.error_type, found.message, found.help) == ("ad_deleted", "line 3: it is deleted", "pause it")
