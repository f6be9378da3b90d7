"""Compares a lake with the truth of the story: every number of the truth file has to be in the lake, and nothing else.

    python -m story.verify --tracerag BINARY --lake LAKE --truth truth.jsonl [--clean FILE_OR_FOLDER …]

Personal data must be in no file of the lake, nor in those that --clean names. The queries are in queries/.
"""

import argparse
import json
import pathlib
import subprocess
import urllib.parse
from collections import Counter

QUERIES = pathlib.Path(__file__).resolve().parent.parent / "queries"
JOB_KEYS = ("job_trace_id", "job_span_id", "order_trace_id", "order_span_id", "outcome")
HEAP_KEYS = ("trace_id", "span_id", "total_bytes", "file", "line")


class Check:
    """Compares sets of rows and says what is missing and what is too much."""

    def __init__(self, tracerag: str, lake: str):
        self.command = [tracerag, "--lake", lake, "sql", "--format", "json", "-f"]
        self.failed = False

    def rows(self, name: str) -> list[dict]:
        asked = subprocess.run(
            [*self.command, str(QUERIES / f"{name}.sql")], check=True, capture_output=True, text=True
        )
        return json.loads(asked.stdout)

    def compare(self, what: str, wanted: Counter, found: Counter) -> None:
        missing, extra = wanted - found, found - wanted
        verdict = "same" if wanted == found else "DIFFERENT"
        print(f"{what:<10} {wanted.total():>6} in the truth, {found.total():>6} in the lake: {verdict}")
        for word, rows in (("missing", missing), ("extra", extra)):
            for row in sorted(rows, key=str)[:3]:
                print(f"  {word}: {row}")
        self.failed |= wanted != found


def pick(rows: list[dict], *keys: str) -> Counter:
    """These fields of each row, with how often they occur."""
    return Counter(tuple(row[key] for key in keys) for row in rows)


def compare_all(check: Check, truth: list[dict]) -> None:
    """Compares what each query gives with what the truth says of it."""
    requests = [line for line in truth if line["kind"] == "request"]
    for name, rows, keys in (
        ("requests", requests, ("trace_id", "status")),
        ("faults", [line for line in requests if line["fault"]], ("trace_id", "fault")),
        ("jobs", [line for line in truth if line["kind"] == "job"], JOB_KEYS),
        ("heaps", [line for line in truth if line["kind"] == "heap"], HEAP_KEYS),
    ):
        check.compare(name, pick(rows, *keys), pick(check.rows(name), *keys))
    payloads = Counter((line["trace_id"], line["amount"], tuple(line["fields"])) for line in requests if line["payload"])
    found = Counter((row["trace_id"], row["amount"], fields_of(row)) for row in check.rows("payloads"))
    check.compare("payloads", payloads, found)
    flags = Counter((line["trace_id"], key, variant) for line in requests for key, variant in line["flags"].items())
    check.compare("flags", flags, pick(check.rows("flags"), "trace_id", "key", "variant"))
    builds = Counter(
        (line["trace_id"], service, version, line["instances"][service])
        for line in requests
        for service, version in line["builds"].items()
    )
    found = [row for row in check.rows("builds") if row["service"] == "payments"]
    check.compare("builds", builds, pick(found, "trace_id", "service", "version", "instance"))
    check.compare("doubled", Counter(), pick(check.rows("doubled"), "what", "id"))


def fields_of(payload: dict) -> tuple[str, ...]:
    """The fields that a payload had: those of which something was kept, and those that were removed."""
    return tuple(sorted([*json.loads(payload["sample"]), *payload["redactions"]]))


def read(file: pathlib.Path) -> str:
    """The text of a file, unpacked if it is a recording's."""
    if file.suffix != ".zst":
        return file.read_text()
    import zstandard  # Only recordings need it.

    return zstandard.decompress(file.read_bytes()).decode()


def personal_in(places: list[pathlib.Path], personal: set[str]) -> Counter:
    """Which of the texts are in which file, as they are or percent-encoded."""
    wanted = {form for text in personal for form in (text, urllib.parse.quote(text))}
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place]) if file.is_file()]
    found = Counter()
    for file in files:
        content = file.read_bytes()
        found.update((text, str(file)) for text in wanted if text.encode() in content)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracerag", default="tracerag")
    parser.add_argument("--lake", required=True)
    parser.add_argument("--truth", type=pathlib.Path, required=True)
    parser.add_argument("--clean", type=pathlib.Path, nargs="*", default=[])
    arguments = parser.parse_args()
    truth = [json.loads(line) for line in read(arguments.truth).splitlines()]
    check = Check(arguments.tracerag, arguments.lake)
    compare_all(check, truth)
    personal = {text for line in truth if line["kind"] == "request" for text in line["personal"]}
    places = [pathlib.Path(arguments.lake), *arguments.clean]
    check.compare("personal", Counter(), personal_in(places, personal))
    if check.failed:
        raise SystemExit("the lake differs from the truth (see above)")


if __name__ == "__main__":
    main()
