"""What can be said of image and compose files without an engine. docker/compose.yaml says how to run them with one."""

import fnmatch
import re
from pathlib import Path

import pytest
import yaml

from service.settings import Settings, variable

ROOT = Path(__file__).parent.parent.parent
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "service.Dockerfile").read_text()
COMPOSE_FILES = ("compose.yaml", "compose.host.yaml")


def services(name):
    """Services of a compose file with what they extend; maps are merged, the rest is replaced."""
    def whole(entry):
        origin = entry.get("extends")
        extended = read(origin["file"])[origin["service"]] if origin else {}
        merged = {key: {**extended[key], **value} if isinstance(extended.get(key), dict) else value
                  for key, value in entry.items() if key != "extends"}
        return {**extended, **merged}

    return {service: whole(entry) for service, entry in read(name).items()}


def read(name):
    return yaml.safe_load((DOCKER / name).read_text())["services"]


def stages():
    """Instructions of each build stage, continued lines joined."""
    lines = re.sub(r"\\\n", "", re.sub(r"(?m)^#.*\n", "", DOCKERFILE)).splitlines()
    found = []
    for line in filter(None, lines):
        if line.startswith("FROM "):
            found.append([])
        found[-1].append(line)
    return found


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_compose_has_service_redis_and_prometheus_none_of_them_root(name):
    found = services(name)
    assert set(found) == {"service", "redis", "prometheus"}
    for service, entry in found.items():
        if "build" in entry:
            assert (DOCKER / entry["build"]["context"] / entry["build"]["dockerfile"]).is_file()
            user = next(line for line in stages()[-1] if line.startswith("USER ")).removeprefix("USER ")
        else:
            user = entry["user"]
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), service
        assert entry["cap_drop"] == ["ALL"]
        assert entry["read_only"] is True


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_compose_mounts_files_that_exist_and_the_bundle_read_only(name):
    mounts = {mount["target"]: mount for entry in services(name).values() for mount in entry.get("volumes", [])}
    assert all(mount["read_only"] for mount in mounts.values())
    assert mounts.pop("/bundle")["source"].startswith("${BUNDLE:?")
    assert mounts
    for mount in mounts.values():
        assert (DOCKER / mount["source"]).is_file()


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_compose_sets_only_variables_that_the_service_reads(name):
    assert set(services(name)["service"]["environment"]) <= {variable(field) for field in Settings.model_fields}


def test_ports_are_open_on_loopback_alone_when_published_or_on_the_host():
    published = [port for entry in services("compose.yaml").values() for port in entry.get("ports", [])]
    assert sorted(published) == ["127.0.0.1:8080:8080", "127.0.0.1:9090:9090"]
    host = services("compose.host.yaml")
    assert not any("ports" in entry for entry in host.values())
    assert host["service"]["environment"]["RETRIEVAL_HOST"] == "127.0.0.1"
    assert "--web.listen-address=127.0.0.1:9090" in host["prometheus"]["command"]
    assert host["redis"]["command"][1:3] == ["--bind", "127.0.0.1"]


@pytest.mark.parametrize("name", ["redis", "prometheus"])
def test_host_network_adds_to_a_command_and_takes_nothing_from_it(name):
    plain, host = (services(file)[name]["command"] for file in COMPOSE_FILES)
    assert [part for part in host if part in plain] == plain


def test_prometheus_scrapes_the_service_where_it_listens():
    config = yaml.safe_load((DOCKER / "prometheus.yml").read_text())
    (target,) = [target for job in config["scrape_configs"] for group in job["static_configs"]
                 for target in group["targets"]]
    port = re.search(r"RETRIEVAL_PORT=(\d+)", DOCKERFILE)[1]
    assert target == f"service:{port}"
    assert f"EXPOSE {port}" in DOCKERFILE


def test_dockerfile_copies_only_what_exists_and_is_not_ignored():
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    copied = [source for line in stages()[0] if line.startswith("COPY ") for source in line.split()[1:-1]]
    assert {"pyproject.toml", "index_store", "service"} <= set(copied)
    for source in copied:
        assert (ROOT / source).exists()
        assert [rule.startswith("!") for rule in rules if fnmatch.fnmatch(source, rule.lstrip("!"))][-1]
    assert all("--from=build" in line for line in stages()[-1] if line.startswith("COPY "))


def test_image_refuses_torch_and_asks_its_own_health():
    last = stages()[-1]
    assert any(line.startswith("RUN python") and "find_spec('torch')" in line for line in last)
    (health,) = [line for line in last if line.startswith("HEALTHCHECK ")]
    assert "curl" not in health
    assert "/readyz" in health
