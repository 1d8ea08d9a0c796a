from dataclasses_avroschema import AvroModel
from dataclasses_avroschema import types
import dataclasses
import datetime
import enum
import typing


class InputRole(str, enum.Enum):
    """
    What an input is to the output.
    """
    UNKNOWN = "UNKNOWN"
    UNSPECIFIED = "UNSPECIFIED"
    FIRST_FRAME = "FIRST_FRAME"
    LAST_FRAME = "LAST_FRAME"
    SOURCE = "SOURCE"
    REFERENCE = "REFERENCE"
    MASK = "MASK"

    @enum.nonmember
    class Meta:
        default = "UNKNOWN"

@dataclasses.dataclass
class Input(AvroModel):
    """
    One file that the model starts from.
    """
    url: str = dataclasses.field(metadata={'doc': 'http or https URL of a public host.'})
    role: InputRole = dataclasses.field(metadata={'doc': 'SOURCE is the file to edit, MASK the region of it to edit, REFERENCE an example to resemble; UNSPECIFIED lets genflow choose among the inputs that the model has.'}, default=InputRole.UNSPECIFIED)


class OnUnsupported(str, enum.Enum):
    """
    What happens to a field that the model has no input for.
    """
    UNKNOWN = "UNKNOWN"
    REFUSE = "REFUSE"
    DROP = "DROP"

    @enum.nonmember
    class Meta:
        default = "UNKNOWN"

@dataclasses.dataclass
class Fallback(AvroModel):
    """
    A model to try.
    """
    provider: str = dataclasses.field(metadata={'doc': 'replicate, openai, fal or one that PROVIDERS_FILE describes.'})
    model: typing.Optional[str] = dataclasses.field(metadata={'doc': "Model of the provider, 1 to 256 characters; null takes the provider's default one."}, default=None)


@dataclasses.dataclass
class VideoSpec(AvroModel):
    """
    One video to generate. A field that is null takes the model's own default.
    """
    prompt: str = dataclasses.field(metadata={'doc': '1 to 10,000 characters.'})
    negative_prompt: typing.Optional[str] = dataclasses.field(metadata={'doc': 'What the output must not show; 1 to 10,000 characters.'}, default=None)
    duration: typing.Optional[types.Int32] = dataclasses.field(metadata={'doc': 'Seconds, 1 to 600.'}, default=None)
    resolution: typing.Optional[str] = dataclasses.field(metadata={'doc': 'Width x height in pixels, such as 1280x720, or a class, such as 720p.'}, default=None)
    aspect_ratio: typing.Optional[str] = dataclasses.field(metadata={'doc': 'Width to height, such as 16:9; 1 to 32 characters.'}, default=None)
    fps: typing.Optional[types.Int32] = dataclasses.field(metadata={'doc': 'Frames per second, 1 to 120.'}, default=None)
    audio: typing.Optional[bool] = dataclasses.field(metadata={'doc': 'Whether the video has sound.'}, default=None)
    style: typing.Optional[str] = dataclasses.field(metadata={'doc': 'A word that the model knows; at most 128 characters.'}, default=None)
    seed: typing.Optional[int] = dataclasses.field(metadata={'doc': 'Makes a generation repeatable, as far as the model is.'}, default=None)
    inputs: typing.List[Input] = dataclasses.field(metadata={'doc': 'Files that the model starts from.'}, default_factory=list)
    provider: typing.Optional[str] = dataclasses.field(metadata={'doc': 'Provider that serves: replicate, openai, fal or one that PROVIDERS_FILE describes; null takes the configured one.'}, default=None)
    model: typing.Optional[str] = dataclasses.field(metadata={'doc': 'Model of the provider, 1 to 256 characters; null takes the configured one.'}, default=None)
    params: typing.Dict[str, str] = dataclasses.field(metadata={'doc': 'Inputs of the model by its own names; each value is JSON text. They are merged last, so they win.'}, default_factory=dict)
    on_unsupported: OnUnsupported = dataclasses.field(metadata={'doc': 'REFUSE fails the request before anything is paid; DROP leaves the field out.'}, default=OnUnsupported.REFUSE)
    fallback: typing.List[Fallback] = dataclasses.field(metadata={'doc': 'Models to try in turn, at most 5, as long as no provider has accepted the job.'}, default_factory=list)


@dataclasses.dataclass
class ImageSpec(AvroModel):
    """
    One or more images to generate from one prompt. A field that is null takes the model's own default.
    """
    prompt: str = dataclasses.field(metadata={'doc': '1 to 10,000 characters.'})
    negative_prompt: typing.Optional[str] = dataclasses.field(metadata={'doc': 'What the output must not show; 1 to 10,000 characters.'}, default=None)
    width: typing.Optional[types.Int32] = dataclasses.field(metadata={'doc': 'Pixels, 64 to 8192.'}, default=None)
    height: typing.Optional[types.Int32] = dataclasses.field(metadata={'doc': 'Pixels, 64 to 8192.'}, default=None)
    aspect_ratio: typing.Optional[str] = dataclasses.field(metadata={'doc': 'Width to height, such as 16:9; 1 to 32 characters.'}, default=None)
    num_images: typing.Optional[types.Int32] = dataclasses.field(metadata={'doc': '1 to 16; null means 1.'}, default=None)
    output_format: typing.Optional[str] = dataclasses.field(metadata={'doc': 'File format, such as png; 1 to 32 characters.'}, default=None)
    style: typing.Optional[str] = dataclasses.field(metadata={'doc': 'A word that the model knows; at most 128 characters.'}, default=None)
    seed: typing.Optional[int] = dataclasses.field(metadata={'doc': 'Makes a generation repeatable, as far as the model is.'}, default=None)
    inputs: typing.List[Input] = dataclasses.field(metadata={'doc': 'Files that the model starts from.'}, default_factory=list)
    provider: typing.Optional[str] = dataclasses.field(metadata={'doc': 'Provider that serves: replicate, openai, fal or one that PROVIDERS_FILE describes; null takes the configured one.'}, default=None)
    model: typing.Optional[str] = dataclasses.field(metadata={'doc': 'Model of the provider, 1 to 256 characters; null takes the configured one.'}, default=None)
    params: typing.Dict[str, str] = dataclasses.field(metadata={'doc': 'Inputs of the model by its own names; each value is JSON text. They are merged last, so they win.'}, default_factory=dict)
    on_unsupported: OnUnsupported = dataclasses.field(metadata={'doc': 'REFUSE fails the request before anything is paid; DROP leaves the field out.'}, default=OnUnsupported.REFUSE)
    fallback: typing.List[Fallback] = dataclasses.field(metadata={'doc': 'Models to try in turn, at most 5, as long as no provider has accepted the job.'}, default_factory=list)


class BatchStrategy(str, enum.Enum):
    """
    Order of the items.
    """
    UNKNOWN = "UNKNOWN"
    PARALLEL = "PARALLEL"
    SEQUENTIAL = "SEQUENTIAL"

    @enum.nonmember
    class Meta:
        default = "UNKNOWN"

class OnFailure(str, enum.Enum):
    """
    What a failed item does to the rest.
    """
    UNKNOWN = "UNKNOWN"
    CONTINUE = "CONTINUE"
    STOP = "STOP"

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
class BatchItem(AvroModel):
    """
    One request of a batch.
    """
    request_id: str = dataclasses.field(metadata={'doc': "As GenerationRequest.request_id; names the item's own request."})
    spec: typing.Union[VideoSpec, ImageSpec] = dataclasses.field(metadata={'doc': 'What to make; a batch cannot contain another.'})
    webhook_url: typing.Optional[str] = dataclasses.field(metadata={'doc': "Where to POST signed events of the item; at most 2,048 characters. The batch's targets do not receive them."}, default=None)
    notify_on: typing.List[EventType] = dataclasses.field(metadata={'doc': "Types to notify of; empty takes the batch's."}, default_factory=list)
    metadata: typing.Dict[str, str] = dataclasses.field(metadata={'doc': "Given back in every event of the item, instead of the batch's; at most 32 entries and 8 KiB."}, default_factory=dict)


@dataclasses.dataclass
class BatchSpec(AvroModel):
    """
    Many videos and images under one id.
    """
    items: typing.List[BatchItem] = dataclasses.field(metadata={'doc': '1 to 10,000 items.'})
    strategy: BatchStrategy = dataclasses.field(metadata={'doc': 'PARALLEL keeps up to max_concurrent items running; SEQUENTIAL runs one at a time, in the order of items.'}, default=BatchStrategy.PARALLEL)
    max_concurrent: types.Int32 = dataclasses.field(metadata={'doc': 'Items running at once, 1 to 500.'}, default=3)
    on_failure: OnFailure = dataclasses.field(metadata={'doc': 'STOP starts no further item once one has failed, and lets running ones continue; CONTINUE tries every item. A cancelled item is no failure.'}, default=OnFailure.CONTINUE)

    
    class Meta:
        field_order = ['strategy', 'max_concurrent', 'on_failure', 'items']

class Priority(str, enum.Enum):
    """
    Order among waiting requests.
    """
    UNKNOWN = "UNKNOWN"
    LOW = "LOW"
    NORMAL = "NORMAL"
    HIGH = "HIGH"

    @enum.nonmember
    class Meta:
        default = "UNKNOWN"

@dataclasses.dataclass
class GenerationRequest(AvroModel):
    """
    Asks genflow for one generation; value of gen.requests.
    """
    request_id: str = dataclasses.field(metadata={'doc': "Names the request: a letter or digit, then letters, digits, '.', '_', '-'; 1 to 128."})
    user_id: str = dataclasses.field(metadata={'doc': 'The tenant; 1 to 128 characters, none of them a control character.'})
    spec: typing.Union[VideoSpec, ImageSpec, BatchSpec] = dataclasses.field(metadata={'doc': 'What to make.'})
    priority: Priority = dataclasses.field(metadata={'doc': 'HIGH is served before NORMAL, and NORMAL before LOW; items have that of their batch.'}, default=Priority.NORMAL)
    timeout_seconds: typing.Optional[types.Int32] = dataclasses.field(metadata={'doc': "Deadline counted from the workflow's start, 1 to 604,800; null takes the configured one of the kind."}, default=None)
    webhook_url: typing.Optional[str] = dataclasses.field(metadata={'doc': 'Where to POST signed events; at most 2,048 characters.'}, default=None)
    notify_email: typing.Optional[str] = dataclasses.field(metadata={'doc': 'Where to mail events.'}, default=None)
    notify_slack: typing.Optional[str] = dataclasses.field(metadata={'doc': 'Slack incoming-webhook URL.'}, default=None)
    notify_on: typing.List[EventType] = dataclasses.field(metadata={'doc': 'Event types to notify of.'}, default_factory=lambda: ['COMPLETED', 'FAILED', 'CANCELLED', 'REJECTED'])
    metadata: typing.Dict[str, str] = dataclasses.field(metadata={'doc': 'Given back in every event; at most 32 entries and 8 KiB.'}, default_factory=dict)
    requested_at: typing.Optional[datetime.datetime] = dataclasses.field(metadata={'doc': 'When the producer first made the request.'}, default=None)

    
    class Meta:
        namespace = "genflow.v1"

