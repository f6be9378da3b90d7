"""What the tests of the operating kit share: the repository's files and the tools that read them.

`./check` brings Helm and promtool (scripts/kit/fetch.sh), names their folder in TRACERAG_TEST_KIT, and runs
`python3 -m unittest discover -s tests/kit`. Without the folder the tests that need it are skipped; with CI=true they
fail instead, unless it is `./check --quick`, or Go is too old to build Helm (TRACERAG_TEST_OLD_GO).
"""

import os
import pathlib
import re
import subprocess
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


def load(path):
    return yaml.safe_load(text(path))


def tool(name):
    """The path of a tool, or the end of the test."""
    path = pathlib.Path(os.environ.get("TRACERAG_TEST_KIT", "/nowhere"), name)
    if not path.exists():
        left_out = "TRACERAG_TEST_SKIP_KAFKA" in os.environ or "TRACERAG_TEST_OLD_GO" in os.environ
        assert left_out or os.environ.get("CI") != "true", f"CI=true, and {name} is not there: run ./check"
        raise unittest.SkipTest(f"{name} is not there: run ./check")
    return str(path)


def run(*command, cwd=ROOT):
    """Exit status and output of a command."""
    done = subprocess.run(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout


def documented_metrics():
    """The names in the table of metrics of the operators' manual; a Rust test holds that against the program."""
    table = text("docs/operators.md").split("| metric | type | labels | is |\n")[1].split("\n\n")[0]
    return set(re.findall(r"^\| `(\w+)` \|", table, re.M))


# Of Prometheus itself, of Kubernetes and of the node exporter.
OTHERS = {
    "up",
    "kubelet_volume_stats_used_bytes",
    "kubelet_volume_stats_capacity_bytes",
    "node_filesystem_avail_bytes",
    "node_filesystem_size_bytes",
}


def metrics_in(expression):
    """The metrics that an expression of PromQL names: words that are no function, label, keyword or text."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)|\{[^}]*\}|\[[^\]]*\]", "", bare)
    words = set(re.findall(r"[a-z_]\w*\b(?!\s*\()", bare))
    return {re.sub(r"_(bucket|count|sum)$", "", word) for word in words if "_" in word or word in OTHERS}
