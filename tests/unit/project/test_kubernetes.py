"""deploy/kubernetes: against the schemas, and what no schema says. No cluster is needed."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from config.settings import ConsoleSettings, Settings
from tests.support import kubernetes
from tests.support.kubernetes import EXAMPLE, KUBERNETES, VERSIONS, Manifest, pods, refusal
from tests.support.processes import BIN, NO_ENV_FILE
from worker.celery_app.liveness_file import CHECK_EVERY_SECONDS
from worker.domain.health import PROGRESS_WITHIN

WHOLE = kubernetes.whole_manifests()
PODS = pods(WHOLE)
NAMES = [f"{manifest['kind']} {manifest['metadata']['name']}" for manifest in WHOLE]
BASE = KUBERNETES / "base"
FLOWER = ("FLOWER_PERSISTENT", "FLOWER_DB", "FLOWER_STATE_SAVE_INTERVAL")


def container(component: str) -> Manifest:
    (only,) = PODS[component]["containers"]
    return only


def named(kind: str, name: str) -> Manifest:
    (found,) = [m for m in WHOLE if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return copy.deepcopy(found)


@pytest.fixture(scope="module")
def example() -> list[Manifest]:
    """The example overlay as kustomize builds it."""
    command = kubernetes.kustomize()
    if command is None:
        pytest.skip("NO KUSTOMIZE: neither kustomize nor kubectl; the overlay was not built")
    return kubernetes.built(command, EXAMPLE)


# --- schemas


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", WHOLE, ids=NAMES)
def test_every_manifest_is_what_its_schema_says(manifest: Manifest, version: str):
    """Strictly: a field that the version does not know is refused."""
    assert refusal(manifest, version) is None


@pytest.mark.parametrize(
    ("kind", "name", "path", "value"),
    [
        ("Deployment", "session-worker-worker", ("spec", "replica"), 2),
        ("Deployment", "session-worker-beat", ("spec", "replicas"), "two"),
        ("Job", "session-worker-migrate", ("spec", "template", "spec", "restartPolice"), "Never"),
        ("NetworkPolicy", "session-worker-names", ("spec", "egress"), {"ports": []}),
        ("ScaledObject", "session-worker-worker", ("spec", "maxReplicas"), 8),
        ("ScaledObject", "session-worker-worker", ("spec", "triggers"), []),
        ("TriggerAuthentication", "session-worker-backlog", ("spec", "secretRef"), []),
    ],
)
def test_a_broken_manifest_is_refused(kind: str, name: str, path: tuple[str, ...], value: Any):  # noqa: ANN401 - anything wrong
    broken = named(kind, name)
    part = broken
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value

    assert refusal(broken, VERSIONS[-1])


def test_kustomizations_name_every_file_beside_them():
    for file in KUBERNETES.rglob("kustomization.yaml"):
        made = yaml.safe_load(file.read_text())
        patches = [p["path"] for p in made.get("patches", ()) if "path" in p]
        settings = [
            env for made_of in made.get("configMapGenerator", ()) for env in made_of["envs"]
        ]
        listed = {*made.get("resources", ()), *made.get("components", ()), *patches, *settings}

        assert all((file.parent / name).exists() for name in listed), file
        beside = {other.name for other in file.parent.iterdir() if other.is_file()} - {file.name}
        assert beside <= listed, file


def test_patches_change_what_there_is():
    known = {(m["kind"], m["metadata"]["name"]) for m in WHOLE}
    patches = kubernetes.documents(*EXAMPLE.glob("[!k]*.yaml"))

    assert patches
    assert {(m["kind"], m["metadata"]["name"]) for m in patches} <= known


def test_the_example_is_built_and_right(example: list[Manifest]):
    refused = {m["metadata"]["name"]: refusal(m, VERSIONS[-1]) for m in example}

    assert len(example) == len(WHOLE) + 1, "the settings are made"
    assert {name: fault for name, fault in refused.items() if fault} == {}
    assert {m["metadata"]["namespace"] for m in example} == {"payments"}
    for pod in pods(example).values():
        assert pod["containers"][0]["image"].startswith("registry.example.com/")
    (scaled,) = [
        m
        for m in example
        if m["metadata"]["name"] == "session-worker-worker" and m["kind"] == "Deployment"
    ]
    assert "replicas" not in scaled["spec"]


def test_changed_settings_are_rolled_out(tmp_path: Path):
    """A pod reads its settings when it starts: without a new name nothing would start anew."""
    command = kubernetes.kustomize()
    if command is None:
        pytest.skip("NO KUSTOMIZE: neither kustomize nor kubectl; the overlay was not built")
    copied = shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    overlay = copied / EXAMPLE.relative_to(KUBERNETES)
    before = settings_read(kubernetes.built(command, overlay))
    with (overlay / "settings.env").open("a") as settings:
        settings.write("RETENTION_DAYS=7\n")
    after = settings_read(kubernetes.built(command, overlay))

    assert before.keys() == after.keys() == {"worker", "beat"}
    assert not set(before.values()) & set(after.values())


def settings_read(manifests: list[Manifest]) -> dict[str, str]:
    """The name of the settings that each component reads; they are among the manifests."""
    made = {m["metadata"]["name"] for m in manifests if m["kind"] == "ConfigMap"}
    read = {
        component: source["configMapRef"]["name"]
        for component, pod in pods(manifests).items()
        for source in pod["containers"][0]["envFrom"]
        if "configMapRef" in source
    }
    assert set(read.values()) == made
    return read


# --- privileges and secrets


@pytest.mark.parametrize("component", PODS)
def test_pods_have_no_privileges(component: str):
    pod = PODS[component]
    secured = container(component)["securityContext"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert secured == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("component", PODS)
def test_no_service_beside_it_changes_a_pods_settings(component: str):
    """A Service named flower would set FLOWER_PORT, which Flower reads."""
    assert PODS[component]["enableServiceLinks"] is False


@pytest.mark.parametrize("component", PODS)
def test_memory_has_a_bound(component: str):
    assert container(component)["resources"]["limits"].keys() == {"memory"}
    assert container(component)["resources"]["requests"].keys() == {"cpu", "memory"}


def secrets_of(component: str) -> set[str]:
    sources = container(component)["envFrom"]
    return {
        s["secretRef"]["name"].removeprefix("session-worker-") for s in sources if "secretRef" in s
    }


def test_each_process_gets_the_secrets_it_needs_and_no_other():
    assert {component: secrets_of(component) for component in PODS} == {
        "worker": {"database", "redis", "klarna", "sinks"},
        "beat": {"database", "redis", "klarna", "sinks"},
        "flower": {"redis", "flower"},
        "console": {"database", "console"},
        "migrate": {"migrations"},
    }
    assert not [m for m in WHOLE if m["kind"] == "Secret"]


def test_settings_are_known_to_the_code():
    known = {name.upper() for name in Settings.model_fields | ConsoleSettings.model_fields}

    for folder in (BASE, EXAMPLE):
        settings = dotenv_values(folder / "settings.env")
        assert settings
        assert settings.keys() <= known
    assert {variable["name"] for variable in container("flower")["env"]} == set(FLOWER)


def test_commands_are_those_of_the_procfile():
    """One truth of how each process is started."""
    procfile = (kubernetes.ROOT / "Procfile").read_text()
    lines = dict(line.split(": ", 1) for line in procfile.splitlines() if line)

    assert " ".join(container("migrate")["args"]) == lines["release"]
    for component in ("worker", "beat", "flower", "console"):
        assert " ".join(container(component)["args"]).startswith(lines[component])


# --- progress


@pytest.mark.parametrize("component", ["worker", "beat"])
@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_probes_go_by_the_age_of_the_progress_file(component: str, probe: str, tmp_path: Path):
    """The very command, with another file: young is right, old and missing are not."""
    file = tmp_path / "progress"
    program, *arguments = container(component)[probe]["exec"]["command"]
    environment = {**NO_ENV_FILE, "PROGRESS_FILE": str(file)}

    def answer() -> bool:
        command = [BIN / program, *arguments]
        ended = subprocess.run(command, env=environment, capture_output=True, check=False)
        return ended.returncode == 0

    assert not answer()
    file.touch()
    assert answer()
    os.utime(file, (0, 0))
    assert not answer()


def test_the_progress_file_is_where_probes_look_and_can_be_written():
    file = Path(dotenv_values(BASE / "settings.env")["PROGRESS_FILE"] or "")

    for component in ("worker", "beat"):
        mounted = {mount["mountPath"] for mount in container(component)["volumeMounts"]}
        assert str(file.parent) in mounted
    # Several looks fit into the time that the file may be old.
    assert PROGRESS_WITHIN.total_seconds() >= 9 * CHECK_EVERY_SECONDS


def test_a_worker_has_time_to_finish_what_it_asked():
    longest = Settings.model_fields["http_timeout_seconds"].default

    for component in ("worker", "beat"):
        assert PODS[component]["terminationGracePeriodSeconds"] >= 2 * longest


def test_a_drained_node_leaves_a_worker_and_a_beat():
    kept = {m["metadata"]["name"]: m["spec"] for m in WHOLE if m["kind"] == "PodDisruptionBudget"}

    assert kept.keys() == {"session-worker-worker", "session-worker-beat"}
    assert {spec["minAvailable"] for spec in kept.values()} == {1}
    # Else a pod that makes no progress would keep its node from being drained.
    assert {spec["unhealthyPodEvictionPolicy"] for spec in kept.values()} == {"AlwaysAllow"}
    for name in kept:
        assert named("Deployment", name)["spec"]["replicas"] == 2


# --- network


def policies(direction: str) -> dict[str, set[tuple[str, int | str]]]:
    """The (policy, port) that each component may use."""
    allowed: dict[str, set[tuple[str, int | str]]] = {component: set() for component in PODS}
    for policy in (m for m in WHOLE if m["kind"] == "NetworkPolicy"):
        selector = policy["spec"]["podSelector"]
        wanted = selector.get("matchLabels", {}).get("app.kubernetes.io/component")
        chosen = [wanted] if wanted else list(PODS)
        for expression in selector.get("matchExpressions", ()):
            if expression["key"] == "app.kubernetes.io/component":
                chosen = expression["values"]
        for component in chosen:
            for rule in policy["spec"].get(direction, ()):
                name = policy["metadata"]["name"].removeprefix("session-worker-")
                allowed[component] |= {(name, port["port"]) for port in rule["ports"]}
    return allowed


def test_processes_reach_what_they_need_and_nothing_else():
    names = ("names", 53)
    postgres, redis, out = ("postgres", 5432), ("redis", 6379), ("klarna-and-sinks", 443)

    assert policies("egress") == {
        "worker": {names, postgres, redis, out},
        "beat": {names, postgres, redis},
        "flower": {names, redis},
        "console": {names, postgres},
        "migrate": {names, postgres},
    }
    assert policies("ingress") == {
        "worker": {("metrics", "metrics")},
        "beat": {("metrics", "metrics")},
        "flower": {("pages", "http")},
        "console": {("pages", "http")},
        "migrate": set(),
    }
    closed = named("NetworkPolicy", "session-worker-nothing-else")["spec"]
    assert closed["policyTypes"] == ["Ingress", "Egress"]
    assert closed.keys() == {"podSelector", "policyTypes"}


def test_https_leads_to_public_addresses_alone():
    (rule,) = named("NetworkPolicy", "session-worker-klarna-and-sinks")["spec"]["egress"]
    closed = {block for to in rule["to"] for block in to["ipBlock"]["except"]}

    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= closed
    assert {"fc00::/7", "fe80::/10"} <= closed
