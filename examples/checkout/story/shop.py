"""The processes of the shop: a Collector, checkout, payments in two slots, inventory, the worker."""

import hashlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime

HERE = pathlib.Path(__file__).resolve().parent.parent
ENVIRONMENT = "production"
# Versions and commits of what does not change during the story; the binaries of payments say theirs themselves.
SERVICES = {
    "checkout": ("2.3.0", "5d0e7c31a94f2b6880e1c3d5f7a9b1c3e5070921"),
    "inventory": ("1.4.1", "08b6d4f2e0c8a6948271605f4e3d2c1b0a998877"),
    "worker": ("0.9.5", "e7d6c5b4a3928170f6e5d4c3b2a1908f7e6d5c4b"),
}
# How long checkout waits for payments; inventory's slow line takes longer.
DEADLINE = "2.0"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def rfc3339() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Shop:
    """Starts and stops the processes, and tells of flags and deployments in files of JSON lines."""

    def __init__(self, folder: pathlib.Path, binaries: pathlib.Path, collector: list[str], heap_every: str):
        self.folder = folder
        self.binaries = binaries
        self.collector = collector
        self.heap_every = heap_every
        self.processes: dict[str, subprocess.Popen] = {}
        self.addresses: dict[str, str] = {}
        self.generation = {"a": 0, "b": 0}
        self.mode = "lenient"
        self.express = "off"
        self.flag_version = 0
        self.ports = {name: free_port() for name in ("otlp", "checkout", "inventory")}
        for name in ("logs", "stock", "heaps"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        # Each exists from the beginning: whoever follows it need not wait.
        for name in ("flags.jsonl", "deployments.jsonl", "heaps/heaps.jsonl", "requests.jsonl", "jobs.jsonl"):
            (folder / name).touch()

    @property
    def checkout(self) -> str:
        return f"http://127.0.0.1:{self.ports['checkout']}"

    @property
    def inventory(self) -> str:
        return f"http://127.0.0.1:{self.ports['inventory']}"

    def start(self) -> None:
        """Starts everything with payments 1.8.2 and the mode lenient; returns when all serve."""
        self.spawn("collector", self.collector, {"OTLP_ENDPOINT": f"127.0.0.1:{self.ports['otlp']}"})
        self.wait_for_port("collector", self.ports["otlp"])
        self.append(
            "flags.jsonl",
            {
                "time": rfc3339(),
                "config.key": "checkout.payments_deadline_seconds",
                "config.value": DEADLINE,
                "service.name": "checkout",
            },
        )
        self.set_flags()
        lockfile, digest = HERE / "requirements.txt", self.digest_of_sources()
        for service, (version, commit) in SERVICES.items():
            self.deployed(service, "deployed", version, commit, 100, lockfile, digest)
        self.start_python("inventory")
        for slot in ("a", "b"):
            self.deploy(slot, "1.8.2")
        self.start_python("checkout")
        self.start_python("worker")
        self.wait_for_port("inventory", self.ports["inventory"])
        self.wait_for_port("checkout", self.ports["checkout"])

    def start_python(self, service: str) -> None:
        version, commit = SERVICES[service]
        environment = {
            "SERVICE_VERSION": version,
            "SERVICE_COMMIT": commit,
            "SERVICE_INSTANCE_ID": f"{service}-1",
            "PORT": str(self.ports.get(service, 0)),
            "PAYMENTS_DEADLINE_SECONDS": DEADLINE,
            "FLAGS_FILE": str(self.folder / "flags.json"),
            "PAYMENTS_FILE": str(self.folder / "payments.json"),
            "ORDERS_FILE": str(self.folder / "orders.db"),
            "QUEUE_FILE": str(self.folder / "queue.db"),
            "STOCK_FOLDER": str(self.folder / "stock"),
            "TRUTH_FILE": str(self.folder / "jobs.jsonl"),
        }
        self.spawn(service, [sys.executable, "-m", f"shop.{service}"], environment)

    def deploy(self, slot: str, version: str) -> None:
        """Starts the release in a slot beside the old one, sends orders there, and stops the old one when it is idle."""
        first = self.generation[slot] == 0
        self.generation[slot] += 1
        instance = f"payments-{slot}-{self.generation[slot]}"
        binary = self.binaries / f"payments-{version}"
        port = free_port()
        environment = {
            "LISTEN": f"127.0.0.1:{port}",
            "INVENTORY_URL": self.inventory,
            "SERVICE_INSTANCE_ID": instance,
            "FLAGS_FILE": str(self.folder / "flags.json"),
            "HEAP_FOLDER": str(self.folder / "heaps"),
            "HEAP_EVERY": self.heap_every,
        }
        self.spawn(instance, [str(binary)], environment)
        self.wait_for_port(instance, port)
        release = json.loads(subprocess.check_output([binary, "-version"]))
        digest = hashlib.sha256(binary.read_bytes()).hexdigest()
        self.deployed(
            "payments",
            "deployed" if first else "upgraded",
            **release,
            lockfile=HERE / "payments/go.sum",
            digest=digest,
            instance=instance,
        )
        self.addresses[slot] = f"127.0.0.1:{port}"
        self.write("payments.json", [self.addresses[slot] for slot in sorted(self.addresses)])
        if not first:
            self.stop(f"payments-{slot}-{self.generation[slot] - 1}")

    def deployed(self, service, kind, version, commit, build_number, lockfile, digest, instance=None) -> None:
        """Tells of a deployment, as a CDEvent."""
        custom = {
            "vcs.ref.head.revision": commit,
            "service.version": version,
            "build_number": str(build_number),
            "lockfile_digests": {lockfile.name: "sha256:" + hashlib.sha256(lockfile.read_bytes()).hexdigest()},
        }
        if instance:
            custom["service.instance.id"] = instance
        event = {
            "context": {
                "version": "0.4.1",
                "id": f"{service}-{version}-{instance or 'all'}",
                "source": "/delivery",
                "type": f"dev.cdevents.service.{kind}.0.2.0",
                "timestamp": rfc3339(),
            },
            "subject": {
                "id": service,
                "source": "/delivery",
                "type": "service",
                "content": {
                    "environment": {"id": ENVIRONMENT},
                    "artifactId": f"pkg:oci/{service}@sha256%3A{digest}?tag={version}",
                },
            },
            "customData": custom,
            "customDataContentType": "application/json",
        }
        self.append("deployments.jsonl", event)

    def digest_of_sources(self) -> str:
        whole = hashlib.sha256()
        for file in sorted((HERE / "shop").glob("*.py")):
            whole.update(file.read_bytes())
        return whole.hexdigest()

    def set_flags(self) -> None:
        """Writes the flags as flagd's configuration, for the services and for the topic: the same object."""
        self.flag_version += 1
        mode = {"state": "ENABLED", "variants": {"lenient": "lenient", "strict": "strict"}, "defaultVariant": "lenient"}
        if self.mode == "strict":
            mode["defaultVariant"] = "strict"
        elif self.mode.startswith("strict for "):
            prefix = self.mode.removeprefix("strict for ")
            mode["targeting"] = {"if": [{"starts_with": [{"var": "service.instance.id"}, prefix]}, "strict", "lenient"]}
        express = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": self.express}
        configuration = {
            "time": rfc3339(),
            "flags": {"payments.decimal_mode": mode, "checkout.express_invoice": express},
            "metadata": {"flagSetId": "shop", "version": str(self.flag_version)},
        }
        self.write("flags.json", configuration)
        self.append("flags.jsonl", configuration)

    def write(self, name: str, content) -> None:
        """Replaces a file whole: readers see the old one or the new one."""
        beside = self.folder / f"{name}.new"
        beside.write_text(json.dumps(content, indent=1))
        beside.replace(self.folder / name)

    def append(self, name: str, line: dict) -> None:
        with (self.folder / name).open("a") as file:
            file.write(json.dumps(line) + "\n")

    def spawn(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        common = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.ports['otlp']}",
            "OTEL_RESOURCE_ATTRIBUTES": f"deployment.environment.name={ENVIRONMENT},service.namespace=shop",
            "PYTHONPATH": str(HERE),
        }
        log = (self.folder / "logs" / f"{name}.log").open("ab")
        # A group of its own: an interrupt of the story stops it in order, not all at once.
        self.processes[name] = subprocess.Popen(
            command, env=os.environ | common | environment, stdout=log, stderr=log, start_new_session=True
        )

    def wait_for_port(self, name: str, port: int) -> None:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            if self.processes[name].poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        tail = (self.folder / "logs" / f"{name}.log").read_text(errors="replace")[-2000:]
        raise SystemExit(f"{name} does not serve:\n{tail}")

    def stop(self, name: str) -> None:
        """Lets a process finish what it has in hand and send its telemetry."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise SystemExit(f"{name} did not stop; its last telemetry is lost") from None

    def stop_all(self) -> None:
        """Stops every process: who calls before who is called, the Collector and what publishes last."""
        rank = ["checkout", "worker", "payments", "inventory", "collector", "publish"]
        lost = []
        for name in sorted(self.processes, key=lambda name: rank.index(name.split("-")[0])):
            try:
                self.stop(name)
            except SystemExit as error:
                lost.append(str(error))
        if lost:
            raise SystemExit("\n".join(lost))
