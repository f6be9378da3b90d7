"""The Compose file against the image, the Collector's configuration and the program's defaults, without Docker.

Where there is a Docker with Compose, it reads the file, too. That the configurations work together is a Rust test
(tests/deployment.rs).
"""

import http.server
import os
import re
import shutil
import subprocess
import threading
import unittest

import parts

COMPOSE = "docker-compose.yml"
DOCKERFILE = "deploy/Dockerfile"


def instructions(stage=-1):
    """The instructions of a stage of the image, of the last one unless said, in order."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", parts.text(DOCKERFILE), flags=re.M))
    found = re.split(r"^FROM ", joined, flags=re.M)[1:][stage]
    return [tuple(line.split(None, 1)) for line in ("FROM " + found).splitlines() if line.strip()]


def environment():
    """The variables of the image."""
    lines = [rest for word, rest in instructions() if word == "ENV"]
    return dict(pair.split("=", 1) for line in lines for pair in line.split())


class Compose(unittest.TestCase):
    def setUp(self):
        self.services = parts.load(COMPOSE)["services"]
        self.worker = self.services["tracerag"]
        self.server = self.services["serve"]

    def test_the_image(self):
        """Guarantees that Compose builds the image of the repository, once for worker and server, that it runs as a user
        of its own, by number, and that both its stages are of one Debian, whose libraries the program links."""
        build = self.worker["build"]
        self.assertEqual(self.server["build"], build)
        self.assertTrue((parts.ROOT / build["context"] / build["dockerfile"]).is_file())
        found = dict(instructions())
        self.assertIn("--uid 10001", parts.text(DOCKERFILE))
        self.assertEqual(found["USER"], "10001")
        releases = set(re.findall(r"^FROM \S*?(bookworm|trixie)\S*", parts.text(DOCKERFILE), re.M))
        self.assertEqual(len(releases), 1, releases)
        self.assertEqual((found["ENTRYPOINT"], found["CMD"]), ('["tracerag"]', '["run"]'))

    def test_the_program_is_built_and_stripped(self):
        """Guarantees that the program is written once to where the image takes it from, by what leaves the tables of lines
        out, and that no command has run into another one."""
        builds = [rest for word, rest in instructions(0) if word == "RUN" and "cargo build" in rest]
        self.assertEqual(len(builds), 1, builds)
        commands = [command.split() for command in builds[0].split("&&")]
        self.assertEqual(commands[0][-5:], ["build", "--locked", "--release", "--bin", "tracerag"])
        copies = [rest.split() for word, rest in instructions() if word == "COPY"]
        taken = [words[1] for words in copies if words[-1] == "/usr/local/bin/tracerag"]
        stripped = ["strip", "--strip-debug", "-o", *taken, "/target/release/tracerag"]
        self.assertEqual(commands[1:], [stripped])

    def test_nothing_is_fetched_at_the_start(self):
        """Guarantees that model and ONNX Runtime are in the image, where its configuration looks for them."""
        copies = [rest.split() for word, rest in instructions() if word == "COPY"]
        targets = {words[-1]: words[-2] for words in copies}
        self.assertEqual(targets[environment()["TRACERAG_EMBEDDING__CACHE"]], "/model/tracerag")
        self.assertRegex(parts.text(DOCKERFILE), r"XDG_CACHE_HOME=/model scripts/fetch-model.sh")
        # What the first stage copies and runs must not be left out of its context.
        ignored = [line.strip("/") for line in parts.text(".dockerignore").split()]
        self.assertFalse([name for name in ("scripts", "Cargo.lock", "src", "LICENSE", ".cargo") if name in ignored])

    def test_volumes_and_ports(self):
        """Guarantees that the lake lies on a volume, that files from the host are there, that ports are those that the
        parts listen on and the image names, and that only this machine reaches them."""
        declared = parts.load(COMPOSE)["volumes"]
        mounts = {}
        for name, service in self.services.items():
            for volume in service.get("volumes", []):
                source, target = volume.removesuffix(":ro").rsplit(":", 1)
                mounts[name, target] = source
                if source.startswith("./"):
                    self.assertTrue((parts.ROOT / source).is_file(), source)
                elif not source.startswith("${"):
                    self.assertIn(source, declared)
            for port in service.get("ports", []):
                self.assertTrue(port.startswith("127.0.0.1:"), port)
        lake = environment()["TRACERAG_LAKE__URI"]
        self.assertTrue(lake.startswith("/var/lib/tracerag/"))
        self.assertEqual(mounts["tracerag", "/var/lib/tracerag"], "lake")
        self.assertIn("VOLUME", dict(instructions()))
        metrics = environment()["TRACERAG_METRICS__LISTEN"].rsplit(":", 1)[1]
        self.assertEqual(self.worker["ports"], [f"127.0.0.1:{metrics}:{metrics}"])
        self.assertEqual(self.server["volumes"], ["lake:/var/lib/tracerag"])
        listened = [self.server["environment"][f"TRACERAG_SERVE__{key}"].rsplit(":", 1)[1] for key in ("HTTP", "FLIGHT_SQL", "POSTGRES")]
        self.assertEqual(self.server["ports"], [f"127.0.0.1:{port}:{port}" for port in listened])
        self.assertEqual(dict(instructions())["EXPOSE"].split(), [metrics, *listened])
        protocols = parts.load("deploy/collector/kafka-keyed.yaml")["receivers"]["otlp"]["protocols"]
        listened = {protocol["endpoint"].rsplit(":", 1)[1] for protocol in protocols.values()}
        self.assertEqual({port.rsplit(":", 1)[1] for port in self.services["collector"]["ports"]}, listened)

    def test_secrets_and_brokers(self):
        """Guarantees that the key comes from a file that is mounted where the configuration reads it, that no start
        without one is possible, and that all parts speak to the broker by the name and port that it advertises."""
        variables = self.worker["environment"]
        mounted = [volume for volume in self.worker["volumes"] if "HMAC_KEY_FILE" in volume]
        self.assertEqual(variables["TRACERAG_REDACTION__KEY"], "$${file:/etc/tracerag/hmac.key}")
        self.assertTrue(mounted[0].endswith(":/etc/tracerag/hmac.key:ro") and "${HMAC_KEY_FILE:?" in mounted[0])
        advertised = self.services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
        inside = re.search(r"INSIDE://([^,]+)", advertised)[1]
        self.assertEqual(variables["TRACERAG_KAFKA__BOOTSTRAP_SERVERS"], inside)
        self.assertEqual(self.services["collector"]["environment"]["KAFKA_BROKERS"], inside)
        self.assertIn(f"--bootstrap-server {inside}", self.services["topics"]["command"][0])

    def test_nothing_personal_goes_into_kafka(self):
        """Guarantees that the Collector redacts by default, over a configuration that it has, with the key that is mounted
        where it reads it, and that no start without one is possible."""
        collector = self.services["collector"]
        mounts = dict(volume.removesuffix(":ro").rsplit(":", 1)[::-1] for volume in collector["volumes"])
        configs = [word.removeprefix("--config=") for word in collector["command"]]
        names = ["kafka-keyed.yaml", "redaction.yaml"]
        self.assertEqual([mounts[config] for config in configs], [f"./deploy/collector/{name}" for name in names])
        key = collector["environment"]["REDACTION_KEY"]
        self.assertRegex(key, r"^\$\$\{file:/.+\}$")
        self.assertIn("${HMAC_KEY_FILE:?", mounts[key.removeprefix("$${file:").removesuffix("}")])

    def test_topics_and_sizes(self):
        """Guarantees that the topics which the Collector writes and those which a worker reads by default are made, spans
        and logs with equal numbers of partitions and keyed, and that the broker takes what the Collector may send."""
        script = self.services["topics"]["command"][0]
        made = {}
        for names, partitions in re.findall(r"for topic in ([^;]+);.*?--partitions (\d+)", script, re.S):
            made.update(dict.fromkeys(names.split(), int(partitions)))
        example = parts.text("tracerag.example.toml").split("[topics]")[1].split("\n[")[0]
        self.assertEqual(set(made), set(re.findall(r'topics = \["(\w+)"\]', example)))
        self.assertEqual(made["otlp_spans"], made["otlp_logs"])
        exporter = parts.load("deploy/collector/kafka-keyed.yaml")["exporters"]["kafka"]
        for signal in ("traces", "logs", "metrics"):
            self.assertIn(exporter[signal]["topic"], made)
        self.assertTrue(exporter["partition_traces_by_id"] and exporter["partition_logs_by_trace_id"])
        broker = self.services["kafka"]["environment"]
        self.assertGreaterEqual(int(broker["KAFKA_MESSAGE_MAX_BYTES"]), exporter["producer"]["max_message_bytes"])
        self.assertNotEqual(broker["KAFKA_AUTO_CREATE_TOPICS_ENABLE"], "true")

    def test_versions_are_those_that_are_tested(self):
        """Guarantees that broker and Collector are of the versions that the tests run against."""
        version = re.search(r"libs-([\d.]+)", parts.text("scripts/kafka/fetch.sh"))[1].rstrip(".")
        for service in ("kafka", "topics"):
            self.assertEqual(self.services[service]["image"], f"apache/kafka:{version}")
        version = parts.load("scripts/collector/builder.yaml")["dist"]["version"]
        self.assertEqual(self.services["collector"]["image"], f"otel/opentelemetry-collector-contrib:{version}")

    def test_everything_starts_in_order_and_again(self):
        """Guarantees that nobody starts before the topics are made, and that what ends is started again; a worker has
        the time that a stop may take."""
        for name in ("collector", "tracerag"):
            self.assertEqual(self.services[name]["depends_on"]["topics"]["condition"], "service_completed_successfully")
            self.assertEqual(self.services[name]["restart"], "unless-stopped")
        self.assertEqual(self.services["topics"]["depends_on"]["kafka"]["condition"], "service_healthy")
        self.assertEqual(self.server["depends_on"], {"tracerag": {"condition": "service_healthy"}})
        self.assertEqual(self.server["restart"], "unless-stopped")
        for service in (self.worker, self.server):
            self.assertGreaterEqual(int(service["stop_grace_period"].rstrip("s")), 30)

    def test_health_is_what_readyz_says(self):
        """The health checks of worker and server are run, as Compose would run them, against a process that answers 200,
        503, or not at all. Guarantees that a container is healthy when it is ready, and only then."""

        class Answers(http.server.BaseHTTPRequestHandler):
            status = 200

            def do_GET(self):
                self.send_response(self.status if self.path == "/readyz" else 404)
                self.end_headers()

            def log_message(self, *_):
                pass

        with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            port = f"/127.0.0.1/{server.server_address[1]} "
            for service in (self.worker, self.server):
                word, *command = service["healthcheck"]["test"]
                self.assertEqual(word, "CMD")
                metrics = environment()["TRACERAG_METRICS__LISTEN"].rsplit(":", 1)[1]
                self.assertIn(f"/127.0.0.1/{metrics} ", command[-1])
                command = [part.replace("$$", "$").replace(f"/127.0.0.1/{metrics} ", port) for part in command]
                for status, healthy in ((200, True), (503, False)):
                    Answers.status = status
                    self.assertEqual(parts.run(*command)[0] == 0, healthy, command)
                away = [part.replace(port, "/127.0.0.1/1 ") for part in command]
                self.assertNotEqual(parts.run(*away)[0], 0)
            server.shutdown()

    def test_docker_takes_it(self):
        """Where Docker is: Compose itself reads the file. Guarantees that it is valid."""
        docker = shutil.which("docker")
        if not docker or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
            self.skipTest("there is no Docker with Compose here")
        os.environ.setdefault("HMAC_KEY_FILE", "./hmac.key")
        status, output = parts.run(docker, "compose", "-f", COMPOSE, "config", "--quiet")
        self.assertEqual(status, 0, output)


if __name__ == "__main__":
    unittest.main()
