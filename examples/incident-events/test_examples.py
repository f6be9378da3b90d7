"""The examples' own tests: python3 -m unittest"""

import base64
import hashlib
import hmac
import http.client
import http.server
import json
import threading
import time
import unittest

import agent
import chat
import pager
import receiver

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
DATA = {
    "kind": "new",
    "tenant": "default",
    "fingerprint": "abcd",
    "title": "Overflow <script>",
    "service_name": "payments",
    "example_trace_id": "0123456789abcdef0123456789abcdef",
    "link": "https://tracerag.example.com/incidents/abcd",
}
EVENT = {"id": "e1", "subject": "abcd", "time": "2026-11-23T12:00:00.000000000Z", "data": DATA}
GROUP = {
    "id": "e2",
    "subject": "default",
    "time": "2026-11-23T12:00:00.000000000Z",
    "data": {"kind": "grouped", "tenant": "default", "count": 3, "events": [DATA, {**DATA, "kind": "quiet"}]},
}


def signed(body, at, secret=SECRET):
    text = f"e1.{at}.".encode() + body
    signature = base64.b64encode(hmac.new(receiver.key(secret), text, hashlib.sha256).digest()).decode()
    return {"webhook-id": "e1", "webhook-timestamp": str(at), "webhook-signature": f"v1,{signature}"}


class Verification(unittest.TestCase):
    """Only what was signed with the secret, lately and as it came, is taken."""

    def test_a_signed_event_is_taken(self):
        body = json.dumps(EVENT).encode()
        self.assertEqual(receiver.verify(SECRET, signed(body, 1000), body, 1010), EVENT)

    def test_others_are_refused(self):
        body = json.dumps(EVENT).encode()
        good = signed(body, 1000)
        for headers, content, now in [
            (good, body + b" ", 1010),
            (good, body, 2000),
            ({**good, "webhook-id": "e2"}, body, 1010),
            (signed(body, 1000, "another secret, long enough"), body, 1010),
            ({}, body, 1010),
        ]:
            with self.assertRaises(receiver.Refused):
                receiver.verify(SECRET, headers, content, now)


class Serving(unittest.TestCase):
    """An event is handled once; what was not handled is answered so that it comes again."""

    def test_an_event_is_handled_once(self):
        handled, broken = [], [True]

        def handle(event):
            if broken:
                broken.pop()
                raise OSError("the chat is away")
            handled.append(event["id"])

        made = receiver.handler(SECRET, handle, receiver.Seen())
        made.log_message = lambda *arguments: None
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), made)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        body = json.dumps(EVENT).encode()

        def send(headers):
            connection = http.client.HTTPConnection(*server.server_address)
            connection.request("POST", "/", body, headers)
            status = connection.getresponse().status
            connection.close()
            return status

        headers = signed(body, int(time.time()))
        self.assertEqual([send(headers), send(headers), send(headers), send({})], [500, 204, 204, 401])
        self.assertEqual(handled, ["e1"])
        server.shutdown()
        server.server_close()


class Shapes(unittest.TestCase):
    """What the three services are sent."""

    def test_a_chat_gets_text_without_markup_of_others(self):
        text = chat.message(EVENT)["text"]
        self.assertIn("new: Overflow &lt;script&gt; in payments", text)
        self.assertIn("|incident>", text)
        self.assertIn("and 1 more", chat.message(GROUP)["text"])

    def test_an_alert_is_triggered_and_resolved(self):
        alert = pager.alert(EVENT, "key")
        resolved = pager.alert({**EVENT, "data": {**DATA, "kind": "quiet"}}, "key")
        self.assertEqual((alert["event_action"], resolved["event_action"]), ("trigger", "resolve"))
        self.assertEqual(alert["dedup_key"], resolved["dedup_key"])
        self.assertEqual(pager.alert(GROUP, "key")["dedup_key"], "e2")

    def test_an_agent_gets_traces_only(self):
        trace = DATA["example_trace_id"]
        self.assertEqual(agent.traces(EVENT), [("default", trace)])
        self.assertEqual(agent.traces(GROUP), [("default", trace)])
        self.assertEqual(agent.traces({**EVENT, "data": {**DATA, "example_trace_id": "--help"}}), [])
        self.assertEqual(agent.command("tracerag --lake x", "a", trace)[-3:], ["--tenant=a", "prompt", trace])


if __name__ == "__main__":
    unittest.main()
