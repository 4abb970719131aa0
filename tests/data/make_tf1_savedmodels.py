"""Makes the SavedModels of ``tests/data/tf1`` with TensorFlow 1.15 and records what it computes.

Set-up: CPython 3.7, ``pip install tensorflow==1.15.5 'protobuf<3.21' 'numpy<1.19'``; then
``python tests/data/make_tf1_savedmodels.py [NAME ...]``.
"""

import csv
import os
import shutil
import sys
import tempfile

import numpy as np
import tensorflow as tf
from tf1_case import write_case
from verify_tf1 import verify

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = {}
SERVE = ["serve"]
SD = tf.saved_model.signature_def_utils
RANDOM = np.random.RandomState(7)


def fixture(make):
    """Registers a fixture under its function's name."""
    FIXTURES[make.__name__] = make
    return make


def floats(*shape):
    return RANDOM.uniform(-1, 1, shape).astype(np.float32)


def info(tensors):
    return {name: tf.saved_model.utils.build_tensor_info(t) for name, t in tensors.items()}


def signature(inputs, outputs, method="tensorflow/serving/predict"):
    return SD.build_signature_def(info(inputs), info(outputs), method)


def save(sess, folder, signatures, as_text=False, tags=SERVE, **more):
    builder = tf.saved_model.builder.SavedModelBuilder(os.path.join(folder, "model"))
    builder.add_meta_graph_and_variables(sess, tags, signatures, **more)
    builder.save(as_text=as_text)


def record(folder, feeds_by_signature, source="model", tags=SERVE, **case):
    """Loads the model into a fresh session and writes down what each call gives."""
    path = os.path.join(folder, source)
    for name in sorted(os.listdir(path)):
        if name.isdigit():
            path = os.path.join(path, name)
    recorded = {}
    with tf.Session(graph=tf.Graph(), config=tf.ConfigProto(allow_soft_placement=True)) as sess:
        meta = tf.saved_model.loader.load(sess, tags, path)
        for name, calls in feeds_by_signature.items():
            definition = meta.signature_def[name]
            recorded[name] = []
            for feeds in calls:
                fed = {tensor_of(definition.inputs, k): v for k, v in feeds.items()}
                outputs = sess.run({k: t.name for k, t in definition.outputs.items()}, fed)
                recorded[name].append((feeds, outputs))
    write_case(folder, source, "savedmodel", recorded, **case)


def tensor_of(inputs, name):
    if name in inputs:
        return inputs[name].name
    base, _, part = name.rpartition("/")
    sparse = inputs[base].coo_sparse
    return {
        "indices": sparse.indices_tensor_name,
        "values": sparse.values_tensor_name,
        "dense_shape": sparse.dense_shape_tensor_name,
    }[part]


def dense(x, units, name, **kwargs):
    with tf.variable_scope(name, **kwargs):
        kernel = tf.get_variable("kernel", initializer=tf.constant(floats(int(x.shape[-1]), units)))
        bias = tf.get_variable("bias", initializer=tf.constant(floats(units)))
        return tf.nn.bias_add(tf.matmul(x, kernel), bias)


def mlp_model(folder, use_resource, **save_options):
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    y = tf.nn.softmax(
        dense(tf.nn.relu(dense(x, 4, "a", use_resource=use_resource)), 2, "b"), name="y"
    )
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        save(sess, folder, {"serving_default": signature({"x": x}, {"y": y})}, **save_options)
    record(folder, {"serving_default": [{"x": floats(2, 3)}, {"x": floats(5, 3)}]})


@fixture
def savedmodel_builder_ref(folder):
    """Reference variables, SavedModelBuilder."""
    mlp_model(folder, False)


@fixture
def pbtxt(folder):
    """The same, as saved_model.pbtxt."""
    mlp_model(folder, False, as_text=True)


@fixture
def simple_save_resource(folder):
    """Resource variables, simple_save."""
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    with tf.variable_scope("", use_resource=True):
        y = dense(x, 2, "a")
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        tf.saved_model.simple_save(sess, os.path.join(folder, "model"), {"x": x}, {"y": y})
    record(folder, {"serving_default": [{"x": floats(1, 3)}, {"x": floats(4, 3)}]})


def partitioned_model(folder, use_resource):
    ids = tf.placeholder(tf.int64, [None], name="ids")
    with tf.variable_scope(
        "emb", partitioner=tf.fixed_size_partitioner(3), use_resource=use_resource
    ):
        table = tf.get_variable("table", [7, 4], initializer=tf.random_normal_initializer(seed=3))
    y = tf.nn.embedding_lookup(table, ids, partition_strategy="div") + tf.reduce_sum(
        tf.convert_to_tensor(table)
    )
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        save(sess, folder, {"serving_default": signature({"ids": ids}, {"y": y})})
    record(folder, {"serving_default": [{"ids": np.array([0, 6, 3])}, {"ids": np.array([5])}]})


@fixture
def partitioned(folder):
    """A partitioned embedding of reference variables."""
    partitioned_model(folder, False)


@fixture
def partitioned_resource(folder):
    """A partitioned embedding of resource variables."""
    partitioned_model(folder, True)


@fixture
def legacy_init_op(folder):
    """A table that legacy_init_op initialises."""
    words = tf.placeholder(tf.string, [None], name="words")
    table = tf.contrib.lookup.index_table_from_tensor(["a", "b", "c"], default_value=-1)
    with tf.Session() as sess:
        sess.run([tf.global_variables_initializer(), tf.tables_initializer()])
        save(
            sess,
            folder,
            {"serving_default": signature({"words": words}, {"ids": table.lookup(words)})},
            legacy_init_op=tf.tables_initializer(),
        )
    calls = [[b"c", b"zz", b"a"], [b"b"]]
    record(folder, {"serving_default": [{"words": np.array(c, object)} for c in calls]})


@fixture
def main_op(folder):
    """A main_op that also initialises a local variable which the signature reads."""
    x = tf.placeholder(tf.float32, [None], name="x")
    scale = tf.Variable(tf.constant([3.0]) * 2.0, collections=[tf.GraphKeys.LOCAL_VARIABLES])
    bias = tf.Variable([0.5], name="bias")
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        save(
            sess,
            folder,
            {"serving_default": signature({"x": x}, {"y": x * scale + bias})},
            main_op=tf.group(tf.local_variables_initializer(), tf.tables_initializer()),
        )
    record(folder, {"serving_default": [{"x": floats(3)}, {"x": floats(1)}]})


FEATURES = ["SepalLength", "SepalWidth", "PetalLength", "PetalWidth"]


def iris():
    with open(os.path.join(HERE, "iris.csv")) as stream:
        rows = list(csv.reader(stream))[1:]
    data = np.array([[float(v) for v in row] for row in rows])
    return data[:, :4].astype(np.float32), data[:, 4].astype(np.int64)


TRAINED = []


def iris_estimator():
    """The trained classifier; trained once a run, as two fixtures export it."""
    if not TRAINED:
        TRAINED.append(train_iris())
    return TRAINED[0]


def train_iris():
    features, labels = iris()
    estimator = tf.estimator.DNNClassifier(
        hidden_units=[10, 10],
        n_classes=3,
        feature_columns=[tf.feature_column.numeric_column(name) for name in FEATURES],
        optimizer=tf.train.AdamOptimizer(0.01),
        model_dir=tempfile.mkdtemp(),
        config=tf.estimator.RunConfig(tf_random_seed=1),
    )
    columns = {name: features[:, i] for i, name in enumerate(FEATURES)}

    def rows():
        # numpy_input_fn shuffles in a queue, which gives another model each time.
        data = tf.data.Dataset.from_tensor_slices((columns, labels))
        return data.shuffle(150, seed=1).repeat().batch(50)

    estimator.train(rows, steps=300)
    measured = estimator.evaluate(rows, steps=3)
    assert measured["accuracy"] > 0.95, measured
    return estimator


def export(estimator, folder, receiver):
    estimator.export_saved_model(os.path.join(folder, "export"), receiver)
    (made,) = os.listdir(os.path.join(folder, "export"))
    os.rename(os.path.join(folder, "export", made), os.path.join(folder, "export", "1570635853"))


@fixture
def iris_raw(folder):
    """The iris classifier of an Estimator with raw serving inputs."""
    estimator = iris_estimator()
    receiver = tf.estimator.export.build_raw_serving_input_receiver_fn(
        {name: tf.placeholder(tf.float32, [None, 1], name=name) for name in FEATURES}
    )
    export(estimator, folder, receiver)
    features, _ = iris()
    calls = [
        {name: rows[:, i : i + 1] for i, name in enumerate(FEATURES)}
        for rows in (features, features[:1], features[50:52])
    ]
    record(folder, {"predict": calls}, source="export")


def examples(rows):
    made = []
    for row in rows:
        feature = {
            name: tf.train.Feature(float_list=tf.train.FloatList(value=[row[i]]))
            for i, name in enumerate(FEATURES)
        }
        example = tf.train.Example(features=tf.train.Features(feature=feature))
        made.append(example.SerializeToString(deterministic=True))
    return np.array(made, object)


@fixture
def iris_parsing(folder):
    """The iris classifier with tf.Example inputs; and cut after the parser."""
    estimator = iris_estimator()
    spec = {name: tf.FixedLenFeature([1], tf.float32) for name in FEATURES}
    export(estimator, folder, tf.estimator.export.build_parsing_serving_input_receiver_fn(spec))
    features, _ = iris()
    calls = [examples(features[::10]), examples(features[:1])]
    record(
        folder,
        {
            "classification": [{"inputs": e} for e in calls],
            "predict": [{"examples": e} for e in calls],
            "serving_default": [{"inputs": e} for e in calls],
        },
        source="export",
    )
    path = os.path.join(folder, "export", "1570635853")
    with tf.Session(graph=tf.Graph()) as sess:
        meta = tf.saved_model.loader.load(sess, SERVE, path)
        (parser,) = [op for op in sess.graph.get_operations() if op.type.startswith("ParseExample")]
        keys = [v.decode() for v in sess.run(list(parser.inputs)[2 : 2 + len(FEATURES)])]
        outputs = {k: t.name for k, t in meta.signature_def["predict"].outputs.items()}
        recorded = []
        for rows in (features[::10], features[:1]):
            feeds = {name: rows[:, i : i + 1] for i, name in enumerate(FEATURES)}
            fed = {t: feeds[k] for k, t in zip(keys, parser.outputs)}
            recorded.append((feeds, sess.run(outputs, fed)))
    write_case(
        folder,
        "export",
        "savedmodel",
        {"predict": recorded},
        load={"cut_examples": True, "signatures": ["predict"]},
        variant="cut_examples",
    )


@fixture
def multi_signature(folder):
    """Classify, regress and predict signatures in one model."""
    serialized = tf.placeholder(tf.string, [None], name="examples")
    parsed = tf.parse_example(serialized, {"x": tf.FixedLenFeature([3], tf.float32)})
    logits = dense(parsed["x"], 3, "head")
    scores = tf.nn.softmax(logits)
    classes = tf.tile(tf.constant([["red", "green", "blue"]]), [tf.shape(scores)[0], 1])
    value = tf.reduce_sum(logits, 1, keepdims=True)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        save(
            sess,
            folder,
            {
                "classify": SD.classification_signature_def(serialized, classes, scores),
                "regress": SD.regression_signature_def(serialized, value),
                "serving_default": signature(
                    {"x": parsed["x"]}, {"scores": scores, "value": value}
                ),
            },
        )
    made = [
        tf.train.Example(
            features=tf.train.Features(
                feature={"x": tf.train.Feature(float_list=tf.train.FloatList(value=row))}
            )
        ).SerializeToString()
        for row in floats(3, 3)
    ]
    strings = np.array(made, object)
    record(
        folder,
        {
            "classify": [{"inputs": strings}, {"inputs": strings[1:2]}],
            "regress": [{"inputs": strings[:1]}, {"inputs": strings[1:]}],
            "serving_default": [{"x": floats(2, 3)}, {"x": floats(1, 3)}],
        },
        notes="serving_default feeds the output of the parser",
    )


@fixture
def tag_sets(folder):
    """Three MetaGraphs by tag set over shared variables."""
    builder = tf.saved_model.builder.SavedModelBuilder(os.path.join(folder, "model"))
    first = True
    for tags, factor, device in (
        (["serve"], 1.0, None),
        (["serve", "gpu"], 2.0, "/device:GPU:0"),
        (["train"], 3.0, None),
    ):
        with tf.Graph().as_default(), tf.device(device):
            x = tf.placeholder(tf.float32, [None, 2], name="x")
            w = tf.get_variable("w", initializer=tf.constant([[1.5], [-2.5]]))
            signatures = {"serving_default": signature({"x": x}, {"y": tf.matmul(x, w) * factor})}
            with tf.Session(config=tf.ConfigProto(allow_soft_placement=True)) as sess:
                sess.run(tf.global_variables_initializer())
                if first:
                    builder.add_meta_graph_and_variables(sess, tags, signatures)
                else:
                    builder.add_meta_graph(tags, signatures)
            first = False
    builder.save()
    for tags in (["serve"], ["serve", "gpu"], ["train"]):
        record(
            folder,
            {"serving_default": [{"x": floats(3, 2)}, {"x": floats(1, 2)}]},
            tags=tags,
            load={"tags": tags},
            variant="_".join(tags),
        )


def vocabulary(folder, words):
    """Writes words.txt and gives its relative path, as the graph keeps the path it is given."""
    os.chdir(folder)
    with open("words.txt", "w") as stream:
        stream.write("".join(word + "\n" for word in words))
    return "words.txt"


@fixture
def table_vocab(folder):
    """Vocabulary assets: ids with and without OOV buckets, and strings back from ids."""
    path = vocabulary(folder, ["cat", "dog", "bird", "fisch", "größe"])
    words = tf.placeholder(tf.string, [None, 2], name="words")
    plain = tf.contrib.lookup.index_table_from_file(path)
    bucketed = tf.contrib.lookup.index_table_from_file(path, num_oov_buckets=3)
    back = tf.contrib.lookup.index_to_string_table_from_file(path, default_value="?")
    ids = plain.lookup(words)
    outputs = {"ids": ids, "buckets": bucketed.lookup(words), "words": back.lookup(ids)}
    save_tables(folder, words, outputs)
    os.remove(path)


@fixture
def table_vocab_dense(folder):
    """Words to ids to an embedding: all of it can be said in ONNX."""
    path = vocabulary(folder, ["cat", "dog", "bird"])
    words = tf.placeholder(tf.string, [None, 2], name="words")
    table = tf.contrib.lookup.index_table_from_file(path, default_value=0)
    embedding = tf.get_variable("embedding", initializer=tf.constant(floats(3, 4)))
    y = tf.reduce_mean(tf.gather(embedding, table.lookup(words)), 1)
    save_tables(folder, words, {"y": y})
    os.remove(path)


def save_tables(folder, words, outputs):
    with tf.Session() as sess:
        sess.run([tf.global_variables_initializer(), tf.tables_initializer()])
        save(
            sess,
            folder,
            {"serving_default": signature({"words": words}, outputs)},
            main_op=tf.tables_initializer(),
            assets_collection=tf.get_collection(tf.GraphKeys.ASSET_FILEPATHS),
        )
    calls = [[["cat", "dog"]], [["bird", "nix"], ["größe", ""]]]
    record(
        folder,
        {
            "serving_default": [
                {"words": np.array([[w.encode() for w in row] for row in c], object)} for c in calls
            ]
        },
    )


@fixture
def table_inmemory(folder):
    """Hash tables filled from constants: string to int64, int64 to float."""
    lookup = tf.contrib.lookup
    words = tf.placeholder(tf.string, [None], name="words")
    ids = lookup.HashTable(
        lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([5, 9], tf.int64)), -1
    ).lookup(words)
    values = lookup.HashTable(
        lookup.KeyValueTensorInitializer(tf.constant([5, 9], tf.int64), [0.25, 4.0]), -7.5
    ).lookup(ids)
    with tf.Session() as sess:
        sess.run([tf.global_variables_initializer(), tf.tables_initializer()])
        save(
            sess,
            folder,
            {"serving_default": signature({"words": words}, {"ids": ids, "values": values})},
            main_op=tf.tables_initializer(),
        )
    calls = [[b"b", b"x", b"a"], [b"a"]]
    record(folder, {"serving_default": [{"words": np.array(c, object)} for c in calls]})


@fixture
def no_signature(folder):
    """A SavedModel without any signature; inputs and outputs must be inferred."""
    x = tf.placeholder(tf.float32, [None, 3], name="image")
    y = tf.nn.softmax(dense(x, 2, "a"), name="prob")
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        save(sess, folder, {})
        calls = [floats(2, 3), floats(1, 3)]
        recorded = [({"image": feeds}, {"prob": sess.run(y, {x: feeds})}) for feeds in calls]
    write_case(folder, "model", "savedmodel", {"serving_default": recorded})


@fixture
def zero_inputs(folder):
    """A signature that reads a variable and has no input."""
    w = tf.get_variable("w", initializer=tf.constant(floats(2, 2)))
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        save(sess, folder, {"serving_default": signature({}, {"w": tf.identity(w), "sq": w * w})})
    record(folder, {"serving_default": [{}]})


@fixture
def default_input(folder):
    """Inputs with a default: one in the signature, one that only the graph knows."""
    x = tf.placeholder(tf.float32, [None, 2], name="x")
    scale = tf.placeholder_with_default(tf.constant(2.0), [], name="scale")
    hidden = tf.placeholder_with_default(tf.constant(1.0), [], name="hidden")
    with tf.Session() as sess:
        sess.run(tf.no_op())
        save(
            sess,
            folder,
            {"serving_default": signature({"x": x, "scale": scale}, {"y": x * scale + hidden})},
        )
    record(
        folder,
        {"serving_default": [{"x": floats(1, 2)}, {"x": floats(3, 2), "scale": np.float32(-3)}]},
    )


@fixture
def odd_aliases(folder):
    """Names that are no Python identifiers."""
    names = ["my input", "x:0", "image/encoded", "1st", "class", "ünïcode"]
    placeholders = {
        name: tf.placeholder(tf.float32, [None], name="p%d" % (len(names) - i))
        for i, name in enumerate(names)
    }
    weights = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    total = tf.add_n([placeholders[n] * w for n, w in zip(names, weights)])
    outputs = {"the sum": total, "out:0": -total, "größe": total * 2}
    with tf.Session() as sess:
        sess.run(tf.no_op())
        save(sess, folder, {"my sig/1": signature(placeholders, outputs)})
    record(folder, {"my sig/1": [{name: floats(2) for name in names}]})


@fixture
def sparse_input(folder):
    """A sparse input."""
    x = tf.sparse_placeholder(tf.float32, [None, 5], name="x")
    w = tf.get_variable("w", initializer=tf.constant(floats(5, 2)))
    y = tf.sparse_tensor_dense_matmul(x, w)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        save(sess, folder, {"serving_default": signature({"x": x}, {"y": y})})
    record(
        folder,
        {
            "serving_default": [
                {
                    "x/indices": np.array([[0, 1], [2, 4]]),
                    "x/values": floats(2),
                    "x/dense_shape": np.array([3, 5]),
                },
                {
                    "x/indices": np.array([[0, 0], [0, 2], [0, 3]]),
                    "x/values": floats(3),
                    "x/dense_shape": np.array([1, 5]),
                },
            ]
        },
    )


@fixture
def dtypes(folder):
    """One input and output of each common type."""
    kinds = [tf.float64, tf.int32, tf.int64, tf.uint8, tf.float16, tf.bool, tf.string]
    inputs = {k.name: tf.placeholder(k, [None], name="in_" + k.name) for k in kinds}
    outputs = {
        "float64": inputs["float64"] * 2,
        "int32": inputs["int32"] + 1,
        "int64": inputs["int64"] * 3,
        "uint8": tf.identity(inputs["uint8"]),
        "float16": inputs["float16"] + 1,
        "bool": tf.logical_not(inputs["bool"]),
        "string": tf.identity(inputs["string"]),
    }
    with tf.Session() as sess:
        sess.run(tf.no_op())
        save(sess, folder, {"serving_default": signature(inputs, outputs)})
    feeds = {
        "float64": np.array([0.1, -3.0]),
        "int32": np.array([1, -2], np.int32),
        "int64": np.array([2**40, -5]),
        "uint8": np.array([0, 255], np.uint8),
        "float16": np.array([0.5, 2.0], np.float16),
        "bool": np.array([True, False]),
        "string": np.array([b"", "ü".encode()], object),
    }
    edges = {
        "float64": np.array([np.nan, np.inf, -np.inf]),
        "int32": np.array([2**31 - 1, -(2**31), 0], np.int32),
        "int64": np.array([2**53 + 1, -(2**61), 0]),
        "uint8": np.array([128, 1, 2], np.uint8),
        "float16": np.array([np.nan, np.inf, 65504.0], np.float16),
        "bool": np.array([False, False, True]),
        "string": np.array([b"\x00\xff", b" ", b"a\x00"], object),
    }
    record(folder, {"serving_default": [feeds, edges]})


@fixture
def counter(folder):
    """One signature reads a counter, another increments it."""
    count = tf.get_variable("count", initializer=tf.constant(4, tf.int64), use_resource=True)
    read = tf.identity(count.read_value(), name="read")
    add = tf.identity(count.assign_add(1, read_value=True), name="added")
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        save(
            sess,
            folder,
            {
                "serving_default": signature({}, {"count": read}),
                "add": signature({}, {"count": add}),
            },
        )
    record(folder, {"serving_default": [{}], "add": [{}, {}, {}]})


@fixture
def batchnorm_assign(folder):
    """Batch norm in training mode: Assign nodes stand on the path to the fetch."""
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    y = tf.layers.batch_normalization(x, training=True, momentum=0.5)
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        y = tf.identity(y, name="y")
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        save(sess, folder, {"serving_default": signature({"x": x}, {"y": y})})
    record(folder, {"serving_default": [{"x": floats(4, 3)}, {"x": floats(6, 3)}]})


@fixture
def unneeded_feed(folder):
    """A signature lists an input that its output does not need."""
    x = tf.placeholder(tf.float32, [None, 2], name="x")
    unused = tf.placeholder(tf.float32, [None, 3], name="unused")
    with tf.Session() as sess:
        sess.run(tf.no_op())
        save(sess, folder, {"serving_default": signature({"x": x, "also": unused}, {"y": -x})})
    calls = [{"x": floats(n, 2), "also": floats(n, 3)} for n in (2, 1)]
    record(folder, {"serving_default": calls})


@fixture
def nested_exports(folder):
    """A folder with two exports, to be refused with the list."""
    for number in ("100", "200"):
        with tf.Graph().as_default():
            x = tf.placeholder(tf.float32, [None], name="x")
            with tf.Session() as sess:
                sess.run(tf.no_op())
                tf.saved_model.simple_save(
                    sess, os.path.join(folder, "export", number), {"x": x}, {"y": x * 2}
                )
    write_case(folder, "export", "savedmodel", {}, notes="refused: two exports")


def py_func_model(folder, on_path):
    x = tf.placeholder(tf.float32, [None], name="x")
    called = tf.py_func(lambda v: v * 2, [x], tf.float32)
    called.set_shape([None])
    y = called + 1 if on_path else x + 1
    with tf.Session() as sess:
        sess.run(tf.no_op())
        save(sess, folder, {"serving_default": signature({"x": x}, {"y": y})})
    if on_path:
        write_case(folder, "model", "savedmodel", {}, notes="refused: Python function")
    else:
        record(folder, {"serving_default": [{"x": floats(2)}, {"x": floats(1)}]})


@fixture
def py_func(folder):
    """A Python function on the path to the output, to be refused."""
    py_func_model(folder, True)


@fixture
def py_func_offpath(folder):
    """A Python function that no output needs."""
    py_func_model(folder, False)


@fixture
def cond_var(folder):
    """V1 cond and while that read reference variables inside."""
    x = tf.placeholder(tf.float32, [None, 2], name="x")
    a = tf.get_variable("a", initializer=tf.constant([1.0, 2.0]))
    b = tf.get_variable("b", initializer=tf.constant([-3.0, 0.5]))
    y = tf.cond(tf.reduce_sum(x) > 0, lambda: x * a, lambda: x * b)
    _, z = tf.while_loop(
        lambda i, v: i < 3,
        lambda i, v: (i + 1, v * a + 1),
        [tf.constant(0), x],
        shape_invariants=[tf.TensorShape([]), tf.TensorShape([None, 2])],
    )
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        save(sess, folder, {"serving_default": signature({"x": x}, {"y": y, "z": z})})
    positive, negative = np.abs(floats(2, 2)), -np.abs(floats(1, 2))
    record(folder, {"serving_default": [{"x": positive}, {"x": negative}]})


@fixture
def rnn(folder):
    """A dynamic RNN with sequence lengths."""
    x = tf.placeholder(tf.float32, [None, 4, 3], name="x")
    lengths = tf.placeholder(tf.int32, [None], name="lengths")
    cell = tf.nn.rnn_cell.BasicLSTMCell(5)
    outputs, state = tf.nn.dynamic_rnn(cell, x, sequence_length=lengths, dtype=tf.float32)
    with tf.Session() as sess:
        tf.set_random_seed(5)
        sess.run(
            [
                v.initializer if "bias" in v.name else v.assign(floats(*v.shape.as_list()))
                for v in tf.global_variables()
            ]
        )
        save(
            sess,
            folder,
            {
                "serving_default": signature(
                    {"x": x, "lengths": lengths}, {"y": outputs, "h": state.h}
                )
            },
        )
    record(
        folder,
        {
            "serving_default": [
                {"x": floats(2, 4, 3), "lengths": np.array([4, 2], np.int32)},
                {"x": floats(1, 4, 3), "lengths": np.array([3], np.int32)},
            ]
        },
    )


@fixture
def function_variable(folder):
    """A tf.function in the graph (StatefulPartitionedCall) that reads a variable it captured."""
    w = tf.get_variable("w", initializer=tf.constant(floats(3, 2)), use_resource=True)

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)])
    def layer(v):
        return tf.tanh(tf.matmul(v, w))

    x = tf.placeholder(tf.float32, [None, 3], name="x")
    y = layer(x) + 1
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        save(sess, folder, {"serving_default": signature({"x": x}, {"y": y})})
    record(folder, {"serving_default": [{"x": floats(2, 3)}, {"x": floats(1, 3)}]})


@fixture
def random(folder):
    """A random output, without a seed, beside a deterministic one."""
    tf.get_default_graph().seed = None
    x = tf.placeholder(tf.float32, [None, 2], name="x")
    noise = x + tf.random_normal(tf.shape(x))
    with tf.Session() as sess:
        sess.run(tf.no_op())
        save(sess, folder, {"serving_default": signature({"x": x}, {"noise": noise, "y": x * 2})})
    write_case(folder, "model", "savedmodel", {}, notes="the noise differs from run to run")


def main(names):
    for name in names or FIXTURES:
        folder = os.path.join(HERE, "tf1", name)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        tf.reset_default_graph()
        tf.set_random_seed(1)
        RANDOM.seed(sum(map(ord, name)))
        FIXTURES[name](folder)
        print(name, verify(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
