"""Recurrent."""

from __future__ import annotations

from smconvert_onnx.handlers.builder import Handler

HANDLERS: tuple[Handler, ...] = ()
