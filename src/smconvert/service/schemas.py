"""What goes over the wire: requests and answers, as OpenAPI describes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from smconvert.service.problems import Failure

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")

Identifier = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
FileName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Texts = Annotated[tuple[Text, ...], Field(max_length=1000)]
TextMap = Annotated[dict[Text, Text], Field(max_length=10_000)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NewUpload(_Request):
    """A file to come: a model in one file, or a .zip, .tar or .tar.gz of a folder."""

    name: FileName = Field(description="The file's name; its suffix counts.", examples=["iris.zip"])
    size: int = Field(ge=0, le=1 << 50, description="Bytes in all.", examples=[48213])
    sha256: Digest | None = Field(default=None, description="Checked when the last byte is there.")


class Upload(BaseModel):
    """A file that is here, or on its way."""

    id: Identifier
    name: str
    size: int
    offset: int = Field(description="Bytes that are here; the next are to follow.")
    complete: bool
    created: float = Field(description="Seconds since 1970.")


class SourceChoices(_Request):
    """How to read the source; the flags of `smconvert convert` of the same names."""

    path: Text | None = Field(
        default=None, description="The artifact inside the archive, where it holds several files."
    )
    format: Text | None = Field(default=None, description="Where the bytes do not tell.")
    tags: Texts | None = None
    signatures: Texts = ()
    inputs: TextMap = Field(default_factory=dict, description="Input name to tensor name.")
    outputs: TextMap = Field(default_factory=dict, description="Output name to tensor name.")
    fixed_inputs: dict[Text, Any] = Field(
        default_factory=dict, max_length=1000, description="Placeholder to the value it has."
    )
    checkpoint: Text | None = Field(
        default=None, description="Prefix of the checkpoint in the archive."
    )
    variable_map: TextMap = Field(
        default_factory=dict, description="Variable name to checkpoint key."
    )
    cut_examples: bool = False


class TargetChoices(_Request):
    """How to write the result; the flags of `smconvert convert` of the same names."""

    opset: int | None = Field(default=None, ge=1, le=1000)
    external_data: bool | None = None
    extensions: bool | None = None
    compat: Text | None = None
    version: int | None = Field(default=None, ge=0, le=1 << 53)
    warmup: bool | None = None


class CheckChoices(_Request):
    """On what, and how strictly, the result is compared with its source."""

    checked: bool = True
    rtol: float | None = Field(default=None, ge=0)
    atol: float | None = Field(default=None, ge=0)
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    data: Identifier | None = Field(
        default=None, description="An upload with the inputs to compare on."
    )


class NewJob(_Request):
    """A conversion that is wanted."""

    upload: Identifier
    target: Text = Field(description="A format that can be written.", examples=["onnx"])
    name: FileName | None = Field(
        default=None, description="The result's name; by default the upload's."
    )
    source_options: SourceChoices = SourceChoices()
    target_options: TargetChoices = TargetChoices()
    check_options: CheckChoices = CheckChoices()


class Result(BaseModel):
    """What can be downloaded once a job is done."""

    name: str = Field(description="Of the file; a .zip where the result has several.")
    size: int
    artifact: str = Field(description="The artifact's own name, inside the .zip if it is one.")


class Job(BaseModel):
    """A conversion: where it stands, and what came of it."""

    id: Identifier
    state: State
    step: str | None = Field(description="What is done at the moment, or was done last.")
    request: NewJob
    created: float = Field(description="Seconds since 1970.")
    started: float | None
    ended: float | None
    attempt: int = Field(description="How many times it was begun.")
    exit_code: int | None = Field(description="What `smconvert convert` would have ended with.")
    result: Result | None
    conversion: dict[str, Any] | None = Field(
        description="What `smconvert convert --json` prints: artifact, parity, changes, manifest."
    )
    error: Failure | None


class Jobs(BaseModel):
    """Jobs, the newest first."""

    jobs: list[Job]
    next: str | None = Field(description="Of the following page, if there is one.")


class JobEvent(BaseModel):
    """Something that happened to a job."""

    kind: Literal["state", "step"]
    text: str
    time: float


class Inspection(BaseModel):
    """What `smconvert inspect --json` prints."""

    model_config = ConfigDict(extra="allow")

    format: str
    path: str


class Token(_Request):
    """A token, to begin a session of the page with."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class About(BaseModel):
    """What this service is and allows."""

    version: str
    targets: list[str] = Field(description="Formats that can be written.")
    upload_bytes: int = Field(description="Largest upload.")
    open: bool = Field(description="No token is needed.")
    protections: list[str] = Field(description="What separates a job from this machine.")


class Health(BaseModel):
    """Whether the service works."""

    status: Literal["ok"]
