"""What `ray up` is given, as Ray's launcher reads and checks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.jobs.commands import SECRET

ROOT = Path(__file__).resolve().parents[2]
FILES = ["cluster.yaml", "cluster-onprem.yaml"]


def prepared(name: str) -> dict[str, Any]:
    config: dict[str, Any] = prepare_config(yaml.safe_load((ROOT / name).read_text()))
    validate_config(config)
    return config


@pytest.mark.parametrize("name", FILES)
def test_nodes_start_with_the_token_and_the_dashboard_on_loopback(name: str) -> None:
    config = prepared(name)
    [head] = [line for line in config["head_start_ray_commands"] if "ray start" in line]
    [worker] = [line for line in config["worker_start_ray_commands"] if "ray start" in line]
    assert all("RAY_AUTH_MODE=token" in line for line in (head, worker))
    assert "--head" in head and "--dashboard-host=127.0.0.1" in head and "0.0.0.0" not in head
    assert "--address=$RAY_HEAD_IP:6379" in worker
    home = f"/home/{config['auth']['ssh_user']}"
    assert config["file_mounts"] == {f"{home}/irnet-ray": ".", f"{home}/.ray/auth_token": "~/.ray/auth_token"}


@pytest.mark.parametrize("name", FILES)
def test_set_up_installs_the_mounted_checkout_at_tested_versions(name: str) -> None:
    [install] = [line for line in prepared(name)["setup_commands"] if "irnet-ray[lite]" in line]
    assert install.endswith('pip install -q -c ~/irnet-ray/constraints.txt "$HOME/irnet-ray[lite]"')


@pytest.mark.parametrize("name", FILES)
def test_no_secret_is_written_out(name: str) -> None:
    assert not SECRET.search((ROOT / name).read_text())


def test_the_head_on_aws_offers_nothing_and_gpus_come_and_go() -> None:
    config = prepared("cluster.yaml")
    types = config["available_node_types"]
    head = types.pop(config["head_node_type"])
    assert head["resources"] == {"CPU": 0, "GPU": 0}
    assert "InstanceMarketOptions" not in head["node_config"]  # a head taken back is the whole cluster taken back
    assert {(kind["min_workers"], kind["max_workers"]) for kind in types.values()} == {(0, config["max_workers"])}
    assert config["idle_timeout_minutes"] == 15


def test_spot_goes_first_and_on_demand_can_stand_in_for_it() -> None:
    types = prepared("cluster.yaml")["available_node_types"]
    spot, fallback = types["gpu-spot"], types["gpu-on-demand"]
    assert spot["node_config"].pop("InstanceMarketOptions") == {"MarketType": "spot"}
    assert spot.pop("priority") > fallback.pop("priority")
    # Alike in all else: the autoscaler compares them by priority only where they fit a demand equally well.
    assert spot == fallback


def test_every_machine_one_has_joins_and_its_head_offers_nothing() -> None:
    config = prepared("cluster-onprem.yaml")
    [kind] = config["available_node_types"].values()
    assert kind["min_workers"] == kind["max_workers"] == len(config["provider"]["worker_ips"]) == config["max_workers"]
    assert config["provider"]["head_ip"] not in config["provider"]["worker_ips"]
    head, worker = config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]
    assert "--num-cpus=0 --num-gpus=0" in head and "--num-cpus" not in worker
