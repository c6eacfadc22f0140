# The load generator's image: the locked `load` extra, locust, `python -m loadtest http` and `fuzz`, non-root.
#
#   docker build -f docker/load.Dockerfile -t retrieval-load .
#   docker run --rm --network host --entrypoint python retrieval-load -m loadtest http --help

FROM python:3.11-slim AS build
RUN python -m venv --without-pip /opt/venv
WORKDIR /src
COPY docker/requirements docker/requirements
RUN pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes -r docker/requirements/load.txt

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin load \
 && install --directory --owner 10001 --group 10001 /bundles
COPY --from=build /opt/venv /opt/venv
WORKDIR /src
COPY index_store index_store
COPY model model
COPY loadtest loadtest
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/src
USER 10001:10001
ENTRYPOINT ["locust", "-f", "loadtest/http/locustfile.py"]
