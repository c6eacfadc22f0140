# The service's image: the locked extras `serve` and `trace`, no model code, no torch, non-root. From the root:
#
#   docker build -f docker/service.Dockerfile -t retrieval-service .
#   docker run --rm --read-only --tmpfs /tmp -p 127.0.0.1:8080:8080 -v /path/to/bundles:/bundles retrieval-service
#
# REDIS_URL and every RETRIEVAL_... variable of docs/operations.md can be set with -e. /bundles may also be a single bundle.
# An image that can record beams is 150 MB larger: docker build --build-arg SERVE_LOCK=serve-beams ...; one with Ray, for
# sharded bundles (docs/cluster.md), is --build-arg SERVE_LOCK=serve-cluster.

FROM python:3.11-slim AS build
# An environment without its own pip is smaller; the image's pip installs into it.
RUN python -m venv --without-pip /opt/venv
WORKDIR /src
# Dependencies first, in a layer that stays cached while only our code changes.
COPY docker/requirements docker/requirements
ARG SERVE_LOCK=serve
# Without the test suites of the dependencies, 25 MB.
RUN pip install --no-cache-dir --require-hashes -r docker/requirements/build.txt \
 && pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes -r "docker/requirements/$SERVE_LOCK.txt" \
 && find /opt/venv -type d -name tests -prune -exec rm -r {} +
COPY pyproject.toml setup.py LICENSE ./
COPY index_store index_store
COPY service service
# pyproject.toml names a readme; its text is not needed in the image.
# The kernel is compiled here, by the compiler among the locked packages; the build fails without it.
# LDSHARED too: flags that the interpreter was linked with may be GCC's own.
RUN touch README.md && export CC="python -m ziglang cc -mcpu=baseline" && export LDSHARED="$CC -shared" \
 && pip wheel --no-deps --no-build-isolation --no-index --wheel-dir dist . \
 && pip --python /opt/venv/bin/python install --no-deps --no-index dist/*.whl \
 && ls /opt/venv/lib/python3.11/site-packages/index_store/compiled/_library*.so

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin service \
 && install --directory --owner 10001 --group 10001 /bundles
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 RETRIEVAL_HOST=0.0.0.0 RETRIEVAL_PORT=8080
RUN python -c "import importlib.util as i, sys; \
    sys.exit('torch is importable in this image: the serve extra must not bring it' if i.find_spec('torch') else 0)"
# By number, so that an orchestrator can verify that it is not root.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=120s --retries=3 CMD ["python", "-c", \
    "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"RETRIEVAL_PORT\"]}/readyz', timeout=2)"]
ENTRYPOINT ["python", "-m", "service"]
CMD ["/bundles"]
