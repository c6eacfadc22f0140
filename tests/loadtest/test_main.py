"""`python -m loadtest`: every command is found, and none is imported but the one that is asked for."""

import subprocess
import sys

import pytest

from loadtest.__main__ import COMMANDS, main
from tests.commands import run
from tests.paths import ROOT


@pytest.mark.parametrize("command", COMMANDS)
def test_command_tells_its_options_when_asked_for_help(command):
    done = run(main, command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: python -m loadtest {command} ")
    assert sys.modules[COMMANDS[command][0]].__doc__.splitlines()[0] in done.stdout


@pytest.mark.parametrize(("arguments", "said"), [([], "required: command"), (["bnech"], "invalid choice: 'bnech'"),
                                                 (["--bench"], "required: command")])
def test_usage_is_refused_when_no_command_is_named(arguments, said):
    done = run(main, *arguments)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(("arguments", "absent"), [
    (["--help"], {"numpy", "loadtest.http.open_loop"}),
    (["http", "--help"], {"torch", "faiss", "matplotlib", "onnx", "service", "loadtest.bench.bench"})])
def test_other_commands_are_not_imported_when_one_is_asked_for(arguments, absent):
    program = ("import sys\nfrom loadtest.__main__ import main\ntry:\n    main()\nexcept SystemExit:\n"
               "    print('\\n' + ' '.join(sys.modules))")
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "loadtest.__main__" in loaded
    assert not loaded & absent
