"""A real Chromium without a window, and the console opened in it."""

import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars")
PATIENCE = 20.0
DESKTOP, PHONE = 1440, 390
TALLEST = 820
VIEWS = ("ask", "walk", "why", "compare", "ad", "tree", "health", "bundles", "trials")


def programs() -> tuple[str, str] | None:
    """Chromium and its driver; None where one of them is missing."""
    found = shutil.which("chromium"), shutil.which("chromedriver")
    return (found[0], found[1]) if found[0] and found[1] else None


@contextmanager
def chromium():
    """A driver of a fresh profile; skips where there is no Chromium."""
    found = programs()
    if found is None:
        pytest.skip("chromium and chromedriver are not on PATH: run tests/service/console/get-chromium")
    with tempfile.TemporaryDirectory(prefix="chromium-") as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = found[0]
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(found[1]))
        try:
            yield driver
        finally:
            driver.quit()


class Console:
    """The console in a browser.

    Args:
        driver: of the browser.
        url: of the service.
    """

    def __init__(self, driver, url: str) -> None:
        self.driver, self.url = driver, url

    def fresh(self, tokens: dict[str, str] | None = None, *, width: int = DESKTOP, dark: bool = False) -> None:
        """Opens the page as in a new tab, with tokens if they are given."""
        self.look(width, dark=dark)
        self.driver.get(f"{self.url}/console")
        self.driver.execute_script("sessionStorage.clear(); if (arguments[0]) sessionStorage.tokens = arguments[0];",
                                   tokens and json.dumps(tokens))
        self.go("ask")

    def look(self, width: int, *, height: int = 900, dark: bool = False) -> None:
        """Sets the size of the window and the colours that the person prefers."""
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width == PHONE})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})

    def go(self, view: str, **values: object) -> None:
        """Opens a view anew, and waits until it is there."""
        query = "&".join(f"{name}={value}" for name, value in values.items())
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}/console#/{view}?{query}")
        self.until("return document.querySelector('main h1') && !document.querySelector('main .waiting')")

    def submit(self, **values: object) -> None:
        """Fills in the form of the view and sends it by the Enter key; waits for the answer."""
        for name, value in values.items():
            field = self.driver.find_element(By.CSS_SELECTOR, f"form.request [name='{name}']")
            self.driver.execute_script("arguments[0].closest('details')?.setAttribute('open', '')", field)
            if field.tag_name == "select":
                self.driver.execute_script("arguments[0].value = arguments[1]", field, value)
            else:
                field.clear()
                field.send_keys(str(value))
        self.driver.find_element(By.CSS_SELECTOR, "form.request input").send_keys(Keys.ENTER)
        self.until("const there = document.querySelector('.answer:last-of-type'); return there && "
                   "there.childElementCount && !there.querySelector('.waiting') && !there.ariaBusy")

    def click(self, text: str, within: str = "main") -> None:
        """Clicks the first link or button of a text."""
        for element in self.driver.find_elements(By.CSS_SELECTOR, f"{within} a, {within} button"):
            if element.text == text and element.is_displayed():
                element.click()
                return
        raise AssertionError(f"{within} has no link or button {text!r}: {self.text(within)[:400]}")

    def text(self, selector: str = "main") -> str:
        """What is to be read in the first element of a selector."""
        return self.driver.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def rows(self, caption: str) -> list[list[str]]:
        """Cells of the rows of the table with this caption."""
        return self.driver.execute_script("""
            for (const table of document.querySelectorAll("table"))
                if (table.caption.textContent === arguments[0])
                    return [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent));
            return [];""", caption)

    def until(self, script: str, *arguments: object):
        """Waits for what a script returns."""
        return WebDriverWait(self.driver, PATIENCE, poll_frequency=0.05).until(
            lambda driver: driver.execute_script(script, *arguments), script)

    def says(self, text: str, selector: str = "body") -> None:
        """Waits until a text is to be read."""
        self.until("return document.querySelector(arguments[1])?.innerText.includes(arguments[0])", text, selector)

    def shown(self, folder: Path, name: str, width: int, *, dark: bool) -> Path:
        """A picture of the page as it is, down to a height that keeps the file small."""
        self.look(width, dark=dark)
        height = self.driver.execute_script("return Math.max(400, document.body.scrollHeight)")
        self.look(width, height=min(height, TALLEST), dark=dark)
        path = folder / name
        self.driver.save_screenshot(str(path))
        return path

    def complaints(self) -> list[str]:
        """What the browser has complained about since the last time, such as what the page's policy forbids."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
