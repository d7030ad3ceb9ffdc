"""Member-epochs per second of K digits MLPs (64-128-128-10, batches of 64, Adam): Luthier one by one on threads, Luthier
as one tensor program, and PyTorch one by one (fused Adam, with the thread count that is best for it).

    cargo build --release -p luthier-nn --features burn --example population
    python benchmarks/networks/population.py [K] [threads] [rounds]

Needs torch and numpy. The ways take turns, round by round, so that other load on the machine meets all of them alike;
ratios are taken within a round. With a GPU: build with `--features cuda` and give K = 512; PyTorch then runs on the
same GPU.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/examples/population"
EPOCHS = 5
BATCH = 64


def luthier(way, members, threads):
    line = subprocess.run([PROGRAM, way, str(members), str(threads), str(EPOCHS)], capture_output=True, check=True, text=True)
    found = json.loads(line.stdout)
    return found["per_second"], found["per_processor_second"]


def digits(device):
    table = np.loadtxt(ROOT / "examples/digits/digits.csv", delimiter=",", skiprows=1, dtype=np.float32)
    x, y = table[:, :-1], table[:, -1].astype(np.int64)
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-6)
    # As Luthier splits by default: three fifths to train on, a fifth to measure each epoch.
    train, validation = int(len(x) * 0.6), int(len(x) * 0.8)
    tensors = [torch.from_numpy(part).to(device) for part in (x[:train], y[:train], x[train:validation], y[train:validation])]
    return tensors


def train_one(seed, data, device, epochs):
    torch.manual_seed(seed)
    x, y, x_validation, y_validation = data
    net = torch.nn.Sequential(
        torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
    ).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3 * 1.05 ** (seed % 40), fused=True)
    loss_of = torch.nn.CrossEntropyLoss()
    for _ in range(epochs):
        order = torch.randperm(len(x), device=device)
        total = torch.zeros((), device=device)
        for first in range(0, len(x), BATCH):
            chosen = order[first : first + BATCH]
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(net(x[chosen]), y[chosen])
            loss.backward()
            optimizer.step()
            total += loss.detach()
        with torch.no_grad():
            scores = net(x_validation)
            (loss_of(scores, y_validation).item(), (scores.argmax(1) == y_validation).float().mean().item(), total.item())


def pytorch(members, device, data):
    clock, processor = time.perf_counter(), time.process_time()
    # All members are alike, so a few of them tell the rate.
    few = min(members, 4)
    for seed in range(few):
        train_one(seed, data, device, EPOCHS)
    done = few * EPOCHS
    return done / (time.perf_counter() - clock), done / (time.process_time() - processor)


def main():
    members, threads, rounds = (int(sys.argv[at]) if len(sys.argv) > at else usual for at, usual in ((1, 32), (2, 2), (3, 5)))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data = digits(device)
    train_one(0, data, device, 1)
    best = 1
    if device == "cpu":
        torch_threads = {}
        for count in sorted({1, threads}):
            torch.set_num_threads(count)
            torch_threads[count] = max(pytorch(members, device, data)[0] for _ in range(2))
        best = max(torch_threads, key=torch_threads.get)
        torch.set_num_threads(best)
    rows = []
    for _ in range(rounds):
        rows.append(
            {
                "pytorch": pytorch(members, device, data),
                "alone": luthier("alone", members, threads),
                "alone, 1 thread": luthier("alone", members, 1),
                "together": luthier("together", members, 1),
            }
        )
    print(f"K = {members}, PyTorch on {device} with {best} thread(s), Luthier alone on {threads} threads, {rounds} rounds")
    print(f"{'':20}{'member-epochs/s':>16}{'x PyTorch (clock)':>28}{'x PyTorch (processor)':>28}")
    for way in rows[0]:
        rate = statistics.median(row[way][0] for row in rows)
        parts = []
        for kind in (0, 1):
            ratios = sorted(row[way][kind] / row["pytorch"][kind] for row in rows)
            parts.append(f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} … {ratios[-1]:.2f})")
        print(f"{way:20}{rate:16.1f}{parts[0]:>28}{parts[1]:>28}")


if __name__ == "__main__":
    main()
