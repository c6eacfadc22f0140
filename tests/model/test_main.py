"""`python -m model`: help without torch, and exit statuses."""

import subprocess
import sys

import pytest

from tests.model.commands import command, model

HEAVY = ("torch", "pyarrow", "scipy", "faiss", "onnxruntime")


def imported_by(*words):
    """Which of the HEAVY packages a command imports before it exits."""
    script = ("import runpy, sys\nsys.argv = ['model', *sys.argv[1:]]\n"
              "try:\n    runpy.run_module('model', run_name='__main__')\nexcept SystemExit:\n    pass\n"
              f"print('imported:', *(name for name in {HEAVY} if name in sys.modules))")
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("words", [("--help",), ("train", "--help"), ("evaluate", "--help"), ("export", "--help")],
                         ids=" ".join)
def test_help_imports_nothing_heavy(words):
    assert imported_by(*words) == set()


def test_help_lists_every_command():
    said = model("--help")
    for name in ("data", "train", "experiment", "evaluate", "export", "label"):
        assert f"\n    {name} " in said


@pytest.mark.parametrize("name", ["data", "train", "experiment", "evaluate", "export", "label"])
def test_every_command_has_help(name):
    assert f"usage: python -m model {name}" in model(name, "--help")


def test_an_error_that_a_user_can_fix_is_printed_without_a_traceback(tmp_path):
    said = command("model", "evaluate", "--run", tmp_path / "nowhere", code=1)
    assert said == f"error: {tmp_path}/nowhere holds no run; name the --out of `python -m model train`\n"


def test_an_unknown_command_is_a_usage_error():
    assert "invalid choice: 'serve'" in model("serve", code=2)
