"""Receives webhooks and prints each event once: WEBHOOK_SECRET=whsec_… python receiver.py"""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

# What `genflow webhook-secret alice` prints: while the operator replaces the signing secret, alice has two. A webhook that
# matches one of them is genuine. (A line with whpk_ is a public key, for receivers that verify v1a.)
WORDS = os.environ["WEBHOOK_SECRET"].split()
SECRETS = [Webhook(word) for word in WORDS if word.startswith("whsec_")]
# In your program, a table with a unique column: a webhook is delivered at least once.
SEEN: set[str] = set()


def verify(body: bytes, headers: dict[str, str]) -> dict | None:
    for secret in SECRETS:
        try:
            return secret.verify(body, headers)  # also refuses one that is more than five minutes old
        except WebhookVerificationError:
            continue
    return None


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))  # the raw body, as it was signed
        headers = {name.lower(): value for name, value in self.headers.items()}
        event = verify(body, headers)
        if event is None:
            return self.answer(400)
        if headers["webhook-id"] not in SEEN:
            SEEN.add(headers["webhook-id"])
            data = event["data"]
            # Webhooks may overtake each other: order them by retry, then sequence.
            print(data["request_id"], f'{data["retry"]}/{data["sequence"]}', data["type"], flush=True)
        self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Receiver)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
