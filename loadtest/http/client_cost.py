"""`python -m loadtest client`: what the Python client costs whoever installs it, in an environment of its own.

    python -m loadtest client

Makes a virtual environment, installs service/client there with pip, and measures: bytes of the files that this has
added, in all and by distribution, and the time that `import monn_hill` takes a new interpreter, beside that of httpx
alone. The files include the byte code that pip compiles.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

CLIENT = Path(__file__).parents[2] / "service" / "client"
DISTRIBUTION = "monn-hill-client"

_SIZES = """
import importlib.metadata, json
print(json.dumps({d.name: sum(d.locate_file(f).stat().st_size for f in d.files or () if d.locate_file(f).exists())
                  for d in importlib.metadata.distributions()}))
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--imports", type=int, default=11, help="imports to time, of which the median is told "
                                                                 "(default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Prints a sentence, then one JSON object. Exit status: 0 fine, 1 it cannot be installed."""
    with TemporaryDirectory() as place:
        try:
            report = cost(installed(Path(place)), args.imports)
        except subprocess.CalledProcessError as error:
            print(f"error: {' '.join(map(str, error.cmd))} failed: {error.stderr.strip()}; the package index must be "
                  "reachable", file=sys.stderr)
            return 1
    print(f"The client takes {report['bytes'] / 1e6:.1f} MB with what it needs, {report['own_bytes'] / 1e3:.0f} KB of "
          f"them its own. `import monn_hill` takes {report['import_ms']:.0f} ms (median of {args.imports}), of which "
          f"{report['own_import_ms']:.0f} ms are its own and those of its types.")
    print(json.dumps(report, allow_nan=False))
    return 0


def installed(folder: Path) -> Path:
    """Installs the client and nothing else into a new environment in a folder; returns its interpreter.

    Raises:
        CalledProcessError: that failed.
    """
    _output([sys.executable, "-m", "venv", str(folder / "venv")])
    python = folder / "venv" / "bin" / "python"
    _output([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(CLIENT)])
    return python


def cost(python: Path, imports: int) -> dict[str, Any]:
    """Sizes of the distributions of an environment, without those that make one, and times of the import.

    Returns:
        `bytes`, `own_bytes`, `distributions` by name; `import_ms`, `own_import_ms`: medians.

    Raises:
        CalledProcessError: the client is not there.
    """
    # -P: what lies in the working directory is not installed, even if it is a checkout with its own metadata.
    sizes = json.loads(_output([str(python), "-P", "-c", _SIZES]))
    sizes = {name: size for name, size in sizes.items() if name not in ("pip", "setuptools")}
    times = [_import_ms(python) for _ in range(imports)]
    return {"bytes": sum(sizes.values()), "own_bytes": sizes[DISTRIBUTION], "distributions": sizes,
            "import_ms": median(total for total, _ in times), "own_import_ms": median(own for _, own in times)}


def _import_ms(python: Path) -> tuple[float, float]:
    """Milliseconds of the import of the client: with all that it imports, and of its own modules."""
    done = subprocess.run([str(python), "-P", "-X", "importtime", "-c", "import monn_hill"], capture_output=True,
                          text=True, check=True, env=_environment())
    lines = re.findall(r"import time:\s+(\d+) \|\s+(\d+) \|\s+(\S+)", done.stderr)
    total = next(int(whole) for _, whole, module in lines if module == "monn_hill")
    own = sum(int(self) for self, _, module in lines if module.partition(".")[0] == "monn_hill")
    return total / 1e3, own / 1e3


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, env=_environment()).stdout


def _environment() -> dict[str, str]:
    """This process's, without the paths by which another environment would be found."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME",
                                                                               "PYTHONDONTWRITEBYTECODE")}
