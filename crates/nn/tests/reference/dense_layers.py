"""Networks of rows of features in double precision, run by PyTorch: for tests/layers.rs.

Each case is a network as luthier writes it, run by an interpreter of torch functions; gradients are PyTorch's. Moving
statistics follow Keras (population variance), which is checked against a Keras layer at the end.

    KERAS_BACKEND=torch python3 dense_layers.py > dense_layers.json      (made with torch 2.15, keras 3, numpy 2.4)
"""
import json

import keras
import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
ROWS, STEPS, RATE = 6, 4, 0.1
ACTIVATIONS = {
    "linear": lambda x: x,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": F.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.01),
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
    "softmax": lambda x: F.softmax(x, dim=-1),
}


def size(penalty, x):
    return penalty["l1"] * x.abs().sum() + penalty["l2"] * (x**2).sum() if penalty else 0.0


class Run:
    """One pass through a network. Without `parameters` it makes them instead."""

    def __init__(self, parameters, training, rng=None):
        self.parameters, self.training, self.rng = parameters, training, rng
        self.place, self.penalty, self.limits = 0, 0.0, []

    def next(self, *shape, scale=0.6, shift=0.0, trained=True):
        if self.rng is not None:
            values = np.round(shift + scale * self.rng.normal(0, 1, shape), 3)
            self.parameters.append(torch.tensor(values, requires_grad=trained))
        self.place += 1
        return self.parameters[self.place - 1]

    def chain(self, layers, x):
        for layer in layers:
            x = getattr(self, layer["type"])(x, layer)
        return x

    def dense(self, x, layer):
        settings = layer["weights"]
        kernel = self.next(x.shape[-1], layer["units"])
        self.penalty += size(settings.get("kernel"), kernel)
        if "max_norm" in settings:
            self.limits.append((kernel, settings["max_norm"]))
        y = x @ kernel
        if layer["bias"]:
            bias = self.next(layer["units"], scale=0.3)
            self.penalty += size(settings.get("biases"), bias)
            y = y + bias
        y = ACTIVATIONS[layer["activation"]](y)
        self.penalty += size(settings.get("activity"), y) / len(y) if self.training else 0.0
        return y

    def activation(self, x, layer):
        return ACTIVATIONS[layer["activation"]](x)

    def flatten(self, x, layer):
        return x.reshape(len(x), -1)

    def batch_normalization(self, x, layer):
        width = x.shape[-1]
        gamma, beta = self.next(width, scale=0.3, shift=1.0), self.next(width, scale=0.3)
        mean, variance = self.next(width, trained=False), self.next(width, scale=0.05, shift=1.0, trained=False)
        rows = x.reshape(-1, width)
        if not self.training:
            return F.batch_norm(rows, mean, variance, gamma, beta, False, 0.0, layer["epsilon"]).reshape(x.shape)
        if len(rows) == 1:  # PyTorch refuses; Keras does not.
            y = 0 * rows * gamma + beta
        else:
            y = F.batch_norm(rows, None, None, gamma, beta, True, 0.0, layer["epsilon"])
        with torch.no_grad():
            for moving, batch in ((mean, rows.mean(0)), (variance, rows.var(0, unbiased=False))):
                moving.mul_(layer["momentum"]).add_((1 - layer["momentum"]) * batch)
        return y.reshape(x.shape)

    def layer_normalization(self, x, layer):
        width = x.shape[-1]
        gamma, beta = self.next(width, scale=0.3, shift=1.0), self.next(width, scale=0.3)
        return F.layer_norm(x, (width,), gamma, beta, layer["epsilon"])

    def embed_columns(self, x, layer):
        columns = layer["columns"]
        others = [i for i in range(x.shape[1]) if all(c["input"] != i for c in columns)]
        parts = [x[:, others]]
        for c in columns:
            table = self.next(c["cardinality"], c["dimension"])
            parts.append(F.embedding(x[:, c["input"]].long(), table))
        return torch.cat(parts, dim=1)

    def residual(self, x, layer):
        y = self.chain(layer["layers"], x)
        return y + (x if x.shape == y.shape else x @ self.next(x.shape[-1], y.shape[-1]))


def run(case, rng):
    network, categories = case["network"], case.get("categories", {})
    rows = case.get("rows", ROWS)

    def batch():
        x = np.round(rng.normal(0, 1, (rows, *network["input"])), 3)
        for column, count in categories.items():
            x[:, int(column)] = rng.integers(0, count, rows)
        return torch.tensor(x), torch.tensor(rng.integers(0, 3, rows))

    parameters = []
    batches = [batch() for _ in range(STEPS)]
    Run(parameters, False, rng).chain(network["layers"], batches[0][0])
    flat = lambda tensors, digits: [np.round(t.detach().numpy(), digits).ravel().tolist() for t in tensors]
    probe = batches[-1][0]
    predict = lambda: flat([Run(parameters, False).chain(network["layers"], probe)], 8)[0]
    result = {"name": case["name"], "network": network, "rows": rows,
              "inputs": flat([x for x, _ in batches], 3), "classes": [y.tolist() for _, y in batches],
              "before": flat(parameters, 3), "predicted_before": predict(), "losses": []}
    trained = [p for p in parameters if p.requires_grad]
    for step, (x, y) in enumerate(batches):
        one = Run(parameters, True)
        loss = F.cross_entropy(one.chain(network["layers"], x), y)
        gradients = torch.autograd.grad(loss + one.penalty, trained)
        result["losses"].append(round(float(loss.detach()), 9))
        if step == 0:
            places = iter(gradients)
            result["first_gradients"] = flat([next(places) if p.requires_grad else 0 * p for p in parameters], 8)
        with torch.no_grad():
            for p, g in zip(trained, gradients):
                p -= RATE * g
            for kernel, limit in one.limits:
                norms = kernel.norm(dim=0)
                kernel *= torch.where(norms > limit, limit / norms, torch.ones_like(norms))
    return {**result, "after": flat(parameters, 8), "predicted_after": predict()}


def dense(units, activation="linear", bias=True, **weights):
    return {"type": "dense", "units": units, "activation": activation, "bias": bias, "weights": weights}


def act(name):
    return {"type": "activation", "activation": name}


def penalty(l1, l2):
    return {"l1": l1, "l2": l2}


def residual(*layers):
    return {"type": "residual", "layers": list(layers)}


BATCH = {"type": "batch_normalization", "momentum": 0.8, "epsilon": 1e-3}
LAYER = {"type": "layer_normalization", "epsilon": 1e-3}
FLATTEN = {"type": "flatten"}
EMBED = {"type": "embed_columns", "columns": [{"input": 1, "cardinality": 3, "dimension": 2},
                                              {"input": 3, "cardinality": 4, "dimension": 3}]}
END = dense(3)


def case(name, *layers, input=(4,), **more):
    return {"name": name, "network": {"input": list(input), "layers": list(layers), "loss": "cross_entropy"}, **more}


cases = [case(f"batch normalisation before {name}", dense(5, bias=False), BATCH, act(name), END) for name in ACTIVATIONS]
cases += [
    case("layer normalisation before silu", dense(5), LAYER, act("silu"), END),
    case("batch normalisation after tanh", dense(5, "tanh"), BATCH, END),
    case("layer normalisation after gelu", dense(5, "gelu"), LAYER, END),
    case("normalised inputs", BATCH, dense(5, "sigmoid"), LAYER, dense(4), BATCH, act("elu"), END),
    case("batches of one row", dense(5), BATCH, act("tanh"), END, rows=1),
    case("no bias", dense(5, "tanh", bias=False), dense(3, bias=False)),
    case("softmax inside", dense(5, "softmax"), dense(4, "tanh"), END),
    case("softmax with a penalty", dense(5, "softmax", activity=penalty(0.02, 0.3)), END),
    case("penalties on everything", dense(5, "tanh", kernel=penalty(0.01, 0.02), biases=penalty(0.03, 0.04),
                                          activity=penalty(0.05, 0.06)), act("silu"), END),
    case("limited norms", dense(5, "tanh", max_norm=0.8), dense(3, max_norm=0.5, kernel=penalty(0.0, 0.1))),
    case("residual", dense(5, "tanh"), residual(dense(5), BATCH, act("silu")), END),
    case("residual from the inputs", residual(dense(4, "tanh"), dense(4)), act("elu"), END),
    case("residual with projection", dense(5, "tanh"), residual(dense(4), LAYER, act("gelu")), END),
    case("residual with projection from the inputs", residual(dense(5, "tanh")), END),
    case("residual in residual", dense(5), residual(act("tanh"), residual(dense(4, "silu"), BATCH), dense(5)), END),
    case("residual of nothing", dense(4, "tanh"), residual(), residual(act("sigmoid")), END),
    case("residual at the end", dense(5, "tanh"), residual(dense(3, "softplus"))),
    case("each step of a sequence", dense(5, "tanh"), BATCH, residual(dense(3, "softmax")), LAYER, FLATTEN, END,
         input=(3, 4)),
    case("a flattened image", FLATTEN, dense(4, "tanh"), END, input=(2, 2, 3)),
    case("activation of an image", act("tanh"), FLATTEN, LAYER, END, input=(2, 1, 3)),
    case("embedded columns", EMBED, dense(5, "tanh"), END, categories={"1": 3, "3": 4}),
    case("embedded columns, normalised", EMBED, BATCH, residual(dense(5, "silu")), END, categories={"1": 3, "3": 4}),
]

layer = keras.layers.BatchNormalization(momentum=0.8, epsilon=1e-3)
x = np.random.default_rng(1).normal(2, 3, (6, 4)).astype("float32")
layer(x, training=True)
assert np.allclose(layer.moving_mean.numpy(), 0.2 * x.mean(0), atol=1e-6)
assert np.allclose(layer.moving_variance.numpy(), 0.8 + 0.2 * x.var(0), atol=1e-5)

rng = np.random.default_rng(31)
print(json.dumps({"cases": [run(c, rng) for c in cases]}, separators=(",", ":")).replace('{"name"', '\n{"name"'))
