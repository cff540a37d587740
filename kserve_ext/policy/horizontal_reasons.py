"""The sentences behind a HorizontalPodAutoscaler: what it goes by, and why it is as quick and as slow as it is."""

from __future__ import annotations

from kserve_ext.domain import HorizontalScaling, Reason, Scaler
from kserve_ext.policy.signals import Signal
from kserve_ext.units import format_duration

_Told = tuple[str, str]  # code, text


def signal_reasons(signal: Signal) -> tuple[Reason, ...]:
    """What is looked at, and what it is at capacity."""
    return (
        _reason("scaler", ("scaler-asked-for", f"asked for; it goes by {signal.what}")),
        _reason("at_capacity", ("signal-at-capacity", signal.words), signal.at_capacity),
        _reason(
            "served_s",
            ("served-without-waiting", "server and client, and the batcher's delay where one is configured"),
            signal.served_s,
        ),
    )


def rule_reasons(settings: HorizontalScaling, needed: int, start_s: float) -> tuple[Reason, ...]:
    """Why everything but the target is as it is; `needed` replicas carry the busy rate, one takes `start_s` to start."""
    start = format_duration(start_s)
    told = {
        "window_s": _window(settings),
        "up_replicas": _up(settings, start),
        "up_period_s": ("up-each-sync", "the interval at which Kubernetes looks"),
        "down_stabilization_s": _down(settings, start),
        "fallback_replicas": _fallback(settings, needed),
        "polling_s": _zero(settings, "looked at so often"),
        "cooldown_s": _zero(settings, "the last replica is kept for as long as any other"),
    }
    return tuple(_reason(name, words, float(getattr(settings, name))) for name, words in told.items())


def _window(settings: HorizontalScaling) -> _Told:
    if settings.window_s:
        return "query-four-scrapes", "four scrapes of 15 s: over fewer a rate jumps with each of them"
    return "query-none", "no query: the kubelets' own samples, 15 s each"


def _up(settings: HorizontalScaling, start: str) -> _Told:
    if settings.scaler is Scaler.KNATIVE_HPA:
        return "up-kubernetes", "Kubernetes' own: so many, or as many again as there are"
    return "up-at-once", f"from the fewest to the most in one step: a replica takes {start} to start as it is"


def _down(settings: HorizontalScaling, start: str) -> _Told:
    if settings.scaler is Scaler.KNATIVE_HPA:
        return "down-kubernetes", "Kubernetes' own: Knative's one window would hold back the way up as well"
    return "down-break-even", f"a minute, as Knative's window, and the {start} that a replica let go costs to get back"


def _fallback(settings: HorizontalScaling, needed: int) -> _Told:
    if settings.fallback_replicas:
        text = f"while Prometheus is silent: {needed} carry the busy rate; if more run already, they stay"
        return "fallback-busy-rate", text
    return "fallback-none", "without samples a HorizontalPodAutoscaler leaves the replicas as they are"


def _zero(settings: HorizontalScaling, text: str) -> _Told:
    if settings.polling_s:
        return "from-zero-polled", f"{text}; at zero replicas a request meets none and fails"
    return "never-at-zero", "never at zero, so there is nothing to wake"


def _reason(name: str, told: _Told, value: float | None = None) -> Reason:
    code, text = told
    return Reason(
        field=f"horizontal.{name}", code=code, text=text, numbers={} if value is None else {name: float(value)}
    )
