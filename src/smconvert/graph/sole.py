"""The one signature of a model, for formats that hold just one."""

from __future__ import annotations

from smconvert.errors import UsageError
from smconvert.model import DEFAULT_SIGNATURE, CanonicalModel, Signature


def sole_signature(model: CanonicalModel, target: str) -> Signature:
    """The model's signature; several that compute the same tensors count as one.

    Raises:
        UsageError: there are several, or none.
    """
    distinct: dict[object, Signature] = {}
    for signature in model.signatures.values():
        key = _tensors(signature)
        if key not in distinct or signature.name == DEFAULT_SIGNATURE:
            distinct[key] = signature
    if len(distinct) == 1:
        return next(iter(distinct.values()))
    names = ", ".join(model.signatures)
    if not distinct:
        raise UsageError("the model has no signature", hint="name --inputs and --outputs")
    raise UsageError(
        f"{target} holds one signature, and the model has {len(model.signatures)}",
        where=names,
        hint="choose one with --signature NAME",
    )


def _tensors(signature: Signature) -> object:
    inputs = tuple(sorted((i.name, i.tensor or "") for i in signature.inputs))
    outputs = tuple(sorted((o.name, o.tensor or "") for o in signature.outputs))
    # TF2 names each signature's own call, so equal names there are no proof.
    return inputs, outputs, "" if outputs and outputs[0][1] else signature.name
