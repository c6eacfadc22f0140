"""The stack of a sharded bundle: two Ray nodes in compose, and a RayService against the schemas of KubeRay and Ray."""

import json
import re
import shlex

import jsonschema
import kubernetes_validate
import pytest
import yaml

from service.cluster.__main__ import main
from service.cluster.serve_app import ClusterArgs
from service.settings import Settings, variable
from tests.commands import run
from tests.docker.monitoring import DOCKER
from tests.docker.test_docker import services
from tests.docker.test_locks import pins
from tests.paths import ROOT

COMPOSE = services("compose.cluster.yaml")
NODES = [COMPOSE["ray-head"], COMPOSE["ray-worker"]]
FILE = DOCKER / "k8s-cluster" / "rayservice.yaml"
RAY_SERVICE, *OTHERS = yaml.safe_load_all(FILE.read_text())
CLUSTER = RAY_SERVICE["spec"]["rayClusterConfig"]
GROUPS = {"head": CLUSTER["headGroupSpec"], **{group["groupName"]: group for group in CLUSTER["workerGroupSpecs"]}}
SCHEMA = json.loads((ROOT / "tests" / "docker" / "rayservice_schema.json").read_text())
SHARDS = 2
"""That the comment at the head of the file reckons with."""
VERSION = kubernetes_validate.latest_version()


def containers(group):
    return GROUPS[group]["template"]["spec"]["containers"]


def test_containers_of_the_cluster_can_do_no_more_than_others():
    for entry in COMPOSE.values():
        assert entry["read_only"]
        assert entry["cap_drop"] == ["ALL"]
        assert entry["mem_limit"]
    for node in NODES:
        assert node["build"]["args"]["SERVE_LOCK"] == "serve-cluster"
        assert (DOCKER / "requirements" / "serve-cluster.txt").is_file()
        assert node["environment"]["RAY_USAGE_STATS_ENABLED"] == "0"
        assert {name for name in node["environment"] if name.startswith("RETRIEVAL_")} <= {
            variable(name) for name in Settings.model_fields}
    for entry in COMPOSE.values():
        assert all(port.startswith("127.0.0.1:") for port in entry.get("ports", []))


def test_nginx_and_prometheus_find_the_roots_by_the_name_of_replicas():
    assert all(node["networks"]["default"]["aliases"] == ["service"] for node in NODES)
    assert "server service:8080" in (DOCKER / "nginx" / "replicas.conf").read_text()


def test_nodes_have_the_cores_that_roots_and_shards_ask_for():
    (head,), (worker,) = (node["command"] for node in NODES)
    words = shlex.split(head.split("exec ")[1])
    assert words[:4] == ["python", "-m", "service.cluster", "up"]
    assert sum(int(cores) for command in (head, worker) for cores in re.findall(r"--num-cpus=(\d+)", command)) == 4
    assert "--roots 2" in head
    done = run(main, *words[3:], "--nonsense")
    assert (done.returncode, "unrecognized arguments: --nonsense\n" in done.stderr) == (2, True), done.stderr


def test_ray_service_fits_the_schema():
    jsonschema.validate(RAY_SERVICE, SCHEMA)
    spoilt = json.loads(json.dumps(RAY_SERVICE))
    spoilt["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["replica"] = 2
    with pytest.raises(jsonschema.ValidationError, match="replica"):
        jsonschema.validate(spoilt, SCHEMA)


@pytest.mark.parametrize("group", GROUPS)
def test_pods_fit_the_schema_of_kubernetes(group):
    template = GROUPS[group]["template"]
    metadata = {**template["metadata"], "name": group}
    kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]},
                                 VERSION, strict=True)
    (container,) = containers(group)
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert template["spec"]["securityContext"]["runAsNonRoot"]
    names = {entry["name"] for entry in container["env"]}
    assert "RAY_USAGE_STATS_ENABLED" in names
    assert {name for name in names if name.startswith("RETRIEVAL_")} <= {variable(name)
                                                                        for name in Settings.model_fields}


@pytest.mark.parametrize("resource", OTHERS, ids=lambda resource: resource["kind"])
def test_other_resources_fit_the_schema_of_kubernetes(resource):
    kubernetes_validate.validate(resource, VERSION, strict=True)


def test_the_application_fits_the_schema_of_ray_serve_and_the_arguments_of_its_builder():
    schema = pytest.importorskip("ray.serve.schema", reason="the extra `cluster` is not installed")
    config = schema.ServeDeploySchema.model_validate(yaml.safe_load(RAY_SERVICE["spec"]["serveConfigV2"]))
    assert config.proxy_location == "Disabled"
    (application,) = config.applications
    assert (application.import_path, application.route_prefix) == ("service.cluster.serve_app:build", None)
    args = ClusterArgs(**application.args)
    assert args.roots == GROUPS["roots"]["replicas"], "one root on each of its nodes"
    assert args.root_resource in json.loads(json.loads(GROUPS["roots"]["rayStartParams"]["resources"]))
    (container,) = containers("roots")
    assert {"name": "http", "containerPort": args.port} in container["ports"]
    assert {"name": "bundles", "mountPath": args.bundles} in container["volumeMounts"]


def test_nodes_follow_the_replicas_of_shards_and_have_cores_for_the_most():
    assert CLUSTER["enableInTreeAutoscaling"]
    assert "automountServiceAccountToken" not in GROUPS["head"]["template"]["spec"], "the autoscaler beside it needs it"
    assert GROUPS["roots"]["minReplicas"] == GROUPS["roots"]["maxReplicas"] == GROUPS["roots"]["replicas"]
    (application,) = yaml.safe_load(RAY_SERVICE["spec"]["serveConfigV2"])["applications"]
    args, group = ClusterArgs(**application["args"]), GROUPS["shards"]
    assert args.replicas.least < args.replicas.most
    cores = int(group["rayStartParams"]["num-cpus"]) * group["maxReplicas"]
    assert cores >= SHARDS * args.replicas.most * args.shard_cpus
    assert group["minReplicas"] * int(group["rayStartParams"]["num-cpus"]) >= SHARDS * args.replicas.least


def test_the_autoscaler_of_nodes_is_a_container_that_can_do_no_more_than_others():
    options = CLUSTER["autoscalerOptions"]
    container = {"name": "autoscaler", "image": "x", "resources": options["resources"],
                 "securityContext": options["securityContext"]}
    kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "head"},
                                  "spec": {"containers": [container]}}, VERSION, strict=True)
    assert options["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_versions_of_ray_agree():
    assert CLUSTER["rayVersion"] == pins("serve-cluster")["ray"]


def test_the_service_leads_to_the_roots_alone():
    (service,) = [resource for resource in OTHERS if resource["kind"] == "Service"]
    selected = [group for group, spec in GROUPS.items()
                if service["spec"]["selector"].items() <= spec["template"]["metadata"]["labels"].items()]
    assert selected == ["roots"]
