"""Twenty optimiser steps of small networks in double precision, for tests/steps.rs.

Forward passes are written out with numpy; gradients are central differences of the loss, so no backward pass is
shared with the engine, not even by idea. Update rules follow the papers' formulas (Adam: Kingma and Ba 2015,
algorithm 1; momentum and Nesterov as PyTorch defines them).

    python3 steps.py > steps.json      (needs numpy; made with 2.4.6)
"""
import json
import math

import numpy as np

erf = np.vectorize(math.erf)
ACTIVATIONS = {
    "linear": lambda x: x,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "gelu": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(0, x),
}


def data_loss(case, tensors, inputs, targets):
    x = inputs
    for i, activation in enumerate([*case["activations"], "linear"]):
        x = ACTIVATIONS[activation](x @ tensors[2 * i] + tensors[2 * i + 1])
    if case["loss"] == "squared_error":
        return np.mean((x[:, 0] - targets) ** 2)
    shifted = x - x.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -np.mean(log_probabilities[np.arange(len(x)), targets])


def penalty(case, tensors):
    return sum(case["l1"] * np.abs(k).sum() + case["l2"] * (k**2).sum() for k in tensors[::2])


def gradients(case, tensors, inputs, targets, h=1e-6):
    result = [np.zeros_like(t) for t in tensors]
    for tensor, gradient in zip(tensors, result):
        for place in np.ndindex(tensor.shape):
            kept = tensor[place]
            sides = []
            for side in (kept + h, kept - h):
                tensor[place] = side
                sides.append(data_loss(case, tensors, inputs, targets) + penalty(case, tensors))
            tensor[place] = kept
            gradient[place] = (sides[0] - sides[1]) / (2 * h)
    return result


def update(rule, tensors, grads, memory, rate, t):
    for w, g, m in zip(tensors, grads, memory):
        if rule["kind"] == "sgd":
            m[0] = rule["momentum"] * m[0] + g
            w -= rate * (g + rule["momentum"] * m[0] if rule["nesterov"] else m[0])
        else:
            m[0] = rule["beta1"] * m[0] + (1 - rule["beta1"]) * g
            m[1] = rule["beta2"] * m[1] + (1 - rule["beta2"]) * g**2
            mean = m[0] / (1 - rule["beta1"] ** t)
            square = m[1] / (1 - rule["beta2"] ** t)
            w -= rate * mean / (np.sqrt(square) + rule["epsilon"])


def short(array):
    """Rounded to three digits, to keep the file small."""
    return np.round(array, 3)


def run(case, rng):
    rows, inputs = 6, 4
    sizes = [inputs, *case["units"], 1 if case["loss"] == "squared_error" else 3]
    tensors = []
    for fan_in, fan_out in zip(sizes, sizes[1:]):
        tensors += [short(rng.normal(0, 0.7, (fan_in, fan_out))), short(rng.normal(0, 0.3, fan_out))]
    x = [short(rng.normal(0, 1, (rows, inputs))) for _ in range(20)]
    if case["loss"] == "squared_error":
        y = [short(rng.normal(0, 1, rows)) for _ in range(20)]
    else:
        y = [rng.integers(0, 3, rows) for _ in range(20)]
    case = {**case, "inputs": [a.ravel().tolist() for a in x], "targets": [a.tolist() for a in y]}
    case["before"] = [t.ravel().tolist() for t in tensors]
    memory = [[np.zeros_like(t), np.zeros_like(t)] for t in tensors]
    losses = []
    for t in range(20):
        losses.append(data_loss(case, tensors, x[t], y[t]))
        grads = gradients(case, tensors, x[t], y[t])
        if t == 0:
            case["first_gradients"] = [g.ravel().round(8).tolist() for g in grads]
        update(case["optimizer"], tensors, grads, memory, case["learning_rate"], t + 1)
    case["losses"] = [round(float(v), 9) for v in losses]
    case["after"] = [t.ravel().round(8).tolist() for t in tensors]
    return case


SGD = {"kind": "sgd", "momentum": 0.0, "nesterov": False}
MOMENTUM = {"kind": "sgd", "momentum": 0.9, "nesterov": False}
NESTEROV = {"kind": "sgd", "momentum": 0.8, "nesterov": True}
ADAM = {"kind": "adam", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
OTHER_ADAM = {"kind": "adam", "beta1": 0.7, "beta2": 0.95, "epsilon": 1e-3}


def case(name, activations, units, optimizer, rate, loss="cross_entropy", l1=0.0, l2=0.0):
    return {"name": name, "activations": activations, "units": units, "optimizer": optimizer,
            "learning_rate": rate, "loss": loss, "l1": l1, "l2": l2}


rules = [(SGD, 0.1), (MOMENTUM, 0.05), (NESTEROV, 0.05), (ADAM, 0.01), (OTHER_ADAM, 0.02)]
cases = [case("no hidden layer", [], [], ADAM, 0.01), case("linear regression", [], [], SGD, 0.05, "squared_error")]
for i, name in enumerate(ACTIVATIONS):
    optimizer, rate = rules[i % len(rules)]
    loss = "squared_error" if i % 3 == 0 else "cross_entropy"
    cases.append(case(name, [name], [5], optimizer, rate, loss))
for optimizer, rate in rules:
    label = f"deep, penalties, {optimizer['kind']}"
    cases.append(case(label, ["tanh", "silu"], [5, 3], optimizer, rate, "cross_entropy", 0.003, 0.02))
rng = np.random.default_rng(20)
print(json.dumps({"cases": [run(c, rng) for c in cases]}, separators=(",", ":")).replace('{"name"', '\n{"name"'))
