"""Asks the installed ONNX Runtime which types its CPU kernels take; prints kernels.json.

    python tests/data/make_kernels.py > converters/smconvert_onnx/kernels.json

A model of one node, of an op of opset 13 to 26 and one type, gets a session or does not. Only types
of inputs are asked for, and of ops without subgraphs, sequences or optional values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import onnx
import onnxruntime
from onnx import TensorProto, defs, helper

OPSETS = range(13, 27)
TYPES = {
    "tensor(float)": TensorProto.FLOAT,
    "tensor(uint8)": TensorProto.UINT8,
    "tensor(int8)": TensorProto.INT8,
    "tensor(uint16)": TensorProto.UINT16,
    "tensor(int16)": TensorProto.INT16,
    "tensor(int32)": TensorProto.INT32,
    "tensor(int64)": TensorProto.INT64,
    "tensor(string)": TensorProto.STRING,
    "tensor(bool)": TensorProto.BOOL,
    "tensor(float16)": TensorProto.FLOAT16,
    "tensor(double)": TensorProto.DOUBLE,
    "tensor(uint32)": TensorProto.UINT32,
    "tensor(uint64)": TensorProto.UINT64,
    "tensor(bfloat16)": TensorProto.BFLOAT16,
}
ATTRIBUTES = {
    "BitShift": {"direction": "LEFT"},
    "Einsum": {"equation": "i->i"},
    "DepthToSpace": {"blocksize": 1},
    "SpaceToDepth": {"blocksize": 1},
    "GroupNormalization": {"num_groups": 1},
    "GRU": {"hidden_size": 1},
    "LSTM": {"hidden_size": 1},
    "RNN": {"hidden_size": 1},
}
OTHERS = frozenset(
    "Loop If Scan SequenceMap Attention QuantizeLinear DequantizeLinear BitCast Cast Constant "
    "ImageDecoder Bernoulli MelWeightMatrix BlackmanWindow HammingWindow HannWindow "
    "ConstantOfShape EyeLike Multinomial MaxRoiPool".split()
)
"""Ops whose types an attribute decides, or that are never cast around."""


def probed() -> dict[str, dict[str, list[int]]]:
    """``Op-version`` to type constraint to the types that have a kernel, where some have none."""
    table = {}
    for name in sorted({s.name for s in defs.get_all_schemas() if not s.domain} - OTHERS):
        for version in sorted({v for opset in OPSETS if (v := _since(name, opset)) is not None}):
            schema = defs.get_schema(name, max(version, OPSETS[0]))
            constraints = dict(_supported(schema))
            if constraints:
                table[f"{name}-{version}"] = constraints
    return table


def _since(name: str, opset: int) -> int | None:
    try:
        schema = defs.get_schema(name, opset)
    except defs.SchemaError:
        return None
    return None if schema.deprecated else int(schema.since_version)


def _supported(schema: defs.OpSchema) -> Iterator[tuple[str, list[int]]]:
    allowed = {
        c.type_param_str: [TYPES[t] for t in c.allowed_type_strs if t in TYPES]
        for c in schema.type_constraints
    }
    used = [c for c in allowed if any(i.type_str == c for i in schema.inputs)]
    usual = {
        c: next((t for t in (TensorProto.FLOAT, TensorProto.INT64) if t in types), types[0])
        for c, types in allowed.items()
        if types
    }
    for constraint in used:
        if constraint not in usual:
            continue
        found = [t for t in allowed[constraint] if _runs(schema, usual, constraint, t, allowed)]
        if found and len(found) < len(allowed[constraint]):
            yield constraint, sorted(found)


def _runs(
    schema: defs.OpSchema,
    usual: Mapping[str, int],
    constraint: str,
    number: int,
    allowed: Mapping[str, list[int]],
) -> bool:
    """Whether the type has a kernel, whatever the other types of the node are."""
    tried: list[dict[str, int]] = [{}]
    tried += [{c: t} for c in usual if c != constraint for t in allowed[c]]
    return any(_loads(schema, {**usual, **others, constraint: number}) for others in tried)


def _loads(schema: defs.OpSchema, types: Mapping[str, int]) -> bool:
    inputs = []
    for parameter in schema.inputs:
        optional = parameter.option == defs.OpSchema.FormalParameterOption.Optional
        if optional and schema.name not in {"Pad", "Clip"}:
            break
        number = types.get(parameter.type_str, TYPES.get(parameter.type_str))
        if number is None:
            return False
        inputs.append(helper.make_tensor_value_info(f"i{len(inputs)}", number, None))
    outputs = []
    for parameter in schema.outputs[: max(1, schema.min_output)]:
        value = onnx.ValueInfoProto(name=f"o{len(outputs)}")
        value.type.tensor_type.elem_type = types.get(
            parameter.type_str, TYPES.get(parameter.type_str, 0)
        )
        outputs.append(value)
    attributes = dict(ATTRIBUTES.get(schema.name, {}))
    for name, attribute in schema.attributes.items():
        if attribute.required and name not in attributes:
            kinds = defs.OpSchema.AttrType
            some = {kinds.INT: 1, kinds.FLOAT: 1.0, kinds.STRING: "", kinds.INTS: [1]}
            attributes[name] = some[attribute.type]
    node = helper.make_node(
        schema.name, [i.name for i in inputs], [o.name for o in outputs], **attributes
    )
    graph = helper.make_graph([node], "probe", inputs, outputs)
    opset = max(int(schema.since_version), OPSETS[0])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception:
        return False
    return True


if __name__ == "__main__":
    lines = [f'"{op}": {json.dumps(types)}' for op, types in probed().items()]
    print("{\n" + ",\n".join(lines) + "\n}")
