"""Settings: values that cannot be meant are refused, empty ones too; the variables of service links are ignored."""

import pytest

from service.settings import Settings, SettingsError, read_settings, service_links, variable
from tests.service.commands import service
from tests.service.service_process import ServiceProcess

LINKS = {
    "RETRIEVAL_SERVICE_HOST": "10.96.12.34",
    "RETRIEVAL_SERVICE_PORT": "80",
    "RETRIEVAL_SERVICE_PORT_HTTP": "80",
    "RETRIEVAL_PORT": "tcp://10.96.12.34:80",
    "RETRIEVAL_PORT_80_TCP": "tcp://10.96.12.34:80",
    "RETRIEVAL_PORT_80_TCP_PROTO": "tcp",
    "RETRIEVAL_PORT_80_TCP_PORT": "80",
    "RETRIEVAL_PORT_80_TCP_ADDR": "10.96.12.34",
}
"""What a pod gets for a Service `retrieval` with one port, `http`."""

IPV6 = {name: value.replace("://10.96.12.34", "://[fd00::1]").replace("10.96.12.34", "fd00::1")
        for name, value in LINKS.items()}
LONGER = {name.replace("RETRIEVAL_", "RETRIEVAL_READ_ONLY_", 1): value for name, value in LINKS.items()}
UDP = {name.replace("_TCP", "_UDP"): value.replace("tcp", "udp") for name, value in LINKS.items()}
SECOND_PORT = LINKS | {
    "RETRIEVAL_SERVICE_PORT_METRICS": "9100", "RETRIEVAL_PORT_9100_TCP": "tcp://10.96.12.34:9100",
    "RETRIEVAL_PORT_9100_TCP_PROTO": "tcp", "RETRIEVAL_PORT_9100_TCP_PORT": "9100",
    "RETRIEVAL_PORT_9100_TCP_ADDR": "10.96.12.34"}


@pytest.fixture
def environment(monkeypatch):
    """Sets variables for this process, which has no setting of the service otherwise."""
    def set_variables(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


@pytest.mark.parametrize("links", [LINKS, IPV6, LONGER, UDP, SECOND_PORT, LINKS | LONGER],
                         ids=["plain", "ipv6", "longer", "udp", "second port", "two services"])
def test_links_of_a_service_are_ignored_when_kubernetes_set_them(environment, links):
    environment({"RETRIEVAL_MAX_TOP_K": "77"} | links)
    assert service_links(links) == set(links)
    assert (read_settings({}).port, read_settings({}).max_top_k) == (8080, 77)
    assert read_settings({"port": 9000}).port == 9000


def test_port_of_the_pod_is_read_when_it_replaces_the_link(environment):
    environment(LINKS | {"RETRIEVAL_PORT": "9000"})
    assert read_settings({}).port == 9000


@pytest.mark.parametrize(("name", "value"), [
    ("RETRIEVAL_PORTS", "80"),
    ("RETRIEVAL_SERVICE_POTR_HTTP", "80"),
    ("RETRIEVAL_SERVICE_PORT_HTTP", "http"),
    ("RETRIEVAL_PORT", "tcp://10.96.12.35:80"),  # of another host
    ("RETRIEVAL_PORT", "http://10.96.12.34:80"),
    ("RETRIEVAL_PORT_80_TCP_ADDR", "retrieval.default.svc"),
    ("RETRIEVAL_PORT_80_SCTP_PROTO", "SCTP"),
    ("RETRIEVAL_MAX_TOPK", "5"),
])
def test_misspelt_setting_is_refused_when_it_stands_beside_links(environment, name, value):
    environment(LINKS | {name: value})
    with pytest.raises(SettingsError, match=name):
        read_settings({})


@pytest.mark.parametrize("variables", [
    {"RETRIEVAL_SERVICE_HOST": "0.0.0.0"}, {"RETRIEVAL_SERVICE_PORT": "9000"}, {"RETRIEVAL_PORT": "tcp://0.0.0.0:80"},
    {name: value for name, value in LINKS.items() if name != "RETRIEVAL_SERVICE_HOST"},
    LINKS | {"RETRIEVAL_SERVICE_HOST": "retrieval"}, LINKS | {"RETRIEVAL_SERVICE_PORT": "81"}])
def test_variables_are_refused_when_they_are_not_all_that_kubernetes_sets(environment, variables):
    environment(variables)
    assert not service_links(variables)
    with pytest.raises(SettingsError):
        read_settings({})


def test_service_starts_and_says_what_it_ignores_when_a_pod_has_links(tiny_bundle):
    assert service(tiny_bundle, "--check", **LINKS).returncode == 0
    with ServiceProcess(tiny_bundle, **LINKS) as process:
        assert process.wait_for_event("service_links_ignored")["variables"] == sorted(LINKS)
        assert process.retrieve(user_id="user-01")["ads"]


EMPTY_IS_NONE = {"admin_token", "beam_folder", "change_log", "console_images", "read_token", "redis_password_file",
                 "redis_url", "shards", "write_token"}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(variable(name), raising=False)


@pytest.mark.parametrize("value", ["", "  "])
@pytest.mark.parametrize("name", sorted(set(Settings.model_fields) - EMPTY_IS_NONE))
def test_setting_is_refused_when_it_is_empty(monkeypatch, name, value):
    monkeypatch.setenv(variable(name), value)
    with pytest.raises(SettingsError) as error:
        read_settings({})
    assert str(error.value).startswith(f"{variable(name)} {value!r} cannot be used")


@pytest.mark.parametrize("value", ["", "  "])
@pytest.mark.parametrize("name", sorted(EMPTY_IS_NONE))
def test_setting_is_absent_when_it_is_empty_and_may_be(monkeypatch, name, value):
    monkeypatch.setenv(variable(name), value)
    assert getattr(read_settings({}), name) is None


@pytest.mark.parametrize("arguments", [(), ("--host", "")])
def test_service_does_not_start_when_its_address_is_empty(tiny_bundle, arguments):
    environment = {} if arguments else {"RETRIEVAL_HOST": ""}
    done = service(tiny_bundle, *arguments, **environment)
    assert done.returncode == 2
    assert "RETRIEVAL_HOST '' cannot be used" in done.stderr
    assert "0.0.0.0 to listen on all" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0"])
@pytest.mark.parametrize("name", ["header_seconds", "body_seconds", "idle_seconds"])
def test_limit_is_refused_when_it_would_be_none(monkeypatch, name, value):
    monkeypatch.setenv(variable(name), value)
    with pytest.raises(SettingsError, match=variable(name)):
        read_settings({})


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("name", ["drain_seconds", "load_seconds", "min_timeout_ms", "redis_timeout_ms", "read_rate",
                                  "write_rate", "admin_rate"])
def test_time_is_refused_when_it_is_not_finite(monkeypatch, name, value):
    monkeypatch.setenv(variable(name), value)
    with pytest.raises(SettingsError, match=variable(name)):
        read_settings({})


@pytest.mark.parametrize(("given", "host"), [("::1", "::1"), ("[::1]", "::1"), (" localhost ", "localhost"),
                                             ("0.0.0.0", "0.0.0.0")])
def test_address_is_read_as_people_write_it(given, host):
    assert read_settings({"host": given}).host == host


def test_password_file_is_refused_when_there_is_no_redis(environment):
    environment({"RETRIEVAL_REDIS_PASSWORD_FILE": "/run/redis/password", "REDIS_URL": ""})
    with pytest.raises(SettingsError, match=r"^RETRIEVAL_REDIS_PASSWORD_FILE '/run/redis/password' cannot be used: .*"
                                            r"REDIS_URL is not set"):
        read_settings({})
    environment({"REDIS_URL": "redis://127.0.0.1:6379/0"})
    assert str(read_settings({}).redis_password_file) == "/run/redis/password"


@pytest.mark.parametrize("value", ["img.example.com", "https://img.example.com/ads", "https://a.example; script-src *",
                                   "'self'", "data:", "https://a.example,https://b.example"])
def test_pictures_are_refused_from_what_is_no_origin(monkeypatch, value):
    monkeypatch.setenv("RETRIEVAL_CONSOLE_IMAGES", value)
    with pytest.raises(SettingsError, match="is no origin"):
        read_settings({})


def test_pictures_may_come_from_several_origins(monkeypatch):
    monkeypatch.setenv("RETRIEVAL_CONSOLE_IMAGES", " https://a.example  http://localhost:9000 https://*.b.example ")
    assert read_settings({}).console_images == "https://a.example http://localhost:9000 https://*.b.example"
