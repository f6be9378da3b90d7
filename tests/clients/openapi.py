"""Schemathesis asks a server what its OpenAPI document permits, and what it forbids.

python openapi.py URL TOKEN TRACE_ID BUNDLE_ID FINGERPRINT. The last three are known to the server. It ends with status 0 if every answer is as the document says: statuses, media types, headers, bodies; what is malformed is
refused, what is well formed is not; no request is answered without the token; unknown methods get 405 with Allow.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import schemathesis
from schemathesis.cli import schemathesis as command

SEED = "20261116"


@schemathesis.check
def well_formed_requests_are_understood(ctx, response, case):
    """What the document permits may ask for what is not there, but is never malformed."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    # A cursor is of one answer, which no generator can know.
    given = case.body if isinstance(case.body, dict) else case.query or {}
    if "cursor" in given:
        return
    code = json.loads(response.content)["code"]
    assert code != "wrong-request", f"the document permits it, and the server calls it malformed: {response.text}"


@schemathesis.check
def errors_say_what_to_do(ctx, response, case):
    """Every error is a problem of RFC 9457 with the status that was sent and a sentence for whoever asked."""
    if response.status_code < 400 or response.request.method == "HEAD":
        return
    assert response.headers["content-type"] == ["application/problem+json"], response.headers
    problem = json.loads(response.content)
    assert problem["status"] == response.status_code and len(problem["detail"]) > 10, problem


def with_examples(document: dict, trace: str, bundle: str, fingerprint: str) -> None:
    """Gives the document examples that the server has an answer to, with content in it."""
    paths = document["paths"]
    for path, method, known in [
        ("/v1/bundles/{id}", "get", trace),
        ("/v1/bundles/{id}/pin", "post", bundle),
        ("/v1/bundles/{id}/pin", "delete", bundle),
        ("/v1/traces/{id}", "get", trace),
        ("/v1/incidents/{fingerprint}", "get", fingerprint),
    ]:
        place = next(one for one in paths[path][method]["parameters"] if one["in"] == "path")
        place["example"] = known
    for path, known in [
        ("/v1/sql", {"query": "select * from spans order by name", "page_size": 1}),
        ("/v1/similar", {"trace_id": trace, "k": 5}),
        ("/v1/groupings", {"action": "split", "fingerprint": fingerprint}),
        ("/v1/fixes", {"fingerprint": fingerprint, "summary": "rounds before the ledger", "outcome": "fixed"}),
    ]:
        paths[path]["post"]["requestBody"]["content"]["application/json"]["example"] = known


def main(url: str, token: str, *known: str) -> None:
    @schemathesis.hook
    def before_load_schema(context, raw_schema):
        with_examples(raw_schema, *known)

    config = str(Path(__file__).resolve().with_suffix(".toml"))
    command(
        [
            "--config-file",
            config,
            "run",
            f"{url}/openapi.json",
            "--header",
            f"Authorization: Bearer {token}",
            "--checks=all",
            f"--seed={SEED}",
            "--workers=1",
            # Nothing is kept from one run to the next.
            "--generation-database=none",
            "--request-timeout=60",
            "--continue-on-failure",
            "--suppress-health-check=all",
            "--no-color",
        ]
    )


# What it writes all the same goes away with this folder.
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    main(*sys.argv[1:])
