"""Prints each event once, in order, whatever is repeated on the topic: python consumer.py

The state of the fold is in memory, so each start reads the topic from its beginning. In your program, store it in the
same transaction as what you make of the events, and commit the offsets after that.
"""

import datetime
import os
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from genflow_types.generation_event import GenerationEvent

BROKERS = os.environ.get("KAFKA_BROKERS", "127.0.0.1:9092")
REGISTRY = os.environ.get("SCHEMA_REGISTRY_URL", "http://127.0.0.1:8081/apis/ccompat/v7")
TOPIC = os.environ.get("TOPIC_EVENTS", "gen.events")
# What this program reads; the deserializer resolves the schema of each record to it.
SCHEMA = Path(__file__).parents[2] / "schemas/GenerationEvent.avsc"


class Held(NamedTuple):
    """What the fold keeps of a request."""

    last: tuple[int, int]  # (retry, sequence)
    run_id: str | None
    occurred_at: datetime.datetime
    began: datetime.datetime | None  # when this life of the request began


def fold(held: Held | None, event: GenerationEvent) -> Held | None:
    """Returns what to keep after a new event; None for an event that is a repeat (docs/events.md#the-fold)."""
    last = (event.retry, event.sequence)
    began = event.occurred_at if last == (0, 0) else None
    if held is not None:
        new_life = began is not None and event.occurred_at > held.occurred_at and event.run_id != held.run_id
        this_life = held.began is None or event.occurred_at >= held.began
        if not new_life and not (last > held.last and this_life):
            return None
        began = began or held.began
    return Held(last, event.run_id, event.occurred_at, began)


def main() -> None:
    deserialize = AvroDeserializer(
        SchemaRegistryClient({"url": REGISTRY}),
        SCHEMA.read_text(),
        from_dict=lambda fields, _: GenerationEvent.parse_obj(fields),
    )
    consumer = Consumer({
        "bootstrap.servers": BROKERS,
        "group.id": os.environ.get("GROUP", "example-python"),
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    })
    consumer.subscribe([TOPIC])
    state: dict[str, Held] = {}
    while True:
        record = consumer.poll(1.0)
        if record is None:
            continue
        if record.error():
            raise SystemExit(record.error())
        event = deserialize(record.value(), SerializationContext(TOPIC, MessageField.VALUE))
        if held := fold(state.get(event.request_id), event):
            state[event.request_id] = held
            files = [output.uri for output in event.result.outputs] if event.result else []
            print(event.request_id, f"{event.retry}/{event.sequence}", event.type.value, *files, flush=True)


if __name__ == "__main__":
    main()
