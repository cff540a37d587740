"""What the pods of a service have logged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kserve_ext.cluster.api import Cluster
from kserve_ext.cluster.objects import Object, dig, entries
from kserve_ext.errors import RejectedError


def containers_of(pods: Sequence[Object]) -> tuple[str, ...]:
    """The names of all containers, those that prepare a pod too."""
    names = [
        str(one["name"])
        for pod in pods
        for kind in ("initContainers", "containers")
        for one in entries(pod, "spec", kind)
    ]
    return tuple(dict.fromkeys(names))


def read_logs(
    cluster: Cluster, pods: Sequence[Object], container: str, *, tail: int | None, previous: bool, follow: bool
) -> Iterator[str]:
    """The lines with the pod's name before each; one pod after another, so `follow` stays at the first."""
    for pod in pods:
        name, namespace = str(dig(pod, "metadata", "name")), str(dig(pod, "metadata", "namespace"))
        try:
            for line in cluster.log_lines(name, namespace, container, tail=tail, previous=previous, follow=follow):
                yield f"{name}: {line}"
        except RejectedError as error:  # a container that has not started, or has not ended before
            yield f"{name}: ({error.message.rpartition('refused: ')[2]})"
