"""Checks exported networks: what onnxruntime makes of the .onnx files in a folder agrees to 1e-5 with the networks'
definitions, written out here with numpy in double precision, and with the outputs of Luthier's own engines.

    cargo run -p luthier-nn --example onnx_zoo -- FOLDER
    python3 onnx_check.py FOLDER [--all-engines]      (needs onnxruntime and numpy)

With --all-engines (after a build with the feature `burn`) it fails if there is a network that no engine has run.
"""
import json
import math
import pathlib
import sys

import numpy as np
import onnxruntime

TOLERANCE = 1e-5

erf = np.vectorize(math.erf)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = {
    "linear": lambda x: x,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "gelu": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
    "silu": lambda x: x * sigmoid(x),
    "softplus": lambda x: np.logaddexp(0, x),
}


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


LINKS = {
    "cross_entropy": softmax,
    "binary_cross_entropy": sigmoid,
    "multi_label": sigmoid,
    "squared_error": lambda x: x,
    "absolute_error": lambda x: x,
    "huber": lambda x: x,
    "poisson": np.exp,
}


def windows(x, axes, size, stride):
    """All windows of `size` along `axes`, `stride` apart: positions in place, the window's own axes last."""
    view = np.lib.stride_tricks.sliding_window_view(x, [size] * len(axes), axis=axes)
    index = [slice(None)] * view.ndim
    for axis in axes:
        index[axis] = slice(None, None, stride)
    return view[tuple(index)]


class Reader:
    """Applies layers to rows, taking weights by name."""

    def __init__(self, weights):
        self.weights = {
            name: np.array(w["data"], np.float64).reshape(w["shape"]) for name, w in weights.items()
        }
        self.used = set()

    def get(self, name):
        self.used.add(name)
        return self.weights[name]

    def chain(self, path, layers, x):
        number = 0
        for layer in layers:
            before = len(self.used)
            x = getattr(self, layer["type"])(f"{path}.{number + 1}", layer, x)
            number += len(self.used) > before
        return x

    def activated(self, layer, x, axis=-1):
        """`axis` is that of the features."""
        if layer["activation"] == "softmax":
            return softmax(x, axis)
        return ACTIVATIONS[layer["activation"]](x)

    def dense(self, path, layer, x):
        x = x @ self.get(f"{path}.kernel")
        return self.activated(layer, x + self.get(f"{path}.bias") if layer["bias"] else x)

    def dropout(self, path, layer, x):
        return x

    def activation(self, path, layer, x):
        return self.activated(layer, x, 1 if x.ndim == 4 else -1)

    def scaled(self, path, x):
        shape = (-1, 1, 1) if x.ndim == 4 else (-1,)
        return self.get(f"{path}.gamma").reshape(shape) * x + self.get(f"{path}.beta").reshape(shape)

    def batch_normalization(self, path, layer, x):
        shape = (-1, 1, 1) if x.ndim == 4 else (-1,)
        mean = self.get(f"{path}.moving_mean").reshape(shape)
        variance = self.get(f"{path}.moving_variance").reshape(shape)
        return self.scaled(path, (x - mean) / np.sqrt(variance + layer["epsilon"]))

    def layer_normalization(self, path, layer, x):
        axes = (1, 2, 3) if x.ndim == 4 else (-1,)
        mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
        return self.scaled(path, (x - mean) / np.sqrt(variance + layer["epsilon"]))

    def convolved(self, path, layer, x):
        """x is [rows, channels, positions …]."""
        axes = tuple(range(2, x.ndim))
        size, stride = layer["kernel_size"], layer["stride"]
        if layer["padding"] == "same":
            totals = [max((-(-x.shape[a] // stride) - 1) * stride + size - x.shape[a], 0) for a in axes]
            x = np.pad(x, [(0, 0), (0, 0)] + [(t // 2, t - t // 2) for t in totals])
        seen = windows(x, axes, size, stride)
        letters = "yz"[: len(axes)]
        kernels = "vw"[: len(axes)]
        out = np.einsum(f"nc{letters}{kernels},fc{kernels}->nf{letters}", seen, self.get(f"{path}.kernel"))
        if layer["bias"]:
            out = out + self.get(f"{path}.bias").reshape([-1] + [1] * len(axes))
        return self.activated(layer, out, 1)

    def conv1d(self, path, layer, x):
        return self.convolved(path, layer, x.swapaxes(1, 2)).swapaxes(1, 2)

    def conv2d(self, path, layer, x):
        return self.convolved(path, layer, x)

    def pooled(self, layer, x, axes):
        seen = windows(x, axes, layer["size"], layer["stride"])
        own = tuple(range(-len(axes), 0))
        return seen.max(axis=own) if layer["pooling"] == "max" else seen.mean(axis=own)

    def pool1d(self, path, layer, x):
        return self.pooled(layer, x, (1,))

    def pool2d(self, path, layer, x):
        return self.pooled(layer, x, (2, 3))

    def global_pool(self, path, layer, x):
        axes = (2, 3) if x.ndim == 4 else (1,)
        return x.max(axis=axes) if layer["pooling"] == "max" else x.mean(axis=axes)

    def flatten(self, path, layer, x):
        return x.reshape(len(x), -1)

    def rows(self, path, layer, x):
        return np.stack([np.concatenate(list(image), axis=1) for image in x])

    def embedding(self, path, layer, x):
        return self.get(f"{path}.embedding")[x.astype(int)]

    def embed_columns(self, path, layer, x):
        places = [column["input"] for column in layer["columns"]]
        parts = [np.delete(x, places, axis=1)]
        parts += [self.get(f"{path}.embedding.{p}")[x[:, p].astype(int)] for p in places]
        return np.concatenate(parts, axis=1)

    def recurrent(self, path, layer, x):
        if not layer["bidirectional"]:
            states = self.direction(path, layer, x)
            return states if layer["return_sequences"] else states[:, -1]
        forward = self.direction(f"{path}.forward", layer, x)
        backward = self.direction(f"{path}.backward", layer, x[:, ::-1])
        if layer["return_sequences"]:
            return np.concatenate([forward, backward[:, ::-1]], axis=2)
        return np.concatenate([forward[:, -1], backward[:, -1]], axis=1)

    def direction(self, path, layer, x):
        kernel, recurrent = self.get(f"{path}.kernel"), self.get(f"{path}.recurrent_kernel")
        bias, units = self.get(f"{path}.bias"), layer["units"]
        h = c = np.zeros((len(x), units))
        states = []
        for step in range(x.shape[1]):
            into, back = x[:, step] @ kernel, h @ recurrent
            if layer["cell"] == "simple":
                h = self.activated(layer, into + back + bias)
            elif layer["cell"] == "lstm":
                i, f, g, o = np.split(into + back + bias, 4, axis=1)
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
            else:
                zi, ri, gi = np.split(into + bias[0], 3, axis=1)
                zh, rh, gh = np.split(back + bias[1], 3, axis=1)
                z = sigmoid(zi + zh)
                h = z * h + (1 - z) * np.tanh(gi + sigmoid(ri + rh) * gh)
            states.append(h)
        return np.stack(states, axis=1)

    def residual(self, path, layer, x):
        inner = self.chain(f"{path}.layers", layer["layers"], x)
        if inner.shape == x.shape:
            return x + inner
        kernel = self.get(f"{path}.projection")
        if x.ndim == 4:
            stride = self.stride(x.shape[2:], inner.shape[2:])
            return inner + np.einsum("nchw,fc->nfhw", x[:, :, ::stride, ::stride], kernel[:, :, 0, 0])
        if x.ndim == 3:
            return inner + x[:, :: self.stride(x.shape[1:2], inner.shape[1:2])] @ kernel
        return inner + x @ kernel

    @staticmethod
    def stride(sizes, wanted):
        return next(s for s in range(1, 100) if all(-(-n // s) == m for n, m in zip(sizes, wanted)))


def defined(case):
    """What the network's definition says."""
    network = case["network"]
    reader = Reader(case["weights"])
    x = np.array(case["inputs"], np.float32).astype(np.float64).reshape(case["rows"], *network["input"])
    scores = reader.chain("layers", network["layers"], x)
    assert reader.used == set(case["weights"]), "weights that nobody used"
    loss = network["loss"]
    out = LINKS[loss if isinstance(loss, str) else loss["kind"]](scores)
    if case["two_classes"]:
        out = np.concatenate([1 - out, out], axis=1)
    if case["scales"]:
        means, deviations = np.array(case["scales"]).T
        out = out * deviations + means
    return out


def main(folder, all_engines=False):
    paths = sorted(pathlib.Path(folder).glob("*.onnx"))
    assert paths, f"no .onnx files in {folder}"
    failed, of_engines, worst = [], 0, 0.0
    for path in paths:
        case = json.loads(path.with_suffix(".json").read_text())
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        inputs = np.array(case["inputs"], np.float32).reshape(case["rows"], *case["network"]["input"])
        (found,) = session.run(None, {"inputs": inputs})
        told = [dimension if isinstance(dimension, int) else len(found) for dimension in session.get_outputs()[0].shape]
        wanted = {"its definition": defined(case)}
        if case["predictions"] is None and all_engines:
            failed.append(f"{path.stem}: no engine has run it")
        if case["predictions"] is not None:
            wanted["the engine"] = np.array(case["predictions"]).reshape(wanted["its definition"].shape)
            of_engines += 1
        for name, values in wanted.items():
            if list(found.shape) != list(values.shape) or told != list(values.shape):
                failed.append(f"{path.stem}: shape {found.shape}, told {told}, but {values.shape} by {name}")
                continue
            error = float(np.max(np.abs(found - values) / np.maximum(1, np.abs(values))))
            worst = max(worst, error)
            if not error <= TOLERANCE:
                failed.append(f"{path.stem}: differs by {error:.2e} from {name}")
    print("\n".join(failed))
    print(
        f"{len(paths)} networks in onnxruntime {onnxruntime.__version__}: largest difference {worst:.1e}; "
        f"{of_engines} compared with Luthier's engines too; {len(failed)} failed"
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(sys.argv[1], "--all-engines" in sys.argv[2:])
