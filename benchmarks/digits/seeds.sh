#!/usr/bin/env bash
# The digits example with the default policy, 40 trials, over five seeds: validation and held-out test accuracy, and cost.
# Needs `cargo build --release` first.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for seed in 0 1 2 3 4; do
  target/release/luthier tune examples/digits/study.toml --seed "$seed" --study "$folder/$seed.luthier" --json |
    tail -n 1 |
    python3 -c '
import json, sys
result = json.load(sys.stdin)
tested = result["held_out"]
tested = dict(tested) if isinstance(tested, list) else tested
print("seed", sys.argv[1], "validation", round(result["best"]["values"]["val_accuracy"], 4), "test", round(tested["accuracy"], 4),
      "seconds of work", round(result["seconds"], 2), "epochs", result["steps"])
' "$seed"
done
