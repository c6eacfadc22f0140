"""`loadtest fuzz`: its requests are tried in tests/service/http/test_schema.py."""

from loadtest.http import fuzz
from service.settings import variable


def test_token_is_read_from_the_variable_that_the_service_reads():
    assert variable("admin_token") == fuzz.TOKEN_VARIABLE
