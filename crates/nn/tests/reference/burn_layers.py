"""Outputs, losses and gradients of small networks of every kind of layer in double precision, for tests/burn_layers.rs.

Layers and gradients are PyTorch's; only the order in which weights lie in one list is Luthier's (crates/nn/src/
parameters.rs). PyTorch's GRU has its gates in the order reset, update, candidate, Luthier's update, reset, candidate;
both apply the reset gate after the product with the state. Moving variances are those of the population.

    python3 burn_layers.py > burn_layers.json      (needs torch; made with 2.15.0)
"""
import json
import math

import torch
import torch.nn.functional as F

torch.manual_seed(11)
torch.set_default_dtype(torch.float64)
ACTIVATIONS = {
    "linear": lambda x: x, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": F.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.01), "elu": F.elu, "selu": F.selu, "gelu": F.gelu, "silu": F.silu,
    "softplus": F.softplus, "softmax": lambda x: torch.softmax(x, 1 if x.dim() == 4 else -1),
}


def around(length, size, stride, padding):
    if padding == "valid":
        return 0, 0
    total = max((math.ceil(length / stride) - 1) * stride + size - length, 0)
    return total // 2, total - total // 2


class Run:
    """One pass in training or prediction; parameters are made where a layer first asks for them."""

    def __init__(self, parameters=None, training=True):
        self.given = parameters
        self.parameters, self.training = [], training
        self.moving, self.activity = {}, 0.0

    def parameter(self, *shape, scale=0.6, offset=0.0, trained=True):
        if self.given is not None:
            value = self.given[len(self.parameters)]
        else:
            value = (torch.randn(*shape) * scale + offset).mul(1000).round().div(1000)
            value.requires_grad_(trained)
        self.parameters.append(value)
        return value

    def chain(self, layers, x):
        for layer in layers:
            x = getattr(self, layer["type"])(layer, x)
            activity = layer.get("weights", {}).get("activity")
            if activity:
                self.activity = self.activity + (activity["l1"] * x.abs().sum() + activity["l2"] * x.pow(2).sum()) / len(x)
        return x

    def dense(self, layer, x):
        y = x @ self.parameter(x.shape[-1], layer["units"])
        if layer["bias"]:
            y = y + self.parameter(layer["units"])
        return ACTIVATIONS[layer["activation"]](y)

    def activation(self, layer, x):
        return ACTIVATIONS[layer["activation"]](x)

    def conv2d(self, layer, x):
        size, stride = layer["kernel_size"], layer["stride"]
        kernel = self.parameter(layer["filters"], x.shape[1], size, size)
        bias = self.parameter(layer["filters"]) if layer["bias"] else None
        (top, bottom), (left, right) = (around(n, size, stride, layer["padding"]) for n in x.shape[2:])
        y = F.conv2d(F.pad(x, (left, right, top, bottom)), kernel, bias, stride)
        return ACTIVATIONS[layer["activation"]](y)

    def conv1d(self, layer, x):
        size, stride = layer["kernel_size"], layer["stride"]
        kernel = self.parameter(layer["filters"], x.shape[2], size)
        bias = self.parameter(layer["filters"]) if layer["bias"] else None
        padding = around(x.shape[1], size, stride, layer["padding"])
        y = F.conv1d(F.pad(x.transpose(1, 2), padding), kernel, bias, stride)
        return ACTIVATIONS[layer["activation"]](y.transpose(1, 2))

    def pool2d(self, layer, x):
        pool = F.max_pool2d if layer["pooling"] == "max" else F.avg_pool2d
        return pool(x, layer["size"], layer["stride"])

    def pool1d(self, layer, x):
        pool = F.max_pool1d if layer["pooling"] == "max" else F.avg_pool1d
        return pool(x.transpose(1, 2), layer["size"], layer["stride"]).transpose(1, 2)

    def global_pool(self, layer, x):
        x = x.flatten(2) if x.dim() == 4 else x.transpose(1, 2)
        return x.amax(2) if layer["pooling"] == "max" else x.mean(2)

    def flatten(self, layer, x):
        return x.flatten(1)

    def rows(self, layer, x):
        return x.transpose(1, 2).flatten(2)

    def channels(self, x):
        return x.shape[1] if x.dim() == 4 else x.shape[-1]

    def batch_normalization(self, layer, x):
        n = self.channels(x)
        gamma, beta = self.parameter(n, offset=1.0), self.parameter(n)
        place = len(self.parameters)
        mean = self.parameter(n, scale=0.2, trained=False)
        variance = self.parameter(n, scale=0.05, offset=1.0, trained=False)
        y = x.transpose(1, -1) if x.dim() == 3 else x
        if self.training:
            flat = y.transpose(0, 1).reshape(n, -1).detach()
            keep = layer["momentum"]
            self.moving[place] = keep * mean + (1 - keep) * flat.mean(1)
            self.moving[place + 1] = keep * variance + (1 - keep) * flat.var(1, unbiased=False)
        y = F.batch_norm(y, None if self.training else mean, None if self.training else variance, gamma, beta,
                         self.training, eps=layer["epsilon"])
        return y.transpose(1, -1) if x.dim() == 3 else y

    def layer_normalization(self, layer, x):
        n = self.channels(x)
        gamma, beta = self.parameter(n, offset=1.0), self.parameter(n)
        if x.dim() == 4:
            return F.group_norm(x, 1, gamma, beta, layer["epsilon"])
        return F.layer_norm(x, (n,), gamma, beta, layer["epsilon"])

    def embedding(self, layer, x):
        return F.embedding(x.long(), self.parameter(layer["vocabulary"], layer["dimension"]))

    def embed_columns(self, layer, x):
        columns = layer["columns"]
        taken = [c["input"] for c in columns]
        parts = [x[:, [i for i in range(x.shape[1]) if i not in taken]]]
        parts += [F.embedding(x[:, c["input"]].long(), self.parameter(c["cardinality"], c["dimension"])) for c in columns]
        return torch.cat(parts, 1)

    def direction(self, layer, x, reverse):
        cell, units, features = layer["cell"], layer["units"], x.shape[2]
        gates = {"simple": 1, "lstm": 4, "gru": 3}[cell]
        kernel, recurrent = self.parameter(features, gates * units), self.parameter(units, gates * units)
        biases = self.parameter(2, gates * units) if cell == "gru" else self.parameter(gates * units)

        def order(w):
            return torch.cat([w[..., units:2 * units], w[..., :units], w[..., 2 * units:]], -1) if cell == "gru" else w

        first, second = (biases[0], biases[1]) if cell == "gru" else (biases, torch.zeros_like(biases))
        kind = {"simple": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
        weights = {"weight_ih_l0": order(kernel).T, "weight_hh_l0": order(recurrent).T,
                   "bias_ih_l0": order(first), "bias_hh_l0": order(second)}
        extra = {"nonlinearity": layer["activation"]} if cell == "simple" else {}
        module = kind(features, units, batch_first=True, **extra)
        y, _ = torch.func.functional_call(module, weights, (x.flip(1) if reverse else x,))
        if not layer["return_sequences"]:
            return y[:, -1]
        return y.flip(1) if reverse else y

    def recurrent(self, layer, x):
        if layer["bidirectional"]:
            return torch.cat([self.direction(layer, x, False), self.direction(layer, x, True)], -1)
        return self.direction(layer, x, False)

    def residual(self, layer, x):
        y = self.chain(layer["layers"], x)
        if x.shape == y.shape:
            return x + y
        if x.dim() == 4:
            stride = math.ceil(x.shape[2] / y.shape[2])
            return y + F.conv2d(x, self.parameter(y.shape[1], x.shape[1], 1, 1), stride=stride)
        if x.dim() == 3:
            x = x[:, :: math.ceil(x.shape[1] / y.shape[1])]
        return y + x @ self.parameter(x.shape[-1], y.shape[-1])


def numbers(tensor, digits=9):
    return [round(v, digits) for v in tensor.detach().reshape(-1).tolist()]


def case(name, shape, layers, tokens=None, columns=(), rows=3):
    x = torch.randn(rows, *shape).mul(1000).round().div(1000)
    if tokens:
        x = torch.randint(0, tokens, x.shape).double()
    for column, cardinality in columns:
        x[:, column] = torch.randint(0, cardinality, (rows,)).double()
    run = Run()
    y = run.chain(layers, x).flatten(1)
    predicted = Run(run.parameters, training=False).chain(layers, x).flatten(1)
    target = torch.randn_like(y).mul(1000).round().div(1000)
    loss = (y - target).pow(2).mean(1)
    (loss.mean() + run.activity).backward()
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in run.parameters]
    after = [run.moving.get(i, p) for i, p in enumerate(run.parameters)]
    return {
        "name": name, "network": {"input": list(shape), "layers": layers, "loss": "squared_error"}, "rows": rows,
        "parameters": [numbers(p, 3) for p in run.parameters], "inputs": numbers(x, 3), "targets": numbers(target, 3),
        "predicted": numbers(predicted), "loss": round(loss.sum().item(), 9),
        "gradients": [numbers(g) for g in gradients],
        "moving": [[i, numbers(after[i])] for i in run.moving],
    }


def dense(units, activation="linear", bias=True, **weights):
    return {"type": "dense", "units": units, "activation": activation, "bias": bias, "weights": weights}


def conv(kind, filters, size, stride=1, padding="valid", activation="linear", bias=True, **weights):
    return {"type": kind, "filters": filters, "kernel_size": size, "stride": stride, "padding": padding,
            "activation": activation, "bias": bias, "weights": weights}


def pool(kind, pooling, size, stride):
    return {"type": kind, "pooling": pooling, "size": size, "stride": stride}


def recurrent(cell, units, both=False, every=False, activation="tanh"):
    return {"type": "recurrent", "cell": cell, "units": units, "activation": activation, "bidirectional": both,
            "return_sequences": every, "weights": {}}


def residual(*layers):
    return {"type": "residual", "layers": list(layers)}


batch = {"type": "batch_normalization", "momentum": 0.9, "epsilon": 1e-3}
normal = {"type": "layer_normalization", "epsilon": 1e-3}
flat, by_rows = {"type": "flatten"}, {"type": "rows"}
penalty = {"activity": {"l1": 0.03, "l2": 0.07}}
conv1, conv2 = "conv1d", "conv2d"

cases = [case(f"dense, {a}", [3], [dense(4, a), {"type": "activation", "activation": a}, dense(2)]) for a in ACTIVATIONS]
cases += [case(f"convolution, {a}", [1, 4, 3], [conv(conv2, 2, 2, activation=a), flat, dense(1)]) for a in ACTIVATIONS]
cases += [
    case("dense without bias on a sequence", [4, 3], [dense(2, "tanh", False), dense(2)]),
    case("convolutions and pooling", [2, 9, 8], [
        conv(conv2, 3, 3, activation="tanh"), pool("pool2d", "max", 2, 2), conv(conv2, 2, 2, bias=False), flat, dense(2)]),
    case("same padding, steps, even kernels", [2, 7, 6], [
        conv(conv2, 3, 3, 2, "same", "sigmoid"), conv(conv2, 2, 4, 1, "same", "tanh"), conv(conv2, 2, 2, 3, "same"), flat]),
    case("valid with steps", [1, 9, 8], [conv(conv2, 2, 3, 2, "valid", "tanh"), conv(conv2, 2, 2, 3), flat]),
    case("a step wider than the kernel", [1, 8, 7], [conv(conv2, 2, 1, 3, "same"), conv(conv2, 2, 1, 2), flat, dense(1)]),
    case("overlapping pools", [1, 8, 9], [
        conv(conv2, 2, 2), pool("pool2d", "max", 3, 2), pool("pool2d", "average", 2, 1), flat]),
    case("pools with gaps", [2, 9, 9], [conv(conv2, 2, 1), pool("pool2d", "max", 2, 3), pool("pool2d", "average", 2, 2), flat]),
    case("pools with other steps", [1, 12, 12], [
        conv(conv2, 2, 1), pool("pool2d", "max", 2, 1), pool("pool2d", "max", 4, 4), flat, dense(2)]),
    case("global pools of images", [2, 4, 3], [conv(conv2, 4, 2, activation="tanh"), {"type": "global_pool", "pooling": "average"}]),
    case("global maximum of images", [2, 4, 3], [conv(conv2, 4, 2, activation="tanh"), {"type": "global_pool", "pooling": "max"}]),
    case("convolutions of sequences", [9, 3], [
        conv(conv1, 4, 3, 2, "same", "tanh"), conv(conv1, 3, 2), pool("pool1d", "max", 2, 1), flat, dense(2)]),
    case("pools of sequences", [9, 2], [
        conv(conv1, 3, 4, 1, "same"), pool("pool1d", "average", 3, 2), {"type": "global_pool", "pooling": "max"}]),
    case("global mean of a sequence", [5, 3], [dense(4, "tanh"), {"type": "global_pool", "pooling": "average"}, dense(1)]),
    case("an image read as rows", [2, 4, 3], [by_rows, recurrent("lstm", 3), dense(2)]),
    case("embedding of tokens", [5], [{"type": "embedding", "vocabulary": 6, "dimension": 3}, recurrent("gru", 2), dense(2)], tokens=6),
    case("embedded columns", [4], [
        {"type": "embed_columns", "columns": [
            {"input": 1, "cardinality": 3, "dimension": 2}, {"input": 3, "cardinality": 4, "dimension": 3}]},
        dense(3, "tanh"), dense(1)], columns=[(1, 3), (3, 4)], rows=6),
    case("batch normalisation of rows", [3], [dense(4), batch, dense(2, "tanh"), batch], rows=6),
    case("batch normalisation of sequences", [4, 3], [dense(3), batch, flat, dense(2)]),
    case("batch normalisation of images", [2, 4, 4], [conv(conv2, 3, 2), batch, flat, dense(2)]),
    case("layer normalisation of rows", [3], [dense(4), normal, dense(2)]),
    case("layer normalisation of sequences", [4, 3], [dense(3), normal, flat, dense(2)]),
    case("layer normalisation of images", [2, 4, 4], [conv(conv2, 3, 2), normal, flat, dense(2)]),
    case("residual blocks of rows", [3], [residual(dense(3, "tanh")), residual(dense(4, "tanh"), dense(2)), dense(2)]),
    case("residual blocks of images", [2, 5, 5], [
        residual(conv(conv2, 2, 3, 1, "same", "tanh")),
        residual(conv(conv2, 4, 3, 2, "same", bias=False), batch, {"type": "activation", "activation": "relu"}), flat, dense(1)]),
    case("residual blocks of sequences", [5, 2], [
        residual(conv(conv1, 3, 3, 2, "same", "tanh")), residual(residual(dense(3)), dense(2)), flat, dense(1)]),
    case("activity penalties", [2, 4, 4], [
        conv(conv2, 2, 2, activation="tanh", **penalty), by_rows, recurrent("simple", 2), dense(3, "tanh", **penalty), dense(1)]),
]
for cell in ["simple", "lstm", "gru"]:
    for both in [False, True]:
        for every in [False, True]:
            name = f"{cell}{', both ways' if both else ''}{', every step' if every else ''}"
            cases.append(case(name, [4, 2], [recurrent(cell, 3, both, True), recurrent(cell, 2, both, every), flat, dense(1)]))
cases.append(case("simple cell with relu", [4, 2], [recurrent("simple", 3, activation="relu"), dense(1)]))
print(json.dumps({"cases": cases}, separators=(",", ":")).replace('{"name"', '\n{"name"'))
