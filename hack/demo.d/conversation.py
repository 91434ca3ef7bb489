"""What every demonstration does: it sends operations, shows the timeline of a run, and says what it sees."""

import json
import time
import urllib.error
import urllib.request

TERMINAL = ["SUCCEEDED", "FAILED", "CANCELED"]


class Failure(Exception):
    """Something did not go as it should; the message says what."""


def run(graphql, document, create):
    """Sends the operations of a document as a person would, and prints the timeline of the run."""
    created = operation(graphql, document, create)["createAction"]
    detail(f"created {created['name']} with {json.dumps(created['input']['parameters'])}")
    status = operation(graphql, document, "Get")["action"]["status"]
    operation(graphql, document, "Run")
    seen = 0
    deadline = time.monotonic() + 300
    while True:
        runner = (status.get("runner") or {}).get("status") or {}
        for entry in runner.get("history", []):
            if entry["sequence"] > seen:
                seen = entry["sequence"]
                print(f"    {entry['at'][11:23]}  {entry['what']}", flush=True)
        if status["phase"] in TERMINAL:
            break
        if time.monotonic() > deadline:
            raise Failure(f"not done within five minutes: {status['phase']}: {status['message']}")
        time.sleep(0.05)
        status = operation(graphql, document, "Get")["action"]["status"]
    outcome = runner.get("outcome") or {}
    detail(f"{status['phase']} ({outcome.get('verdict')}): {status['message']}")
    for gap in outcome.get("gaps", []):
        detail(f"gap: {gap['object']}: {gap['reason']}")
    if status["phase"] != "SUCCEEDED":
        raise Failure(f"the run ended {status['phase']}")
    operation(graphql, document, "Delete")
    return status


def operation(graphql, document, name):
    answer = post(graphql, {"query": document, "operationName": name})
    if answer.get("errors"):
        raise Failure(f"{name}: {json.dumps(answer['errors'])}")
    return answer["data"]


def get(url):
    return send("GET", url)


def post(url, body):
    return send("POST", url, json.dumps(body).encode())


def send(method, url, body=None):
    request = urllib.request.Request(url, data=body, method=method, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise Failure(f"{method} {url}: {error.code} {error.read().decode()}") from error


def say(text):
    print(f"\n==> {text}", flush=True)


def detail(text):
    print(f"    {text}", flush=True)
