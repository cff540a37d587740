"""What KEDA asks Prometheus: one number over all replicas of a service, whose target is per replica.

Series are found by the labels `namespace` and `pod`, which every way to scrape pods sets. An idle service is 0; one whose
pods are not scraped at all is no number, so that KEDA falls back instead of scaling down.
"""

from __future__ import annotations

from collections.abc import Iterable

from kserve_ext.domain import HorizontalScaling, Plan, Scaler

_FORECAST = "kserve_ext_forecast_rps"  # of the operator: the rate expected until a replica started now is ready


def forecast_series(namespace: str, name: str) -> str:
    """The series of a service's forecast; labels that no way to scrape the operator sets by itself."""
    return f'{_FORECAST}{{inferenceservice_namespace="{namespace}",inferenceservice_name="{name}"}}'


def query_of(plan: Plan, settings: HorizontalScaling, *, namespace: str, custom: bool) -> str:
    """The query of a scaler; a custom predictor's one model has the name of the service."""
    asked = _Query(plan, settings, namespace, custom)
    match settings.scaler:
        case Scaler.KEDA_RPS:
            return asked.rate(from_zero=plan.scaling.min_replicas == 0)
        case Scaler.KEDA_QUEUE:
            return asked.queue_ms()
        case _:
            return asked.gpu_percent()


class _Query:
    """The queries of one service."""

    def __init__(self, plan: Plan, settings: HorizontalScaling, namespace: str, custom: bool) -> None:
        self._plan, self._namespace, self._custom = plan, namespace, custom
        self._window_s = round(settings.window_s)

    def rate(self, *, from_zero: bool) -> str:
        """Requests per second of every model, or the forecast where that is higher. At zero there is nothing to scrape.

        What waits counts as if it had to be answered within the window: a replica that is full answers no more than before.
        """
        models = (self._plan.model, *(each.model for each in self._plan.neighbours))
        counters = ("nv_inference_request_success", "nv_inference_request_failure")
        waiting = f"sum({self._of('nv_inference_pending_request_count', self._plan.models)}) / {self._window_s}"
        parts = (*(f"sum(rate({self._of(each, models)}[{self._window_s}s]))" for each in counters), waiting)
        seen = " + ".join(f"({part} or vector(0))" for part in parts)
        foreseen = f"max({forecast_series(self._namespace, self._plan.service)})"
        if not from_zero:
            seen, foreseen = (f"({each}) and on() {self._of(counters[0], models)}" for each in (seen, foreseen))
        return f"max({_named(seen, 'observed')} or {_named(foreseen, 'forecast')})"

    def queue_ms(self) -> str:
        """Milliseconds in the queues of all steps, beyond the delay that the batcher is told to wait; added up by pod."""
        steps = tuple(stage.model for stage in self._plan.stages)
        delay_ms = 1e3 * sum(stage.max_queue_delay_s for stage in self._plan.stages)
        waited = f"sum by (pod) (rate({self._of('nv_inference_queue_duration_us', steps)}[{self._window_s}s]))"
        answered = self._of("nv_inference_request_success", (self._plan.model,))
        served = f"(sum by (pod) (rate({answered}[{self._window_s}s])) > 0)"
        return f"sum(clamp_min({waited} / {served} / 1e3 - {delay_ms:g}, 0)) or 0 * count({answered})"

    def gpu_percent(self) -> str:
        """Percent of the time that the GPUs of a pod are busy, added up by pod."""
        return f"100 * sum(avg by (pod) (avg_over_time({self._of('nv_gpu_utilization')}[{self._window_s}s])))"

    def _of(self, metric: str, models: Iterable[str] = ()) -> str:
        pods = f"{self._plan.service}-predictor-[a-z0-9]+-[a-z0-9]+"
        labels = f'namespace="{self._namespace}",pod=~"{pods}"'
        if models and not self._custom:
            labels += f',model=~"{"|".join(models)}"'
        return f"{metric}{{{labels}}}"


def _named(query: str, source: str) -> str:
    """The series with a label of its own, so that `or` keeps both."""
    return f'label_replace({query}, "source", "{source}", "", "")'
