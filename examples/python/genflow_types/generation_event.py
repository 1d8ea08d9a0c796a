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
    stage: str
    message: typing.Optional[str] = None


@dataclasses.dataclass
class Output(AvroModel):
    """
    One stored file.
    """
    uri: str = dataclasses.field(metadata={'doc': 'Where the file is stored.'})
    content_type: str
    bytes: int
    sha256: str = dataclasses.field(metadata={'doc': 'Lower-case hex.'})
    url: typing.Optional[str] = dataclasses.field(metadata={'doc': 'Where the file can be fetched, if published.'}, default=None)
    width: typing.Optional[types.Int32] = None
    height: typing.Optional[types.Int32] = None
    duration_seconds: typing.Optional[float] = None

    
    class Meta:
        field_order = ['uri', 'url', 'content_type', 'bytes', 'sha256', 'width', 'height', 'duration_seconds']

class CostSource(str, enum.Enum):
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
    details: str


@dataclasses.dataclass
class Result(AvroModel):
    """
    What was made.
    """
    outputs: typing.List[Output]
    provider: str
    provider_job_id: str
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
    total: types.Int32
    completed: types.Int32
    failed: types.Int32
    cancelled: types.Int32
    not_started: types.Int32


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
    topic: str
    partition: types.Int32
    offset: int


@dataclasses.dataclass
class Notify(AvroModel):
    """
    Whom to notify: sealed, only the notifier can open it.
    """
    on: typing.List[EventType]
    sealed: bytes = dataclasses.field(metadata={'doc': 'AES-256-GCM.'})


@dataclasses.dataclass
class Tried(AvroModel):
    """
    A model that was tried without success.
    """
    provider: str
    model: str
    code: str = dataclasses.field(metadata={'doc': 'From the list of error codes.'})
    message: str = dataclasses.field(metadata={'doc': 'Why it failed; at most 300 characters.'})


@dataclasses.dataclass
class GenerationEvent(AvroModel):
    """
    One step in the life of a request; value of gen.events and gen.results.
    """
    event_id: uuid.UUID = dataclasses.field(metadata={'doc': 'UUIDv5, the same on every copy of the event.'})
    request_id: str
    retry: types.Int32 = dataclasses.field(metadata={'doc': '0 for the first run, n for the n-th effective retry.'})
    sequence: types.Int32 = dataclasses.field(metadata={'doc': 'From 0 without gaps; -1 for REJECTED.'})
    user_id: str
    kind: Kind
    type: EventType
    occurred_at: datetime.datetime
    batch_id: typing.Optional[str] = dataclasses.field(metadata={'doc': 'The batch this request is an item of.'}, default=None)
    workflow_id: typing.Optional[str] = None
    run_id: typing.Optional[str] = None
    progress: typing.Optional[Progress] = None
    result: typing.Optional[Result] = None
    batch: typing.Optional[BatchSummary] = None
    error: typing.Optional[Error] = None
    record: typing.Optional[RecordPosition] = None
    notify: typing.Optional[Notify] = None
    metadata: typing.Dict[str, str] = dataclasses.field(default_factory=dict)
    tried: typing.List[Tried] = dataclasses.field(metadata={'doc': 'The models tried without success, in order; set on the last event of a run that fell back to another model.'}, default_factory=list)

    
    class Meta:
        namespace = "genflow.v1"
        field_order = ['event_id', 'request_id', 'retry', 'sequence', 'batch_id', 'user_id', 'kind', 'type', 'occurred_at', 'workflow_id', 'run_id', 'progress', 'result', 'batch', 'error', 'record', 'notify', 'metadata', 'tried']

