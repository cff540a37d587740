"""Values of a wrong sort anywhere: findings or problems, never another error."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from kserve_ext.lint import ConfigText, Sources, check, cluster_facts
from kserve_ext.lint.manifest import read_objects

JUNK = (None, 7, ["x", 3], {"x": ["y"]})
SERVICE = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: digits
  namespace: ml
  annotations: {serving.kserve.io/deploymentMode: Knative, autoscaling.knative.dev/target: "3", kserve-ext.dev/slo-p99: 5ms,
    serving.kserve.io/autoscalerClass: keda, kserve-ext.dev/lint-ignore: KX101 no}
spec:
  canary: [{trafficPercent: 5, predictor: {name: b}}]
  predictor:
    minReplicas: 0
    maxReplicas: 2
    containerConcurrency: 1
    timeout: 9
    scaleTarget: 2
    scaleMetric: rps
    annotations: {autoscaling.knative.dev/initial-scale: "0"}
    nodeSelector: {a: b}
    volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]
    autoScaling: {metrics: [{type: External, external: {metric: {query: q}}}], behavior: {scaleUp: {a: 1}}}
    deploymentStrategy: {type: x, rollingUpdate: {maxSurge: 1}}
    storageUris: [{uri: a, mountPath: b}]
    model:
      modelFormat: {name: triton}
      runtime: mine
      storageUri: pvc://models/digits
      args: [--model-config-name=h]
      ports: [{containerPort: 1, name: h2c}]
      env: [{name: TOKEN, value: x}]
      resources: {requests: {cpu: 1}, limits: {nvidia.com/gpu: 1}}
      startupProbe: {periodSeconds: 3, failureThreshold: 4}
      securityContext: {runAsUser: 0}
      volumeMounts: [{mountPath: /dev/shm}]
"""
RUNTIME = """
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: mine}
spec:
  protocolVersions: [v2]
  supportedModelFormats: [{name: triton, autoSelect: true, priority: 1}]
  containers: [{name: kserve-container, image: "tritonserver:1", args: [tritonserver], ports: [{containerPort: 1}]}]
"""
SCALER = """
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
spec:
  scaleTargetRef: {name: digits-predictor}
  metrics: [{pods: {metric: {name: queue_us}, target: {averageValue: 5}}}]
  triggers: [{metadata: {query: queue_us, threshold: "5"}}]
"""
FACTS = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: config-features}, data: {a: b}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: inferenceservice-config}, data: {deploy: "{}"}}
- {apiVersion: v1, kind: Node, metadata: {name: a, labels: {a: b}}, status: {allocatable: {cpu: 4}}}
- {apiVersion: v1, kind: ResourceQuota, metadata: {name: q, namespace: ml}, status: {hard: {requests.cpu: 1}, used: {cpu: 1}}}
- {apiVersion: x/v1, kind: ServingRuntime, metadata: {name: mine, namespace: ml}, spec: {disabled: true}}
"""
CONFIG = ConfigText(text="max_batch_size: 8\ndynamic_batching { max_queue_delay_microseconds: 9 }", model="digits")


def spoiled(value: Any) -> Iterator[Any]:
    """The value with one thing in it replaced by another sort of thing, one after another."""
    steps = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, inner in steps:
        for other in (*JUNK, *spoiled(inner)):
            changed = copy.copy(value)
            changed[key] = other
            yield changed


@pytest.mark.parametrize("which", ["service.yaml", "runtime.yaml", "scaler.yaml", "facts.yaml"])
def test_a_value_of_a_wrong_sort_is_no_error_of_ours(which: str) -> None:
    texts = {"service.yaml": SERVICE, "runtime.yaml": RUNTIME, "scaler.yaml": SCALER, "facts.yaml": FACTS}
    for broken in spoiled(yaml.safe_load(texts[which])):
        manifests = texts | {which: yaml.dump(broken, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper))}
        facts = cluster_facts(read_objects(manifests.pop("facts.yaml"), "facts.yaml"))
        outcome = check(Sources(manifests=manifests, configs={"models/digits/config.pbtxt": CONFIG}), facts=facts)
        assert not outcome.problems
