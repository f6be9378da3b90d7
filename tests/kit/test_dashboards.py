"""The dashboards of deploy/grafana: what they show is exposed, and they can be imported anywhere."""

import json
import tempfile
import unittest

import parts


def dashboards():
    files = sorted((parts.ROOT / "deploy/grafana").glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def expressions(dashboard):
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


class Dashboards(unittest.TestCase):
    def test_what_is_there(self):
        """Guarantees that there is one for each thing that is looked at, and that importing one replaces no other."""
        found = dashboards()
        self.assertEqual(set(found), {"cost", "dead-letters", "health", "lag", "queries"})
        self.assertEqual(len({dashboard["uid"] for dashboard in found.values()}), len(found))

    def test_they_can_be_imported(self):
        """Guarantees that no data source of somebody's installation is in them: all take the one that is chosen. Panels
        have titles and descriptions, ids of their own, and do not overlap."""
        for name, dashboard in dashboards().items():
            self.assertIsNone(dashboard.get("id"), name)
            variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
            self.assertEqual((variables["datasource"]["type"], variables["datasource"]["query"]), ("datasource", "prometheus"))
            taken = set()
            for panel in dashboard["panels"]:
                self.assertTrue(panel["title"] and panel["description"], name)
                for part in (panel, *panel["targets"]):
                    self.assertEqual(part["datasource"]["uid"], "${datasource}", panel["title"])
                place = panel["gridPos"]
                self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
                cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
                self.assertFalse(cells & taken, panel["title"])
                taken |= cells
            self.assertEqual(len({panel["id"] for panel in dashboard["panels"]}), len(dashboard["panels"]), name)

    def test_metrics_are_there(self):
        """Guarantees that no panel stays empty because nobody exposes its metric."""
        known = parts.documented_metrics()
        for name, dashboard in dashboards().items():
            for expression in expressions(dashboard):
                used = parts.metrics_in(expression.replace("$cpu_price", "1"))
                self.assertTrue(used, expression)
                self.assertLessEqual(used, known, f"{name}: {expression}")

    def test_prometheus_takes_the_queries(self):
        """promtool reads each query as a rule. Guarantees that all are valid."""
        promtool = parts.tool("promtool")
        rules = []
        for dashboard in dashboards().values():
            for expression in expressions(dashboard):
                expression = expression.replace("$__rate_interval", "5m").replace("$cpu_price", "1")
                rules.append({"record": f"query_{len(rules)}", "expr": expression})
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            json.dump({"groups": [{"name": "queries", "rules": rules}]}, file)
            file.flush()
            status, output = parts.run(promtool, "check", "rules", file.name)
        self.assertEqual(status, 0, output)


if __name__ == "__main__":
    unittest.main()
