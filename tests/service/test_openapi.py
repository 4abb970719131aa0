"""Whatever OpenAPI allows to be asked is answered as it says, and nothing breaks the server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient

from smconvert.errors import ConversionError, RuntimeFailure, SourceError, UsageError
from smconvert.service import tokens
from smconvert.service.app import create_app
from smconvert.service.database import open_database
from smconvert.service.operations import api
from smconvert.service.operations import operations as service_operations
from smconvert.service.settings import Quota, Settings

EXAMPLES = int(os.environ.get("SMCONVERT_API_EXAMPLES", "20"))
"""Of each operation; thousands find nothing more."""


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(folder=tmp_path_factory.mktemp("service"), upload_bytes=1 << 16)
    quota = Quota(active_jobs=10**6, stored_bytes=1 << 40, requests_per_minute=10**9)
    token = tokens.create(open_database(settings), "tests", quota)
    with TestClient(create_app(settings, with_workers=False)) as client:
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


def operations(app: Any) -> dict[str, Any]:
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", app)
    return {found.ok().label: found.ok() for found in schema.get_all_operations()}


def labels() -> list[str]:
    """Of all operations, without a service to ask."""
    app = FastAPI()
    app.include_router(api)
    app.include_router(service_operations)
    return sorted(
        f"{method.upper()} {path}"
        for path, found in app.openapi()["paths"].items()
        for method in found
    )


@pytest.mark.parametrize("label", labels())
def test_answers_are_as_described(http: TestClient, label: str) -> None:
    operation = operations(http.app)[label]

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        derandomize=True,
        database=None,
    )
    @hypothesis.given(case=operation.as_strategy())
    def holds(case: Any) -> None:
        case.call_and_validate(headers={"Authorization": http.headers["Authorization"]})

    holds()


def test_every_error_is_a_problem(http: TestClient) -> None:
    document = http.get("/v1/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], (path, method)
    codes = document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
    kinds = {kind.kind for kind in (SourceError, UsageError, ConversionError, RuntimeFailure)}
    assert kinds < set(codes)
