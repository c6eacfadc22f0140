"""Lines and reply of POST /retrieve:batch."""

import json

import pytest

from service.contract.errors import ErrorType, ServiceError
from service.contract.retrieve_batch import (
    MOST_QUERIES,
    BatchedAnswer,
    RetrieveBatchReply,
    answered,
    batch_body,
    read_queries,
    refused,
)


def test_queries_are_the_lines_that_are_not_empty():
    assert read_queries(b'\n{"user_id": "1"}\r\n \n{\n') == [b'{"user_id": "1"}\r', b"{"]
    assert len(read_queries(b"{}\n" * MOST_QUERIES)) == MOST_QUERIES


@pytest.mark.parametrize(("body", "message"), [
    (b"", "the body of 0 bytes has no line"), (b" \n\n", "the body of 3 bytes has no line"),
    (b"{}\n" * 1_001, "the batch has 1001 queries, above the limit of 1000")])
def test_batch_is_refused_when_it_has_no_query_or_too_many(body, message):
    with pytest.raises(ServiceError, match=message) as caught:
        read_queries(body)
    assert caught.value.error_type == "invalid_value"


def test_reply_holds_answers_and_errors_in_order():
    error = ServiceError(ErrorType.OVERLOADED, 'the "queue" is full', "later", 3, "a\nb")
    entries = [refused(0, error), refused(1, ServiceError(ErrorType.UNKNOWN_TASK, "no", "use"))]
    found = RetrieveBatchReply.model_validate(json.loads(batch_body(entries)))
    assert [(one.index, one.status, one.retry_after, one.answer) for one in found.answers] == [
        (0, 429, 3, None), (1, 422, None, None)]
    assert json.loads(error.body()) == found.answers[0].error.model_dump()
    assert json.loads(batch_body([answered(7, b'{"ads":[]}')])) == {
        "answers": [{"index": 7, "status": 200, "answer": {"ads": []}}]}
    assert set(BatchedAnswer.model_fields) == {"index", "status", "answer", "error", "retry_after"}
