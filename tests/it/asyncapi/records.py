"""Checks what genflow has sent with independent code: webhooks against the JSON Schema, records with the SDK of
CloudEvents. Reads JSON, prints JSON."""

import base64
import json
import sys

from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from jsonschema import Draft7Validator

given = json.load(sys.stdin)

Draft7Validator.check_schema(given["schema"])
validator = Draft7Validator(given["schema"], format_checker=Draft7Validator.FORMAT_CHECKER)
faults = [f"{error.json_path}: {error.message}" for body in given["bodies"] for error in validator.iter_errors(body)]

events = []
for record in given["records"]:
    headers = {name: value.encode() for name, value in record["headers"]}
    # Raises an exception if an attribute is missing or invalid.
    event = from_kafka_event(KafkaMessage(headers, record["key"].encode(), base64.b64decode(record["value"])))
    attributes = {name: str(value) for name, value in event.get_attributes().items()}
    data = event.get_data()
    data = data.encode() if isinstance(data, str) else data  # the SDK makes text of bytes that happen to be UTF-8
    events.append({"attributes": attributes, "data": base64.b64encode(data).decode()})

print(json.dumps({"faults": faults, "events": events}))
