"""Calls to an application in this process that has a change log."""

TOKEN = "a token for writes"
LINES = "application/x-ndjson"


async def call(app, method, path, body=None, **headers):
    """Status and body of a call; a body of bytes is lines."""
    content = {"content": body, "headers": {"content-type": LINES}} if isinstance(body, bytes) else {"json": body}
    given = {"authorization": f"Bearer {TOKEN}"} | {name.replace("_", "-"): value for name, value in headers.items()}
    reply = await app.http.request(method, path, **content | {"headers": content.get("headers", {}) | given})
    return reply.status_code, reply.json()


async def last(app):
    """Sequence number of the last change."""
    return (await call(app, "GET", "/changes"))[1]["last"]


async def retrieve(app, user_id, **body):
    return (await app.http.post("/retrieve", json={"user_id": user_id, **body})).json()
