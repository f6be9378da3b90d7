"""Makes the recording of a story that was played into files.

python -m story.record STORY RECORDING
"""

import json
import pathlib
import shutil
import sys

import zstandard

SIGNALS = ("traces", "logs", "metrics")
CHANGES = {"flags.jsonl": "flags.jsonl", "deployments.jsonl": "deployments.jsonl", "heaps/heaps.jsonl": "heaps.jsonl"}
# Every so many requests are in the recording twice, at once and later, as SDKs send them that had no answer in time.
SENT_TWICE = 25
LATER = 10
MOST_BYTES = 3_000_000


def sent_twice(lines: list[str]) -> list[str]:
    """The lines with some of them once more, a little later, byte for byte."""
    out = []
    for number, line in enumerate(lines):
        out.append(line)
        again = number - LATER
        if again >= 0 and again % SENT_TWICE == 0:
            out.append(lines[again])
    return out


def essentials(truth: list[dict]) -> None:
    """Refuses a recording that lacks what others rest on: each fault, the fix, a failed job, the heap of the failure."""
    faults = {line["fault"]: line["trace_id"] for line in truth if line["kind"] == "request"}
    overflows = {line["trace_id"] for line in truth if line.get("fault") == "decimal_overflow"}
    heaps = [line for line in truth if line["kind"] == "heap" and line["trace_id"] in overflows]
    missing = {"decimal_overflow", "panic", "timeout", "lock", "missing_field"} - faults.keys()
    if not any((line["file"], line["line"]) == ("payments/rounding.go", 117) for line in heaps):
        missing.add("a heap of payments/rounding.go:117 taken for a decimal_overflow")
    if not any(line.get("status") == 422 for line in truth):
        missing.add("an order that the fixed release refuses with 422")
    if not any(line.get("outcome") == "failed" for line in truth):
        missing.add("a job that failed")
    if missing:
        raise SystemExit(
            f"the story has not shown: {', '.join(sorted(missing))}; play it longer or with another --seed"
        )


def main() -> None:
    story, recording = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    essentials([json.loads(line) for line in (story / "truth.jsonl").read_text().splitlines()])
    recording.mkdir(exist_ok=True)
    packer = zstandard.ZstdCompressor(level=19)
    for signal in SIGNALS:
        lines = (story / f"{signal}.jsonl").read_text().splitlines(keepends=True)
        if signal != "metrics":
            lines = sent_twice(lines)
        (recording / f"{signal}.jsonl.zst").write_bytes(packer.compress("".join(lines).encode()))
    for source, name in CHANGES.items():
        shutil.copyfile(story / source, recording / name)
    # Beside what a replay takes, not among it.
    (recording / "truth").mkdir(exist_ok=True)
    (recording / "truth/truth.jsonl.zst").write_bytes(packer.compress((story / "truth.jsonl").read_bytes()))
    sizes = {
        str(file.relative_to(recording)): file.stat().st_size for file in sorted(recording.rglob("*")) if file.is_file()
    }
    print("\n".join(f"{size:>9,} B  {name}" for name, size in sizes.items()))
    if sum(sizes.values()) > MOST_BYTES:
        raise SystemExit(f"the recording is larger than {MOST_BYTES:,} B: record fewer seconds or orders")


if __name__ == "__main__":
    main()
