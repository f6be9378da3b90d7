"""Pages somebody: alerts as PagerDuty's Events API v2 takes them. An incident that is quiet resolves its alert.

    HOOK_SECRET=whsec_... PAGER_KEY=... python3 pager.py [PORT]

PAGER_URL names another service of the same interface.
"""

import os

import receiver

URL = "https://events.pagerduty.com/v2/enqueue"
SEVERITIES = {"new": "warning", "regressed": "error", "spiking": "critical", "grouped": "error"}


def alert(event, routing_key):
    """The alert of an event. All alerts of one incident are one, by its tenant and fingerprint."""
    data = event["data"]
    one = f"{data['tenant']}/{event['subject']}"
    if data["kind"] == "quiet":
        return {"routing_key": routing_key, "event_action": "resolve", "dedup_key": one}
    link = data.get("link")
    return {
        "routing_key": routing_key,
        "event_action": "trigger",
        # A group is nothing that gets quiet, so each is an alert of its own.
        "dedup_key": event["id"] if data["kind"] == "grouped" else one,
        "payload": {
            "summary": "; ".join(receiver.lines(event))[:1024],
            "source": data.get("service_name") or "tracerag",
            "severity": SEVERITIES[data["kind"]],
            "timestamp": event["time"],
            "custom_details": data,
        },
        "links": [{"href": link, "text": "incident"}] if link else [],
    }


if __name__ == "__main__":
    url, routing_key = os.environ.get("PAGER_URL", URL), os.environ["PAGER_KEY"]
    receiver.serve(lambda event: receiver.post(url, alert(event, routing_key)))
