"""The console's page, for everybody: it holds nothing about the service, and every call that it makes bears a token."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from service.console.page import INDEX, page_files, page_headers
from service.contract.errors import ErrorType, ServiceError, shown
from service.http.dispatcher import Route
from service.settings import Settings


class ConsolePage:
    """The files below /console.

    Args:
        settings: of the service; without the console there is no such path.
    """

    def __init__(self, settings: Settings) -> None:
        self._files = page_files() if settings.console else {}
        self._headers = page_headers(settings.console_images)

    @property
    def routes(self) -> list[Route]:
        paths = ("/console", "/console/{file}") if self._files else ()
        return [Route(path=path, method="GET", endpoint=self.page, documented=False) for path in paths]

    async def page(self, request: Request) -> Response:
        """A file of the page."""
        name = request.path_params.get("file", INDEX)
        found = self._files.get(name)
        if found is None:
            raise ServiceError(ErrorType.NOT_FOUND, f"the console has no file {shown(name)}", "open /console")
        headers = {**self._headers, "etag": found.tag}
        if request.headers.get("if-none-match") == found.tag:
            return Response(status_code=304, headers=headers)
        return Response(found.content, media_type=found.media_type, headers=headers)
