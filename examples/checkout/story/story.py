"""Plays the story of the intermittent 502s. See README.md and run.sh, which sets up what this needs."""

import argparse
import asyncio
import json
import pathlib
import signal
import subprocess
import time

from story import plan
from story.load import Load
from story.shop import HERE, Shop

DEPLOY = HERE.parent.parent / "deploy/collector"
TOPICS = {"feature_flags": "flags.jsonl", "deployments": "deployments.jsonl", "heap_summaries": "heaps/heaps.jsonl"}


def collector_command(collector: str, brokers: str | None) -> list[str]:
    """The Collector as it is deployed, redaction included; without brokers it writes files instead."""
    configurations = [DEPLOY / "kafka-keyed.yaml", DEPLOY / "redaction.yaml", HERE / "collector/local.yaml"]
    if brokers is None:
        configurations.append(HERE / "collector/files.yaml")
    return [collector, *[f"--config={file}" for file in configurations]]


async def play(shop: Shop, load: Load, orders: list[plan.Order], seconds: float) -> None:
    """Sends the orders, and does what the plan says at its times."""
    began = time.monotonic()
    sending = asyncio.create_task(load.run(orders, began))
    for step in plan.STEPS:
        await asyncio.sleep(max(0.0, began + step.at * seconds - time.monotonic()))
        print(f"{time.monotonic() - began:6.1f} s  {step.action} {step.argument}", flush=True)
        if step.action == "deploy":
            # In a thread: it waits for the old instance to be idle.
            await asyncio.to_thread(shop.deploy, *step.argument.split())
            continue
        setattr(shop, step.action, step.argument)
        shop.set_flags()
    await sending


def write_truth(folder: pathlib.Path) -> None:
    """Puts together what load generator, worker and heap capture noted."""
    with (folder / "truth.jsonl").open("w") as truth:
        for name in ("requests.jsonl", "jobs.jsonl"):
            truth.write((folder / name).read_text())
        for line in (folder / "heaps/heaps.jsonl").read_text().splitlines():
            heap = json.loads(line)
            site = heap["top_sites"][0]
            kept = {key: heap[key] for key in ("trace_id", "span_id", "service.instance.id", "total_bytes")}
            truth.write(json.dumps({"kind": "heap", **kept, "file": site["file"], "line": site["line"]}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="where everything is written; must be new")
    parser.add_argument("--binaries", type=pathlib.Path, required=True)
    parser.add_argument("--collector", required=True)
    parser.add_argument("--brokers", help="send to this Kafka; without it the Collector writes files")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--rate", type=float, default=4, help="orders a second")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()

    # Like an interrupt: what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    arguments.folder.mkdir(parents=True)
    folder = arguments.folder.resolve()
    # A minute in the life of a shop; the story plays hours in minutes.
    heap_every = f"{min(60.0, arguments.seconds / 6):.1f}s"
    shop = Shop(folder, arguments.binaries, collector_command(arguments.collector, arguments.brokers), heap_every)
    load = Load(shop.checkout, shop.inventory, folder / "requests.jsonl")
    try:
        if arguments.brokers:
            publish = [str(arguments.binaries / "publish"), "-brokers", arguments.brokers]
            subprocess.run([*publish, "-topics"], check=True)
            shop.spawn("publish", [*publish, *[f"{topic}={folder / file}" for topic, file in TOPICS.items()]], {})
        shop.start()
        asyncio.run(play(shop, load, plan.orders(arguments.seed, arguments.seconds, arguments.rate), arguments.seconds))
    finally:
        shop.stop_all()
    write_truth(folder)
    print(
        f"{load.sent} orders, {len(load.unexpected)} of them not as expected; the truth is in {folder / 'truth.jsonl'}"
    )
    if load.unexpected:
        raise SystemExit("\n".join(json.dumps(line) for line in load.unexpected[:5]))


if __name__ == "__main__":
    main()
