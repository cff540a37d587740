"""What a fleet plan leaves on disk beside manifests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from factories import SMALL, intent, profile, stage_profile

from kserve_ext.errors import ManifestError
from kserve_ext.fleets import node_files, plan_text, read_places
from kserve_ext.policy import plan
from kserve_ext.policy.fleet import Fleet, FleetPlan, Wanted, plan_fleet, read_fleet

FLEET = "pools:\n- {name: gpu, gpu: a100-80gb, dra: true}\n"


def planned(*hardware: str) -> tuple[FleetPlan, Fleet]:
    fleet = read_fleet(FLEET, "fleet.yaml")
    wanted = [
        Wanted(
            intent=replace(intent(hardware=(kind,), high_rps=50.0), name=f"s{index}"),
            profiles={kind: profile(stage_profile(), hardware=kind)},
        )
        for index, kind in enumerate(hardware)
    ]
    return plan_fleet(wanted, fleet, plan, settings=SMALL), fleet


def test_nodes_cut_in_our_own_way_get_a_config_map_for_mig_parted_and_dra_its_device_classes() -> None:
    files = node_files(*planned("a100-1g.10gb", "a100-3g.40gb"))
    config = yaml.safe_load(yaml.safe_load(files["mig-parted.yaml"])["data"]["config.yaml"])
    ((entry,),) = config["mig-configs"].values()
    assert entry == {"devices": [0], "mig-enabled": True, "mig-devices": {"1g.10gb": 1, "3g.40gb": 1}}
    names = [each["metadata"]["name"] for each in yaml.safe_load_all(files["device-classes.yaml"])]
    assert names == ["nvidia.com-mig-1g.10gb", "nvidia.com-mig-3g.40gb"]


def test_a_plan_that_was_written_is_read_as_what_runs(tmp_path: Path) -> None:
    decided, _ = planned("a100-1g.10gb")
    (tmp_path / "plan.json").write_text(plan_text(decided))
    assert read_places(tmp_path / "plan.json") == decided.places


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"places": [{}]}',
        '{"places": [{"service": 1, "kind": "", "node": "", "gpu": "", "start": 0}]}',
    ],
)
def test_a_file_that_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ManifestError, match=r"plan\.json"):
        read_places(tmp_path / "plan.json")
