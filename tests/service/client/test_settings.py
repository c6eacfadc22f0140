"""Addresses, tokens and what is shown of them."""

import httpx
import pytest

from monn_hill import settings
from service.settings import variable


def test_tokens_come_from_the_variables_of_the_service_when_none_are_given(monkeypatch):
    assert {scope: variable(f"{scope}_token") for scope in ("read", "write")} == settings.TOKEN_VARIABLES
    monkeypatch.setenv("RETRIEVAL_READ_TOKEN", "r")
    monkeypatch.setenv("RETRIEVAL_WRITE_TOKEN", "")
    assert settings.tokens(None, None) == {"read": "r", "write": None}
    assert settings.tokens("mine", "w") == {"read": "mine", "write": "w"}


def test_token_is_refused_without_being_told_when_no_header_can_have_it():
    assert settings.tokens(" mine\n", "two words") == {"read": "mine", "write": "two words"}
    for bad in ("sec\nret", "sécret"):
        with pytest.raises(ValueError, match="the write token has characters") as caught:
            settings.tokens(None, bad)
        assert bad not in str(caught.value)


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://x"])
def test_address_is_refused_when_it_is_none(url):
    with pytest.raises(ValueError, match="give one such as"):
        settings.options(url)


def test_password_in_an_address_is_not_shown():
    assert settings.shown(httpx.Client(base_url="http://me:secret@host:1/below")) == "'http://host:1/below/'"


@pytest.mark.parametrize(("seconds", "connect"), [(10.0, 2.0), (0.5, 0.5)])
def test_connecting_takes_a_part_of_the_time_at_most(seconds, connect):
    assert settings.timeout(seconds) == httpx.Timeout(seconds, connect=connect)
