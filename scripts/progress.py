#!/usr/bin/env python3
"""Runs cargo, hides its lines about single crates, and says instead how far it is and how long it will still take.

    scripts/progress.py LABEL JOBS COMMAND...      exit status: the command's

Counts come from cargo's own progress bar, which must be on (CARGO_TERM_PROGRESS_WHEN=always). Warnings, errors and
everything else that cargo prints pass through. On a terminal one line is refreshed; elsewhere a line comes every
half minute.
"""
import os
import re
import signal
import subprocess
import sys
import time

# Cargo counts crates, and the heavy ones come last: points of a measured cold build of this workspace on two cores,
# share of the crates done -> share of the time gone.
CURVE = [
    (0.0, 0.0), (0.25, 0.10), (0.5, 0.24), (0.7, 0.32), (0.8, 0.40), (0.85, 0.58), (0.9, 0.66), (0.95, 0.78), (0.98, 0.90), (1.0, 1.0),
]
# The same build's CPU time, in seconds: the guess until there is something to measure.
COLD_CPU_SECONDS = 2700
BAR = re.compile(r"^\s*(?:Building|Checking|Documenting)?\s*\[[=> ]*\]\s+(\d+)/(\d+)")
# What cargo says about each crate, and what it says at the end of every build.
HIDDEN = re.compile(r"^\s*(Compiling|Checking|Documenting|Fresh|Dirty|Downloading|Downloaded|Blocking|Locking|Updating|Finished|Generated|Executable)\b")


def time_share(done):
    for (x0, y0), (x1, y1) in zip(CURVE, CURVE[1:]):
        if done <= x1:
            return y0 + (y1 - y0) * (done - x0) / (x1 - x0)
    return 1.0


def seconds_left(first, now, elapsed, jobs):
    """`first` is the share of the time that lay behind the build when it began: what an earlier one had left."""
    guess = COLD_CPU_SECONDS / max(1, jobs)
    # The guess weighs as much as the first tenth of the build.
    total = (elapsed + 0.1 * guess) / max(now - first + 0.1, 1e-9)
    return max(0.0, (1.0 - now) * total)


def words(seconds):
    if seconds < 50:
        return "less than a minute left"
    return f"about {max(1, round(seconds / 60))} min left"


def main():
    label, jobs, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    err = sys.stderr
    terminal = err.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    signal.signal(signal.SIGINT, lambda *_: child.send_signal(signal.SIGINT))
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())

    start = time.monotonic()
    first = None
    said = start - 15.0
    shown = False

    def show(done, total):
        nonlocal first, said, shown
        now = time.monotonic()
        share = time_share(done / total) if total else 0.0
        # What is fresh is ticked off within the first seconds.
        if first is None or now - start < 4.0:
            first = share
            return
        if now - said < (0.5 if terminal else 30.0):
            return
        said = now
        text = f"tracerag: {label}: built {done} of {total} crates, {words(seconds_left(first, share, now - start, jobs))}"
        err.write(f"\r{text}\x1b[K" if terminal else text + "\n")
        err.flush()
        shown = terminal

    def clear():
        nonlocal shown
        if shown:
            err.write("\r\x1b[K")
            shown = False

    pending = b""
    for chunk in iter(lambda: os.read(child.stderr.fileno(), 65536), b""):
        *lines, pending = re.split(rb"\r\n|\n|\r", pending + chunk)
        # The bar ends with a carriage return only when the next line comes; it is read as soon as it stands there.
        for raw in lines + [pending]:
            text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", raw.decode("utf-8", "replace"))
            bar = BAR.match(text)
            if bar:
                show(int(bar[1]), int(bar[2]))
                if raw is pending:
                    pending = b""
            elif raw is not pending and text.strip() and not HIDDEN.match(text):
                clear()
                err.write(text.rstrip() + "\n")
                err.flush()
    code = child.wait()
    clear()
    elapsed = time.monotonic() - start
    if code == 0 and elapsed > 20:
        err.write(f"tracerag: {label}: done in {elapsed / 60:.0f} min {elapsed % 60:.0f} s\n" if elapsed >= 60 else f"tracerag: {label}: done in {elapsed:.0f} s\n")
    sys.exit(code if code >= 0 else 128 - code)


main()
