"""What the operator knows of the cluster: one watch for each kind, and the plans of the services found there."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path

from kserve_ext.cluster.api import Cluster
from kserve_ext.cluster.objects import Ref
from kserve_ext.domain import Plan
from kserve_ext.errors import KserveExtError, ProfileError
from kserve_ext.lint.facts import ClusterFacts
from kserve_ext.observe.readings import Key
from kserve_ext.operator.events import Events
from kserve_ext.operator.facts import SETTINGS, cluster_facts
from kserve_ext.operator.filled import as_written
from kserve_ext.operator.floors import SERVICE_LABEL
from kserve_ext.operator.guard import REVISION
from kserve_ext.operator.kept import (
    SERVICE,
    kept_autoscaler,
    kept_learned,
    kept_model,
    kept_node,
    kept_pod,
    kept_revision,
    kept_service,
)
from kserve_ext.operator.learned import LABEL as LEARNED
from kserve_ext.operator.learned import InForce, Learned, in_force, name_of
from kserve_ext.operator.models import LABEL, Models
from kserve_ext.operator.planner import Answer, Planner, named
from kserve_ext.operator.review import Asked, service_of
from kserve_ext.operator.services import Operated, is_asked_for, left_over, left_to_fill, objects_of, operated
from kserve_ext.operator.store import Kind, Object, Store, key_of

log = logging.getLogger(__name__)

_CONFIGMAP = ("v1", "ConfigMap")
_AUTOSCALER = ("autoscaling.internal.knative.dev/v1alpha1", "PodAutoscaler")
_AGAIN_S = (2.0, 10.0, 60.0, 300.0)


class World:
    """Watches, and a thread that keeps what belongs to each service as its plan says. Writes only while `leads` is set."""

    def __init__(
        self, cluster: Cluster, planner: Planner, *, own_namespace: str, repository: Path | None, leads: threading.Event
    ) -> None:  # fmt: skip
        self._cluster, self._planner, self._leads = cluster, planner, leads
        self._own_namespace, self._repository, self._events = own_namespace, repository, Events(cluster)
        self._stores: list[Store] = []
        self._work: queue.Queue[Key] = queue.Queue()
        self._queued: set[Key] = set()
        self._lock = threading.Lock()
        self._operated: dict[Key, Operated] = {}
        self._settled: set[Key] = set()
        self._applied: dict[Key, str] = {}
        self._failed: dict[Key, int] = {}
        self._models: Models | None = None
        self.services = self._store(SERVICE, kept_service, changed=self.look)
        self.revision_store = self._store(REVISION, kept_revision, SERVICE_LABEL)
        self.autoscalers = self._store(_AUTOSCALER, kept_autoscaler, SERVICE_LABEL)
        self.pod_store = self._store(("v1", "Pod"), kept_pod, SERVICE_LABEL)
        self.nodes = self._store(("v1", "Node"), kept_node)
        self.quotas = self._store(("v1", "ResourceQuota"))
        self.model_store = self._store(_CONFIGMAP, kept_model, LABEL, self._model_changed)
        self.learned_store = self._store(
            _CONFIGMAP, kept_learned, LEARNED, lambda key: self.look((key[0], key[1].removesuffix(name_of(""))))
        )
        self._settings: tuple[Object, ...] = ()

    def _store(
        self, kind: tuple[str, str], keep: Callable[[Object], Object] = lambda found: found, labels: str = "",
        changed: Callable[[Key], None] = lambda key: None,
    ) -> Store:  # fmt: skip
        store = Store(self._cluster, Kind(api_version=kind[0], kind=kind[1], labels=labels, keep=keep), changed)
        self._stores.append(store)
        return store

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
