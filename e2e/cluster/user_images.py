"""Images of the project's own Dockerfiles: Triton's runtime, predictors, operator; built here and put into the nodes."""

from __future__ import annotations

import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from e2e.cluster import images
from e2e.cluster.settings import PROJECT, Settings
from e2e.cluster.work import Missing, Workshop, digest_of, key_of

_VERSION = "0.1.0"
TRITON = f"kserve-ext-triton:{_VERSION}"
# The name under which our ServingRuntimes ask for Triton; where it cannot be pulled, ours stands in, and manifests are
# applied as they are.
_TRITON_ELSEWHERE = "nvcr.io/nvidia/tritonserver:25.08-py3"


def dockerfiles() -> dict[str, Path]:
    """Dockerfile by image: Triton's runtime, every predictor that has one, and what `manifests` runs itself."""
    found = (*PROJECT.glob("predictors/*/Dockerfile"), *PROJECT.glob("manifests/*/Dockerfile"))
    named = {f"kserve-ext-{file.parent.name}:{_VERSION}": file for file in sorted(found)}
    return {TRITON: PROJECT / "runtimes" / "triton" / "Dockerfile", **named}


def build_all(given: Settings, shop: Workshop) -> list[str]:
    """All of them; the names to load."""
    with ThreadPoolExecutor(2) as side_by_side:  # one waits for the network while the other computes
        building = [side_by_side.submit(build, given, shop, file, tag) for tag, file in dockerfiles().items()]
        tags = [each.result() for each in building]
    if given.source == "from-source":
        with shop.quietly("image-tag") as log:
            log.run("docker", "tag", TRITON, _TRITON_ELSEWHERE)
        tags.append(_TRITON_ELSEWHERE)
    return tags


def build(given: Settings, shop: Workshop, dockerfile: Path, tag: str) -> str:
    """Build one image from a Dockerfile of the project, unless nothing in it has changed; its name.

    The context is what git knows of the project, so that neither caches nor models reach the engine. pip inside reaches
    the network as this machine does.
    """
    if not dockerfile.is_file():
        raise Missing(f"{dockerfile}: there is no such Dockerfile")
    base = images.python_base(given, shop) if given.source == "from-source" else ""
    files = context_files(dockerfile)
    key = key_of([base, str(dockerfile.relative_to(PROJECT)), digest_of(*files)])
    with shop.step(f"image-{tag.split(':')[0].rsplit('/', 1)[-1]}") as log:
        if images.label(tag) != key:
            with tempfile.TemporaryDirectory(prefix="kserve-ext-context-") as folder:
                _copy(files, Path(folder))
                options = ("--network=host", "--file", str(Path(folder) / dockerfile.relative_to(PROJECT)))
                images.docker_build(log, Path(folder), tag, key, *options)
        log.say(f"{tag} is {images.digest(tag)}")
    return tag


def context_files(dockerfile: Path) -> list[Path]:
    """What the COPY lines of a Dockerfile take from the project: files that git tracks or would track."""
    sources = [
        word
        for line in dockerfile.read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
        if not word.startswith("--")
    ]
    listed = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *sources)
    found = subprocess.run(listed, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [dockerfile, *(PROJECT / name for name in sorted(found) if (PROJECT / name).is_file())]


def _copy(files: list[Path], folder: Path) -> None:
    for file in files:
        target = folder / file.relative_to(PROJECT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
        target.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
