"""The manifests in jobs/: KubeRay's published schemas take them, and they say what they are meant to."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import irnet_ray
from tests.jobs.commands import SECRET, parse

JOBS = Path(__file__).resolve().parents[2] / "jobs"
CONSTRAINTS = JOBS.parent / "constraints.txt"
LABEL = {"data": "/data/photos", "out": "/data/out", "shards": 64, "address": "auto"}


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((JOBS / name).read_text()))


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    [job] = manifests("label.rayjob.yaml")
    return dict(job["spec"])


def published(kind: str) -> dict[str, Any]:
    folder = os.environ.get("IRNET_RAY_KUBERAY")
    if not folder:
        pytest.skip("IRNET_RAY_KUBERAY names no folder with KubeRay's crd_rayjob.yaml and crd_raycronjob.yaml")
    definition = yaml.load((Path(folder) / f"crd_{kind}.yaml").read_text(), yaml.CSafeLoader)  # C: they are long
    [version] = [version for version in definition["spec"]["versions"] if version["name"] == "v1"]
    return closed(version["schema"]["openAPIV3Schema"])


def closed(schema: Any) -> Any:
    """The schema with unknown fields refused, as `kubectl create` refuses them; JSON Schema lets them pass."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    if isinstance(made.get("properties"), dict) and made.get("type") == "object":
        if "apiVersion" in made["properties"] and "metadata" in made["properties"]:
            return made  # the whole, whose metadata is Kubernetes' own
        open_ended = made.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in made
        if not open_ended:
            made["additionalProperties"] = False
    return made


@pytest.mark.parametrize(("name", "kind"), [("label.rayjob.yaml", "rayjob"), ("relabel.raycronjob.yaml", "raycronjob")])
def test_kuberay_takes_it(name: str, kind: str) -> None:
    [manifest] = manifests(name)
    schema = published(kind)
    jsonschema.Draft4Validator(schema).validate(manifest)
    template = manifest["spec"].get("jobTemplate", manifest["spec"])
    template["rayClusterSpec"]["workerGroupSpecs"][0]["maxReplica"] = 8  # a slip of the pen is found
    with pytest.raises(jsonschema.ValidationError, match="maxReplica"):
        jsonschema.Draft4Validator(schema).validate(manifest)


def test_the_job_labels_on_the_cluster_made_for_it(spec: dict[str, Any]) -> None:
    verb, options = parse(spec["entrypoint"])
    assert verb == "label" and {name: options[name] for name in LABEL} == LABEL
    assert spec["shutdownAfterJobFinishes"] and spec["ttlSecondsAfterFinished"] > 0 and spec["backoffLimit"] > 0
    cluster = spec["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert f"ray=={cluster['rayVersion']}" in CONSTRAINTS.read_text().split()
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}
    [gpus] = cluster["workerGroupSpecs"]
    assert 0 <= gpus["minReplicas"] <= gpus["replicas"] <= gpus["maxReplicas"]


def relabels(entrypoint: str) -> None:
    """The nightly command brings the run up to date that the first job made, on the cluster made for it."""
    verb, options = parse(entrypoint)
    assert verb == "relabel" and (options["out"], options["address"]) == (LABEL["out"], LABEL["address"])
    assert options["data"] is None and options["keep"] == 7


def test_every_pod_runs_this_version_without_rights_and_sees_the_data(spec: dict[str, Any]) -> None:
    groups = [spec["rayClusterSpec"]["headGroupSpec"], *spec["rayClusterSpec"]["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        [container] = pod["containers"]
        [volume] = pod["volumes"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["restartPolicy"] == "Never"
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        assert container["image"].endswith(f"/irnet-ray:{irnet_ray.__version__}")
        assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/data"}]
        assert volume["persistentVolumeClaim"]["claimName"] == "irnet-data"
    gpus = [group["template"]["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu") for group in groups]
    assert gpus == [None, "1"]


def test_kuberay_s_own_schedule_runs_the_same_job_and_ends_it_in_time(spec: dict[str, Any]) -> None:
    [cron] = manifests("relabel.raycronjob.yaml")
    template = cron["spec"]["jobTemplate"]
    assert template.pop("activeDeadlineSeconds") < 24 * 3600  # it knows no concurrency policy
    relabels(template.pop("entrypoint"))
    assert template == {key: value for key, value in spec.items() if key != "entrypoint"}
    assert "ALPHA" in (JOBS / "relabel.raycronjob.yaml").read_text()


def test_the_cron_job_may_create_and_look_at_ray_jobs_and_nothing_else() -> None:
    account, role, binding, cron = manifests("relabel.cronjob.yaml")
    assert role["rules"] == [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get"]}]
    assert (
        binding["roleRef"]["kind"] == role["kind"] == "Role" and binding["roleRef"]["name"] == role["metadata"]["name"]
    )
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account["metadata"]["name"]}]
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    job = cron["spec"]["jobTemplate"]["spec"]
    assert job["backoffLimit"] == 0  # a second pod would create a second RayJob
    pod = job["template"]["spec"]
    assert pod["serviceAccountName"] == account["metadata"]["name"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["restartPolicy"] == "Never"


def test_the_cron_job_finds_its_script_and_its_manifest() -> None:
    *_, cron = manifests("relabel.cronjob.yaml")
    pod = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    _, script, manifest, entrypoint = container["command"]
    relabels(entrypoint)
    folder, name = script.rsplit("/", 1)
    assert f"COPY jobs/{name} {folder}/" in (JOBS.parent / "Dockerfile").read_text()
    [mount] = container["volumeMounts"]
    [volume] = pod["volumes"]
    assert manifest == f"{mount['mountPath']}/label.rayjob.yaml" and volume["name"] == mount["name"]
    assert f"configmap {volume['configMap']['name']} --from-file=jobs/label.rayjob.yaml" in (
        JOBS / "relabel.cronjob.yaml"
    ).read_text().replace("create ", "")
    assert container["image"].endswith(f"/irnet-ray:{irnet_ray.__version__}")


def test_the_documented_commands_build_and_push_this_version() -> None:
    commands = (JOBS.parent / "docs" / "cluster.md").read_text()
    assert re.findall(r"irnet-ray:(\d[\w.]*)", commands) == [irnet_ray.__version__] * 2


@pytest.mark.parametrize("path", sorted(path for path in JOBS.iterdir() if path.is_file()), ids=lambda path: path.name)
def test_no_secret_is_written_out(path: Path) -> None:
    assert not SECRET.search(path.read_text())
