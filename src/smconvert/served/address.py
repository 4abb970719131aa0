"""Where a served model is: the URLs of TensorFlow Serving's REST and gRPC interfaces.

    http://host:8501/v1/models/NAME[/versions/7 | /labels/stable]
    grpc://host:8500/NAME[/versions/7 | /labels/stable]

``https`` and ``grpcs`` are the same over TLS. REST paths follow
https://www.tensorflow.org/tfx/serving/api_rest; for gRPC, which has no paths, ours say the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from smconvert.errors import UsageError

SCHEMES = frozenset({"http", "https", "grpc", "grpcs"})

_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_REST = re.compile(
    rf"(?P<server>https?://[^?#]+)/v1/models/(?P<model>[^/:?#]+){_VERSION}(?:/metadata|:predict)?/?"
)
_GRPC = re.compile(
    rf"grpcs?://(?P<server>[^/?#]+:\d+)/(?:v1/models/)?(?P<model>[^/:?#]+){_VERSION}/?"
)


@dataclass(frozen=True)
class Address:
    """A model on a server.

    Attributes:
        scheme: One of :data:`SCHEMES`.
        server: What comes before the model: ``http://host:8501``, or ``host:8500`` for gRPC.
        model: Its name there.
        version: Its version, where one is asked for.
        label: The label of a version, likewise.
    """

    scheme: str
    server: str
    model: str
    version: int | None = None
    label: str | None = None

    @property
    def is_rest(self) -> bool:
        """Whether it is spoken to by HTTP and JSON."""
        return self.scheme.startswith("http")

    def __str__(self) -> str:
        start = f"{self.server}/v1/models" if self.is_rest else f"{self.scheme}://{self.server}"
        if self.version is not None:
            return f"{start}/{self.model}/versions/{self.version}"
        return f"{start}/{self.model}" + (f"/labels/{self.label}" if self.label else "")


def is_address(path: Path) -> bool:
    """Whether a path is a URL that became one: ``http:/host/...``."""
    scheme, colon, rest = path.parts[0].partition(":") if path.parts else ("", "", "")
    return scheme in SCHEMES and bool(colon) and not rest


def of_path(path: Path) -> Address:
    """The address that a path was, before it lost one of its slashes."""
    return address(f"{path.parts[0]}//{'/'.join(path.parts[1:])}")


def address(url: str) -> Address:
    """The address that a URL names; raises UsageError."""
    scheme = url.partition(":")[0]
    found = (_REST if scheme.startswith("http") else _GRPC).fullmatch(url)
    if found is None or scheme not in SCHEMES:
        raise UsageError(
            "the URL names no served model",
            where=url,
            hint="http://host:8501/v1/models/NAME or grpc://host:8500/NAME, with /versions/N "
            "behind it for one version",
        )
    version = found["version"]
    return Address(
        scheme, found["server"], found["model"], int(version) if version else None, found["label"]
    )
