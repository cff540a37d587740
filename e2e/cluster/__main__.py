"""The command line behind `make cluster`, `make cluster-down`, `make cluster-host` and `make cluster-image`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from e2e.cluster import engine, up, user_images
from e2e.cluster.settings import VARIABLES, Settings, SettingsError, settings
from e2e.cluster.work import Missing, StepError, Workshop

_EPILOG = """\
variables, with what they are now:
{variables}

  KSERVE_EXT_CACHE moves the cache (now {cache}).

SOURCE=from-source compiles Kubernetes, Knative, KServe and the rest from Go modules and makes the images from Debian
packages and PyPI wheels: for machines that reach no image registry. SOURCE=prebuilt takes kind's node image, the
published manifests and the images they name; it needs those registries, `kind` and `kubectl` on PATH.
SET=full adds the Gateway API with Envoy Gateway, KEDA, the VPA recommender, and kube-router for network policies.

examples:
  sudo make cluster-host && make cluster
  make cluster SET=full GPUS=8 MIG_SLICES=4
  make cluster-image DOCKERFILE=predictors/router/Dockerfile IMAGE=kserve-ext-router:0.1.0

exit codes: 0 done, 2 a variable or argument is wrong, 4 something is missing on this machine or a step failed
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code."""
    try:
        given = settings()
        options = _parser(given).parse_args(arguments)
        shop = Workshop(cache=given.cache)
        options.run(given, shop, options)
    except SettingsError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 2
    except (Missing, StepError, TimeoutError) as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        print("cluster: interrupted; the next run goes on from here", file=sys.stderr)
        return 130
    return 0


def _parser(given: Settings) -> argparse.ArgumentParser:
    variables = "\n".join(f"  {name:<20} {getattr(given, field) or '-'}" for name, field in VARIABLES.items())
    parser = argparse.ArgumentParser(
        prog="python -m e2e.cluster",
        description="A kind cluster with Knative Serving, Kourier, KServe, metrics-server and Prometheus.",
        epilog=_EPILOG.format(variables=variables, cache=given.cache),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    host = commands.add_parser("host", help="install Debian's container engine and start it (root)")
    host.add_argument("--stop", action="store_true", help="end the engine that this command started")
    host.set_defaults(run=_host)
    commands.add_parser("up", help="make the cluster, or bring it up to date").set_defaults(run=_up)
    commands.add_parser("down", help="remove the cluster; the cache stays").set_defaults(run=_down)
    image = commands.add_parser(
        "image", help="build an image from a Dockerfile of the project and load it into the nodes"
    )
    image.add_argument("dockerfile", type=Path, metavar="DOCKERFILE", help="such as predictors/router/Dockerfile")
    image.add_argument("tag", metavar="IMAGE", help="its name, such as kserve-ext-router:0.1.0")
    image.set_defaults(run=_image)
    load = commands.add_parser("load", help="load images that the engine has into the nodes")
    load.add_argument("tags", nargs="+", metavar="IMAGE")
    load.set_defaults(run=_load)
    commands.add_parser("models", help="copy model_repo/ to where the nodes see it").set_defaults(run=_models)
    return parser


def _host(given: Settings, shop: Workshop, options: argparse.Namespace) -> None:
    if options.stop:
        engine.stop(given, shop)
    else:
        engine.install_and_start(given, shop)


def _up(given: Settings, shop: Workshop, options: argparse.Namespace) -> None:
    up.up(given, shop)


def _down(given: Settings, shop: Workshop, options: argparse.Namespace) -> None:
    up.down(given, shop)


def _image(given: Settings, shop: Workshop, options: argparse.Namespace) -> None:
    engine.check()
    options.tags = [user_images.build(given, shop, options.dockerfile.absolute(), options.tag)]
    _load(given, shop, options)


def _load(given: Settings, shop: Workshop, options: argparse.Namespace) -> None:
    engine.check()
    with shop.step("images-load") as log:
        digests = up.cluster_of(given, shop).load(options.tags, log)
    for tag in options.tags:
        print(f"{tag} {digests[tag]}")


def _models(given: Settings, shop: Workshop, options: argparse.Namespace) -> None:
    up.copy_models(given, shop)


if __name__ == "__main__":
    sys.exit(main())
