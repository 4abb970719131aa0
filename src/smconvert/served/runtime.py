"""Served models run where they are served: each call is one request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from smconvert.converters import Executable
from smconvert.errors import Unavailable
from smconvert.model import Array
from smconvert.runtimes.places import Place
from smconvert.served import prediction_service, rest
from smconvert.served.address import address


class ServedRuntime:
    """Opens served models."""

    def open(self, executable: Executable, place: Place) -> ServedSession:
        """Nothing is sent before the first call.

        Raises:
            Unavailable: a device is asked for; the server decides that.
        """
        if place.device != "cpu" or place.precision != "fp32" or place.xla:
            raise Unavailable("where a served model runs is up to its server", where=str(place))
        return ServedSession(executable)


class ServedSession:
    """A signature of a served model."""

    def __init__(self, executable: Executable) -> None:
        self._signature = executable.signature
        self._address = address(executable.settings["url"])
        self._predict = rest.predict if self._address.is_rest else prediction_service.predict

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Each request has its own connection."""

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """One request."""
        return self._predict(self._address, self._signature, feeds)

    def placement(self) -> Mapping[str, int]:
        """Nothing: the server does not tell."""
        return {}
