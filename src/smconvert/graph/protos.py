"""TensorFlow's protobuf messages, without starting TensorFlow.

Importing ``tensorflow`` takes seconds; its generated message modules take 60 ms. They live under
``tensorflow.core`` and need nothing else, so they are imported here under a bare module that only
knows where the package lies. The bare module is taken away again at once, so that a later
``import tensorflow`` in the same process is the real one and shares these very classes
(tested with TensorFlow 2.21; ``tests/graph/test_protos.py`` tells when that changes).
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from smconvert.errors import SmconvertError


def _bare_tensorflow() -> ModuleType:
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        raise SmconvertError(
            "TensorFlow is not installed", hint="pip install smconvert installs it as well"
        )
    module = ModuleType("tensorflow")
    module.__path__ = list(spec.submodule_search_locations)
    module.__spec__ = spec
    return module


_bare = None
if "tensorflow" not in sys.modules:
    _bare = sys.modules["tensorflow"] = _bare_tensorflow()
try:
    from tensorflow.core.example import example_pb2, feature_pb2
    from tensorflow.core.framework import (
        attr_value_pb2,
        function_pb2,
        graph_pb2,
        node_def_pb2,
        op_def_pb2,
        tensor_pb2,
        tensor_shape_pb2,
        types_pb2,
        variable_pb2,
    )
    from tensorflow.core.protobuf import (
        meta_graph_pb2,
        saved_model_pb2,
        saved_object_graph_pb2,
        saver_pb2,
        tensor_bundle_pb2,
        trackable_object_graph_pb2,
    )
    from tensorflow.core.util import saved_tensor_slice_pb2
finally:
    if _bare is not None:
        del sys.modules["tensorflow"]

__all__ = [
    "attr_value_pb2",
    "example_pb2",
    "feature_pb2",
    "function_pb2",
    "graph_pb2",
    "meta_graph_pb2",
    "node_def_pb2",
    "op_def_pb2",
    "saved_model_pb2",
    "saved_object_graph_pb2",
    "saved_tensor_slice_pb2",
    "saver_pb2",
    "tensor_bundle_pb2",
    "tensor_pb2",
    "tensor_shape_pb2",
    "trackable_object_graph_pb2",
    "types_pb2",
    "variable_pb2",
]
