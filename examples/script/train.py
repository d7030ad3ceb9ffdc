"""Learns whether a handwritten digit is 5 or more: logistic regression in plain Python, one line of JSON per epoch."""
import argparse, csv, json, math, pathlib, random

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--l2", type=float, default=1e-4)
parser.add_argument("--epochs", type=int, default=9)
given = parser.parse_args()

table = pathlib.Path(__file__).parent.parent / "digits" / "digits.csv"
rows = [[int(cell) for cell in row] for row in list(csv.reader(open(table)))[1:]]
data = [([pixel / 16 for pixel in row[:-1]] + [1.0], float(row[-1] >= 5)) for row in rows]
random.Random(0).shuffle(data)
train, valid = data[:1200], data[1200:]
weights = [0.0] * 65

def score(x):
    return sum(w * v for w, v in zip(weights, x))

def loss(x, y):
    z = score(x) if y else -score(x)
    return math.log1p(math.exp(-abs(z))) + max(-z, 0.0)

for epoch in range(1, given.epochs + 1):
    for x, y in train:
        step = given.lr * (1 / (1 + math.exp(-max(min(score(x), 30), -30))) - y)
        weights = [w * (1 - given.lr * given.l2) - step * v for w, v in zip(weights, x)]
    print(json.dumps({"step": epoch, "val_loss": sum(loss(x, y) for x, y in valid) / len(valid)}), flush=True)
