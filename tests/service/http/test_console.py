"""The console's page over HTTP: public, from memory, asked for once, and absent where it is switched off."""

import pytest

from service.console.page import page_files
from tests.service.http.app_in_process import in_app


def test_page_and_its_files_need_no_token(tiny_bundle):
    async def check(app):
        for path, name in [("/console", "index.html"), *((f"/console/{name}", name) for name in page_files())]:
            reply = await app.http.get(path)
            file = page_files()[name]
            assert (reply.status_code, reply.content) == (200, file.content)
            assert reply.headers["content-type"] == file.media_type
            assert "script-src 'self'" in reply.headers["content-security-policy"]
            again = await app.http.get(path, headers={"if-none-match": reply.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")

    in_app(tiny_bundle, check, read_token="read", admin_token="admin")


def test_file_is_refused_when_there_is_none_of_its_name(tiny_bundle):
    async def check(app):
        for path in ("/console/", "/console/none.js", "/console/../settings.py", "/console/static/main.js"):
            reply = await app.http.get(path)
            assert (reply.status_code, reply.json()["error_type"]) == (404, "not_found")

    in_app(tiny_bundle, check)


@pytest.mark.parametrize("path", ["/console", "/console/main.js"])
def test_page_is_not_there_when_it_is_switched_off(tiny_bundle, path):
    async def check(app):
        assert (await app.http.get(path)).status_code == 404

    in_app(tiny_bundle, check, console=False)
