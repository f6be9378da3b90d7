"""The alarms of deploy/prometheus: Prometheus takes them, and docs/operations.md says what to do at each."""

import re
import unittest

import parts

RULES = "deploy/prometheus/rules.yml"
PAGES = {"page": "### Somebody should look at once", "ticket": "### Somebody should look in office hours"}


def alarms():
    return {rule["alert"]: rule for group in parts.load(RULES)["groups"] for rule in group["rules"]}


def rows():
    """Each alarm of the document, with its severity and its condition in words."""
    found = {}
    for severity, heading in PAGES.items():
        table = parts.text("docs/operations.md").split(heading)[1].split("\n### ")[0]
        for anchor, name, condition in re.findall(r'^\| <a id="(\w+)"></a>(\w+) \| (.*?) \|', table, re.M):
            found[name] = (severity, anchor, condition)
    return found


class Alarms(unittest.TestCase):
    def test_prometheus_takes_them(self):
        """promtool reads the rules and runs their tests. Guarantees that they are valid, and raised as the tests say."""
        promtool = parts.tool("promtool")
        for command in (["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]):
            status, output = parts.run(promtool, *command, cwd=parts.ROOT / "deploy/prometheus")
            self.assertEqual(status, 0, output)

    def test_each_is_tested_both_ways(self):
        """Guarantees that of each alarm it is known what raises it, and what does not."""
        raised, quiet = set(), set()
        for group in parts.load("deploy/prometheus/rules_test.yml")["tests"]:
            for test in group["alert_rule_test"]:
                (raised if test["exp_alerts"] else quiet).add(test["alertname"])
        self.assertEqual(raised, set(alarms()))
        self.assertEqual(quiet, set(alarms()))

    def test_the_document_has_the_same(self):
        """Names, severities and places of alarms and document are compared, and so is each whole condition that the
        document gives in PromQL. Guarantees that whoever is called finds what to do, and that it is about that alarm."""
        documented = rows()
        self.assertEqual(set(documented), set(alarms()))
        for name, rule in alarms().items():
            severity, anchor, condition = documented[name]
            self.assertEqual(rule["labels"]["severity"], severity, name)
            self.assertEqual(rule["annotations"]["runbook"], f"docs/operations.md#{anchor}", name)
            expression = " ".join(rule["expr"].split())
            for part in re.findall(r"`([^`]*)`", condition):
                if re.search(r"\w\(|==", part):
                    self.assertIn(part, expression, name)

    def test_metrics_are_there(self):
        """Guarantees that no alarm waits for a metric that nobody exposes."""
        known = parts.documented_metrics() | parts.OTHERS
        for name, rule in alarms().items():
            used = parts.metrics_in(rule["expr"])
            self.assertTrue(used, name)
            self.assertLessEqual(used, known, name)


if __name__ == "__main__":
    unittest.main()
