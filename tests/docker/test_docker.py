"""What can be said of image and compose files without an engine; test_lab.py starts them on one."""

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from index_store.changes.redis_server import DURABLE
from service.contract.errors import STATUS
from service.http.app import Api
from service.http.authorization import TokenScope
from service.http.change_calls import APPLIED_SECONDS
from service.settings import Settings, variable
from tests.paths import ROOT

DOCKER = ROOT / "docker"
DOCKERFILES = sorted(path.name for path in DOCKER.glob("*.Dockerfile"))
COMPOSE_FILES = ("compose.yaml", "compose.host.yaml")
CONTAINERS = {"service", "nginx", "redis", "change-log", "prometheus", "grafana", "locust", "train"}
LISTS = ("volumes", "tmpfs", "ports")


def services(name):
    """Services of a compose file with what they extend: maps are merged, volumes added, the rest is replaced."""
    def whole(entry):
        origin = entry.get("extends")
        extended = read(origin["file"])[origin["service"]] if origin else {}
        merged = dict(extended)
        for key, value in entry.items():
            if isinstance(value, dict) and isinstance(extended.get(key), dict):
                merged[key] = {**extended[key], **value}
            elif key in LISTS:
                merged[key] = [*extended.get(key, []), *value]
            elif key != "extends":
                merged[key] = value
        return merged

    return {service: whole(entry) for service, entry in read(name).items()}


def read(name):
    return yaml.safe_load((DOCKER / name).read_text())["services"]


def stages(dockerfile):
    """Instructions of each build stage, continued lines joined."""
    text = (DOCKER / dockerfile).read_text()
    lines = re.sub(r"\\\n", "", re.sub(r"(?m)^#.*\n", "", text)).splitlines()
    found = []
    for line in filter(None, lines):
        if line.startswith("FROM "):
            found.append([])
        found[-1].append(line)
    return found


def mounts(name):
    """(container, source, target, whether it can be written) of each volume."""
    for service, entry in services(name).items():
        for volume in entry.get("volumes", []):
            source, target, mode = re.fullmatch(r"(\$\{.*\}|[^:]+):([^:]+)(:ro)?", volume).groups()
            yield service, source, target, mode is None


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_no_container_is_root_or_can_do_more_than_it_needs(name):
    found = services(name)
    assert set(found) - {"service-2"} == CONTAINERS
    for service, entry in found.items():
        if "build" in entry:
            assert (DOCKER / entry["build"]["context"] / entry["build"]["dockerfile"]).is_file()
            dockerfile = Path(entry["build"]["dockerfile"]).name
            user = next(line for line in stages(dockerfile)[-1] if line.startswith("USER ")).removeprefix("USER ")
        else:
            user = entry["user"]
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), service
        assert entry["cap_drop"] == ["ALL"]
        assert entry["security_opt"] == ["no-new-privileges:true"]
        assert entry["read_only"] is True
        assert re.fullmatch(r"\d+[mg]", entry["mem_limit"]), service


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_every_container_that_stays_up_is_asked_for_its_health(name):
    for service, entry in services(name).items():
        if "profiles" not in entry:
            dockerfile = Path(entry.get("build", {}).get("dockerfile", "")).name
            of_image = dockerfile and any(line.startswith("HEALTHCHECK ") for line in stages(dockerfile)[-1])
            assert "healthcheck" in entry or of_image, service


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_only_service_and_training_can_write_to_the_bundles(name):
    found = list(mounts(name))
    bundles = [(service.removesuffix("-2"), source, writable) for service, source, target, writable in found
               if target == "/bundles"]
    assert {source for _, source, _ in bundles} == {"${BUNDLES:-bundles}"}
    assert {(service, writable) for service, _, writable in bundles} == {
        ("service", True), ("train", True), ("locust", False)}
    for service, source, _, writable in found:
        if source.startswith("."):
            assert (DOCKER / source).exists()
            assert not writable, service


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_service_gets_only_variables_that_it_reads_and_time_to_drain(name):
    settings = Settings.model_construct()
    for service in {"service", "service-2"} & set(services(name)):
        entry = services(name)[service]
        read = {name for name in entry["environment"] if not name.startswith("OTEL_")}
        assert read <= {variable(field) for field in Settings.model_fields}
        assert int(entry["stop_grace_period"].removesuffix("s")) > settings.drain_seconds + settings.shutdown_seconds


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_variables_of_opentelemetry_are_those_of_the_shell_and_in_the_docs(name):
    """An empty one would count as set, so none is given a default."""
    documented = (ROOT / "docs" / "operations.md").read_text()
    for service in {"service", "service-2"} & set(services(name)):
        given = services(name)[service]["environment"]
        passed = {key: value for key, value in given.items() if key.startswith("OTEL_")}
        assert passed
        assert set(passed.values()) == {None}
        assert not [key for key in passed if f"`{key}`" not in documented]


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_no_file_holds_a_password(name):
    for entry in services(name).values():
        for variable_name, value in entry.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|AUTH", variable_name):
                assert value.startswith("${")
            if value is not None and "://" in value:
                assert re.fullmatch(r"\w+://(:\$\{REDIS_PASSWORD(\W[^}]*)?\}@)?[\w.-]+:\d+(/0)?", value)


def test_ports_are_open_on_loopback_alone_when_published_or_on_the_host():
    published = [port for entry in services("compose.yaml").values() for port in entry.get("ports", [])]
    assert sorted(published) == [f"127.0.0.1:{port}:{port}" for port in (3000, 8079, 8080, 9090)]
    host = services("compose.host.yaml")
    assert not any("ports" in entry for entry in host.values())
    assert all(entry["network_mode"] == "host" for entry in host.values())
    assert {host[name]["environment"]["RETRIEVAL_HOST"] for name in ("service", "service-2")} == {"127.0.0.1"}
    assert "--web.listen-address=127.0.0.1:9090" in host["prometheus"]["command"]
    assert {host[name]["environment"]["ADDRESS"] for name in ("redis", "change-log")} == {"127.0.0.1"}
    assert host["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert "s/listen /&127.0.0.1:/" in host["nginx"]["command"][-1]


def test_host_network_adds_to_a_command_and_takes_nothing_from_it():
    plain, host = (services(file)["prometheus"]["command"] for file in COMPOSE_FILES)
    assert [part for part in host if part in plain] == plain


def test_replicas_are_the_same_to_nginx_and_prometheus_on_either_network():
    entry = services("compose.host.yaml")
    ports = sorted(entry[name]["environment"]["RETRIEVAL_PORT"] for name in ("service", "service-2"))
    upstream = (DOCKER / "nginx" / "replicas.host.conf").read_text()
    assert sorted(re.findall(r"server 127\.0\.0\.1:(\d+) ", upstream)) == ports
    (targets,) = [group["targets"] for group in scrapes("prometheus.host.yml")["static_configs"]]
    assert sorted(targets) == [f"127.0.0.1:{port}" for port in ports]
    port = re.search(r"RETRIEVAL_PORT=(\d+)", (DOCKER / "service.Dockerfile").read_text())[1]
    assert f"server service:{port} resolve" in (DOCKER / "nginx" / "replicas.conf").read_text()
    (lookup,) = scrapes("prometheus.yml")["dns_sd_configs"]
    assert (lookup["names"], lookup["port"]) == (["service"], int(port))


def scrapes(name):
    jobs = yaml.safe_load((DOCKER / "prometheus" / name).read_text())["scrape_configs"]
    return next(job for job in jobs if job["job_name"] == "retrieval")


def test_nginx_reports_errors_in_the_services_format():
    text = (DOCKER / "nginx" / "nginx.conf").read_text()
    replies = re.findall(r"return (\d+) '\{\"error_type\":\"(\w+)\",\"message\":\"[^\"]+\",\"help\":\"[^\"]+\"\}'",
                         text)
    assert len(replies) == len(re.findall(r"return \d+ ", text)) == 4
    assert all(STATUS[error_type] == int(status) for status, error_type in replies)


def test_proxy_repeats_a_write_only_with_its_key_and_waits_longer_than_the_service_does():
    text = (DOCKER / "nginx" / "nginx.conf").read_text()
    plain, keyed = (re.findall(rf"location {start}.*?\n        }}", text, re.S) for start in (r"~ \^/\(ads", "@keyed"))
    assert "proxy_next_upstream off;" in plain[0]
    assert re.search(r"error_page 418 = @keyed;\s+if \(\$http_idempotency_key\) \{\s+return 418;", plain[0])
    assert "proxy_next_upstream error timeout http_503 non_idempotent;" in keyed[0]
    assert "proxy_next_upstream_tries 2;" in keyed[0]
    for location in plain + keyed:
        assert float(re.search(r"proxy_read_timeout (\d+)s;", location)[1]) > APPLIED_SECONDS + 2


def test_proxy_passes_each_endpoint_on_the_port_of_its_scope_alone():
    public, operators = re.findall(r"listen (?:8080|8079);.*?\n    }", (DOCKER / "nginx" / "nginx.conf").read_text(),
                                   re.S)
    passed = {scope: re.compile("|".join(pattern.lstrip("~ ") for pattern in re.findall(
        r"location (~ \S+|/admin/) {", server))) for scope, server in (("public", public), ("operators", operators))}
    for route in Api(Settings.model_construct()).routes:
        path = route.path.replace("{ad_id}", "a/b").replace("{user_id}", "7").replace("{file}", "main.js")
        inside = route.scope in (TokenScope.WRITE, TokenScope.ADMIN) or path.startswith("/console")
        read_by_console = path in ("/retrieve", "/explain", "/info")
        assert bool(passed["operators"].match(path)) is (inside or read_by_console), path
        assert bool(passed["public"].match(path)) is (not inside and path != "/metrics"), path
    assert not any(passed["operators"].match(path) for path in ("/ads", "/ads/", "/changes/x", "/users/", "/events/x"))


def durable_settings(command):
    """Options of a redis-server's command."""
    return dict(re.findall(r"--([a-z-]+) (\S+)", command))


def test_redis_of_the_change_log_keeps_what_it_acknowledges_and_is_not_the_cache():
    entry = services("compose.yaml")["change-log"]
    assert durable_settings(entry["command"][-1]).items() >= DURABLE.items()
    assert [target for name, _, target, _ in mounts("compose.yaml") if name == "change-log"] == ["/data"]
    assert "--dir /data" in entry["command"][-1]
    for name, address in (("compose.yaml", "change-log:6379"), ("compose.host.yaml", "127.0.0.1:6380")):
        environment = services(name)["service"]["environment"]
        assert environment["RETRIEVAL_CHANGE_LOG"].endswith(f"@{address}/0")
        assert f"@{address}/" not in environment["REDIS_URL"]
        assert "change-log" in services(name)["service"]["depends_on"]
        assert "changes" in yaml.safe_load((DOCKER / name).read_text())["volumes"]
    assert services("compose.host.yaml")["change-log"]["environment"]["PORT"] == "6380"


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_dockerfile_copies_only_what_exists_and_is_not_ignored(dockerfile):
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    copied = [source for stage in stages(dockerfile) for line in stage
              if line.startswith("COPY ") and "--from=build" not in line for source in line.split()[1:-1]]
    assert "docker/requirements" in copied
    for source in copied:
        assert (ROOT / source).exists()
        assert [rule.startswith("!") for rule in rules if fnmatch.fnmatch(source, rule.lstrip("!"))][-1]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_image_has_no_compiler_stage_left_and_a_user_by_number(dockerfile):
    build, last = stages(dockerfile)
    assert build[0].endswith(" AS build")
    assert not any("pip" in line.split() for line in last if line.startswith("RUN "))
    assert "USER 10001:10001" in last


def test_image_of_the_service_is_not_built_when_torch_can_be_imported(tmp_path):
    (check,) = [line for line in stages("service.Dockerfile")[-1] if "find_spec('torch')" in line]
    program = re.fullmatch(r'RUN python -c "(.*)"', check)[1]
    (tmp_path / "torch.py").touch()
    for folder, status in ((tmp_path / "empty", 0), (tmp_path, 1)):
        done = subprocess.run([sys.executable, "-S", "-c", program], env={"PYTHONPATH": str(folder)}, cwd="/",
                              capture_output=True, text=True)
        assert (done.returncode, "torch is importable" in done.stderr) == (status, bool(status))


def test_image_checks_its_own_health_without_further_programs():
    (health,) = [line for line in stages("service.Dockerfile")[-1] if line.startswith("HEALTHCHECK ")]
    assert "curl" not in health
    assert "/readyz" in health
