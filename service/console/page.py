"""The console's page: static files of this package, and the headers that they are sent with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from importlib.resources import files

_TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
          ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

INDEX = "index.html"


@dataclass(frozen=True)
class PageFile:
    """One file, its media type and its entity tag."""

    content: bytes
    media_type: str
    tag: str


def page_files() -> dict[str, PageFile]:
    """All files of the page by name."""
    found = {}
    for entry in files("service.console").joinpath("static").iterdir():
        kind = _TYPES.get(entry.name[entry.name.rfind("."):])
        if kind is not None:
            content = entry.read_bytes()
            found[entry.name] = PageFile(content, kind, f'"{blake2b(content, digest_size=12).hexdigest()}"')
    return found


def page_headers(image_origins: str | None) -> Mapping[str, str]:
    """Headers of every file: only scripts, styles and calls of this origin, no frame around it, no form sent anywhere.

    Args:
        image_origins: other origins from which pictures of ads may come; None for none.
    """
    policy = {"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "connect-src": "'self'",
              "img-src": f"'self' {image_origins or ''}".strip(), "base-uri": "'none'", "form-action": "'none'",
              "frame-ancestors": "'none'", "require-trusted-types-for": "'script'"}
    return {"content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
            "x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
            "cache-control": "no-cache"}  # asked for again each time, and answered by 304 until it changes
