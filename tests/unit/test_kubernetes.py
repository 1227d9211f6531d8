"""The Kubernetes manifests fit the product, and their check refuses what is wrong."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from postroom import settings
from postroom.queue.celery.topology import QUEUES

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"

Manifest = dict[str, Any]


def _script() -> ModuleType:
    """The check, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("check", FOLDER / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = _script()


@pytest.fixture(params=["managed", "operators"])
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    """The manifests of each overlay in turn."""
    return list(script.rendered(FOLDER / "overlays" / request.param))


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    """Those of one kind, by name."""
    return {m["metadata"]["name"]: m for m in manifests if m["kind"] == kind}


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The pod templates, by the deployment's name."""
    return {name: m["spec"]["template"] for name, m in of_kind(manifests, "Deployment").items()}


def test_settings_are_known_and_complete(manifests: list[Manifest], tmp_path: Path) -> None:
    (config,) = of_kind(manifests, "ConfigMap").values()
    secrets = {"store-url": "mongodb://m/p", "broker-url": "amqp://b", "relay-url": "smtp://r"}
    for name, value in secrets.items():
        (tmp_path / name).write_text(value)
    for pod in pods(manifests).values():
        (container,) = pod["spec"]["containers"]
        given = config["data"] | {each["name"]: each["value"] for each in container.get("env", [])}
        (mount,) = [m["mountPath"] for m in container["volumeMounts"] if m["name"] == "secrets"]
        (volume,) = [v for v in pod["spec"]["volumes"] if v["name"] == "secrets"]
        files = {item["path"] for source in volume["projected"]["sources"] for item in source["secret"]["items"]}
        assert files == set(secrets)
        loaded = settings.load({name: value.replace(mount, str(tmp_path)) for name, value in given.items()})
        assert loaded.store_url.get_secret_value() == "mongodb://m/p"
        assert loaded.host == "0.0.0.0"


def test_every_pod_is_confined(manifests: list[Manifest]) -> None:
    for pod in pods(manifests).values():
        spec = pod["spec"]
        (container,) = spec["containers"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False, "service links are variables that Postroom refuses as unknown"
        assert container["resources"]["limits"]["memory"]


def test_worker_may_finish_or_hand_back_what_is_in_hand(manifests: list[Manifest]) -> None:
    spec = pods(manifests)["postroom-worker"]["spec"]
    assert spec["terminationGracePeriodSeconds"] > 2 * settings.load({}).stop_seconds


@pytest.mark.parametrize("name", ["postroom-worker", "postroom-sweep"])
def test_pod_is_asked_for_the_file_that_it_touches(manifests: list[Manifest], name: str) -> None:
    (container,) = pods(manifests)[name]["spec"]["containers"]
    (alive,) = [each["value"] for each in container["env"] if each["name"] == "POSTROOM_WORKER_ALIVE_FILE"]
    assert f"'{alive}'" in container["livenessProbe"]["exec"]["command"][-1]
    assert str(Path(alive).parent) in [m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")]


def test_liveness_probe_tells_a_fresh_file_from_an_old_one(manifests: list[Manifest], tmp_path: Path) -> None:
    (container,) = pods(manifests)["postroom-worker"]["spec"]["containers"]
    program, *arguments = container["livenessProbe"]["exec"]["command"]
    assert program == "python"
    alive = tmp_path / "alive"
    command = [sys.executable, *(argument.replace("/tmp/alive", str(alive)) for argument in arguments)]
    assert subprocess.run(command, capture_output=True).returncode == 1, "no file"
    alive.touch()
    assert subprocess.run(command).returncode == 0
    subprocess.run(["touch", "-d", "2 minutes ago", alive], check=True)
    assert subprocess.run(command).returncode == 1


def test_every_selector_finds_exactly_its_pods(manifests: list[Manifest]) -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(manifests).items()}

    def found(selector: dict[str, str]) -> set[str]:
        return {name for name, given in labels.items() if selector.items() <= given.items()}

    for name, deployment in of_kind(manifests, "Deployment").items():
        assert found(deployment["spec"]["selector"]["matchLabels"]) == {name}
        (spread,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert found(spread["labelSelector"]["matchLabels"]) == {name}
    for name, budget in of_kind(manifests, "PodDisruptionBudget").items():
        ours = {name} if name.startswith("postroom") else set()
        assert found(budget["spec"]["selector"]["matchLabels"]) == ours
    for name, policy in of_kind(manifests, "NetworkPolicy").items():
        expected = set(labels) if name in ("postroom", "postroom-metrics") else {name}
        assert found(policy["spec"]["podSelector"]["matchLabels"]) == expected
    assert found(of_kind(manifests, "Service")["postroom-api"]["spec"]["selector"]) == {"postroom-api"}


def test_metrics_are_let_through_on_the_port_where_they_are(manifests: list[Manifest]) -> None:
    (config,) = of_kind(manifests, "ConfigMap").values()
    address = config["data"].get("POSTROOM_METRICS_ADDRESS")
    noted = {pod["metadata"].get("annotations", {}).get("prometheus.io/port") for pod in pods(manifests).values()}
    policy = of_kind(manifests, "NetworkPolicy").get("postroom-metrics")
    if policy is None:
        assert (address, noted) == (None, {None})
        return
    let_in = {str(each["port"]) for rule in policy["spec"]["ingress"] for each in rule["ports"]}
    assert let_in == noted == {address.rpartition(":")[2]}


def test_autoscalers_watch_what_exists(manifests: list[Manifest]) -> None:
    (scaled,) = of_kind(manifests, "ScaledObject").values()
    assert [t["metadata"]["queueName"] for t in scaled["spec"]["triggers"]] == [queue.name for queue in QUEUES]
    deployments = of_kind(manifests, "Deployment")
    (horizontal,) = of_kind(manifests, "HorizontalPodAutoscaler").values()
    for target in (scaled["spec"]["scaleTargetRef"], horizontal["spec"]["scaleTargetRef"]):
        assert "replicas" not in deployments[target["name"]]["spec"], "each deployment would reset the autoscaler"


def test_keda_asks_the_broker_that_the_workers_use(manifests: list[Manifest]) -> None:
    (authentication,) = of_kind(manifests, "TriggerAuthentication").values()
    (reference,) = authentication["spec"]["secretTargetRef"]
    sources = pods(manifests)["postroom-worker"]["spec"]["volumes"][0]["projected"]["sources"]
    brokers = {
        (s["secret"]["name"], i["key"]) for s in sources for i in s["secret"]["items"] if i["path"] == "broker-url"
    }
    assert brokers == {(reference["name"], reference["key"])}


WORKER, API = "base/worker.yaml", "base/api.yaml"
KEDA, RABBITMQ = "components/keda/scaling.yaml", "components/rabbitmq/cluster.yaml"
WRONG = {
    "a text for a number": (WORKER, "terminationGracePeriodSeconds: 90", "terminationGracePeriodSeconds: soon"),
    "a field that does not exist": (API, "args: [serve]", "arguments: [serve]"),
    "a field of another place": (WORKER, "  replicas: 2", "  replicas: 2\n  containers: []"),
    "a missing field": (API, "      resource: { name: cpu, target", "      resource: { target"),
    "a probe of no kind": (API, "httpGet: { path: /readyz, port: http }", "httpGet: { path: /readyz }"),
    "a kind that does not exist": ("base/account.yaml", "kind: ServiceAccount", "kind: ServiceAcount"),
    "KEDA: a number for a text": (KEDA, 'value: "10"', "value: 10"),
    "KEDA: a trigger without a queue": (KEDA, "queueName: postroom.bulk, ", ""),
    "RabbitMQ: a misspelt field": (RABBITMQ, "additionalConfig", "additionalConf"),
    "RabbitMQ: an even number of nodes": (RABBITMQ, "replicas: 3", "replicas: 2"),
    "MongoDB: an unknown type": ("components/mongodb/replica-set.yaml", "type: ReplicaSet", "type: Standalone"),
    "a patch that fits nothing": ("components/rabbitmq/kustomization.yaml", "/sources/1", "/sources/7"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_check_refuses(wrong: str, tmp_path: Path) -> None:
    copy = tmp_path / "kubernetes"
    shutil.copytree(FOLDER, copy)
    name, right, broken = WRONG[wrong]
    text = (copy / name).read_text()
    assert right in text
    (copy / name).write_text(text.replace(right, broken))
    assert len(script.check(copy, definitions=[])) >= 1


def test_check_finds_nothing_wrong_here() -> None:
    assert script.check(FOLDER, definitions=[]) == []
