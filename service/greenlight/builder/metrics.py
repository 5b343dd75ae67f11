"""A builder's metrics for Prometheus."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    start_http_server,
)

_BUCKETS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400)


class Metrics:
    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.running = Gauge("greenlight_builds_running", "Running builds.", registry=registry)
        self.ready = Gauge(
            "greenlight_builder_ready",
            "1 if builds can be worked on; 0 if not, for example because the disk is full: then none are claimed.",
            registry=registry,
        )
        self.ready.set(1)
        self.failures = Counter(
            "greenlight_builder_call_failures",
            "Calls to Supabase that failed, and are repeated.",
            ("call",),
            registry=registry,
        )
        self.ended = Counter(
            "greenlight_builds_ended",
            "Attempts that ended: succeeded, failed, retried, lost, stopped or unsettled.",
            ("outcome",),
            registry=registry,
        )
        self._seconds = Histogram(
            "greenlight_build_seconds",
            "Time from the claim of a build to its end.",
            ("outcome",),
            buckets=_BUCKETS,
            registry=registry,
        )

    def observe(self, outcome: str, seconds: float) -> None:
        self.ended.labels(outcome).inc()
        self._seconds.labels(outcome).observe(seconds)

    def serve(self, host: str, port: int) -> None:
        start_http_server(port, host, self._registry)
