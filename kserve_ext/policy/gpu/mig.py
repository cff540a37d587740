"""How NVIDIA's GPUs can be cut: MIG profiles with memory, compute and the places at which each may start.

Names and counts: NVIDIA MIG User Guide r580, "Supported MIG Profiles". Usable GiB and SMs: `nvidia-smi mig -lgip` as
published with go-nvml (a30.go, a100.go), mig-parted (#101 H100 NVL, #120 H200, #166 and #187 B200) and gpu-operator
(#1303 GB200). Places: `nvidia-smi mig -lgipp` as in go-nvml's a100.go. None = not published; nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

GIB = 2.0**30
MEDIA = "+me"  # suffix of the twin that also gets the media engines, of which a GPU has one set


@dataclass(frozen=True, slots=True, kw_only=True)
class MigProfile:
    """One way to cut a slice. `starts` are memory slices at which it may begin, `memory` how many of them it takes."""

    name: str  # 1g.10gb
    compute: int
    memory: int
    starts: tuple[int, ...]
    usable_gib: float | None
    sms: int | None

    @property
    def usable_bytes(self) -> float | None:
        return None if self.usable_gib is None else self.usable_gib * GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuModel:
    """One GPU on the market. `products` are beginnings of the node label nvidia.com/gpu.product."""

    key: str  # a100-80gb
    family: str  # a100
    memory_gib: float
    profiles: tuple[MigProfile, ...] = ()
    memory_slices: int = 8
    compute_slices: int = 7
    products: tuple[str, ...] = ()
    gke: str = ""  # value of the node label cloud.google.com/gke-accelerator
    by_name: dict[str, MigProfile] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {profile.name: profile for profile in self.profiles})

    def profile(self, name: str) -> MigProfile | None:
        """The profile of this name, `+me` or not: a twin with media engines has the same size and places."""
        return self.by_name.get(name.removesuffix(MEDIA))


# Places by (compute, memory slices), the same on every GPU with 8 memory slices.
_PLACES = {
    (1, 1): (0, 1, 2, 3, 4, 5, 6), (1, 2): (0, 2, 4, 6), (2, 2): (0, 2, 4), (3, 4): (0, 4), (4, 4): (0,), (7, 8): (0,),
}  # fmt: skip
_A30_PLACES = {(1, 1): (0, 1, 2, 3), (2, 2): (0, 2), (4, 4): (0,)}
_SEVENTHS = ((1, 1), (1, 2), (2, 2), (3, 4), (4, 4), (7, 8))
_Row = tuple[int, float | None, int | None]  # GB in the name, usable GiB, SMs


def _cut(rows: tuple[_Row, ...], sizes: tuple[tuple[int, int], ...] = _SEVENTHS) -> tuple[MigProfile, ...]:
    places = _A30_PLACES if sizes is not _SEVENTHS and sizes[-1] == (4, 4) else _PLACES
    return tuple(
        MigProfile(name=f"{compute}g.{gb}gb", compute=compute, memory=memory, starts=places[compute, memory],
                   usable_gib=usable_gib, sms=sms)
        for (compute, memory), (gb, usable_gib, sms) in zip(sizes, rows, strict=True)
    )  # fmt: skip


MODELS: tuple[GpuModel, ...] = (
    GpuModel(
        key="a30", family="a30", memory_gib=24, memory_slices=4, compute_slices=4, products=("NVIDIA-A30",),
        profiles=_cut(((6, 5.7, 14), (12, 11.4, 28), (24, 22.8, 56)), ((1, 1), (2, 2), (4, 4))),
    ),
    GpuModel(
        key="a100-40gb", family="a100", memory_gib=40, gke="nvidia-tesla-a100",
        products=("NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-PCIE-40GB", "A100-SXM4-40GB", "A100-PCIE-40GB"),
        profiles=_cut(
            ((5, 4.75, 14), (10, 9.6, 14), (10, 9.6, 28), (20, 19.5, 42), (20, 19.5, 56), (40, 39.25, 98))
        ),
    ),
    GpuModel(
        key="a100-80gb", family="a100", memory_gib=80, gke="nvidia-a100-80gb",
        products=("NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-PCIE-80GB", "NVIDIA-A100-80GB-PCIe", "A100-SXM4-80GB"),
        profiles=_cut(
            ((10, 9.5, 14), (20, 19.5, 14), (20, 19.5, 28), (40, 39.25, 42), (40, 39.25, 56), (80, 78.75, 98))
        ),
    ),
    GpuModel(
        key="h100-80gb", family="h100", memory_gib=80, gke="nvidia-h100-80gb",
        products=("NVIDIA-H100-80GB", "NVIDIA-H100-PCIe", "NVIDIA-H100-SXM5-80GB"),
        profiles=_cut(
            ((10, 9.75, 16), (20, 19.62, 26), (20, 19.62, 32), (40, 39.5, 60), (40, 39.5, 64), (80, 79.25, 132))
        ),
    ),
    GpuModel(
        key="h100-94gb", family="h100", memory_gib=94, products=("NVIDIA-H100-NVL",),
        profiles=_cut(
            ((12, 10.75, 16), (24, 21.62, 26), (24, 21.62, 32), (47, 46.38, None), (47, None, None), (94, None, 132))
        ),
    ),
    GpuModel(
        key="h100-96gb", family="h100", memory_gib=96, products=("NVIDIA-GH200-480GB", "NVIDIA-GH200"),
        profiles=_cut(
            ((12, None, None), (24, None, None), (24, None, None), (48, None, None), (48, None, None), (96, None, None))
        ),
    ),
    GpuModel(
        key="h200", family="h200", memory_gib=141, products=("NVIDIA-H200",), gke="nvidia-h200-141gb",
        profiles=_cut(
            ((18, 16.0, 16), (35, 32.25, 26), (35, 32.25, 32), (71, 69.5, 60), (71, 69.5, 64), (141, None, None))
        ),
    ),
    GpuModel(
        key="b200", family="b200", memory_gib=180, products=("NVIDIA-B200",), gke="nvidia-b200",
        profiles=_cut(
            ((23, 20.5, 18), (45, 44.25, 30), (45, 44.25, 36), (90, None, None), (90, None, None), (180, None, None))
        ),
    ),
    GpuModel(
        key="gb200", family="gb200", memory_gib=186, products=("NVIDIA-GB200",),
        profiles=_cut(((24, 20.0, 18), (47, 45.5, 32), (47, 45.5, 38)), ((1, 1), (1, 2), (2, 2))),
    ),
    GpuModel(key="t4", family="t4", memory_gib=16, products=("Tesla-T4", "NVIDIA-T4"), gke="nvidia-tesla-t4"),
    GpuModel(key="a10", family="a10", memory_gib=24, products=("NVIDIA-A10",)),
    GpuModel(key="l4", family="l4", memory_gib=24, products=("NVIDIA-L4",), gke="nvidia-l4"),
    GpuModel(key="l40s", family="l40s", memory_gib=48, products=("NVIDIA-L40S",)),
)  # fmt: skip

BY_KEY = {model.key: model for model in MODELS}


def find_model(label: str) -> GpuModel | None:
    """The GPU a node label names: nvidia.com/gpu.product (sharing and MIG suffixes allowed) or GKE's accelerator."""
    by_length = sorted(
        ((product, model) for model in MODELS for product in model.products),
        key=lambda pair: -len(pair[0]),
    )
    named = next((model for product, model in by_length if label == product or label.startswith(product + "-")), None)
    return named or next((model for model in MODELS if model.gke and model.gke == label), None)
