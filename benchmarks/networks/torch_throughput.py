"""PyTorch's side of run.py: trains one of the measured networks and prints its optimiser steps per second of CPU time.

Adam in its fastest setting (fused), softmax cross-entropy, the same batch again and again, one thread.

    python3 torch_throughput.py NETWORK STEPS
"""
import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
import torch
from torch import nn

torch.set_num_threads(1)


class LastStep(nn.Module):
    """A recurrent layer whose last state goes into a dense layer."""

    def __init__(self, recurrent):
        super().__init__()
        self.recurrent, self.dense = recurrent, nn.Linear(64, 10)

    def forward(self, x):
        return self.dense(self.recurrent(x)[0][:, -1])


def network(name):
    """(module, shape of an example, rows, classes)"""
    if name == "mlp":
        layers = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
        return layers, (64,), 64, 10
    if name == "tiny":
        return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3)), (16,), 32, 3
    if name == "cnn":
        layers = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU(),
                               nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 5 * 5, 10))
        return layers, (1, 28, 28), 64, 10
    kind = {"lstm": nn.LSTM, "gru": nn.GRU}[name]
    return LastStep(kind(16, 64, batch_first=True)), (32, 16), 64, 10


def main(name, steps):
    torch.manual_seed(1)
    model, shape, rows, classes = network(name)
    x, y = torch.randn(rows, *shape), torch.randint(0, classes, (rows,))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    loss = nn.CrossEntropyLoss()

    def train(count):
        for _ in range(count):
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()

    train(max(steps // 20, 3))
    before = time.process_time()
    train(steps)
    print(steps / (time.process_time() - before))


main(sys.argv[1], int(sys.argv[2]))
