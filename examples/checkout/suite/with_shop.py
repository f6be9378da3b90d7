"""Runs a command; where one of the files before it is a test that tracerag has made of evidence, with the shop of the
current folder running and the variables set that such a test reads.

    with_shop.py FRONT BACK STOCK FILE... -- COMMAND...

FRONT, BACK and STOCK are the names of checkout, payments and inventory. STOCK runs only where the test does not answer for it.
"""

import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

# How long a service may take to listen, in seconds.
START = 120


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait(process: subprocess.Popen, port: int) -> None:
    """Waits until a service listens."""
    until = time.monotonic() + START
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"{process.args[0]} does not listen")


def main() -> int:
    front, back, stock, *rest = sys.argv[1:]
    files, command = rest[: rest.index("--")], rest[rest.index("--") + 1 :]
    made = [file for file in files if "SCAFFOLD_TARGET" in pathlib.Path(file).read_text()]
    if not made:
        return subprocess.run(command, check=False).returncode
    text = pathlib.Path(made[0]).read_text()
    # A test says in its head where it enters.
    named = re.search(r"SCAFFOLD_TARGET: where (\S+) listens", text)
    entered = named.group(1) if named else front
    is_answered = f"SCAFFOLD_MOCK_{stock.upper()}" in text
    with tempfile.TemporaryDirectory() as folder:
        binary, flags, instances = f"{folder}/back", f"{folder}/flags.json", f"{folder}/instances.json"
        subprocess.run(["go", "-C", back, "build", "-trimpath", "-o", binary, f"./cmd/{back}"], check=True)
        front_port, back_port, stock_port = free_port(), free_port(), free_port()
        pathlib.Path(flags).write_text('{"flags": {}}')
        pathlib.Path(instances).write_text(f'["127.0.0.1:{back_port}"]')
        common = os.environ | {
            # Telemetry goes nowhere.
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "FLAGS_FILE": flags,
            "SERVICE_INSTANCE_ID": f"{back}-b-1",
        }
        of_back = {
            "LISTEN": f"127.0.0.1:{back_port}",
            f"{stock.upper()}_URL": f"http://127.0.0.1:{stock_port}",
            "HEAP_FOLDER": folder,
        }
        of_front = {
            "PORT": str(front_port),
            f"{back.upper()}_DEADLINE_SECONDS": "2",
            f"{back.upper()}_FILE": instances,
            "ORDERS_FILE": f"{folder}/orders.db",
            "QUEUE_FILE": f"{folder}/queue.db",
        }
        build = {"SERVICE_VERSION": "test", "SERVICE_COMMIT": "test"}
        of_stock = build | {"PORT": str(stock_port), "STOCK_FOLDER": folder}
        services = {
            back: ([binary], of_back, back_port),
            front: ([sys.executable, "-m", f"shop.{front}"], build | of_front, front_port),
        }
        if not is_answered:
            services[stock] = ([sys.executable, "-m", f"shop.{stock}"], of_stock, stock_port)
        started = [subprocess.Popen(words, env=common | own) for words, own, _ in services.values()]
        try:
            for process, (_, _, port) in zip(started, services.values()):
                wait(process, port)
            port = services[entered][2] if entered in services else front_port
            told = {
                "SCAFFOLD_TARGET": f"127.0.0.1:{port}" if entered == back else f"http://127.0.0.1:{port}",
                f"SCAFFOLD_MOCK_{stock.upper()}": f"127.0.0.1:{stock_port}",
                "SCAFFOLD_FLAGS_FILE": flags,
            }
            return subprocess.run(command, env=os.environ | told, check=False).returncode
        finally:
            for process in started:
                process.kill()
                process.wait()


if __name__ == "__main__":
    sys.exit(main())
