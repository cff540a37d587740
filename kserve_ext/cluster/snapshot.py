"""Everything of one InferenceService at one moment, as the API server returned it, and plain questions to it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from kserve_ext.cluster.objects import Object, dig, entries

PREDICTOR = "predictor"
_KNATIVE = ("Knative", "Serverless")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """An InferenceService with what it brought about. An empty mapping is an object that is not there."""

    service: Object
    knative_service: Object
    deployment: Object  # Standard mode's; Knative's stand in no one's way
    revisions: tuple[Object, ...] = ()
    autoscalers: tuple[Object, ...] = ()  # Knative's PodAutoscalers
    pods: tuple[Object, ...] = ()
    horizontal: tuple[Object, ...] = ()  # HorizontalPodAutoscalers of the namespace
    recommender: Object = field(default_factory=dict)  # the VerticalPodAutoscaler that was applied with it
    events: tuple[Object, ...] = ()  # of these objects, the oldest first
    taken_at: str = ""  # ISO 8601, the API server's clock

    @property
    def name(self) -> str:
        return str(self.service["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.service["metadata"]["namespace"])

    @property
    def knative(self) -> bool:
        """Whether it runs in Knative mode; as it is, else as it asks to."""
        mode = dig(self.service, "status", "deploymentMode")
        asked = dig(self.service, "metadata", "annotations", "serving.kserve.io/deploymentMode")
        return (mode or asked) in _KNATIVE or (not (mode or asked) and bool(self.knative_service))

    @property
    def child(self) -> Object:
        """What KServe makes of the predictor: a Knative Service, or a Deployment."""
        return self.knative_service if self.knative else self.deployment

    @property
    def latest_revision(self) -> str:
        return str(dig(self.knative_service, "status", "latestCreatedRevisionName") or "")


def condition(found: Object, kind: str) -> Object:
    """One condition of an object's status; empty where it has none of this type."""
    return next((one for one in entries(found, "status", "conditions") if one.get("type") == kind), {})


def is_true(found: Object, kind: str) -> bool:
    return condition(found, kind).get("status") == "True"


def generation(found: Object) -> int:
    return int(dig(found, "metadata", "generation") or 0)


def observed(found: Object) -> bool:
    """Whether the controller of an object has seen its present spec."""
    return int(dig(found, "status", "observedGeneration") or 0) >= generation(found)


def serving_pods(found: Snapshot) -> tuple[Object, ...]:
    """Pods that are there to stay: ready ones and starting ones, not those being deleted (they stay Ready for 30 s)."""
    return tuple(pod for pod in found.pods if not dig(pod, "metadata", "deletionTimestamp"))


def ready_pods(found: Snapshot) -> tuple[Object, ...]:
    """Pods that answer requests: ready, and in Knative mode of a Revision that traffic goes to. One that has just been
    replaced keeps its pods for a minute, without requests.
    """
    ready = tuple(pod for pod in serving_pods(found) if is_true(pod, "Ready"))
    shares = entries(found.knative_service, "status", "traffic")
    served = {one.get("revisionName") for one in shares if one.get("percent")}
    if not found.knative or not served:
        return ready
    return tuple(pod for pod in ready if dig(pod, "metadata", "labels", "serving.knative.dev/revision") in served)


def event_time_s(event: Object) -> float:
    """When an event was last seen, in seconds since 1970; 0 where it does not say."""
    for stamp in (
        dig(event, "series", "lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        dig(event, "metadata", "creationTimestamp"),
    ):
        if stamp:
            return time_s(str(stamp))
    return 0.0


def time_s(stamp: str) -> float:
    """Seconds since 1970 of a time as the API server writes it; 0 for what is none."""
    try:
        return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0


def container_states(pod: Object) -> Iterator[tuple[str, Object]]:
    """Name and status of each container of a pod, those that prepare it first."""
    for kind in ("initContainerStatuses", "containerStatuses"):
        for status in entries(pod, "status", kind):
            yield str(status.get("name", "")), status
