"""The page's files: complete, small, from here alone, and allowed by their own policy."""

import re

from service.console.page import INDEX, page_files, page_headers
from tests.paths import ROOT

FILES = page_files()
HEAVIEST = 100_000
"""Bytes of the whole page, uncompressed; it has about 75,000."""


def test_every_file_of_the_folder_is_part_of_the_page_and_of_the_distribution():
    there = {path.name for path in (ROOT / "service" / "console" / "static").iterdir()}
    assert there == set(FILES)
    assert '"service.console" = ["static/*"]' in (ROOT / "pyproject.toml").read_text()


def test_files_name_only_each_other():
    for name, file in FILES.items():
        text = file.content.decode()
        for used in re.findall(r'from "\./([\w.]+)"|="/console/([\w.]+)"', text):
            assert (used[0] or used[1]) in FILES, f"{name} uses {used}"
        assert not set(re.findall(r"https?://[^\s\"')]+", text)) - {"http://www.w3.org/2000/svg"}, name
    views = re.findall(r'\["(\w+)", "[\w ]+"\]', FILES["main.js"].content.decode().partition("];")[0])
    assert {f"{view}.js" for view in views} <= set(FILES)
    assert len(views) == 9


def test_page_has_nothing_that_its_policy_forbids():
    index = FILES[INDEX].content.decode()
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|\sstyle=|<style", index)
    forbidden = re.compile(rb"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|localStorage")
    assert not [name for name, file in FILES.items() if forbidden.search(file.content)]


def test_page_is_light():
    assert sum(len(file.content) for file in FILES.values()) < HEAVIEST


def test_policy_allows_this_origin_and_the_named_pictures_alone():
    policy = page_headers(None)["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "img-src 'self';" in policy
    assert "img-src 'self' https://img.example.com;" in page_headers("https://img.example.com")[
        "content-security-policy"]
