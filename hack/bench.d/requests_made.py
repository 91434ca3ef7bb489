"""What the engine asked of the API server, by the API server's own log."""

import collections
import json
import os
import pathlib
import statistics


class Requests:
    """Counts the requests of the engine's account, each run for itself."""

    def __init__(self):
        self.log = pathlib.Path(os.environ["OCHRE_CLUSTER_RUN"]) / "audit.jsonl"
        self.runs = []

    def begin(self):
        self.offset = self.log.stat().st_size

    def end(self, actions):
        """Takes what was asked since the beginning, for so many Actions."""
        with open(self.log) as log:
            log.seek(self.offset)
            counted = collections.Counter(filter(None, map(asked, log)))
        self.runs.append({what: count / actions for what, count in counted.items()})

    def beside(self, other):
        """Lists by verb and kind what these runs asked, and what others did."""
        every = sorted({what for run in self.runs + other.runs for what in run})
        rows = [(what, self.said(what), other.said(what)) for what in every]
        return [*rows, ("all", self.said(*every), other.said(*every))]

    def said(self, *whats):
        counts = [sum(run.get(what, 0) for what in whats) for run in self.runs]
        low, middle, high = min(counts), statistics.median(counts), max(counts)
        return f"{middle:.3g}" if low == high else f"{middle:.3g} ({low:.3g} to {high:.3g})"


def asked(line):
    """Words a request; a watch, which outlives a run, is none of it."""
    event = json.loads(line)
    if event["verb"] == "watch":
        return None
    about = event.get("objectRef", {})
    parts = [about.get("resource", event["requestURI"]), about.get("subresource")]
    return f"{event['verb']} {'/'.join(filter(None, parts))}"
