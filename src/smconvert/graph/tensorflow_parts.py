"""TensorFlow, only as much of it as is used. Tested with TensorFlow 2.21.

``import tensorflow`` imports every public name there is, and Keras: 2.6 s of CPU, which is more
than the conversion of a small model. What smconvert and tf2onnx use of it comes from modules that
load in 0.7 s. After :func:`install`, ``import tensorflow`` gives a module that finds the names in
``PARTS`` where they are defined, and becomes the whole package, in place, at the first name that
it does not know.

It is installed by processes that are smconvert's own: the command line and the workers. A program
that uses the Python API has the TensorFlow that it imports.
"""

from __future__ import annotations

import os
import site
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

_ARRAYS, _FRAMEWORK = "tensorflow.python.ops.array_ops", "tensorflow.python.framework"
_LOOKUP = "tensorflow.python.ops.lookup_ops"

PARTS = {
    "DType": f"{_FRAMEWORK}.dtypes",
    "Graph": f"{_FRAMEWORK}.ops",
    "Module": "tensorflow.python.module.module",
    "Tensor": f"{_FRAMEWORK}.tensor",
    "TensorSpec": f"{_FRAMEWORK}.tensor",
    "Variable": "tensorflow.python.ops.variables",
    "__version__": f"{_FRAMEWORK}.versions",
    "cast": "tensorflow.python.ops.math_ops",
    "compat.v1.ConfigProto": "tensorflow.core.protobuf.config_pb2",
    "compat.v1.GraphDef": "tensorflow.core.framework.graph_pb2",
    "compat.v1.GraphKeys": f"{_FRAMEWORK}.ops",
    "compat.v1.MetaGraphDef": "tensorflow.core.protobuf.meta_graph_pb2",
    "compat.v1.OptimizerOptions": "tensorflow.core.protobuf.config_pb2",
    "compat.v1.Session": "tensorflow.python.client.session",
    "compat.v1.get_collection": f"{_FRAMEWORK}.ops",
    "compat.v1.graph_util.extract_sub_graph": f"{_FRAMEWORK}.graph_util_impl",
    "compat.v1.placeholder": _ARRAYS,
    "compat.v1.saved_model.load": "tensorflow.python.saved_model.loader_impl",
    "compat.v1.train.NewCheckpointReader": "tensorflow.python.training.py_checkpoint_reader",
    "compat.v1.train.import_meta_graph": "tensorflow.python.training.saver",
    "config.experimental.enable_op_determinism": f"{_FRAMEWORK}.config",
    "config.experimental.enable_tensor_float_32_execution": f"{_FRAMEWORK}.config",
    "config.list_physical_devices": f"{_FRAMEWORK}.config",
    "constant": f"{_FRAMEWORK}.constant_op",
    "convert_to_tensor": f"{_FRAMEWORK}.tensor_conversion:convert_to_tensor_v2_with_dispatch",
    "errors.OpError": f"{_FRAMEWORK}.errors_impl",
    "function": "tensorflow.python.eager.polymorphic_function.polymorphic_function",
    "graph_util.import_graph_def": f"{_FRAMEWORK}.importer",
    "identity": _ARRAYS,
    "import_graph_def": f"{_FRAMEWORK}.importer",
    "load_op_library": f"{_FRAMEWORK}.load_library",
    "lookup.KeyValueTensorInitializer": _LOOKUP,
    "lookup.StaticHashTable": _LOOKUP,
    "lookup.TextFileInitializer": _LOOKUP,
    "make_ndarray": f"{_FRAMEWORK}.tensor_util:MakeNdarray",
    "make_tensor_proto": f"{_FRAMEWORK}.tensor_util",
    "nest.flatten": "tensorflow.python.util.nest",
    "nest.pack_sequence_as": "tensorflow.python.util.nest",
    "random.set_seed": f"{_FRAMEWORK}.random_seed",
    "raw_ops.Assign": "tensorflow.python.ops.gen_state_ops",
    "raw_ops.AssignVariableOp": "tensorflow.python.ops.gen_resource_variable_ops",
    "raw_ops.LookupTableExportV2": "tensorflow.python.ops.gen_lookup_ops",
    "saved_model.load": "tensorflow.python.saved_model.load",
    "saved_model.save": "tensorflow.python.saved_model.save",
    "train.Checkpoint": "tensorflow.python.checkpoint.checkpoint",
}
"""Public name to the module that defines it, and its name there where that is another."""

_PLUGIN_VARIABLES = frozenset({"TF_PLUGGABLE_DEVICE_LIBRARY_PATH", "TF_USE_MODULAR_FILESYSTEM"})
_WHOLE = threading.RLock()


def install() -> None:
    """Makes ``import tensorflow`` cheap in this process, if nothing has imported it yet.

    TensorFlow's own start-up loads plugins for other devices; where there are any, nothing is done.
    """
    spec = find_spec("tensorflow") if "tensorflow" not in sys.modules else None
    if spec is None or spec.loader is None or _PLUGIN_VARIABLES & os.environ.keys() or _plugins():
        return
    # TensorFlow's modules ask for this as they are imported; its start-up sets it too.
    os.environ["TF2_BEHAVIOR"] = "1"
    module = _Parts("tensorflow", "")
    module.__path__ = list(spec.submodule_search_locations or ())
    module.__spec__, module.__file__ = spec, spec.origin
    sys.modules["tensorflow"] = module
    sys.meta_path.insert(0, _Finder())


class _Parts(ModuleType):
    """``tensorflow`` itself, or one of its public namespaces, as far as ``PARTS`` has it."""

    def __init__(self, name: str, prefix: str) -> None:
        super().__init__(name)
        self._prefix = prefix

    def __getattr__(self, name: str) -> Any:
        known = name in {"__version__"} or not name.startswith("__")
        package = sys.modules["tensorflow"]
        if not known or (self is package and type(package) is ModuleType):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = self._part(f"{self._prefix}{name}")
        if value is None:
            whole()
            value = package
            for part in f"{self._prefix}{name}".split("."):
                value = getattr(value, part)
        setattr(self, name, value)
        return value

    def _part(self, name: str) -> Any:
        if name in PARTS:
            module, _, there = PARTS[name].partition(":")
            return getattr(import_module(module), there or name.rpartition(".")[2])
        if any(part.startswith(f"{name}.") for part in PARTS):
            return _Parts(f"tensorflow.{name}", f"{name}.")
        return None


class _Finder:
    """Makes TensorFlow whole when a module of its public interface is imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, rest = name.partition(".")
        installed = sys.modules.get(package)
        if package != "tensorflow" or not rest or not isinstance(installed, _Parts):
            return None
        # The public interface has no folders of its own at the top: they lie under ``_api``.
        if (Path(installed.__path__[0]) / rest.partition(".")[0]).is_dir():
            return None
        whole()
        above = sys.modules[name.rpartition(".")[0]]
        return PathFinder.find_spec(name, list(above.__path__))


def whole() -> None:
    """Makes the installed module the whole of TensorFlow; nothing where it is already."""
    with _WHOLE:
        package = sys.modules.get("tensorflow")
        if not isinstance(package, _Parts) or package.__spec__ is None:
            return
        for name, value in list(vars(package).items()):
            if isinstance(value, _Parts):
                delattr(package, name)
        package.__class__ = ModuleType  # type: ignore[assignment]
        assert package.__spec__.loader is not None
        package.__spec__.loader.exec_module(package)


def _plugins() -> bool:
    """Whether there are folders that TensorFlow's start-up would load devices or kernels from."""
    folders = {Path(f) for f in (*site.getsitepackages(), *sys.path) if "site-packages" in f}
    wanted = ("tensorflow-plugins", "tensorflow/core/kernels")
    return any((folder / name).is_dir() for folder in folders for name in wanted)
