from dataclasses_avroschema import AvroModel
from dataclasses_avroschema import types
import dataclasses
import datetime
import enum
import typing
import uuid


class Kind(str, enum.Enum):
    """
    What is made.
    """
    UNKNOWN = "UNKNOWN"
    VIDEO = "VIDEO"
    IMAGE = "IMAGE"
    BATCH = "BATCH"

    @enum.nonmember
    class Meta:
        default = "UNKNOWN"

class EventType(str, enum.Enum):
    """
    What happened to a request.
    """
    UNKNOWN = "UNKNOWN"
    STARTED = "STARTED"
    PROGRESS = "PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"

    @enum.nonmember
    class Meta:
        default = "UNKNOWN"

@dataclasses.dataclass
class Progress(AvroModel):
    """
    How far the generation is.
    """
    percent: types.Int32 = dataclasses.field(metadata={'doc': '0 to 100, never falling.'})
    stage: str = dataclasses.field(metadata={'doc': "The provider's name for the current stage, at most 128 characters; for a batch, the word items."})
    message: typing.Optional[str] = dataclasses.field(metadata={'doc': 'Text for people, at most 1,000 characters; null if there is none.'}, default=None)


@dataclasses.dataclass
class Output(AvroModel):
    """
    One stored file.
    """
    uri: str = dataclasses.field(metadata={'doc': 'Where the file is stored.'})
    content_type: str = dataclasses.field(metadata={'doc': "MIME type, detected from the file's first bytes, not taken from the provider's answer."})
    bytes: int = dataclasses.field(metadata={'doc': 'Size of the file.'})
    sha256: str = dataclasses.field(metadata={'doc': 'Lower-case hex.'})
    url: typing.Optional[str] = dataclasses.field(metadata={'doc': 'Where the file can be fetched, if published.'}, default=None)
    width: typing.Optional[types.Int32] = dataclasses.field(metadata={'doc': 'Pixels; null if genflow cannot read it from the file.'}, default=None)
    height: typing.Optional[types.Int32] = dataclasses.field(metadata={'doc': 'Pixels; null if genflow cannot read it from the file.'}, default=None)
    duration_seconds: typing.Optional[float] = dataclasses.field(metadata={'doc': 'Length of a video; null for an image, or if genflow cannot read it from the file.'}, default=None)

    
    class Meta:
        field_order = ['uri', 'url', 'content_type', 'bytes', 'sha256', 'width', 'height', 'duration_seconds']

class CostSource(str, enum.Enum):
    """
    PROVIDER is a price that the provider reported, METERED its quantities at genflow's prices, ESTIMATE an amount by price rules, made before the submit.
    """
    UNKNOWN = "UNKNOWN"
    PROVIDER = "PROVIDER"
    METERED = "METERED"
    ESTIMATE = "ESTIMATE"

    @enum.nonmember
    class Meta:
        default = "UNKNOWN"

@dataclasses.dataclass
class Note(AvroModel):
    """
    How the input differs from the request.
    """
    field: str = dataclasses.field(metadata={'doc': 'Field of the request.'})
    type: str = dataclasses.field(metadata={'doc': 'adapted, dropped or overridden.'})
    details: str = dataclasses.field(metadata={'doc': 'What was sent or left out, and why, as text for people.'})


@dataclasses.dataclass
class Result(AvroModel):
    """
    What was made.
    """
    outputs: typing.List[Output] = dataclasses.field(metadata={'doc': "The stored files, in the provider's order."})
    provider: str = dataclasses.field(metadata={'doc': 'Name of the provider that made it, such as replicate; after a fallback, the one that accepted the job.'})
    provider_job_id: str = dataclasses.field(metadata={'doc': "The provider's own id of the job, or of its answer if it made the files at once."})
    elapsed_ms: int = dataclasses.field(metadata={'doc': 'From workflow start to the stored result.'})
    cost_usd: typing.Optional[float] = dataclasses.field(metadata={'doc': 'The best number for what the job cost, in US dollars.'}, default=None)
    cost_source: typing.Optional[CostSource] = dataclasses.field(metadata={'doc': "Where cost_usd is from: the provider reported it, the provider's quantities at genflow's prices, or an estimate by price rules. Null without a cost."}, default=None)
    sent: typing.Optional[str] = dataclasses.field(metadata={'doc': 'The input that was sent to the model, as JSON text without the prompt.'}, default=None)
    notes: typing.List[Note] = dataclasses.field(metadata={'doc': 'Fields that were not sent as they were asked.'}, default_factory=list)
    model: typing.Optional[str] = dataclasses.field(metadata={'doc': "The provider's model that made it."}, default=None)


@dataclasses.dataclass
class BatchSummary(AvroModel):
    """
    How the items of a batch ended.
    """
    total: types.Int32 = dataclasses.field(metadata={'doc': 'Number of items in the batch, the sum of the other counts.'})
    completed: types.Int32 = dataclasses.field(metadata={'doc': 'Items that ended as COMPLETED.'})
    failed: types.Int32 = dataclasses.field(metadata={'doc': 'Items that ended as FAILED.'})
    cancelled: types.Int32 = dataclasses.field(metadata={'doc': 'Items that ended as CANCELLED.'})
    not_started: types.Int32 = dataclasses.field(metadata={'doc': 'Items without a run: the batch ended before their turn, or another request has their id.'})


@dataclasses.dataclass
class Problem(AvroModel):
    """
    One field that the model cannot serve.
    """
    field: str = dataclasses.field(metadata={'doc': 'Field of the request.'})
    asked: typing.Optional[str] = dataclasses.field(metadata={'doc': 'The value that was asked for.'}, default=None)
    allowed: typing.Optional[str] = dataclasses.field(metadata={'doc': 'The values that the model allows.'}, default=None)
    hint: typing.Optional[str] = dataclasses.field(metadata={'doc': 'What to do.'}, default=None)


@dataclasses.dataclass
class Error(AvroModel):
    """
    Why it did not complete.
    """
    code: str = dataclasses.field(metadata={'doc': 'From a closed list.'})
    message: str = dataclasses.field(metadata={'doc': 'At most 1,000 characters.'})
    retryable: bool = dataclasses.field(metadata={'doc': 'Whether the same request may succeed later.'})
    problems: typing.List[Problem] = dataclasses.field(metadata={'doc': 'Every problem of an invalid_request that was found before anything was sent.'}, default_factory=list)


@dataclasses.dataclass
class RecordPosition(AvroModel):
    """
    The refused record.
    """
    topic: str = dataclasses.field(metadata={'doc': 'The topic of requests, by default gen.requests; the dead letter has it in the header dlq.original.topic.'})
    partition: types.Int32 = dataclasses.field(metadata={'doc': 'The dead letter has it in the header dlq.original.partition.'})
    offset: int = dataclasses.field(metadata={'doc': 'The dead letter has it in the header dlq.original.offset.'})


@dataclasses.dataclass
class Notify(AvroModel):
    """
    Whom to notify: sealed, only the notifier can open it.
    """
    on: typing.List[EventType] = dataclasses.field(metadata={'doc': 'Event types to notify of: notify_on of the request or, if an item has none, of its batch.'})
    sealed: bytes = dataclasses.field(metadata={'doc': 'AES-256-GCM.'})


@dataclasses.dataclass
class Tried(AvroModel):
    """
    A model that was tried without success.
    """
    provider: str = dataclasses.field(metadata={'doc': 'The provider that was asked, such as replicate.'})
    model: str = dataclasses.field(metadata={'doc': "The provider's name of the model, cut off after 256 characters."})
    code: str = dataclasses.field(metadata={'doc': 'From the list of error codes.'})
    message: str = dataclasses.field(metadata={'doc': 'Why it failed; at most 300 characters.'})


@dataclasses.dataclass
class GenerationEvent(AvroModel):
    """
    One step in the life of a request; value of gen.events and gen.results.
    """
    event_id: uuid.UUID = dataclasses.field(metadata={'doc': 'UUIDv5, the same on every copy of the event.'})
    request_id: str = dataclasses.field(metadata={'doc': "The request, or the item of a batch, that the event is about; also the record's key on gen.events."})
    retry: types.Int32 = dataclasses.field(metadata={'doc': '0 for the first run, n for the n-th effective retry.'})
    sequence: types.Int32 = dataclasses.field(metadata={'doc': 'From 0 without gaps; -1 for REJECTED.'})
    user_id: str = dataclasses.field(metadata={'doc': 'The tenant, as in the request; empty if a refused record has no valid one.'})
    kind: Kind = dataclasses.field(metadata={'doc': 'VIDEO or IMAGE, also for an item of a batch; BATCH for the batch itself; UNKNOWN if genflow cannot read it from a refused record.'})
    type: EventType = dataclasses.field(metadata={'doc': 'STARTED is the first event of a run, COMPLETED, FAILED or CANCELLED the last; REJECTED answers a refused record, which starts no run.'})
    occurred_at: datetime.datetime = dataclasses.field(metadata={'doc': 'When the workflow decided the event, or the timestamp of a refused record, in milliseconds since the Unix epoch; the same on every copy.'})
    batch_id: typing.Optional[str] = dataclasses.field(metadata={'doc': 'The batch this request is an item of.'}, default=None)
    workflow_id: typing.Optional[str] = dataclasses.field(metadata={'doc': "Temporal's workflow id of the run: the request_id, or request_id~n for the n-th retry; also the record's key on gen.results. Null for REJECTED."}, default=None)
    run_id: typing.Optional[str] = dataclasses.field(metadata={'doc': "Temporal's run id of the workflow; a STARTED with another one may begin a new life of the request. Null for REJECTED."}, default=None)
    progress: typing.Optional[Progress] = dataclasses.field(metadata={'doc': 'How far the run has come; set on PROGRESS, else null.'}, default=None)
    result: typing.Optional[Result] = dataclasses.field(metadata={'doc': 'The stored files and facts about the job; set on COMPLETED, except for a batch, else null.'}, default=None)
    batch: typing.Optional[BatchSummary] = dataclasses.field(metadata={'doc': 'Counts of the items; set on the last event of a batch, else null.'}, default=None)
    error: typing.Optional[Error] = dataclasses.field(metadata={'doc': 'Why the request failed or the record was refused; set on FAILED and REJECTED, else null.'}, default=None)
    record: typing.Optional[RecordPosition] = dataclasses.field(metadata={'doc': 'Position of the refused record; set on REJECTED, else null.'}, default=None)
    notify: typing.Optional[Notify] = dataclasses.field(metadata={'doc': 'Sealed targets and the types to notify them of; null on gen.results, or if the request has no targets and the default notify_on.'}, default=None)
    metadata: typing.Dict[str, str] = dataclasses.field(metadata={'doc': "The request's metadata; empty if genflow cannot read it from a refused record, or if the event would exceed 256 kB."}, default_factory=dict)
    tried: typing.List[Tried] = dataclasses.field(metadata={'doc': 'The models tried without success, in order; set on the last event of a run that fell back to another model.'}, default_factory=list)

    
    class Meta:
        namespace = "genflow.v1"
        field_order = ['event_id', 'request_id', 'retry', 'sequence', 'batch_id', 'user_id', 'kind', 'type', 'occurred_at', 'workflow_id', 'run_id', 'progress', 'result', 'batch', 'error', 'record', 'notify', 'metadata', 'tried']

