"""Create a RayJob in the pod's own namespace and wait for its end: create_rayjob.py label.rayjob.yaml [ENTRYPOINT]

relabel.cronjob.yaml runs it. ENTRYPOINT, if given, replaces the manifest's. The pod lives as long as the RayJob,
because `concurrencyPolicy` only looks at the pod.
Exit code 0 if the job succeeded, else 1.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
POLL_SECONDS = 30.0


def call(server: str, account: Path, path: str, body: Any = None) -> Any:
    """One request to the API server as the pod's service account: GET, or POST of a body."""
    request = urllib.request.Request(f"{server}{path}", None if body is None else json.dumps(body).encode())
    # The token is read each time, because Kubernetes renews it.
    request.add_header("Authorization", f"Bearer {(account / 'token').read_text()}")
    request.add_header("Content-Type", "application/json")
    context = ssl.create_default_context(cafile=account / "ca.crt") if server.startswith("https") else None
    with urllib.request.urlopen(request, timeout=30, context=context) as answer:
        return json.load(answer)


def run(
    manifest: Path, server: str, entrypoint: str | None = None, account: Path = ACCOUNT, poll: float = POLL_SECONDS
) -> int:
    """Create the RayJob of a manifest under a new name, wait until it is over, return the exit code."""
    job = yaml.safe_load(manifest.read_text())
    if entrypoint is not None:
        job["spec"]["entrypoint"] = entrypoint
    job["metadata"]["generateName"] = job["metadata"].pop("name") + "-"
    jobs = f"/apis/{job['apiVersion']}/namespaces/{(account / 'namespace').read_text()}/rayjobs"
    name = call(server, account, jobs, job)["metadata"]["name"]
    print(f"created {name}", flush=True)
    said = None
    while True:
        try:
            status = call(server, account, f"{jobs}/{name}").get("status", {})
        except urllib.error.HTTPError as error:
            if error.code == 404:
                print(f"{name} was deleted", flush=True)
                return 1
            status = {}
        except OSError:  # the API server is away for a moment
            status = {}
        state = (status.get("jobDeploymentStatus"), status.get("jobStatus"))
        if status and state != said:
            print(f"{name}: {' '.join(word for word in state if word)} {status.get('message', '')}", flush=True)
            said = state
        if state[0] in ("Complete", "Failed"):
            return 0 if state == ("Complete", "SUCCEEDED") else 1
        time.sleep(poll)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    sys.exit(run(Path(sys.argv[1]), f"https://{f'[{host}]' if ':' in host else host}:{port}", *sys.argv[2:]))
