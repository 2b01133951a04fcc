"""The manifests of deploy/kubernetes as they stand, as kustomize builds them, and their schemas."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
EXAMPLE = KUBERNETES / "overlays" / "example"
# The oldest that is looked at, and the newest whose schemas there are.
VERSIONS = ("1.29", kubernetes_validate.latest_version())
_KEDA = json.loads((ROOT / "tests" / "fixtures" / "keda.schema.json").read_text())

Manifest = dict[str, Any]


def documents(*files: Path) -> list[Manifest]:
    """Every document of these files."""
    return [found for file in files for found in yaml.safe_load_all(file.read_text()) if found]


def whole_manifests() -> list[Manifest]:
    """What the base and the component are made of; an overlay's patches are no whole manifests."""
    folders = (KUBERNETES / "base", KUBERNETES / "components" / "keda")
    files = sorted(file for folder in folders for file in folder.glob("*.yaml"))
    return documents(*(file for file in files if file.name != "kustomization.yaml"))


def kustomize() -> list[str] | None:
    """The command that builds a folder, where this machine has one."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    return ["kubectl", "kustomize"] if shutil.which("kubectl") else None


def built(command: list[str], folder: Path) -> list[Manifest]:
    """Return the manifests that kustomize builds from a folder."""
    made = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return list(yaml.safe_load_all(made.stdout))


def refusal(manifest: Manifest, version: str) -> str | None:
    """What a cluster of this version has against the manifest; unknown fields count."""
    try:
        if manifest["apiVersion"].startswith("keda.sh/"):
            jsonschema.validate(manifest, _KEDA)
        else:
            kubernetes_validate.validate(manifest, version, strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
        return str(error.message)
    return None


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The pods' specs by component."""
    templates = [m["spec"]["template"] for m in manifests if m["kind"] in {"Deployment", "Job"}]
    return {t["metadata"]["labels"]["app.kubernetes.io/component"]: t["spec"] for t in templates}
