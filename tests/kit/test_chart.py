"""The chart deploy/helm/tracerag, rendered for each of its example values.

deploy/helm/snapshots has what comes of them; after a wanted change, TRACERAG_UPDATE_SNAPSHOTS=1 writes it anew. That
the program takes the configurations in it is a Rust test (tests/deployment.rs).
"""

import os
import re
import unittest

import yaml

import parts

CHART = parts.ROOT / "deploy/helm/tracerag"
EXAMPLES = sorted(file.name.removesuffix("-values.yaml") for file in (CHART / "ci").glob("*-values.yaml"))
# Values without which nothing is rendered.
LEAST = ["config.kafka.bootstrap_servers=kafka:9092", "redaction.existingSecret=key"]
# A server that lacks nothing but what keeps tokens from others.
SERVER = "server.enabled=true,lake.volume.accessMode=ReadWriteMany,server.tokens.existingSecret=tokens"


def snapshot(name):
    return parts.ROOT / f"deploy/helm/snapshots/{name}.yaml"


def objects(name):
    """What is deployed, by kind and name."""
    documents = yaml.safe_load_all(snapshot(name).read_text(encoding="utf-8"))
    return {(document["kind"], document["metadata"]["name"]): document for document in documents if document}


def pods(found):
    return {key: found[key]["spec"]["template"] for key in found if key[0] in ("StatefulSet", "Deployment")}


def each_with_lake():
    """Each pod of an example that has to do with the lake, with what is deployed beside it."""
    for name in EXAMPLES:
        found = objects(name)
        for template in pods(found).values():
            if template["metadata"]["labels"]["app.kubernetes.io/component"] != "rekey":
                yield name, found, template


class Chart(unittest.TestCase):
    def render(self, *arguments):
        helm = parts.tool("helm")
        return parts.run(helm, "template", "tracerag", str(CHART), "--kube-version", "1.31", *arguments)

    def test_it_is_rendered_as_it_was(self):
        """Each example passes Helm's strict lint and gives what its snapshot has. Guarantees that no change of what is
        deployed goes unseen, and that the other tests look at what Helm makes."""
        helm = parts.tool("helm")
        for name in EXAMPLES:
            values = str(CHART / f"ci/{name}-values.yaml")
            status, output = parts.run(helm, "lint", "--strict", str(CHART), "-f", values)
            self.assertEqual(status, 0, output)
            status, output = self.render("-f", values)
            self.assertEqual(status, 0, output)
            if os.environ.get("TRACERAG_UPDATE_SNAPSHOTS"):
                snapshot(name).write_text(output, encoding="utf-8")
            self.assertEqual(output, snapshot(name).read_text(encoding="utf-8"), name)
        self.assertEqual(EXAMPLES, sorted(file.stem for file in snapshot("x").parent.glob("*.yaml")))

    def test_what_would_not_run_is_refused(self):
        """Values that lack something, or do not go together, in turn. Guarantees that each is told before anything is
        deployed, with what to set."""
        refused = {
            "config.kafka.bootstrap_servers=": "name the brokers",
            "redaction.existingSecret=": "openssl rand -hex 32",
            "config.redaction.key=secret": "put it into a Secret",
            "config.lake.uri=s3://bucket/lake": "set lake.volume.enabled to false",
            "config.lake.uri=/data/lake": "below /var/lib/tracerag",
            "lake.volume.enabled=false": "name a bucket in config.lake.uri",
            "workers.replicas=2": "ReadWriteMany",
            "server.enabled=true,server.tokens.existingSecret=tokens,server.behindTls=true": "ReadWriteMany",
            f"{SERVER}": "cross the network in clear",
            f"{SERVER},server.behindTls=true,server.tokens.existingSecret=": "tracerag token create",
            f"{SERVER},server.behindTls=true,server.ingress.enabled=true": "server.ingress.host",
            "server.tokens.file=tokens.json": "file",
            "workers.replica=2": "replica",
            "config.kafka.options.a=1": "kafka",
            "workers.terminationGracePeriodSeconds=5": "terminationGracePeriodSeconds",
        }
        for value, told in refused.items():
            status, output = self.render(*[word for least in (*LEAST, value) for word in ("--set", least)])
            self.assertNotEqual(status, 0, value)
            self.assertIn(told, output, value)

    def test_parts_find_each_other(self):
        """Labels and selectors, mounts and volumes, configurations, claims, accounts and ports are followed from one
        object to the next. Guarantees that none of them leads nowhere."""
        for name in EXAMPLES:
            found = objects(name)
            for (kind, _), template in pods(found).items():
                spec = template["spec"]
                (container,) = spec["containers"]
                volumes = {volume["name"]: volume for volume in spec["volumes"]}
                self.assertEqual({mount["name"] for mount in container["volumeMounts"]}, set(volumes), name)
                self.assertIn(("ConfigMap", volumes["config"]["configMap"]["name"]), found)
                self.assertIn(("ServiceAccount", spec["serviceAccountName"]), found)
                ports = {port["name"]: port["containerPort"] for port in container["ports"]}
                self.assertEqual(container["livenessProbe"]["httpGet"], {"path": "/healthz", "port": "metrics"})
                self.assertEqual(container["readinessProbe"]["httpGet"], {"path": "/readyz", "port": "metrics"})
                component = template["metadata"]["labels"]["app.kubernetes.io/component"]
                toml = found["ConfigMap", volumes["config"]["configMap"]["name"]]["data"]["tracerag.toml"]
                self.assertEqual(set(ports.values()), {int(port) for port in re.findall(r'= "0\.0\.0\.0:(\d+)"', toml)})
                self.assertEqual(kind == "StatefulSet", component == "worker")
                self.assertEqual(container["args"], [{"worker": "run", "rekey": "rekey", "server": "serve"}[component]])
                scraped = [
                    item
                    for (kind, _), item in found.items()
                    if kind == "Service"
                    and item["spec"]["selector"].items() <= template["metadata"]["labels"].items()
                    and item["spec"].get("publishNotReadyAddresses")
                ]
                self.assertEqual([service["spec"]["ports"][0]["name"] for service in scraped], ["metrics"], name)
            for (kind, _), item in found.items():
                spec = item.get("spec", {})
                selector = spec.get("selector", {})
                labels = selector if kind == "Service" else selector.get("matchLabels", {})
                if kind in ("StatefulSet", "Deployment"):
                    self.assertLessEqual(labels.items(), spec["template"]["metadata"]["labels"].items())
                elif kind in ("Service", "PodDisruptionBudget"):
                    of = [pod for pod in pods(found).values() if labels.items() <= pod["metadata"]["labels"].items()]
                    self.assertEqual(len(of), 1, f"{name}: {kind}")
                    for port in spec.get("ports", []):
                        listened = [listened["name"] for listened in of[0]["spec"]["containers"][0]["ports"]]
                        self.assertIn(port["targetPort"], listened, name)
                elif kind == "ServiceMonitor":
                    services = [found[key] for key in found if key[0] == "Service"]
                    for service in services:
                        self.assertLessEqual(labels.items(), service["metadata"]["labels"].items())
                    self.assertEqual(spec["endpoints"][0]["port"], "metrics")
                elif kind == "Ingress":
                    for path in spec["rules"][0]["http"]["paths"]:
                        backend = path["backend"]["service"]
                        service = found["Service", backend["name"]]
                        self.assertIn(backend["port"]["name"], [port["name"] for port in service["spec"]["ports"]])
                if kind == "StatefulSet":
                    self.assertIn(("Service", spec["serviceName"]), found)

    def test_where_the_lake_lies(self):
        """Guarantees that workers and servers have the volume that their configuration names, and can write to it, or
        none where the lake is in S3; and that a volume which the chart makes outlives it."""
        for name, found, template in each_with_lake():
            spec = template["spec"]
            toml = found["ConfigMap", spec["volumes"][0]["configMap"]["name"]]["data"]["tracerag.toml"]
            # Variables of the image count before the file, so the pod has to name the same lake as the file.
            variables = {variable["name"]: variable.get("value") for variable in spec["containers"][0]["env"]}
            self.assertIn(f'uri = "{variables["TRACERAG_LAKE__URI"]}"', toml, name)
            claims = [volume["persistentVolumeClaim"]["claimName"] for volume in spec["volumes"] if "persistentVolumeClaim" in volume]
            mounts = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
            if name == "s3":
                self.assertIn('uri = "s3://', toml)
                self.assertEqual(claims, [])
            else:
                self.assertIn(f'uri = "{mounts["lake"]}/', toml)
                self.assertNotIn("readOnly", next(mount for mount in spec["containers"][0]["volumeMounts"] if mount["name"] == "lake"))
                made = found.get(("PersistentVolumeClaim", claims[0]))
                self.assertEqual(made is None, name == "rekey", name)
                if made:
                    self.assertEqual(made["metadata"]["annotations"]["helm.sh/resource-policy"], "keep")

    def test_secrets_stay_secret(self):
        """Guarantees that what is secret comes from a Secret: placeholders stand where passwords would, each names a
        file that is mounted or a variable that is set, and pods run without rights that they do not need."""
        for name in EXAMPLES:
            found = objects(name)
            self.assertNotIn("Secret", {kind for kind, _ in found})
            for key, template in pods(found).items():
                spec = template["spec"]
                (container,) = spec["containers"]
                toml = found["ConfigMap", spec["volumes"][0]["configMap"]["name"]]["data"]["tracerag.toml"]
                mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
                variables = {variable["name"] for variable in container["env"]}
                values = [line.split(" = ")[1].strip('"') for line in toml.splitlines() if "${" in line]
                has_key = any(value.startswith("${file:/etc/tracerag/redaction/") for value in values)
                self.assertEqual(has_key, container["args"] != ["serve"], key)
                self.assertEqual("/etc/tracerag/redaction" in mounts, has_key, key)
                for value in values:
                    where, what = value[2:-1].split(":")
                    if where == "env":
                        self.assertIn(what, variables, name)
                    else:
                        self.assertIn(what.rsplit("/", 1)[0], mounts, name)
                for line in toml.splitlines():
                    if any(word in line for word in ("password", "secret")) and "location" not in line:
                        self.assertIn("${", line, name)
                self.assertTrue(spec["securityContext"]["runAsNonRoot"])
                self.assertEqual(container["securityContext"]["capabilities"], {"drop": ["ALL"]})
                self.assertTrue(container["securityContext"]["readOnlyRootFilesystem"])
                self.assertFalse(spec["automountServiceAccountToken"])

    def test_servers_answer_who_has_a_token(self):
        """Guarantees that a server has a file of tokens from a Secret, speaks TLS with the files of another or says that
        somebody in front does, and has nothing of what workers need for Kafka."""
        servers = 0
        for name, found, template in each_with_lake():
            spec = template["spec"]
            if spec["containers"][0]["args"] != ["serve"]:
                continue
            servers += 1
            toml = found["ConfigMap", spec["volumes"][0]["configMap"]["name"]]["data"]["tracerag.toml"]
            serve = dict(re.findall(r"^\s+(\w+) = \"?(.*?)\"?$", toml.split("[serve]")[1].split("\n[")[0], re.M))
            mounts = {mount["mountPath"]: mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
            volumes = {volume["name"]: volume for volume in spec["volumes"]}
            self.assertNotIn("kafka", toml)
            folder, key = serve["tokens_file"].rsplit("/", 1)
            self.assertEqual(volumes[mounts[folder]]["secret"]["secretName"], "tracerag-tokens")
            self.assertEqual(key, "tokens" if name == "s3" else "tokens.json")
            if "tls_certificate" in serve:
                self.assertEqual((serve["tls_certificate"], serve["tls_key"]), ("/etc/tracerag/tls/tls.crt", "/etc/tracerag/tls/tls.key"))
                self.assertEqual(volumes[mounts["/etc/tracerag/tls"]]["secret"]["secretName"], "tracerag-tls")
            else:
                self.assertEqual(serve["behind_tls"], "true")
            if ("Ingress", "tracerag-server") in found:
                ingress = found["Ingress", "tracerag-server"]["spec"]
                self.assertEqual(serve["public_url"], f"https://{ingress['rules'][0]['host']}")
                self.assertEqual(ingress["tls"][0]["hosts"], [ingress["rules"][0]["host"]])
        self.assertEqual(servers, 2)

    def test_each_value_is_described(self):
        """Guarantees that values.yaml and values.schema.json have the same values."""

        def keys(values, schema, path):
            self.assertEqual(set(values), set(schema["properties"]) - {"global"}, path)
            for key, inner in schema["properties"].items():
                if inner.get("additionalProperties") is False and key in values:
                    keys(values[key], inner, f"{path}.{key}")

        keys(parts.load("deploy/helm/tracerag/values.yaml"), parts.load("deploy/helm/tracerag/values.schema.json"), "values")


if __name__ == "__main__":
    unittest.main()
