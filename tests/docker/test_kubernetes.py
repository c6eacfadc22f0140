"""The Kustomize base against Kubernetes' schemas, and against what the service is and needs."""

import json

import kubernetes_validate
import pytest
import yaml

from index_store.changes.redis_server import DURABLE
from service.settings import Settings, variable
from tests.docker.monitoring import DOCKER
from tests.docker.test_docker import durable_settings
from tests.service.commands import service
from tests.service.service_process import ServiceProcess
from tests.service.test_docs import documented_metrics

BASE = DOCKER / "k8s"



def resources(name):
    """Kind -> resource, of those with a name."""
    return {resource["kind"]: resource for resource in ALL if resource["metadata"]["name"] == name}


ALL = [resource for path in sorted(BASE.glob("*.yaml")) if path.name != "kustomization.yaml"
       for resource in yaml.safe_load_all(path.read_text())]
RESOURCES, LOG = resources("retrieval"), resources("retrieval-change-log")
POD = RESOURCES["Deployment"]["spec"]["template"]
LOG_POD = LOG["StatefulSet"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
(LOG_CONTAINER,) = LOG_POD["spec"]["containers"]


@pytest.mark.parametrize("version", ["1.25", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("resource", ALL, ids=lambda resource: f"{resource['kind']} {resource['metadata']['name']}")
def test_resource_fits_the_schema_when_validated_strictly(resource, version):
    kubernetes_validate.validate(resource, version, strict=True)


def test_schema_refuses_a_field_that_is_misspelt_when_validated_strictly():
    spoilt = {**RESOURCES["Service"], "spec": {**RESOURCES["Service"]["spec"], "selectr": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(spoilt, kubernetes_validate.latest_version(), strict=True)


def test_base_lists_every_file_when_built():
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    assert sorted([*listed, "kustomization.yaml"]) == sorted(path.name for path in BASE.iterdir())
    assert len(ALL) == len({(resource["kind"], resource["metadata"]["name"]) for resource in ALL})


def test_all_selectors_match_the_same_pods():
    labels = POD["metadata"]["labels"]
    for kind in ("Deployment", "Service", "PodDisruptionBudget"):
        selector = RESOURCES[kind]["spec"]["selector"]
        assert selector.get("matchLabels", selector).items() <= labels.items()
    target = RESOURCES["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", RESOURCES["Deployment"]["metadata"]["name"])
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in POD["spec"]["volumes"]
              if "persistentVolumeClaim" in volume]
    assert claims == list({resource["metadata"]["name"]: None for resource in ALL
                           if resource["kind"] == "PersistentVolumeClaim"})
    labels = LOG_POD["metadata"]["labels"]
    assert labels == LOG["StatefulSet"]["spec"]["selector"]["matchLabels"] == LOG["Service"]["spec"]["selector"]
    assert LOG["StatefulSet"]["spec"]["serviceName"] == LOG["Service"]["metadata"]["name"]
    (claim,) = LOG["StatefulSet"]["spec"]["volumeClaimTemplates"]
    assert {"name": claim["metadata"]["name"], "mountPath": "/data"} in LOG_CONTAINER["volumeMounts"]


def test_pod_probes_use_three_existing_endpoints():
    asked = [CONTAINER[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")]
    assert len(set(asked)) == 3
    assert set(asked) <= set(json.loads((DOCKER.parent / "docs" / "openapi.json").read_text())["paths"])


def test_pod_environment_has_only_existing_settings():
    assert {entry["name"] for entry in CONTAINER["env"]} <= {variable(name) for name in Settings.model_fields}


def links(service):
    """Variables that the kubelet sets for a Service in every pod whose enableServiceLinks is not false."""
    host, prefix = "10.96.12.34", service["metadata"]["name"].upper().replace("-", "_")
    ports = service["spec"]["ports"]
    found = {"SERVICE_HOST": host, "SERVICE_PORT": f"{ports[0]['port']}", "PORT": f"tcp://{host}:{ports[0]['port']}"}
    for port in ports:
        number, protocol = port["port"], port.get("protocol", "TCP")
        link = f"PORT_{number}_{protocol}"
        found |= {f"SERVICE_PORT_{port['name'].upper().replace('-', '_')}": f"{number}",
                  link: f"{protocol.lower()}://{host}:{number}", f"{link}_PROTO": protocol.lower(),
                  f"{link}_PORT": f"{number}", f"{link}_ADDR": host}
    return {f"{prefix}_{name}": value for name, value in found.items()}


def test_service_answers_when_it_starts_with_what_the_pod_and_its_service_set(tiny_bundle):
    set_in_the_pod = {entry["name"]: entry["value"] for entry in CONTAINER["env"] if "value" in entry}
    environment = links(RESOURCES["Service"]) | set_in_the_pod
    assert environment["RETRIEVAL_PORT"].startswith("tcp://")
    assert service(tiny_bundle, "--check", **environment).returncode == 0
    with ServiceProcess(tiny_bundle, **environment) as process:
        assert process.retrieve(user_id="user-01")["ads"]
    assert POD["spec"]["enableServiceLinks"] is False


def test_pod_gets_the_time_that_draining_takes_when_it_ends():
    settings = Settings.model_construct()
    program, seconds = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep"
    needed = int(seconds) + settings.drain_seconds + settings.shutdown_seconds
    assert POD["spec"]["terminationGracePeriodSeconds"] > needed


def test_autoscaler_follows_a_metric_that_the_service_exports_when_it_counts():
    (metric,) = RESOURCES["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] in documented_metrics()


def test_pod_is_not_root_and_writes_to_its_volumes_alone_when_it_runs():
    for pod, container in ((POD, CONTAINER), (LOG_POD, LOG_CONTAINER)):
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"] == {
            "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert pod["spec"]["enableServiceLinks"] is False
    user = POD["spec"]["securityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}" in (DOCKER / "service.Dockerfile").read_text()
    user = LOG_POD["spec"]["securityContext"]
    assert f"{user['runAsUser']}:{user['runAsGroup']}" == redis_of_the_compose_files()["user"]
    assert user["fsGroup"] == user["runAsGroup"]


def redis_of_the_compose_files():
    return yaml.safe_load((DOCKER / "services.yaml").read_text())["services"]["change-log"]


def test_change_log_is_the_same_redis_as_in_the_compose_files_and_required():
    assert LOG_CONTAINER["image"] == redis_of_the_compose_files()["image"]
    assert durable_settings(LOG_CONTAINER["command"][-1]).items() >= DURABLE.items()
    (url,) = [entry for entry in CONTAINER["env"] if entry["name"] == variable("change_log")]
    assert "optional" not in url["valueFrom"]["secretKeyRef"]
    said = (BASE / "kustomization.yaml").read_text()
    assert f"@{LOG['Service']['metadata']['name']}:{LOG['Service']['spec']['ports'][0]['port']}/0" in said
    for container in (CONTAINER, LOG_CONTAINER):
        keys = {ref["key"] for entry in container["env"]
                if not (ref := entry.get("valueFrom", {}).get("secretKeyRef", {"optional": True})).get("optional")}
        assert keys
        assert all(f"--from-literal={key}=" in said for key in keys)
