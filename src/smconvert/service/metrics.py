"""What Prometheus reads: requests of this server, and jobs as the state has them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from smconvert.service.jobs import Jobs
from smconvert.service.supervisor import Supervisor

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The figures of one server."""

    def __init__(self, jobs: Jobs, supervisor: Supervisor | None) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "smconvert_requests_total",
            "Requests by operation and status.",
            ("operation", "status"),
            registry=self._registry,
        )
        self.seconds = Histogram(
            "smconvert_request_seconds",
            "Time to the first byte of an answer, by operation.",
            ("operation",),
            registry=self._registry,
        )
        self.uploaded = Counter(
            "smconvert_uploaded_bytes_total", "Bytes received.", registry=self._registry
        )
        self._registry.register(_State(jobs, supervisor))

    def text(self) -> bytes:
        """All figures, in the text format."""
        return generate_latest(self._registry)


class _State:
    """Figures that outlive the server, read when they are asked for."""

    def __init__(self, jobs: Jobs, supervisor: Supervisor | None) -> None:
        self._jobs = jobs
        self._supervisor = supervisor

    def describe(self) -> Iterator[Metric]:
        """Nothing: the registry must not read the state when this is registered."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Jobs by state now, jobs and seconds by how they ended, and workers."""
        kept = GaugeMetricFamily("smconvert_jobs", "Jobs that are kept.", labels=["state"])
        counts = self._jobs.counts()
        for state in ("queued", "running", "done", "failed", "cancelled"):
            kept.add_metric([state], counts.get(state, 0))
        yield kept
        ended = CounterMetricFamily("smconvert_jobs_ended", "Jobs that ended.", labels=["state"])
        seconds = CounterMetricFamily(
            "smconvert_job_seconds",
            "Seconds from the start of jobs to their end.",
            labels=["state"],
        )
        for state, (number, time) in self._jobs.totals().items():
            ended.add_metric([state], number)
            seconds.add_metric([state], time)
        yield ended
        yield seconds
        if self._supervisor is not None:
            yield GaugeMetricFamily(
                "smconvert_workers", "Workers that run.", value=self._supervisor.alive
            )
            yield CounterMetricFamily(
                "smconvert_worker_restarts",
                "Workers that died and were replaced.",
                value=self._supervisor.restarts,
            )
