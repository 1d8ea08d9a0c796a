"""The path of an image in Python, for `genflow bench requests --peer`: what an afternoon's work would be.

It takes the same steps as genflow for the same records, engines and provider, without genflow's promises; its events are smaller. One process per
role: `peer.py intake` and `peer.py worker`. Settings come from the variables that genflow reads.
"""

import asyncio
import hashlib
import io
import json
import os
import pathlib
import signal
import sys
import uuid
from datetime import timedelta

import confluent_kafka
import fastavro
import httpx
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

env = os.environ
QUEUE = env["TEMPORAL_TASK_QUEUE"]
EVENT = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Event",
        "fields": [
            {"name": "event_id", "type": "string"},
            {"name": "request_id", "type": "string"},
            {"name": "user_id", "type": "string"},
            {"name": "type", "type": "string"},
            {"name": "result", "type": ["null", "string"]},
        ],
    }
)


class Activities:
    def __init__(self) -> None:
        self.http = httpx.AsyncClient(headers={"authorization": "Bearer " + env["IMAGE_API_KEY"]})
        self.producer = confluent_kafka.Producer(
            {"bootstrap.servers": env["KAFKA_BROKERS"], "acks": "all", "enable.idempotence": True, "linger.ms": 1}
        )

    async def publish(self, topic: str, request: dict, kind: str, result: str | None) -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def delivered(error, _message) -> None:
            if error is None:
                loop.call_soon_threadsafe(done.set_result, None)
            else:
                loop.call_soon_threadsafe(done.set_exception, confluent_kafka.KafkaException(error))

        out = io.BytesIO()
        name = f"{request['request_id']}/{kind}"
        event = {
            "event_id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
            "request_id": request["request_id"],
            "user_id": request["user_id"],
            "type": kind,
            "result": result,
        }
        fastavro.schemaless_writer(out, EVENT, event)
        self.producer.produce(topic, out.getvalue(), request["request_id"], on_delivery=delivered)
        await done

    @activity.defn
    async def submit(self, request: dict) -> dict:
        await self.publish(env["TOPIC_EVENTS"], request, "STARTED", None)
        body = {"input": {"prompt": request["prompt"], "genflow_id": request["request_id"]}}
        url = env["IMAGE_API_BASE_URL"] + "/v1/models/black-forest-labs/flux-schnell/predictions"
        answer = await self.http.post(url, json=body)
        answer.raise_for_status()
        return {"id": answer.json()["id"], "get": answer.json()["urls"]["get"]}

    @activity.defn
    async def fetch(self, request: dict, job: dict) -> list:
        while True:
            answer = (await self.http.get(job["get"])).raise_for_status().json()
            if answer["status"] == "succeeded":
                break
            await asyncio.sleep(2)
            activity.heartbeat()
        outputs = []
        folder = pathlib.Path(env["RESULTS_DIR"]) / request["request_id"]
        for index, url in enumerate(answer["output"]):
            content = (await self.http.get(url)).raise_for_status().content
            sha256 = hashlib.sha256(content).hexdigest()
            path = folder / f"{index}-{sha256[:16]}.png"
            await asyncio.to_thread(write, path, content)
            outputs.append({"uri": path.as_uri(), "bytes": len(content), "sha256": sha256})
        return outputs

    @activity.defn
    async def finish(self, request: dict, outputs: list) -> None:
        result = json.dumps(outputs)
        path = pathlib.Path(env["RESULTS_DIR"]) / request["request_id"] / "manifest.json"
        await asyncio.to_thread(write, path, result.encode())
        await self.publish(env["TOPIC_EVENTS"], request, "COMPLETED", result)
        await self.publish(env["TOPIC_RESULTS"], request, "COMPLETED", result)


def write(path: pathlib.Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_suffix(".part")
    temp.write_bytes(content)
    temp.rename(path)


@workflow.defn(name="peer")
class Generation:
    @workflow.run
    async def run(self, request: dict) -> list:
        options = {
            "start_to_close_timeout": timedelta(minutes=5),
            "heartbeat_timeout": timedelta(seconds=10),
        }
        once = RetryPolicy(maximum_attempts=1)
        job = await workflow.execute_activity_method(Activities.submit, request, retry_policy=once, **options)
        outputs = await workflow.execute_activity_method(Activities.fetch, args=[request, job], **options)
        await workflow.execute_activity_method(Activities.finish, args=[request, outputs], **options)
        return outputs


async def work(client: Client) -> None:
    ours = Activities()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)

    async def poll() -> None:
        while True:
            ours.producer.poll(0)
            await asyncio.sleep(0.002)

    polling = asyncio.create_task(poll())
    worker = Worker(
        client,
        task_queue=QUEUE,
        workflows=[Generation],
        workflow_runner=UnsandboxedWorkflowRunner(),
        activities=[ours.submit, ours.fetch, ours.finish],
        max_concurrent_activities=200,
    )
    async with worker:
        print("ready", flush=True)
        await stop.wait()
    polling.cancel()


async def take(client: Client) -> None:
    schema = json.loads(await registered())
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": env["KAFKA_BROKERS"],
            "group.id": env["KAFKA_GROUP"] + "-peer",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    assigned = asyncio.Event()
    loop = asyncio.get_running_loop()
    consumer.subscribe(
        [env["TOPIC_REQUESTS"]], on_assign=lambda *_: loop.call_soon_threadsafe(assigned.set)
    )
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    reported = False
    while not stop.is_set():
        messages = await asyncio.to_thread(consumer.consume, 16, 0.1)
        if assigned.is_set() and not reported:
            print("ready", flush=True)
            reported = True
        if messages:
            await asyncio.gather(*(start(client, schema, message) for message in messages))
            await asyncio.to_thread(consumer.commit, asynchronous=False)
    consumer.close()


async def registered() -> str:
    url = f"{env['SCHEMA_REGISTRY_URL']}/subjects/{env['TOPIC_REQUESTS']}-value/versions/latest"
    async with httpx.AsyncClient() as http:
        return (await http.get(url)).raise_for_status().json()["schema"]


async def start(client: Client, schema: dict, message: confluent_kafka.Message) -> None:
    record = fastavro.schemaless_reader(io.BytesIO(message.value()[5:]), schema)
    request = {
        "request_id": record["request_id"],
        "user_id": record["user_id"],
        "prompt": record["spec"]["prompt"],
    }
    try:
        await client.start_workflow(
            Generation.run,
            request,
            id=request["request_id"],
            task_queue=QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        )
    except WorkflowAlreadyStartedError:
        pass


async def main() -> None:
    client = await Client.connect(env["TEMPORAL_HOST"])
    await {"worker": work, "intake": take}[sys.argv[1]](client)


asyncio.run(main())
