"""Errors as the service tells them: the kinds, codes and words of the command line, in JSON.

A request that cannot be served answers with a :class:`Problem` (RFC 9457). A job that failed holds
a :class:`Failure`: the conversion's own error, exactly as ``smconvert convert`` would print it.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from smconvert.errors import SmconvertError, UsageError

MEDIA_TYPE = "application/problem+json"

JobCode = Literal[
    "internal", "usage", "source", "conversion", "parity", "destination", "runtime", "unavailable"
]
RequestCode = Literal[
    "internal",
    "usage",
    "source",
    "conversion",
    "destination",
    "runtime",
    "unauthorized",
    "not_found",
    "conflict",
    "too_large",
    "quota",
    "rate",
    "unavailable",
]


class Failure(BaseModel):
    """What went wrong in a job, in the words and with the exit code of the command line."""

    code: JobCode = Field(description="The kind of error.")
    exit_code: int = Field(description="What `smconvert` would end with.")
    message: str = Field(description="One sentence: what is wrong.")
    where: str | None = Field(
        default=None, description="The file, node, tensor or signature concerned."
    )
    hint: str | None = Field(default=None, description="What to try next.")


class Problem(BaseModel):
    """Why a request was not served."""

    type: str = Field(description="A URI that names the kind of error.")
    title: str
    status: int
    code: RequestCode = Field(description="The kind of error.")
    exit_code: int = Field(description="What `smconvert` would end with on such an error.")
    message: str = Field(description="One sentence: what is wrong.")
    where: str | None = Field(default=None, description="The part of the request concerned.")
    hint: str | None = Field(default=None, description="What to try next.")


class ServiceError(SmconvertError):
    """A request that the service does not serve."""

    exit_code = 2
    status: ClassVar[HTTPStatus] = HTTPStatus.BAD_REQUEST
    headers: Mapping[str, str]

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.headers = headers or {}


class Unauthorized(ServiceError):
    """No token, or one that is not known."""

    kind = "unauthorized"
    status = HTTPStatus.UNAUTHORIZED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, headers={"WWW-Authenticate": "Bearer"})


class NotFound(ServiceError):
    """Nothing of that name belongs to the token."""

    kind = "not_found"
    status = HTTPStatus.NOT_FOUND


class Conflict(ServiceError):
    """It does not fit the state that the thing is in."""

    kind = "conflict"
    status = HTTPStatus.CONFLICT


class TooLarge(ServiceError):
    """More bytes than the service takes."""

    kind = "too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class QuotaExceeded(ServiceError):
    """The token has used what it was given."""

    kind = "quota"
    status = HTTPStatus.FORBIDDEN


class RateExceeded(ServiceError):
    """Too many requests in a short time."""

    kind = "rate"
    status = HTTPStatus.TOO_MANY_REQUESTS


class ServiceUnavailable(ServiceError):
    """The service cannot do it at the moment."""

    kind = "unavailable"
    exit_code = 6
    status = HTTPStatus.SERVICE_UNAVAILABLE


def problem(error: SmconvertError) -> Problem:
    """An error as the answer to a request."""
    status = status_of(error)
    return Problem.model_validate(
        {
            "type": f"urn:smconvert:error:{error.kind}",
            "title": status.phrase,
            "status": status.value,
            **error.to_json(),
        }
    )


def status_of(error: SmconvertError) -> HTTPStatus:
    """The HTTP status of an error: what is wrong in the request itself cannot be processed."""
    if isinstance(error, ServiceError):
        return error.status
    if isinstance(error, UsageError) or error.exit_code in {3, 4}:
        return HTTPStatus.UNPROCESSABLE_ENTITY
    return HTTPStatus.INTERNAL_SERVER_ERROR


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the errors of an operation; those of every operation are added."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({*statuses, 401, 422, 429, 500})
    }
