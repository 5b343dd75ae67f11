"""Metrics for Prometheus."""

from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Labels(NamedTuple):
    method: str
    route: str  # the template, such as /plan/{plan_id}/document
    status: int
    code: str


class Metrics:
    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._requests = Counter(
            "greenlight_requests",
            "Requests answered.",
            ("method", "route", "status", "code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "greenlight_request_seconds",
            "Time from a request's first line to the end of its answer.",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._stages = Histogram(
            "greenlight_stage_seconds",
            "Time that a request spent in a stage: auth, body, upload, sign, rpc, …",
            ("stage",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "greenlight_requests_in_flight", "Requests that are being answered.", registry=registry
        )

    def observe(self, labels: Labels, seconds: float, stages: dict[str, float]) -> None:
        self._requests.labels(*labels).inc()
        self._seconds.labels(labels.method, labels.route, labels.status).observe(seconds)
        for stage, duration in stages.items():
            self._stages.labels(stage).observe(duration)

    def text(self) -> bytes:
        return generate_latest(self._registry)
