"""Sends a request for one image: python producer.py ID PROMPT"""

import dataclasses
import os
import sys

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from genflow_types.generation_request import GenerationRequest, ImageSpec

BROKERS = os.environ.get("KAFKA_BROKERS", "127.0.0.1:9092")
REGISTRY = os.environ.get("SCHEMA_REGISTRY_URL", "http://127.0.0.1:8081/apis/ccompat/v7")
TOPIC = os.environ.get("TOPIC_REQUESTS", "gen.requests")


def main(request_id: str, prompt: str) -> None:
    request = GenerationRequest(
        # Your own id of the work, made before the first send: if you send it again, it still runs once.
        request_id=request_id,
        user_id="alice",
        spec=ImageSpec(prompt=prompt, width=512, height=512),
        webhook_url=os.environ.get("WEBHOOK_URL"),
        metadata={"from": "python"},
    )
    serialize = AvroSerializer(
        SchemaRegistryClient({"url": REGISTRY}),
        # `genflow setup` has registered the schema.
        conf={"auto.register.schemas": False, "use.latest.version": True},
        to_dict=lambda message, _: dataclasses.asdict(message),
    )
    value = serialize(request, SerializationContext(TOPIC, MessageField.VALUE))
    producer = Producer({"bootstrap.servers": BROKERS, "enable.idempotence": True})

    def acknowledged(error, message):
        if error is not None:
            sys.exit(f"{request_id} was not sent: {error}")
        print(f"sent {request_id} to {message.topic()}, partition {message.partition()}")

    # The key is the request's id.
    producer.produce(TOPIC, key=request_id, value=value, on_delivery=acknowledged)
    producer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
