"""What ``import smconvert`` gives."""

from __future__ import annotations

import smconvert as sm
from smconvert import comparison, pipeline


def test_every_public_name_is_there() -> None:
    homes = {name for names in sm._HOMES.values() for name in names}
    assert homes == set(sm.__all__)
    assert sm.__all__ == sorted(sm.__all__)
    assert all(getattr(sm, name) is not None for name in sm.__all__)


def test_they_are_the_ones_with_these_signatures() -> None:
    assert sm.compare is comparison.compare
    assert sm.inspect is pipeline.inspect
