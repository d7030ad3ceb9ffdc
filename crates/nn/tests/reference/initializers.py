"""Moments of every initialiser as Keras draws them, for tests/initializers.rs: mean, variance, and the magnitude that
99.99 % of a million numbers stay below, for kernels of dense layers and of convolutions (where fans include the
receptive field). Not the largest: with the torch backend the cut normal is drawn four times at most, so that a few of a
million are beyond the cut.

    KERAS_BACKEND=torch python3 initializers.py > initializers.json      (made with keras 3, numpy 2.4)
"""
import json

import keras
import numpy as np

I = keras.initializers
KINDS = {
    "zeros": lambda seed: I.Zeros(),
    "ones": lambda seed: I.Ones(),
    "constant": lambda seed: I.Constant(0.3),
    "uniform": lambda seed: I.RandomUniform(-0.3, 0.3, seed=seed),
    "normal": lambda seed: I.RandomNormal(0.0, 0.3, seed=seed),
    "truncated_normal": lambda seed: I.TruncatedNormal(0.0, 0.3, seed=seed),
    "lecun_uniform": lambda seed: I.LecunUniform(seed=seed),
    "lecun_normal": lambda seed: I.LecunNormal(seed=seed),
    "glorot_uniform": lambda seed: I.GlorotUniform(seed=seed),
    "glorot_normal": lambda seed: I.GlorotNormal(seed=seed),
    "he_uniform": lambda seed: I.HeUniform(seed=seed),
    "he_normal": lambda seed: I.HeNormal(seed=seed),
    "orthogonal": lambda seed: I.Orthogonal(0.3, seed=seed),
}
# In Keras's order: (inputs, units), (width, channels, filters), (height, width, channels, filters).
SHAPES = {"dense": (150, 300), "conv1d": (5, 64, 128), "conv2d": (3, 3, 40, 120)}

cases = []
for layer, shape in SHAPES.items():
    for kind, make in KINDS.items():
        size = int(np.prod(shape))
        draws = np.concatenate([np.asarray(make(seed)(shape).cpu()).ravel().astype("float64")
                                for seed in range(-(-1_000_000 // size))])
        cases.append({"kind": kind, "layer": layer, "inputs": shape[-2], "units": shape[-1], "field": shape[0],
                      "mean": round(float(draws.mean()), 6), "variance": float(f"{draws.var():.5g}"),
                      "limit": float(f"{np.quantile(np.abs(draws), 0.9999):.5g}")})
print(json.dumps({"cases": cases}, separators=(",", ":")).replace('{"kind"', '\n{"kind"'))
