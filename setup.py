"""The part of the build that pyproject.toml cannot say yet: the compiled library, beside its loader."""

from setuptools import Extension, setup

setup(ext_modules=[Extension(
    "index_store.compiled._library", ["index_store/compiled/pairs.c", "index_store/compiled/keys.c"],
    depends=["index_store/compiled/pairs.h", "index_store/compiled/block.h"], extra_compile_args=["-O3", "-g0"],
    optional=True)])  # without a C compiler ONNX Runtime and numpy do the same
