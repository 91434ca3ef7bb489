"""What every measurement does: it says what it does, and words what came of it."""

import statistics
import sys


def say(text):
    """Tells a person; standard output is for the tables."""
    print(f"==> {text}", file=sys.stderr, flush=True)


def table(heads, rows):
    print("\n| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def spread(values, unit="s"):
    """Words the median and the spread."""
    shown = lambda value: f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{shown(middle)} {unit} ({shown(low)} to {shown(high)})"


def ratio(ours, theirs):
    """Words how our median compares with theirs."""
    return f"{statistics.median(ours) / statistics.median(theirs):.2f}"
