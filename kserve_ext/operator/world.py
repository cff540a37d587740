"""What the operator knows of the cluster: one watch for each kind, and the plans of the services found there."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from kserve_ext.cluster.api import Cluster
from kserve_ext.cluster.objects import Ref, dig
from kserve_ext.domain import Plan
from kserve_ext.errors import KserveExtError, ProfileError
from kserve_ext.lint.facts import ClusterFacts
from kserve_ext.observe.readings import Key
from kserve_ext.operator.events import Events
from kserve_ext.operator.facts import SETTINGS, cluster_facts, kept_node
from kserve_ext.operator.filled import as_written
from kserve_ext.operator.floors import SERVICE_LABEL, kept_autoscaler, kept_revision, start_s
from kserve_ext.operator.guard import REVISION
from kserve_ext.operator.learned import LABEL as LEARNED
from kserve_ext.operator.learned import InForce, Learned, in_force, name_of, read_learned
from kserve_ext.operator.models import LABEL, Models, read_model
from kserve_ext.operator.planner import Answer, Planner, named
from kserve_ext.operator.review import Asked, service_of
from kserve_ext.operator.services import Operated, is_asked_for, left_over, left_to_fill, objects_of, operated
from kserve_ext.operator.store import Kind, Object, Store, key_of

log = logging.getLogger(__name__)

SERVICE = ("serving.kserve.io/v1beta1", "InferenceService")
_AGAIN_S = (2.0, 10.0, 60.0, 300.0)


class World:
    """Watches, and a thread that keeps what belongs to each service as its plan says. Writes only while `leads` is set."""

    def __init__(
        self, cluster: Cluster, planner: Planner, *, own_namespace: str, repository: Path | None, leads: threading.Event
    ) -> None:  # fmt: skip
        self._cluster, self._planner, self._leads = cluster, planner, leads
        self._own_namespace, self._repository, self._events = own_namespace, repository, Events(cluster)
        self._work: queue.Queue[Key] = queue.Queue()
        self._queued: set[Key] = set()
        self._lock = threading.Lock()
        self._operated: dict[Key, Operated] = {}
        self._settled: set[Key] = set()
        self._applied: dict[Key, str] = {}
        self._failed: dict[Key, int] = {}
        self._models: Models | None = None
        label = {"labels": SERVICE_LABEL}
        self.services = Store(cluster, Kind(api_version=SERVICE[0], kind=SERVICE[1], keep=_kept_service), self.look)
        self.revision_store = Store(
            cluster, Kind(api_version=REVISION[0], kind=REVISION[1], keep=kept_revision, **label)
        )
        self.autoscalers = Store(
            cluster,
            Kind(
                api_version="autoscaling.internal.knative.dev/v1alpha1",
                kind="PodAutoscaler",
                keep=kept_autoscaler,
                **label,
            ),
        )
        self.pod_store = Store(cluster, Kind(api_version="v1", kind="Pod", keep=_kept_pod, **label))
        self.nodes = Store(cluster, Kind(api_version="v1", kind="Node", keep=kept_node))
        self.quotas = Store(cluster, Kind(api_version="v1", kind="ResourceQuota"))
        self.model_store = Store(
            cluster, Kind(api_version="v1", kind="ConfigMap", labels=LABEL, keep=_kept_model), self._model_changed
        )
        self.learned_store = Store(
            cluster,
            Kind(api_version="v1", kind="ConfigMap", labels=LEARNED, keep=_kept_learned),
            lambda key: self.look((key[0], key[1].removesuffix(name_of("")))),
        )
        self._settings: tuple[Object, ...] = ()

    @property
    def _stores(self) -> tuple[Store, ...]:
        return (
            self.services,
            self.revision_store,
            self.autoscalers,
            self.pod_store,
            self.nodes,
            self.quotas,
            self.model_store,
            self.learned_store,
        )

    def start(self) -> None:
        """Begin to watch and to work."""
        self._read_settings()
        for store in self._stores:
            store.start()
        threading.Thread(target=self._run, name="services", daemon=True).start()

    def ready(self) -> bool:
        """Whether admission has what it needs."""
        return self.model_store.listed.is_set() and self.nodes.listed.is_set()

    def complete(self) -> bool:
        """Whether everything has been listed and is followed: on what may have changed meanwhile nothing is decided."""
        return all(store.current.is_set() for store in self._stores)

    # ------------------------------------------------------------------------------------------- for admission

    def models(self) -> Models:
        """Every model known now."""
        if self._models is None:
            known = {(one["metadata"]["namespace"], one["label"]): one["model"] for one in self.model_store.all()}
            self._models = Models(known=known, shared=self._own_namespace, repository=self._repository)
        return self._models

    def facts(self) -> ClusterFacts | None:
        """What the linter may know."""
        if not self.nodes.listed.is_set():
            return None
        return cluster_facts(self.nodes.all(), self.quotas.all(), self._settings)

    def _read_settings(self) -> None:
        """Knative's and KServe's settings: read once, they ask for restarts of their own when they change."""
        places = [("knative-serving", name) for name in SETTINGS[:-1]] + [("kserve", SETTINGS[-1])]
        refs = [Ref(api_version="v1", kind="ConfigMap", namespace=namespace, name=name) for namespace, name in places]
        self._settings = tuple(found for ref in refs if (found := self._cluster.get(ref)) is not None)

    # ------------------------------------------------------------------------------------------- for the loop

    def operated(self) -> Mapping[Key, Operated]:
        """The services that are to have a floor."""
        return {key: one for key, one in self.planned().items() if one.floored}

    def pending(self) -> frozenset[Key]:
        """Services that ask for a plan, and of which is not known yet what it is."""
        with self._lock:
            settled = set(self._settled)
        return frozenset(key_of(found) for found in self.services.all() if is_asked_for(found)) - settled

    def planned(self) -> Mapping[Key, Operated]:
        """Every service with a plan."""
        with self._lock:
            return dict(self._operated)

    def learned(self, key: Key) -> Learned | None:
        """What was learned of a service."""
        found = self.learned_store.get((key[0], name_of(key[1])))
        return None if found is None else found["learned"]

    def in_force(self, found: Object) -> InForce:
        """What a service is planned with beside its profile."""
        return in_force(found, self.learned(key_of(found)))

    def service(self, key: Key) -> Object | None:
        return self.services.get(key)

    def revision(self, namespace: str, name: str) -> Object | None:
        return self.revision_store.get((namespace, name))

    def revisions(self) -> tuple[Object, ...]:
        return self.revision_store.all()

    def autoscaler(self, namespace: str, name: str) -> Object | None:
        return self.autoscalers.get((namespace, name))

    def pods_by_service(self) -> Mapping[Key, tuple[tuple[str, str], ...]]:
        """Running pods as (name, address)."""
        found: dict[Key, list[tuple[str, str]]] = {}
        for pod in self.pod_store.all():
            if pod["address"]:
                key = (pod["metadata"]["namespace"], pod["service"])
                found.setdefault(key, []).append((pod["metadata"]["name"], pod["address"]))
        return {key: tuple(sorted(pods)) for key, pods in found.items()}

    def starts_by_service(self) -> Mapping[Key, Mapping[str, float]]:
        """Seconds from made to ready of the pods that are ready for the first time, by their names."""
        found: dict[Key, dict[str, float]] = {}
        for pod in self.pod_store.all():
            if pod["start_s"] is not None:
                found.setdefault((pod["metadata"]["namespace"], pod["service"]), {})[pod["metadata"]["name"]] = pod[
                    "start_s"
                ]
        return found

    # ------------------------------------------------------------------------------------------- plans of services

    def look(self, key: Key) -> None:
        """Have a look at a service soon."""
        with self._lock:
            if key not in self._queued:
                self._queued.add(key)
                self._work.put(key)

    def look_at_all(self) -> None:
        """Have a look at every service: there is a new leader, or another model."""
        for key in self.services.known():
            self.look(key)

    def _model_changed(self, key: Key) -> None:
        self._models = None
        self.look_at_all()

    def _run(self) -> None:
        self.model_store.listed.wait()
        while True:
            key = self._work.get()
            with self._lock:
                self._queued.discard(key)
            try:
                self._treat(key)
                self._failed.pop(key, None)
            except Exception as error:  # the top of a thread: one service must not stop the others
                count = self._failed[key] = self._failed.get(key, 0) + 1
                if not isinstance(error, KserveExtError):
                    log.exception("service %s/%s", *key)
                log.warning("service %s/%s: %s", *key, error)
                timer = threading.Timer(_AGAIN_S[min(count, len(_AGAIN_S)) - 1], self.look, (key,))
                timer.daemon = True
                timer.start()

    def _treat(self, key: Key) -> None:
        found = self.services.get(key)
        if found is None or not is_asked_for(found):
            with self._lock:
                self._operated.pop(key, None)
                self._settled.discard(key)
            self._applied.pop(key, None)
            return
        if not self._leads.is_set():
            return
        manifest = as_written(found)
        wanted = Asked(service=service_of(manifest, "/".join(key)), manifest=manifest)
        try:
            future = self._planner.ask(wanted.service, self.models(), self.in_force(found))
        except ProfileError as error:  # another look follows when a model changes
            self._once(key, found, "NotPlanned", f"{error.message}; {error.remedy}")
            return
        if not future.done():
            future.add_done_callback(lambda done: self.look(key))
            return
        self._planned(key, found, wanted, future)

    def _planned(self, key: Key, found: Object, wanted: Asked, future: Future[Answer]) -> None:
        try:
            plan = named(future.result(), wanted.service.intent)
        except KserveExtError as error:
            self._once(key, found, "NotPlanned", f"{error.message}; {error.remedy}")
            return
        model = self.models().find(wanted.service.intent)
        one = operated(found, wanted, plan, model, self.in_force(found))
        with self._lock:
            self._operated[key] = one
            self._settled.add(key)
        patch = left_to_fill(found, wanted, plan)
        if patch is not None:
            version = found["metadata"]["resourceVersion"]
            ref = Ref(api_version=SERVICE[0], kind=SERVICE[1], namespace=key[0], name=key[1])
            patch["metadata"] = {**patch.get("metadata", {}), "resourceVersion": version}
            self._cluster.merge(ref, patch)
            self._events.say(
                found, "PlannedLate", "admitted as written, planned now: the webhook was not asked, or was late"
            )
            return
        if self._applied.get(key) != one.digest:
            for each in objects_of(found, wanted, plan, model):
                self._cluster.apply(each, force=True)
            if (
                self._applied.get(key) or not one.knative
            ):  # Knative scales by itself: beside it is at most room for replicas
                self._tidy(wanted, plan)
            self._applied[key] = one.digest

    def _tidy(self, wanted: Asked, plan: Plan) -> None:
        """Take away what scaled a service before, and what kept room for it, where the plan has it no more."""
        for ref in left_over(wanted, plan):
            if self._cluster.has_kind(ref.api_version, ref.kind):
                self._cluster.delete(ref)

    def _once(self, key: Key, found: Object, reason: str, text: str) -> None:
        with self._lock:
            self._settled.add(key)
        if self._applied.get(key) != text:
            self._events.say(found, reason, text)
            self._applied[key] = text


def _kept_service(found: Object) -> Object:
    """An InferenceService without what only managed fields weigh."""
    metadata = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
    status = {"components": {"predictor": dig(found, "status", "components", "predictor") or {}}}
    return {"apiVersion": SERVICE[0], "kind": SERVICE[1], "metadata": metadata, "spec": found.get("spec") or {},
            "status": status}  # fmt: skip


def _kept_pod(found: Object) -> Object:
    metadata, status = found["metadata"], found.get("status") or {}
    running = status.get("phase") == "Running" and not metadata.get("deletionTimestamp")
    return {
        "metadata": {"namespace": metadata["namespace"], "name": metadata["name"]},
        "service": (metadata.get("labels") or {}).get(SERVICE_LABEL, ""),
        "address": str(status.get("podIP") or "") if running else "",
        "start_s": start_s(found) if running else None,
    }


def _kept_learned(found: Object) -> dict[str, Any]:
    metadata = found["metadata"]
    return {"metadata": {"namespace": metadata["namespace"], "name": metadata["name"]}, "learned": read_learned(found)}


def _kept_model(found: Object) -> dict[str, Any]:
    metadata = found["metadata"]
    return {"metadata": {"namespace": metadata["namespace"], "name": metadata["name"]},
            "label": metadata["labels"][LABEL], "model": read_model(found)}  # fmt: skip
