# The offline job's image: torch, the locked `train` extra, non-root. From the repository's root:
#
#   docker build -f docker/train.Dockerfile -t retrieval-train .
#   docker run --rm -v /path/to/bundles:/bundles retrieval-train          docker/train-job.sh, or any command with -m
#
# torch and the packages that only torch needs are not in the lock, because the size of torch depends on the build: pass
# PyTorch's index of CPU wheels, or a page of links to your own.
#
#   --build-arg PIP_EXTRA_INDEX_URL=...  or  --build-arg PIP_FIND_LINKS=...

FROM python:3.11-slim AS build
RUN python -m venv --without-pip /opt/venv
WORKDIR /src
ARG TORCH=torch==2.13.0
ARG PIP_FIND_LINKS
ARG PIP_EXTRA_INDEX_URL
RUN pip --python /opt/venv/bin/python install --no-cache-dir "$TORCH"
COPY docker/requirements docker/requirements
RUN pip install --no-cache-dir --require-hashes -r docker/requirements/build.txt \
 && pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes -r docker/requirements/train.txt
COPY pyproject.toml setup.py LICENSE ./
COPY index_store index_store
COPY model model
# pyproject.toml names a readme; its text is not needed in the image.
# The kernel is compiled here, by the compiler among the locked packages; the build fails without it.
# LDSHARED too: flags that the interpreter was linked with may be GCC's own.
RUN touch README.md && export CC="python -m ziglang cc -mcpu=baseline" && export LDSHARED="$CC -shared" \
 && pip wheel --no-deps --no-build-isolation --no-index --wheel-dir dist . \
 && pip --python /opt/venv/bin/python install --no-deps --no-index dist/*.whl \
 && ls /opt/venv/lib/python3.11/site-packages/index_store/compiled/_library*.so

FROM python:3.11-slim
# OpenMP, which the wheel of `implicit` expects of the system.
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
# The service's user id, so that the service can move the pointer in the folder of bundles that this job writes.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin train \
 && install --directory --owner 10001 --group 10001 /bundles /runs
COPY --from=build /opt/venv /opt/venv
COPY docker/train-job.sh /usr/local/bin/train-job
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /runs
ENTRYPOINT ["train-job"]
