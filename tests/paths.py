"""Folders that tests read."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
BUNDLES = ROOT / "tests" / "bundles"
