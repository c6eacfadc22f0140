"""The part of the build that pyproject.toml cannot say yet: the compiled kernel, a plain library beside its loader."""

from setuptools import Extension, setup

setup(ext_modules=[Extension(
    "index_store.kernel._pairs", ["index_store/kernel/pairs.c"],
    depends=["index_store/kernel/pairs.h", "index_store/kernel/block.h"], extra_compile_args=["-O3", "-g0"],
    optional=True)])  # without a C compiler ONNX Runtime computes scores
