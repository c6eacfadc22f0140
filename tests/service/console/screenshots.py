"""Pictures of the console for the docs, of a planted shop with 3,000 ads, and its figures.

    python -m tests.service.console.screenshots docs/console
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import orjson

from service.console.page import page_files
from tests.service.console.browser import DESKTOP, PHONE, Console, chromium
from tests.service.console.shop import write_shops
from tests.service.service_process import ADMIN_TOKEN, ServiceProcess

PICTURES = [("walk", DESKTOP, False), ("walk", DESKTOP, True), ("walk", PHONE, False), ("walk", PHONE, True),
            ("ask", DESKTOP, False), ("ask", PHONE, True), ("ad", DESKTOP, True), ("ad", PHONE, False),
            ("compare", DESKTOP, False), ("tree", DESKTOP, True), ("health", DESKTOP, False), ("health", PHONE, True)]
USER, OTHER_USER = "user-07", "user-19"
AD = "ad-0012"
SETTINGS = {"RETRIEVAL_QUALITY_SAMPLE_RATE": "0.2", "RETRIEVAL_CALIBRATION_SAMPLE_RATE": "1"}


def take(console: Console, folder: Path, view: str, width: int, *, dark: bool) -> Path:
    """Opens a view, fills it in, and takes its picture."""
    console.look(width, dark=dark)
    console.go(view, **{"id": AD} if view == "ad" else {})
    if view == "ask":
        console.submit(user_id=USER, top_k=10, rank_by="ecpm")
    elif view == "walk":
        console.submit(user_id=USER, top_k=10, beam_width=3)
    elif view == "compare":
        console.submit(user_id=USER, second=OTHER_USER)
    elif view == "health":
        time.sleep(6)  # until it has looked twice, and knows a rate
    console.driver.execute_script("document.querySelector('form.request details')?.removeAttribute('open')")
    return console.shown(folder, f"{view}-{width}-{'dark' if dark else 'light'}.png", width, dark=dark)


def live(service: ServiceProcess) -> None:
    """Requests of all users, impressions of what they get, and clicks on some of it."""
    random, lines = np.random.default_rng(0), []
    for number in range(300):
        user = f"user-{number % 100:02d}"
        reply = service.retrieve(user_id=user, beam_width=3, context={"device": "phone", "hour": number % 24})
        for ad in reply["ads"][:2]:
            labels = [name for name, task in (("click", "click"), ("conversion", "convert"))
                      if random.random() < ad["probabilities"][task]]
            lines += [orjson.dumps({"user_id": user, "ad_id": ad["ad_id"], "type": name})
                      for name in ("impression", *labels)]
    for at in range(0, len(lines), 50):
        time.sleep(0.2)  # the meter of calibration takes no more at once
        sent = service.http.post("/events", content=b"\n".join(lines[at:at + 50]), headers={
            "content-type": "application/x-ndjson", "authorization": "Bearer write"})
        assert sent.status_code == 200, sent.text


def first_answer(console: Console) -> tuple[float, float]:
    """Milliseconds from opening the page to the form, and from sending it to the drawn answer, medians of nine."""
    opened, answered = [], []
    for _ in range(9):
        console.driver.get("about:blank")
        began = time.perf_counter()
        console.driver.get(f"{console.url}/console#/ask")
        console.until("return document.querySelector('form.request')")
        opened.append(time.perf_counter() - began)
        answered.append(console.driver.execute_async_script("""
            const done = arguments[0], form = document.querySelector("form.request"), began = performance.now();
            form.elements.user_id.value = "user-42";
            form.requestSubmit();
            const look = () => (document.querySelector(".ad") ? done(performance.now() - began)
              : requestAnimationFrame(look));
            look();""") / 1000)
    return sorted(opened)[4] * 1000, sorted(answered)[4] * 1000


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as shops:
        write_shops(Path(shops), n_items=3_000, n_users=100)
        with ServiceProcess(Path(shops), RETRIEVAL_WRITE_TOKEN="write", **SETTINGS) as service, chromium() as driver:
            live(service)
            for path in ("tree", f"reach/{AD}"):
                began = time.perf_counter()
                found = service.http.get(f"/admin/{path}", headers={"authorization": f"Bearer {ADMIN_TOKEN}"}).json()
                print(f"GET /admin/{path}, {found['requests']} requests searched again: "
                      f"{(time.perf_counter() - began) * 1000:.0f} ms")
            console = Console(driver, service.url)
            console.fresh({"admin": ADMIN_TOKEN, "write": "write"})
            for view, width, dark in PICTURES:
                path = take(console, folder, view, width, dark=dark)
                print(f"{path.name:24} {path.stat().st_size / 1024:6.1f} KiB")
            console.look(DESKTOP)
            opened, answered = first_answer(console)
    files = page_files()
    print(f"page: {sum(len(file.content) for file in files.values()):,} bytes in {len(files)} files")
    print(f"open to form: {opened:.0f} ms; form sent to answer drawn: {answered:.0f} ms (medians of 9)")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
