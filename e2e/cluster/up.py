"""From nothing, or from whatever a killed run left, to a cluster that is ready; and back."""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from e2e.cluster import binaries, engine, full, images, manifests, node_image, prebuilt, rootfs, user_images
from e2e.cluster.kind import Kind, wait_for_deployments, wait_until_established
from e2e.cluster.settings import PROJECT, Settings
from e2e.cluster.work import Missing, Workshop

_NAMESPACES = ("knative-serving", "kourier-system", "kserve", "kube-system", "monitoring")
_GIB = 1024**3
_COLD_BYTES, _WARM_BYTES = 25 * _GIB, 8 * _GIB

USAGE = """
ready: KServe {kserve} on Knative {knative}, Kubernetes {kubernetes}, two nodes

  export KUBECONFIG={kubeconfig}
  export PATH={tools}:$PATH        # kubectl and kind of the same versions

  ingress     http://127.0.0.1:{port}  (and {node}:{port}), the service is chosen by the Host header:
              curl -H 'Host: NAME-predictor.NAMESPACE.example.com' http://127.0.0.1:{port}/v2/models/MODEL
  Prometheus  http://{node}:31090
  models      {models} is /models on every node: point a hostPath PersistentVolume there
  images      make cluster-image DOCKERFILE=… IMAGE=…   builds one and loads it into the nodes
"""


def up(given: Settings, shop: Workshop) -> None:
    """Make the cluster, or bring the one that is there up to date, and say how to use it."""
    engine.check()
    with shop.alone():
        cluster, node = _up(given, shop)
    tools = _tools(given, cluster)
    print(
        USAGE.format(
            kserve=given.kserve, knative=given.knative, kubernetes=given.kubernetes, kubeconfig=given.kubeconfig,
            tools=tools, port=given.ingress_port, node=node, models=given.models,
        )
    )  # fmt: skip


def _up(given: Settings, shop: Workshop) -> tuple[Kind, str]:
    """The cluster, and the address of one of its nodes."""
    cluster = (prebuilt.create if given.source == "prebuilt" else _from_source)(given, shop)
    cluster.offer_gpus()
    copy_models(given, shop)
    tags = user_images.build_all(given, shop)
    with shop.step("images-load") as log:
        cluster.load(tags, log)
        node = next(iter(cluster.addresses(log).values()))
    with shop.step("forget-older") as log:
        shop.forget_older(given.name)
        images.forget_replaced(log)
    return cluster, node


def down(given: Settings, shop: Workshop) -> None:
    """Remove the cluster and everything that belongs to it; the cache stays."""
    if not engine.answers():
        print("cluster: no container engine answers, so no cluster runs", file=sys.stderr)
        return
    cluster_of(given, shop).delete()
    if not list(given.cache.glob("*.kubeconfig")):  # clusters of other names share the models
        shutil.rmtree(given.models, ignore_errors=True)


def cluster_of(given: Settings, shop: Workshop) -> Kind:
    """The cluster by name, with the programs it was made with."""
    if given.source == "prebuilt":
        return Kind(given, shop, *prebuilt.programs())
    made = [
        sorted((given.cache / f"build-{group}").glob("[0-9a-f]" * 16), key=_age) for group in ("tools", "kubernetes")
    ]
    if not all(made):
        found = shutil.which("kind"), shutil.which("kubectl")
        if not all(found):
            raise Missing("there is neither a cluster made by `make cluster` nor a `kind` on PATH")
        return Kind(given, shop, *(Path(str(program)) for program in found))
    return Kind(given, shop, made[0][-1] / "kind", made[1][-1] / "kubectl")


def copy_models(given: Settings, shop: Workshop) -> None:
    """The project's built models, where the nodes see them: a repository of its own for each service, as KServe mounts it."""
    with shop.step("models"):
        source = PROJECT / "model_repo"
        for folder in sorted(path.parent for path in source.glob("*/config.pbtxt")):
            target = given.models / folder.name / folder.name
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder, target, ignore=shutil.ignore_patterns("__pycache__", "profiles", "configs"))
            (target / "1").mkdir(exist_ok=True)  # an ensemble has no files, and git keeps no empty folders


def _tools(given: Settings, cluster: Kind) -> Path:
    """A folder for PATH that keeps its name when versions change."""
    folder = given.cache / "bin"
    folder.mkdir(exist_ok=True)
    for program in (cluster.kind, cluster.program):
        link = folder / program.name
        link.unlink(missing_ok=True)
        link.symlink_to(program)
    return folder


def _from_source(given: Settings, shop: Workshop) -> Kind:
    _check_disk(given)
    # Debian packages come over the network while the compiler has the processor.
    with ThreadPoolExecutor(1) as beside:
        systems = [beside.submit(rootfs.build, given, shop, name) for name in rootfs.PACKAGES]
        programs = binaries.build(given, shop)
        for each in systems:
            each.result()
    inside = images.system_images(given, shop, programs)
    inside.append(images.storage_initializer(given, shop, programs.graph))
    node_image.build(given, shop, programs, inside)
    applied = manifests.build(given, shop, programs)
    cluster = Kind(given, shop, programs["kind"], programs["kubectl"])
    more = full.system_images(shop, full.build(given, shop, programs.graph)) if given.which == "full" else []
    cluster.ensure(given.node_image)
    if more:
        with shop.step("images-full-load") as log:
            cluster.load(more, log)
    _install(cluster, applied)
    return cluster


def _install(cluster: Kind, folder: Path) -> None:
    with cluster.shop.step("install") as log:
        apply = ("apply", "--server-side", "--force-conflicts", "-f")
        cluster.kubectl(log, *apply, folder / manifests.DEFINITIONS)
        wait_until_established(cluster, log)
        for file in sorted(folder.glob("*.yaml")):
            if file.name != manifests.DEFINITIONS:
                cluster.kubectl(log, *apply, file)
    with cluster.shop.step("ready") as log:
        wait_for_deployments(cluster, _NAMESPACES, log)
        if cluster.given.which == "full":
            full.wait_ready(cluster, log)


def _check_disk(given: Settings) -> None:
    """Raise Missing where the disk will not do."""
    given.cache.mkdir(parents=True, exist_ok=True)
    warm = images.label(given.node_image) != ""
    needed = _WARM_BYTES if warm else _COLD_BYTES
    if (free := shutil.disk_usage(given.cache).free) < needed:
        raise Missing(
            f"{given.cache}: {free / _GIB:.0f} GiB are free, {needed / _GIB:.0f} are needed. Free some, or move the cache "
            "with KSERVE_EXT_CACHE; `rm -rf` of its folder `go` frees what only compiling needs"
        )


def _age(folder: Path) -> float:
    return folder.stat().st_mtime
