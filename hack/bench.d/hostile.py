"""What tests/hostile.json sends to do harm: the time until each is answered, and what the engine's memory grows by."""

import contextlib
import gzip
import json
import pathlib
import socket
import time

from conversation import Failure
from finished import kept, until_idle
from mariadb import ADDRESS
from table import say, spread

TIMES = 100
DEFAULT = {"content-type": "application/json"}
HARMLESS = {"query": "{ policy { __typename } }"}


def rows_of_hostile(root, served, times=TIMES):
    """Sends each a hundred times, one after the other, to an engine that has just begun."""
    rows = []
    for case in json.loads((root / "tests/hostile.json").read_text()):
        say(f"Hostile: {case['what']}")
        request = written(case)
        with served as process:
            send(written(HARMLESS))
            until_idle(process)
            before = kept(process, "VmRSS")
            pathlib.Path(f"/proc/{process.pid}/clear_refs").write_text("5")
            answers = [send(request) for _ in range(times)]
            grown = kept(process, "VmHWM") - before
        seen = {status for status, _ in answers}
        if seen != {case["status"]}:
            raise Failure(f"{case['what']}: answered with {seen}")
        rows.append((case["what"], answer(case), spread([took * 1e3 for _, took in answers], "ms"), f"{grown:.1f} MiB"))
    return rows


def answer(case):
    """Words what it is answered with."""
    if "harmless" in case:
        return f"{case['status']}: {case['harmless']}"
    return f"{case['status']} {case['code']}"


def send(request):
    """Yields the status, and the seconds until the whole answer is there."""
    host, port = ADDRESS.split(":")
    began = time.monotonic()
    with socket.create_connection((host, int(port))) as stream:
        parts = []
        # The server need not hear it all.
        with contextlib.suppress(ConnectionError):
            stream.sendall(request)
        with contextlib.suppress(ConnectionError):
            while part := stream.recv(65536):
                parts.append(part)
    return int(b"".join(parts)[9:12] or 0), time.monotonic() - began


def written(case):
    """Writes out a request, as a client does that keeps to no rule."""
    method, headers = case.get("method", "POST"), case.get("headers", DEFAULT)
    lines = [f"{method} /graphql{case.get('url', '')} HTTP/1.1", "host: localhost", "connection: close"]
    if "accept" not in headers:
        lines.append("accept: application/graphql-response+json")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if method == "GET":
        return "\r\n".join([*lines, "", ""]).encode()
    sent = body(case).encode()
    if case.get("gzip"):
        sent = gzip.compress(sent)
    if case.get("endless"):
        return "\r\n".join([*lines, "transfer-encoding: chunked", "", f"{len(sent):x}", ""]).encode() + sent
    return "\r\n".join([*lines, f"content-length: {len(sent)}", "", ""]).encode() + sent


def body(case):
    """Writes out a body: the whole one, or that of a GraphQL request, whose variables are JSON already."""
    if "body" in case:
        return text(case["body"])
    name = text(case["operationName"]) if "operationName" in case else None
    query, variables = json.dumps(text(case["query"])), text(case.get("variables", "null"))
    return f'{{"query": {query}, "operationName": {json.dumps(name)}, "variables": {variables}}}'


def text(parts):
    """Writes out a text of which parts are repeated."""
    if isinstance(parts, str):
        return parts
    if isinstance(parts, list):
        return "".join(map(text, parts))
    if "<" not in parts["text"]:
        return parts["text"] * parts["times"]
    each = lambda number: parts["text"].replace("<i>", str(number)).replace("<next>", str(number + 1))
    return "".join(map(each, range(parts["times"])))
