# Checks one webhook with the reference library of Standard Webhooks. Reads a JSON object on standard input: `secrets`,
# `public` keys, `headers`, `body` (base64). Prints the result of each secret and key.
import base64
import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

given = json.load(sys.stdin)
headers = given["headers"]
body = base64.b64decode(given["body"])


def verified(secret):
    try:
        Webhook(secret).verify(body, headers)
        return True
    except WebhookVerificationError:
        return False


def verified_by_key(public):
    """The library does not support v1a. This follows the specification, with Python's cryptography if it is installed."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return None
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for signature in headers["webhook-signature"].split(" "):
        version, _, signature = signature.partition(",")
        if version == "v1a":
            try:
                key.verify(base64.b64decode(signature), text)
                return True
            except InvalidSignature:
                pass
    return False


json.dump(
    {
        "secrets": [verified(secret) for secret in given["secrets"]],
        "public": [verified_by_key(public) for public in given["public"]],
    },
    sys.stdout,
)
