"""Tokens from the environment, by the names that the service gives to its settings."""

from loadtest.http.tokens import ADMIN, READ, bearer, token_of
from service.settings import variable


def test_tokens_are_read_from_the_variables_that_the_service_reads():
    assert (variable("read_token"), variable("admin_token")) == (READ, ADMIN)


def test_header_is_there_only_with_a_token(monkeypatch):
    monkeypatch.setenv(READ, "secret")
    assert bearer(token_of(READ)) == {"Authorization": "Bearer secret"}
    for nothing in (lambda: monkeypatch.setenv(READ, ""), lambda: monkeypatch.delenv(READ)):
        nothing()
        assert bearer(token_of(READ)) == {}
