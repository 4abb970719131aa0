"""What the operations of a server share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Request

from smconvert.service.database import Database
from smconvert.service.execution import Execution
from smconvert.service.jobs import Jobs
from smconvert.service.metrics import Metrics
from smconvert.service.settings import Settings
from smconvert.service.storage import Storage
from smconvert.service.streams import Streams
from smconvert.service.supervisor import Supervisor
from smconvert.service.tokens import RateLimiter
from smconvert.service.uploads import Uploads


@dataclass(frozen=True)
class Service:
    """A server's parts."""

    settings: Settings
    database: Database
    storage: Storage
    uploads: Uploads
    jobs: Jobs
    execution: Execution
    supervisor: Supervisor | None
    streams: Streams
    metrics: Metrics
    inspecting: CapacityLimiter
    limiter: RateLimiter = field(default_factory=RateLimiter)


def service_of(request: Request) -> Service:
    """The service that a request is to."""
    found: Service = request.app.state.service
    return found


ServiceOf = Annotated[Service, Depends(service_of)]
