"""Wings: within a package imports run one way, from the top of the list to the bottom."""

import ast
import re

import pytest

from tests.paths import ROOT

WINGS = {
    "index_store": ["live", "bundle", "search", "speculation", "budgets", "value", "targeting", "changes", "tree",
                    "kernel", "features", "declaration", "compiled"],
    "model": ["report", "experiments", "follow", "cluster", "choice", "evaluation", "export", "speculation", "training",
              "objective", "runs", "tree", "examples", "network", "baselines", "sources", "data", "infer", "progress",
              "config"],
    "service": ["speculation", "cluster", "supervisor", "http", "console", "bundles", "sampling", "cache", "live",
                "retrieval", "shards", "telemetry", "contract"],
    "loadtest": ["chaos", "churn", "cluster", "growth", "pacing", "demo", "http", "bench", "rivals", "processes"],
}
"""Top to bottom; `docs/decisions/0014-wings.md` says why."""

FLAT = {"__init__", "__main__", "commands", "settings"}
"""Modules that stand beside the wings: entry points, which import any wing, and settings, which import none."""

SETTINGS = {"settings"}
PACKAGES = {"index_store": set(), "model": {"index_store"}, "service": {"index_store"}, "monn_hill": set(),
            "loadtest": {"index_store", "model", "service", "monn_hill"}}
"""Which packages a package may import."""

CLIENT = ROOT / "service" / "client"
"""A distribution of its own beside the contract, whose package `monn_hill` has no wings."""


def imports(path):
    """Modules that a file imports, within functions and for types too, as tuples of names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            yield from ((*node.module.split("."), alias.name) for alias in node.names)


def modules(package):
    folder = CLIENT / package if package == "monn_hill" else ROOT / package
    for path in sorted(folder.rglob("*.py")):
        if package != "service" or CLIENT not in path.parents:
            yield path, path.relative_to(folder).with_suffix("").parts


@pytest.mark.parametrize("package", WINGS)
def test_every_module_lies_in_a_wing(package):
    wings = WINGS[package]
    for path, parts in modules(package):
        assert parts[0] in (wings if len(parts) > 1 else FLAT), f"{path} lies in no wing of {package}"
        assert len(parts) <= 2, f"{path} lies in a wing within a wing"
    assert {parts[0] for _, parts in modules(package) if len(parts) > 1} == set(wings)


@pytest.mark.parametrize("package", WINGS)
def test_imports_run_down_the_list_of_wings(package):
    wings, upwards = WINGS[package], []
    for path, parts in modules(package):
        for imported in imports(path):
            if imported[0] != package or len(imported) < 2:
                continue
            if len(parts) == 1:
                if parts[0] in SETTINGS:
                    upwards.append(f"{path.relative_to(ROOT)} -> {'.'.join(imported)}")
            elif imported[1] in wings:
                if wings.index(imported[1]) < wings.index(parts[0]):
                    upwards.append(f"{path.relative_to(ROOT)} -> {'.'.join(imported)}")
            elif imported[1] not in SETTINGS:
                upwards.append(f"{path.relative_to(ROOT)} -> {'.'.join(imported)}")
    assert not upwards


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_stay_within_the_packages_below(package):
    others = set(PACKAGES) - PACKAGES[package] - {package}
    found = [f"{path.relative_to(ROOT)} -> {'.'.join(imported)}" for path, _ in modules(package)
             for imported in imports(path) if imported[0] in others | {"tests"}]
    assert not found


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_has_a_test_of_its_name_in_the_mirrored_wing(package):
    mirror = ROOT / "tests" / ("service/client" if package == "monn_hill" else package)
    wanted = {(*parts[:-1], f"test_{parts[-1].strip('_')}.py") for _, parts in modules(package)
              if parts[-1] != "__init__"}
    missing = ["/".join(parts) for parts in sorted(wanted) if not mirror.joinpath(*parts).exists()]
    assert not missing


@pytest.mark.parametrize("package", WINGS)
def test_the_readme_lists_all_wings_in_their_order(package):
    text = (ROOT / "README.md").read_text()
    listed = re.search(rf"^    {package}/.*\n((?: {{18}}.*\n)+)", text, re.MULTILINE)[1]
    assert [word for word in re.findall(r"\w+", listed) if word in WINGS[package]] == WINGS[package]
