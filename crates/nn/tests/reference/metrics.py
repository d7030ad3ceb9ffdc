"""Metrics by scikit-learn, for tests/metrics.rs. The calibration error is written out with numpy.

    python3 metrics.py > metrics.json      (needs scikit-learn and numpy; made with 1.9.1 and 2.4.6)
"""
import json

import numpy as np
from sklearn import metrics as m

rng = np.random.default_rng(5)


def probabilities(truth, classes, rows):
    scores = rng.normal(size=(rows, classes)) + 1.2 * np.eye(classes)[truth]
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    # Few digits, so that there are ties; sums stay one.
    p = np.round(p, 2)
    p[:, 0] += 1 - p.sum(axis=1)
    return np.clip(p, 0, 1).astype(np.float32)


def calibration_error(confidence, right, bins=15):
    edges, total = np.linspace(0, 1, bins + 1), 0.0
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].astype(float).mean())
    return total


def classes_case(classes, rows, weights=None):
    truth = rng.choice(classes, size=rows, p=weights)
    p = probabilities(truth, classes, rows)
    said = p.argmax(axis=1)
    average = "binary" if classes == 2 else "macro"
    values = {
        "accuracy": m.accuracy_score(truth, said),
        "balanced_accuracy": m.balanced_accuracy_score(truth, said),
        "precision": m.precision_score(truth, said, average=average, zero_division=0),
        "recall": m.recall_score(truth, said, average=average),
        "f1": m.f1_score(truth, said, average=average),
        "f1_macro": m.f1_score(truth, said, average="macro"),
        "f1_weighted": m.f1_score(truth, said, average="weighted"),
        "log_loss": m.log_loss(truth, p, labels=range(classes)),
        "calibration_error": calibration_error(p.max(axis=1), said == truth),
    }
    if classes == 2:
        values["roc_auc"] = m.roc_auc_score(truth, p[:, 1])
        values["brier"] = m.brier_score_loss(truth, p[:, 1])
    else:
        one_hot = np.eye(classes)[truth]
        values["roc_auc"] = m.roc_auc_score(one_hot, p, average="macro")
        values["brier"] = ((p.astype(float) - one_hot) ** 2).sum(axis=1).mean()
    # scikit-learn breaks ties towards the last class; no ties here.
    distinct = p + np.linspace(0, 1e-4, classes)[::-1]
    for k in (2, 3, 5):
        if classes > k:
            values[f"top_{k}_accuracy"] = m.top_k_accuracy_score(truth, distinct, k=k, labels=range(classes))
    return {"kind": "classes", "width": classes, "predicted": p.ravel().tolist(), "truth": truth.tolist(), "values": values}


def labels_case(labels, rows):
    truth = (rng.random((rows, labels)) < 0.4).astype(int)
    p = 1 / (1 + np.exp(-(rng.normal(size=(rows, labels)) + 2 * truth - 1)))
    p = np.round(p, 2).astype(np.float32)
    said = (p > 0.5).astype(int)
    values = {
        "accuracy": (said == truth).mean(),
        "subset_accuracy": m.accuracy_score(truth, said),
        "precision": m.precision_score(truth, said, average="macro"),
        "recall": m.recall_score(truth, said, average="macro"),
        "f1": m.f1_score(truth, said, average="macro"),
        "f1_weighted": m.f1_score(truth, said, average="weighted"),
        "roc_auc": m.roc_auc_score(truth, p, average="macro"),
        "log_loss": np.mean([m.log_loss(truth[:, k], p[:, k].astype(float)) for k in range(labels)]),
        "brier": ((p.astype(float) - truth) ** 2).mean(),
        "calibration_error": calibration_error(np.maximum(p, 1 - p).ravel(), (said == truth).ravel()),
    }
    return {"kind": "labels", "width": labels, "predicted": p.ravel().tolist(), "truth": truth.ravel().tolist(), "values": values}


def values_case(outputs, rows, counts):
    truth = rng.poisson(4, (rows, outputs)).astype(float) if counts else 50 + 10 * rng.normal(size=(rows, outputs))
    y = np.abs(truth + rng.normal(size=truth.shape)) + 0.1 if counts else truth + 4 * rng.normal(size=truth.shape)
    values = {
        "r2": m.r2_score(truth, y),
        "rmse": m.root_mean_squared_error(truth, y),
        "mse": m.mean_squared_error(truth, y),
        "mae": m.mean_absolute_error(truth, y),
        "median_absolute_error": m.median_absolute_error(truth, y),
    }
    if counts:
        values["poisson_deviance"] = m.mean_poisson_deviance(truth.ravel(), y.ravel())
    return {"kind": "values", "width": outputs, "predicted": y.ravel().tolist(), "truth": truth.ravel().tolist(), "values": values}


cases = [
    classes_case(2, 40),
    classes_case(2, 60, [0.85, 0.15]),
    classes_case(3, 40),
    classes_case(6, 80, [0.4, 0.3, 0.1, 0.1, 0.05, 0.05]),
    labels_case(4, 40),
    values_case(1, 25, False),
    values_case(1, 30, True),
    values_case(3, 20, False),
    values_case(2, 20, True),
]
print(json.dumps(cases, default=float))
