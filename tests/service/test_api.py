"""The API without workers: jobs as they wait, who may do what, and the words of errors."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from running import packed, upload

from smconvert.converters import TargetOptions
from smconvert.errors import UsageError
from smconvert.service import server, supervisor, tokens
from smconvert.service.app import create_app
from smconvert.service.database import VERSION, open_database, versions
from smconvert.service.database import tokens as token_rows
from smconvert.service.jobs import Claim, Jobs, Outcome
from smconvert.service.logs import JsonLines
from smconvert.service.schemas import TargetChoices
from smconvert.service.settings import Quota, Settings
from smconvert.service.tokens import Owner, RateLimiter

QUOTA = Quota(active_jobs=3, stored_bytes=1 << 20, requests_per_minute=100_000)


@pytest.fixture
def settings(tmp_path: Path, database_url: str | None) -> Settings:
    return Settings(folder=tmp_path / "state", open=True, quota=QUOTA, database_url=database_url)


@pytest.fixture
def http(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings, with_workers=False)) as client:
        yield client


@pytest.fixture
def jobs(http: TestClient) -> Jobs:
    """The jobs as a worker sees them."""
    return service(http).jobs


def service(http: TestClient) -> Any:
    return http.app.state.service  # type: ignore[attr-defined]


def ask(http: TestClient, **more: object) -> dict[str, Any]:
    wanted = {"upload": upload(http, b"abc", "m.pb"), "target": "onnx", **more}
    answer = http.post("/v1/jobs", json=wanted)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_a_key_makes_one_job_of_many_requests(http: TestClient) -> None:
    wanted = {"upload": upload(http, b"abc", "m.pb"), "target": "onnx"}
    key = {"Idempotency-Key": "k"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: http.post("/v1/jobs", json=wanted, headers=key), range(8))
        )
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    other = http.post("/v1/jobs", json={**wanted, "target": "savedmodel"}, headers=key)
    assert other.status_code == 409
    assert other.json()["message"] == "the key was used for another request already"


def test_a_job_that_waits_is_cancelled_at_once(http: TestClient) -> None:
    job = ask(http)["id"]
    refused = http.delete(f"/v1/jobs/{job}")
    assert refused.json()["message"] == "the job has not ended"
    assert http.post(f"/v1/jobs/{job}/cancel").json()["state"] == "cancelled"
    assert http.post(f"/v1/jobs/{job}/cancel").json()["state"] == "cancelled"
    assert http.delete(f"/v1/jobs/{job}").status_code == 204
    assert http.get(f"/v1/jobs/{job}").status_code == 404


def test_jobs_are_listed_page_by_page(http: TestClient) -> None:
    wanted = [ask(http)["id"] for _ in range(3)]
    first = http.get("/v1/jobs", params={"limit": 2}).json()
    second = http.get("/v1/jobs", params={"limit": 2, "before": first["next"]}).json()
    assert [j["id"] for j in first["jobs"] + second["jobs"]] == wanted[::-1]
    assert second["next"] is None
    assert http.get("/v1/jobs", params={"state": "done"}).json()["jobs"] == []


def test_quotas_count_jobs(http: TestClient) -> None:
    for _ in range(3):
        ask(http)
    refused = http.post("/v1/jobs", json={"upload": upload(http, b"x", "m"), "target": "onnx"})
    assert refused.status_code == 403
    assert refused.json()["message"] == "3 jobs wait or run, and 3 may"


def test_an_upload_that_a_job_waits_for_stays(http: TestClient) -> None:
    needed = ask(http)["request"]["upload"]
    refused = http.delete(f"/v1/uploads/{needed}")
    assert refused.status_code == 409
    assert refused.json()["hint"] == "cancel the job first"


@pytest.mark.parametrize(
    ("wanted", "status", "code", "words"),
    [
        ({"target": "coreml"}, 422, "usage", "'coreml' is not an installed format"),
        ({"opset": 3}, 422, "usage", "extra inputs are not permitted"),
        ({"upload": "0" * 32}, 404, "not_found", "there is no such upload"),
        ({"upload": "../x"}, 422, "usage", "string should match pattern"),
    ],
)
def test_errors_have_the_words_and_codes_of_the_command_line(
    http: TestClient, wanted: dict[str, Any], status: int, code: str, words: str
) -> None:
    base = {"upload": upload(http, b"abc", "m.pb"), "target": "onnx"}
    refused = http.post("/v1/jobs", json={**base, **wanted})
    assert refused.status_code == status
    assert refused.headers["Content-Type"] == "application/problem+json"
    told = refused.json()
    assert (told["code"], told["exit_code"]) == (code, 2)
    assert words in told["message"]


def test_what_is_not_there_is_a_problem_too(http: TestClient) -> None:
    told = http.get("/v1/nothing").json()
    assert (told["status"], told["code"]) == (404, "not_found")
    assert http.put("/v1/jobs").json()["status"] == 405
    job = ask(http)["id"]
    refused = http.get(f"/v1/jobs/{job}/result").json()
    assert refused["message"] == "the job has no result: it is queued"
    assert http.get(f"/v1/jobs/{job}/report").status_code == 404


def test_every_option_of_a_target_can_be_asked_for() -> None:
    assert set(TargetChoices.model_fields) == {field.name for field in fields(TargetOptions)}


def test_inspect_says_what_the_command_says(http: TestClient) -> None:
    model = upload(http, packed())
    found = http.post(f"/v1/uploads/{model}/inspection").json()
    assert found["format"] == "savedmodel"
    assert found["signatures"][0]["name"] == "predict"
    nothing = upload(http, b"no model", "m.pb")
    refused = http.post(f"/v1/uploads/{nothing}/inspection")
    assert refused.status_code == 422
    told = refused.json()
    assert (told["code"], told["exit_code"]) == ("source", 3)
    assert "m.pb is damaged or not a GraphDef in text form" in told["message"]
    assert told["where"] == "source/m.pb"


def test_tokens_open_the_door_and_part_the_owners(settings: Settings) -> None:
    settings = replace(settings, open=False)
    database = open_database(settings)
    alice = {"Authorization": f"Bearer {tokens.create(database, 'alice', QUOTA)}"}
    bob = {"Authorization": f"Bearer {tokens.create(database, 'bob', QUOTA)}"}
    with database.reading() as connection:
        stored = str(connection.execute(token_rows.select()).all())
    assert "alice" in stored
    assert alice["Authorization"].split("_", 2)[2] not in stored
    with TestClient(create_app(settings, with_workers=False)) as http:
        refused = http.get("/v1/jobs")
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert refused.json()["message"] == "no token was given"
        wrong = {"Authorization": alice["Authorization"][:-1] + "!"}
        told = http.get("/v1/jobs", headers=wrong).json()
        assert told["message"] == "the token is not known, or was revoked"
        made = http.post("/v1/uploads", json={"name": "m", "size": 0}, headers=alice).json()
        assert http.get(f"/v1/uploads/{made['id']}", headers=alice).status_code == 200
        assert http.get(f"/v1/uploads/{made['id']}", headers=bob).status_code == 404
        tokens.revoke(database, tokens.listed(database)[0].id)
        assert http.get("/v1/jobs", headers=alice).status_code == 401
        assert http.get("/v1/jobs", headers=bob).status_code == 200


def test_a_session_is_a_cookie_that_no_script_reads(settings: Settings) -> None:
    settings = replace(settings, open=False)
    token = tokens.create(open_database(settings), "alice", QUOTA)
    with TestClient(create_app(settings, with_workers=False)) as http:
        assert http.post("/v1/session", json={"token": "smc_x_y"}).status_code == 401
        begun = http.post("/v1/session", json={"token": token})
        assert "HttpOnly" in begun.headers["Set-Cookie"]
        assert "SameSite=strict" in begun.headers["Set-Cookie"]
        assert http.get("/v1/jobs").status_code == 200
        http.delete("/v1/session")
        assert http.get("/v1/jobs").status_code == 401


def test_other_sites_cannot_ask(http: TestClient) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}
    refused = http.post("/v1/uploads", json={"name": "m", "size": 0}, headers=foreign)
    assert refused.status_code == 400
    assert refused.json()["message"] == "another site's page may not do this"
    assert server.allowed_hosts("127.0.0.1", ()) == ("localhost", "127.0.0.1", "[::1]")
    assert server.allowed_hosts("0.0.0.0", ()) == ()


def test_rates_are_evened_out() -> None:
    now = [0.0]
    limiter = RateLimiter(lambda: now[0])
    owner = Owner("a", "a", Quota(requests_per_minute=2))
    limiter.spend(owner)
    limiter.spend(owner)
    with pytest.raises(tokens.RateExceeded, match="more than 2 requests in a minute") as refused:
        limiter.spend(owner)
    assert refused.value.headers == {"Retry-After": "30"}
    now[0] = 31.0
    limiter.spend(owner)


def test_a_worker_that_was_taken_for_dead_cannot_end_the_job_of_another(
    http: TestClient, jobs: Jobs
) -> None:
    job = str(ask(http)["id"])
    slow = jobs.claim("slow")
    assert slow is not None
    assert jobs.claim("quick") is None
    jobs.release("slow")
    quick = jobs.claim("quick")
    assert quick is not None
    assert (quick.job, quick.attempt) == (job, 2)
    assert not jobs.renew(slow)
    assert not jobs.end(slow, Outcome("failed", {"exit_code": 1}))
    assert jobs.end(quick, Outcome("done", {"exit_code": 0}))
    assert http.get(f"/v1/jobs/{job}").json()["state"] == "done"
    assert jobs.totals()["done"][0] == 1


def test_each_job_is_claimed_once(http: TestClient, jobs: Jobs) -> None:
    wanted = {ask(http)["id"] for _ in range(3)}
    claims: list[Claim | None] = []
    threads = [
        threading.Thread(target=lambda n=n: claims.append(jobs.claim(f"w{n}"))) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(c.job for c in claims if c) == sorted(wanted)


def test_the_owner_with_the_fewest_that_run_is_next(settings: Settings) -> None:
    settings = replace(settings, open=False)
    database = open_database(settings)
    heads = [{"Authorization": f"Bearer {tokens.create(database, name, QUOTA)}"} for name in "ab"]
    with TestClient(create_app(settings, with_workers=False)) as http:
        for head, number in zip(heads, (3, 1), strict=True):
            http.headers.update(head)
            for _ in range(number):
                ask(http)
        owners = [c.owner for n in range(3) if (c := service(http).jobs.claim(f"w{n}"))]
    first, second = (token.id for token in tokens.listed(database))
    assert owners == [first, second, first]


def test_what_is_past_its_time_goes(http: TestClient, jobs: Jobs, settings: Settings) -> None:
    kept, old = ask(http), ask(http)
    http.post(f"/v1/jobs/{old['id']}/cancel")
    time.sleep(0.01)
    past = Jobs(replace(settings, keep_jobs=0, keep_uploads=0), jobs.database)
    assert supervisor.sweep(past, service(http).execution) == 2
    assert http.get(f"/v1/jobs/{old['id']}").status_code == 404
    assert http.get(f"/v1/jobs/{kept['id']}").json()["state"] == "queued"


def test_figures_and_health(http: TestClient) -> None:
    ask(http)
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"status": "ok"}
    told = http.get("/metrics").text
    assert 'smconvert_jobs{state="queued"} 1.0' in told
    assert 'smconvert_requests_total{operation="create_job",status="201"} 1.0' in told
    assert "smconvert_uploaded_bytes_total 3.0" in told


def test_logs_are_json(http: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "smconvert.service.app"):
        answer = http.get("/v1/jobs")
    record = next(r for r in caplog.records if r.name == "smconvert.service.app")
    told = json.loads(JsonLines().format(record))
    assert told["message"] == "request"
    assert (told["path"], told["status"], told["owner"]) == ("/v1/jobs", 200, "open")
    assert told["request"] == answer.headers["X-Request-Id"]


def test_a_database_that_cannot_be_used_is_refused(settings: Settings) -> None:
    database = open_database(settings)
    with database.writing() as connection:
        connection.execute(versions.update().values(version=VERSION + 1))
    with pytest.raises(UsageError, match=f"the database is of version {VERSION + 1}"):
        open_database(settings)
    with pytest.raises(UsageError, match="the database cannot be opened"):
        open_database(replace(settings, database_url="postgresql://127.0.0.1:1/nowhere"))
