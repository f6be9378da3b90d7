"""A receiver of tracerag's incident events: verifies the signature, drops repeats, and hands each event on.

Events are CloudEvents 1.0 in JSON, signed as https://www.standardwebhooks.com says. A receiver answers 2xx when it has
taken an event; anything else, or no answer within ten seconds, makes tracerag send it again later.
"""

import base64
import collections
import hashlib
import hmac
import http.server
import json
import os
import sys
import time

# How far clocks may be apart, in seconds; what is older may have been recorded and sent again by somebody.
TOLERANCE = 300
# Bytes of an event at most.
LARGEST = 1 << 20


class Refused(Exception):
    """The request does not come from tracerag, or not as it was sent."""


def key(secret):
    """The bytes of a secret as it is written: base64 behind `whsec_`, else the text itself."""
    if secret.startswith("whsec_"):
        return base64.b64decode(secret.removeprefix("whsec_"))
    return secret.encode()


def verify(secret, headers, body, now):
    """The event of a request; `headers` by lower-case names, `now` in seconds. Raises Refused."""
    identifier, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not sent.isdecimal() or abs(now - int(sent)) > TOLERANCE:
        raise Refused("the time of the request is not near")
    signed = b".".join([identifier.encode(), sent.encode(), body])
    expected = "v1," + base64.b64encode(hmac.new(key(secret), signed, hashlib.sha256).digest()).decode()
    # While a secret is changed, several signatures stand in one header.
    signatures = headers.get("webhook-signature", "").split()
    if not any(hmac.compare_digest(expected.encode(), signature.encode()) for signature in signatures):
        raise Refused("the signature is wrong")
    return json.loads(body)


class Seen:
    """Ids of events that were handled: an event may come more than once."""

    def __init__(self, most=10_000):
        self.most = most
        self.ids = collections.OrderedDict()

    def __contains__(self, identifier):
        return identifier in self.ids

    def add(self, identifier):
        self.ids[identifier] = True
        while len(self.ids) > self.most:
            self.ids.popitem(last=False)


def handler(secret, handle, seen):
    """A handler of HTTP requests that calls `handle(event)` once for each event."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers.get("content-length") or 0)
            if length > LARGEST:
                return self.answer(413)
            body = self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                event = verify(secret, headers, body, time.time())
            except (Refused, ValueError) as refusal:
                self.log_message("refused: %s", refusal)
                return self.answer(401)
            if event["id"] not in seen:
                try:
                    handle(event)
                except Exception as error:  # Whatever it was: tracerag sends the event again.
                    self.log_message("not handled: %s", error)
                    return self.answer(500)
                seen.add(event["id"])
            return self.answer(204)

        def answer(self, status):
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

    return Handler


def serve(handle):
    """Serves on 127.0.0.1, at the port of the command line (8787 without one), until it is interrupted."""
    secret = os.environ.get("HOOK_SECRET", "")
    if not secret:
        sys.exit("set HOOK_SECRET to the secret that tracerag signs with")
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8787
    http.server.ThreadingHTTPServer(("127.0.0.1", port), handler(secret, handle, Seen())).serve_forever()


def post(url, document):
    """Sends a document as JSON; raises an OSError for an answer that is not 2xx."""
    import urllib.request

    request = urllib.request.Request(url, json.dumps(document).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=8):
        pass


def lines(event):
    """One line for each incident of an event: those of a group, or the one."""
    data = event["data"]
    if data["kind"] != "grouped":
        return [line(data)]
    more = data["count"] - len(data["events"])
    return [line(one) for one in data["events"]] + ([f"and {more} more"] if more else [])


def line(data):
    """What happened to one incident, for people."""
    service = data.get("service_name") or "an unknown service"
    text = f"{data['kind']}: {data.get('title') or data['fingerprint']} in {service}"
    if data["kind"] == "spiking":
        text += f", {data['window_failures']} failures where {data['usual_failures']:.1f} are usual"
    if data["kind"] == "regressed" and data.get("regressed_version"):
        text += f", again in {data['regressed_version']}"
    return text
