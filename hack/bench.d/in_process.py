"""What ochre itself costs, in one process with the sandbox."""

import json
import subprocess

from table import say, spread, table

# What the bench target measures: its name there, in words, the unit and how many of it make a second.
MEASURED = [
    ("load", "loading the catalog, each template tried on samples", "ms", 1e3),
    ("render", "rendering one backup", "µs", 1e6),
    ("decide", "one `decide` of a run whose Backup is at work", "µs", 1e6),
    ("flight", "1,000 restores in flight on the sandbox, until all have SUCCEEDED", "s", 1),
    ("memory", "engine, sandbox and simulated Velero then, at most", "MiB", 1),
]


def measure_in_process(root, runs):
    say("Builds, optimised (minutes the first time)")
    command = ["cargo", "bench", "--quiet", "--locked", "--package", "ochre-tests", "--bench", "engine"]
    subprocess.run([*command, "--no-run"], cwd=root, check=True)
    measured = []
    for number in range(runs):
        say(f"Run {number + 1} of {runs}")
        measured.append(json.loads(subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout))
    rows = []
    for name, words, unit, per_second in MEASURED:
        rows.append((words, spread([run[name] * per_second for run in measured], unit)))
    table(["in one process", "median (spread)"], rows)
