"""A builder's metrics for Prometheus."""

from prometheus_client import Gauge

from greenlight import loop


class Metrics(loop.Metrics):
    def __init__(self) -> None:
        super().__init__("builder", "build", "succeeded, failed, retried, lost, stopped or unsettled")
        self.ready = Gauge(
            "greenlight_builder_ready",
            "1 if builds can be worked on; 0 if not, for example because the disk is full: then none are claimed.",
            registry=self.registry,
        )
        self.ready.set(1)
