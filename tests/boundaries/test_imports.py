"""Who may import whom, seen in fresh interpreters: model -> index_store <- service."""

import subprocess
import sys

import pytest

from tests.paths import ROOT

CLIENT = ROOT / "service" / "client"


def modules_of(package, root=ROOT):
    """Names of all modules of a package, from its files; those of the client are not the service's."""
    for path in sorted((root / package).rglob("*.py")):
        if root == CLIENT or CLIENT not in path.parents:
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def loaded_by(package, root=ROOT):
    """Top-level modules that are there once all modules of a package are imported; its own `__main__`s do not run."""
    lines = [f"import {name}" for name in modules_of(package, root)]
    program = "\n".join(["import sys", *lines, "print(*{name.partition('.')[0] for name in sys.modules})"])
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_serving_never_loads_torch_or_the_offline_job_when_imported():
    loaded = loaded_by("service")
    assert {"service", "index_store", "fastapi", "onnxruntime"} <= loaded
    assert not loaded & {"torch", "model", "onnx", "pyarrow", "faiss", "scipy", "loadtest", "monn_hill"}


def test_client_loads_neither_the_service_nor_what_it_needs_when_imported():
    loaded = loaded_by("monn_hill", CLIENT)
    assert {"monn_hill", "httpx"} <= loaded
    assert not loaded & {"service", "index_store", "model", "loadtest", "torch", "onnxruntime", "numpy", "fastapi",
                         "starlette", "pydantic", "orjson"}


def test_shared_code_needs_numpy_only_when_imported():
    loaded = loaded_by("index_store")
    foreign = {name for name in loaded - set(sys.stdlib_module_names) if not name.startswith(("_", "sitecustomize"))}
    assert foreign <= {"index_store", "numpy"}


@pytest.mark.parametrize("wing", ["data", "baselines"])
def test_data_and_baselines_never_load_torch_when_imported(wing):
    pytest.importorskip("scipy", reason="the offline job needs scipy, which is not installed here")
    assert "torch" not in loaded_by(f"model/{wing}")


def test_offline_job_never_loads_the_web_framework_when_imported():
    pytest.importorskip("torch", reason="the offline job needs torch, which is not installed here")
    assert not loaded_by("model") & {"fastapi", "starlette", "uvicorn", "redis", "prometheus_client", "service"}
