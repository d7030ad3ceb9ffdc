"""Losses and their gradients by PyTorch in double precision, for tests/losses.rs.

Every case is a weighted mean over rows, sum(w * loss) / sum(w), of PyTorch's own loss without reduction; label smoothing
and soft labels are PyTorch's where it has them (cross_entropy) and written out where it has not (binary).

    python3 losses.py > losses.json      (needs torch; made with 2.15.0)
"""
import json

import torch
from torch.nn import functional as F

torch.manual_seed(3)
ROWS = 7


def single(tensor):
    """Rounded to what single precision holds, so that both sides start from the same numbers."""
    return tensor.to(torch.float32).to(torch.float64)


def row_losses(loss, scores, targets):
    kind, smoothing = loss["kind"], loss.get("label_smoothing", 0.0)
    if kind == "cross_entropy":
        return F.cross_entropy(scores, targets, reduction="none", label_smoothing=smoothing)
    if targets.dtype == torch.int64:
        targets = targets.to(torch.float64)[:, None]
    if kind in ("binary_cross_entropy", "multi_label"):
        smoothed = targets * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(scores, smoothed, reduction="none").mean(dim=1)
    cells = {
        "squared_error": lambda: F.mse_loss(scores, targets, reduction="none"),
        "absolute_error": lambda: F.l1_loss(scores, targets, reduction="none"),
        "huber": lambda: F.huber_loss(scores, targets, reduction="none", delta=loss.get("delta", 1.0)),
        "poisson": lambda: F.poisson_nll_loss(scores, targets, reduction="none"),
    }[kind]()
    return cells.mean(dim=1)


def case(loss, outputs, target, weighted):
    scores = single(2 * torch.randn(ROWS, outputs, dtype=torch.float64)).requires_grad_()
    targets = {
        "class": lambda: torch.randint(max(outputs, 2), (ROWS,)),
        "share": lambda: single(torch.softmax(torch.randn(ROWS, outputs, dtype=torch.float64), dim=1)),
        "label": lambda: torch.randint(2, (ROWS, outputs)).to(torch.float64),
        "number": lambda: single(torch.randn(ROWS, outputs, dtype=torch.float64)),
        "count": lambda: torch.poisson(3 * torch.ones(ROWS, outputs, dtype=torch.float64)),
    }[target]()
    weights = single(torch.rand(ROWS, dtype=torch.float64) + 0.25) if weighted else torch.ones(ROWS, dtype=torch.float64)
    losses = row_losses(loss, scores, targets)
    (torch.dot(weights, losses) / weights.sum()).backward()
    return {
        "loss": loss,
        "rows": ROWS,
        "scores": scores.flatten().tolist(),
        "classes" if target == "class" else "values": targets.flatten().tolist(),
        "weights": weights.tolist() if weighted else None,
        "sum": torch.dot(weights, losses).item(),
        "gradient": scores.grad.flatten().tolist(),
    }


LOSSES = [
    ({"kind": "cross_entropy"}, 4, "class"),
    ({"kind": "cross_entropy"}, 2, "class"),
    ({"kind": "cross_entropy", "label_smoothing": 0.1}, 4, "class"),
    ({"kind": "cross_entropy"}, 4, "share"),
    ({"kind": "cross_entropy", "label_smoothing": 0.2}, 3, "share"),
    ({"kind": "binary_cross_entropy"}, 1, "class"),
    ({"kind": "binary_cross_entropy", "label_smoothing": 0.1}, 1, "class"),
    ({"kind": "binary_cross_entropy"}, 1, "label"),
    ({"kind": "multi_label"}, 5, "label"),
    ({"kind": "multi_label", "label_smoothing": 0.1}, 5, "label"),
    ({"kind": "squared_error"}, 1, "number"),
    ({"kind": "squared_error"}, 3, "number"),
    ({"kind": "absolute_error"}, 2, "number"),
    ({"kind": "huber"}, 1, "number"),
    ({"kind": "huber", "delta": 0.4}, 2, "number"),
    ({"kind": "poisson"}, 1, "count"),
    ({"kind": "poisson"}, 2, "count"),
]
print(json.dumps([case(*args, weighted) for args in LOSSES for weighted in (False, True)], indent=None))
