"""Luthier's default study of networks beside the usual Python way, on real data, with equal trials.

    cargo build --release -p luthier-cli
    PYTHON_WITH_SKLEARN_AND_KERAS benchmarks/networks/realdata.py --data FOLDER [--sets digits,adult] [--seeds 0,1] [--json FILE]

Both sides get the same training rows and are measured once on the same test rows, which nothing was chosen by. Luthier: the
study file that `luthier init --data` writes, with the edits listed below (`EDITS`). The peer: scikit-learn's
RandomizedSearchCV over a pipeline (imputer, one-hot, scaler, MLP) with one validation split and a refit on all training rows;
or Keras with as many random configurations where rows have a shape. One thread each; CPU seconds are of the whole process.
The folder holds digits/, tabular/, timeseries/, text/ and fashion-mnist/ in their usual files. Nothing is downloaded.
"""
import argparse
import gzip
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LUTHIER = HERE.parent.parent / "target" / "release" / "luthier"
CLASSES, NUMBERS = "accuracy", "rmse"
WINDOW = 14  # days
STEPS, STRIDE = 32, 5  # characters
# Per set: score, trials, `--read` for luthier, settings that are edited in its study file.
SETS = {
    "digits": (CLASSES, 20, [], {}),
    "adult": (CLASSES, 12, ["header=false"], {}),
    "california": (NUMBERS, 12, [], {}),
    "temperatures": (NUMBERS, 20, [f"window={WINDOW}", "columns.Date=ignore"], {}),
    "fashion": (CLASSES, 10, [], {"epochs": 8}),
    "shakespeare": (CLASSES, 10, ["format=text", f"text.steps={STEPS}", f"text.stride={STRIDE}"], {"epochs": 8}),
}
TARGETS = {"digits": "digit", "adult": "14", "california": "median_house_value", "temperatures": "Temp"}


# Data: one training and one test file for both sides.


def make_files(name, data, folder):
    """Writes train and test files; returns their paths."""
    return {
        "digits": lambda: table(data / "digits/digits.csv", folder, stratify="digit"),
        "adult": lambda: adult(data / "tabular", folder),
        "california": lambda: table(data / "tabular/california_housing.csv.gz", folder),
        "temperatures": lambda: in_order(data / "timeseries/daily-min-temperatures.csv.gz", folder),
        "fashion": lambda: fashion(data / "fashion-mnist", folder),
        "shakespeare": lambda: shakespeare(data / "text/tinyshakespeare.txt.gz", folder),
    }[name]()


def table(source, folder, stratify=None):
    import pandas
    from sklearn.model_selection import train_test_split

    rows = pandas.read_csv(source)
    by = rows[stratify] if stratify else None
    parts = train_test_split(rows, test_size=0.2, random_state=0, stratify=by)
    return written(parts, folder, header=True)


def adult(folder_in, folder):
    """10,000 of the training rows, all test rows; the labels of the test file end in a full stop, which goes."""
    import pandas

    read = lambda name: pandas.read_csv(folder_in / name, header=None, skipinitialspace=True, na_values="?")
    train, test = read("adult-train.csv.gz"), read("adult-test.csv.gz")
    test[14] = test[14].str.rstrip(".")
    return written((train.sample(10_000, random_state=0), test), folder, header=False)


def in_order(source, folder):
    import pandas

    rows = pandas.read_csv(source)
    cut = len(rows) * 4 // 5
    return written((rows[:cut], rows[cut:]), folder, header=True)


def written(parts, folder, header):
    paths = folder / "train.csv", folder / "test.csv"
    for rows, path in zip(parts, paths):
        rows.to_csv(path, index=False, header=header)
    return paths


def idx(path):
    import numpy

    with gzip.open(path) as file:
        content = file.read()
    shape = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(content[3])]
    return numpy.frombuffer(content, "uint8", offset=4 + 4 * content[3]).reshape(shape)


def fashion(folder_in, folder):
    """The first 5,000 training and 2,000 test images."""
    import numpy

    read = lambda part, count: (idx(folder_in / f"{part}-images-idx3-ubyte.gz")[:count], idx(folder_in / f"{part}-labels-idx1-ubyte.gz")[:count])
    (x, y), (x_test, y_test) = read("train", 5_000), read("t10k", 2_000)
    path = folder / "train.npz"
    numpy.savez(path, x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    return path, None


def shakespeare(source, folder):
    """32,000 characters to train on, the next 8,000 for the test."""
    with gzip.open(source, "rt") as file:
        text = file.read(40_000)
    paths = folder / "train.txt", folder / "test.txt"
    paths[0].write_text(text[:32_000])
    paths[1].write_text(text[32_000:])
    return paths


# Luthier


def luthier(name, files, seed, trials, program):
    score, _, read, edits = SETS[name]
    train, test = files
    study = train.parent / f"study-{seed}.toml"
    command = [program, "init", "--data", train.name, "--trials", trials, "-o", study.name]
    command += ["--target", TARGETS[name]] if name in TARGETS else []
    for line in read + ([f"test_file={test.name}"] if test else []):
        command += ["--read", line]
    subprocess.run([str(word) for word in command], check=True, cwd=train.parent, capture_output=True)
    text = study.read_text()
    for key, value in edits.items():
        text, count = re.subn(rf"^{key} = \S+", f"{key} = {value}", text, flags=re.M)
        assert count == 1, key
    text = re.sub(r"^seed = 0", f"seed = {seed}", text, count=1, flags=re.M)
    study.write_text(text)
    run = [str(program), "tune", study.name, "--json", "--study", f"{seed}.luthier"]
    output = subprocess.run(run, cwd=train.parent, capture_output=True, text=True)
    if output.returncode:
        sys.exit(output.stdout[-2000:] + output.stderr[-2000:])
    result = json.loads(output.stdout.splitlines()[-1])
    held_out = dict(result["held_out"])
    best = result["best"]["values"]
    return {"test": held_out[score], "validation": best[f"val_{score}"], "all": held_out, "epochs": result["steps"], "params": result["best"].get("params")}


# The peers


def peer(name, files, seed, trials):
    return {"fashion": keras_images, "shakespeare": keras_text}.get(name, sklearn_table)(name, files, seed, trials)


def rows_of(name, files):
    """(inputs, targets) of the training and of the test file."""
    import numpy
    import pandas

    def read(path):
        rows = pandas.read_csv(path, header=None if name == "adult" else "infer")
        if name == "temperatures":
            values = rows["Temp"].to_numpy()
            windows = numpy.lib.stride_tricks.sliding_window_view(values[:-1], WINDOW)
            return pandas.DataFrame(windows), values[WINDOW:]
        target = 14 if name == "adult" else TARGETS[name]
        return rows.drop(columns=[target]), rows[target].to_numpy()

    return read(files[0]), read(files[1])


def sklearn_table(name, files, seed, trials):
    import numpy
    import warnings
    from scipy.stats import loguniform
    from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.metrics import root_mean_squared_error
    from sklearn.model_selection import RandomizedSearchCV, ShuffleSplit, StratifiedShuffleSplit
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    warnings.simplefilter("ignore")
    (x, y), (x_test, y_test) = rows_of(name, files)
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    words = make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder(handle_unknown="ignore"))
    prepared = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")), (words, make_column_selector(dtype_exclude="number"))
    )
    classes = SETS[name][0] == CLASSES
    early = len(y) > 5_000  # scikit-learn's own early stopping where a full training would take minutes
    model = (MLPClassifier if classes else MLPRegressor)(early_stopping=early, random_state=seed)
    model = model if classes else TransformedTargetRegressor(model, transformer=StandardScaler())
    place = "mlp__" if classes else "mlp__regressor__"
    space = {
        "hidden_layer_sizes": [(64,), (128,), (256,), (64, 64), (128, 64), (128, 128)],
        "alpha": loguniform(1e-6, 1e-1),
        "learning_rate_init": loguniform(1e-4, 1e-1),
        "batch_size": [32, 64, 128, 256],
        "activation": ["relu", "tanh"],
    }
    split = (StratifiedShuffleSplit if classes else ShuffleSplit)(1, test_size=0.2, random_state=seed)
    if name == "temperatures":
        cut = len(y) * 4 // 5
        split = [(numpy.arange(cut), numpy.arange(cut, len(y)))]
    from sklearn.pipeline import Pipeline

    search = RandomizedSearchCV(
        Pipeline([("prepared", prepared), ("mlp", model)]),
        {place + key: values for key, values in space.items()},
        n_iter=trials,
        cv=split,
        scoring="accuracy" if classes else "neg_root_mean_squared_error",
        random_state=seed,
    ).fit(x, y)
    predicted = search.predict(x_test)
    test = (predicted == y_test).mean() if classes else root_mean_squared_error(y_test, predicted)
    return {"test": float(test), "validation": abs(float(search.best_score_)), "params": {k: str(v) for k, v in search.best_params_.items()}}


def keras_search(build, parts, seed, trials, epochs, draw, refit_rows):
    """`trials` random configurations, the best of them by its best epoch on the validation rows."""
    import keras
    import numpy

    (x, y), (x_valid, y_valid), (x_test, y_test) = parts
    random = numpy.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    best = None
    for _ in range(trials):
        params = draw(random)
        model = build(params)
        model.compile(keras.optimizers.Adam(params["learning_rate"]), "sparse_categorical_crossentropy", metrics=["accuracy"])
        keep = keras.callbacks.ModelCheckpoint(refit_rows, monitor="val_accuracy", mode="max", save_best_only=True, save_weights_only=True)
        history = model.fit(x, y, batch_size=params["batch_size"], epochs=epochs, validation_data=(x_valid, y_valid), callbacks=[keep], verbose=0)
        reached = max(history.history["val_accuracy"])
        if best is None or reached > best[0]:
            model.load_weights(refit_rows)
            best = reached, model.evaluate(x_test, y_test, verbose=0)[1], params
    return {"test": float(best[1]), "validation": float(best[0]), "params": {k: v if isinstance(v, str) else float(v) for k, v in best[2].items()}}


def common_draw(random):
    return {"learning_rate": 10 ** random.uniform(-4, -1.5), "batch_size": int(random.choice([32, 64, 128])), "dropout": random.uniform(0, 0.5)}


def keras_images(name, files, seed, trials):
    import keras
    import numpy
    from sklearn.model_selection import train_test_split

    arrays = numpy.load(files[0])
    scaled = lambda x: x[..., None].astype("float32") / 255
    x, x_valid, y, y_valid = train_test_split(scaled(arrays["x_train"]), arrays["y_train"].astype(int), test_size=0.2, random_state=seed, stratify=arrays["y_train"])
    parts = (x, y), (x_valid, y_valid), (scaled(arrays["x_test"]), arrays["y_test"].astype(int))

    def draw(random):
        return common_draw(random) | {"filters": int(random.choice([16, 32, 64])), "blocks": int(random.integers(1, 4)), "units": int(random.choice([32, 64, 128]))}

    def build(params):
        layers = [keras.Input((28, 28, 1))]
        for _ in range(params["blocks"]):
            layers += [keras.layers.Conv2D(params["filters"], 3, padding="same", activation="relu"), keras.layers.MaxPooling2D()]
        layers += [keras.layers.Flatten(), keras.layers.Dense(params["units"], "relu"), keras.layers.Dropout(params["dropout"]), keras.layers.Dense(10, "softmax")]
        return keras.Sequential(layers)

    return keras_search(build, parts, seed, trials, SETS[name][3]["epochs"], draw, str(files[0].parent / "keras.weights.h5"))


def keras_text(name, files, seed, trials):
    import keras
    import numpy

    texts = [path.read_text() for path in files]
    known = {character: i for i, character in enumerate(sorted(set(texts[0])))}
    unknown = len(known)

    def windows(text):
        codes = numpy.array([known.get(character, unknown) for character in text])
        starts = range(0, len(codes) - STEPS, STRIDE)
        return numpy.stack([codes[i : i + STEPS] for i in starts]), numpy.array([codes[i + STEPS] for i in starts])

    x, y = windows(texts[0])
    cut = len(x) * 4 // 5
    parts = (x[:cut], y[:cut]), (x[cut:], y[cut:]), windows(texts[1])

    def draw(random):
        return common_draw(random) | {"units": int(random.choice([32, 64, 128])), "layers": int(random.integers(1, 3))}

    def build(params):
        layers = [keras.Input((STEPS,)), keras.layers.Embedding(unknown + 1, 32)]
        layers += [keras.layers.LSTM(params["units"], return_sequences=i + 1 < params["layers"]) for i in range(params["layers"])]
        layers += [keras.layers.Dropout(params["dropout"]), keras.layers.Dense(unknown + 1, "softmax")]
        return keras.Sequential(layers)

    return keras_search(build, parts, seed, trials, SETS[name][3]["epochs"], draw, str(files[0].parent / "keras.weights.h5"))


# Running both


def measured(name, side, seed, trials, options):
    """One side in a process of its own; its result with CPU seconds."""
    command = [sys.executable, __file__, "--one", f"{side},{name},{seed},{trials}", "--data", options.data, "--luthier", options.luthier]
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    output = subprocess.run([str(word) for word in command], env={**os.environ, **threads, "KERAS_BACKEND": "torch"}, capture_output=True, text=True)
    if output.returncode:
        sys.exit(f"{side} on {name}:\n{output.stderr[-3000:]}")
    return json.loads(output.stdout.splitlines()[-1])


def one(options):
    side, name, seed, trials = options.one.split(",")
    with tempfile.TemporaryDirectory() as folder:
        files = make_files(name, options.data.resolve(), Path(folder))
        who = (resource.RUSAGE_CHILDREN,) if side == "luthier" else (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        spent = lambda: sum(sum(resource.getrusage(w)[:2]) for w in who)
        before = spent()
        if side == "luthier":
            result = luthier(name, files, int(seed), int(trials), options.luthier.resolve())
        else:
            result = peer(name, files, int(seed), int(trials))
        print(json.dumps(result | {"seed": int(seed), "cpu_seconds": round(spent() - before, 1)}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--sides", default="luthier,peer")
    parser.add_argument("--luthier", type=Path, default=LUTHIER)
    parser.add_argument("--json", type=Path, help="results are added to this file, set by set")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return one(options)
    results = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    print(f"{'set':13} {'score':9} {'trials':>6} {'seed':>4} {'side':8} {'test':>11} {'validation':>11} {'CPU s':>7}")
    for name in options.sets.split(","):
        score, trials = SETS[name][:2]
        for seed in options.seeds.split(","):
            for side in options.sides.split(","):
                run = measured(name, side, seed, trials, options)
                print(f"{name:13} {score:9} {trials:6} {seed:>4} {side:8} {run['test']:11.4f} {run['validation']:11.4f} {run['cpu_seconds']:7.1f}", flush=True)
                kept = results.setdefault(name, {"score": score, "trials": trials}).setdefault(side, [])
                kept[:] = [other for other in kept if other["seed"] != run["seed"]] + [run]
                if options.json:
                    options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
