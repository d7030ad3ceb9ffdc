"""Makes the small files in `formats/` and `formats.json`, what NumPy, Pillow and pandas say is in them.

Run with numpy, pillow, pandas and pyarrow: python3 formats.py
"""
import json
import pathlib

import numpy as np
import pandas as pd
from PIL import Image

here = pathlib.Path(__file__).parent
out = here / "formats"
out.mkdir(exist_ok=True)
rng = np.random.default_rng(0)
n = 24
y = np.arange(n) % 2

features = rng.normal(size=(n, 3))
np.save(out / "table.npy", np.column_stack([features, y]))
np.save(out / "features_f4.npy", features.astype("<f4"))
np.save(out / "features_big.npy", features.astype(">f8"))
np.save(out / "features_fortran.npy", np.asfortranarray(features))
np.save(out / "features_half.npy", features.astype("<f2"))
np.save(out / "y.npy", y)
np.save(out / "names.npy", np.array(["no", "yes"])[y])
sequence = rng.normal(size=(n, 5, 2)).astype("f4")
colour = rng.integers(0, 256, size=(n, 4, 6, 3), dtype=np.uint8)
np.savez_compressed(out / "sequence.npz", x=sequence, y=features[:, 0])
np.savez(out / "colour.npz", x_train=colour[:16], y_train=y[:16], x_test=colour[16:], y_test=y[16:])
np.savez(out / "tokens.npz", ids=rng.integers(0, 9, size=(n, 7)), target=y)

for kind in ["cat", "dog"]:
    (out / "pictures" / kind).mkdir(parents=True, exist_ok=True)
picture = np.zeros((8, 12, 3), dtype=np.uint8)
picture[..., 0] = np.arange(12) * 20
picture[..., 1] = (np.arange(8) * 30)[:, None]
picture[..., 2] = 77
for i in range(6):
    shown = Image.fromarray(np.roll(picture, i, axis=1))
    shown.save(out / "pictures" / "cat" / f"{i}.png", optimize=True)
    flat = Image.fromarray(np.full((8, 12, 3), 40 * i, dtype=np.uint8))
    flat.save(out / "pictures" / "dog" / f"{i}.jpg", quality=95)
small = Image.fromarray(picture).resize((5, 3), Image.BILINEAR)
large = Image.fromarray(picture).resize((18, 20), Image.BILINEAR)

frame = pd.DataFrame(
    {
        "size": np.where(np.arange(n) % 5 == 0, np.nan, np.arange(n) * 0.5),
        "count": np.arange(n) // 3,
        "kind": [["red", "green", None][i % 3] for i in range(n)],
        "y": features[:, 0],
    }
)
for codec in ["snappy", "zstd", "gzip"]:
    frame.to_parquet(out / f"table_{codec}.parquet", compression=codec, index=False)

json.dump(
    {
        "features": features.tolist(),
        "sequence": sequence.astype(float).tolist(),
        "colour": colour.tolist(),
        "picture": picture.tolist(),
        "small": np.asarray(small).tolist(),
        "large": np.asarray(large).tolist(),
        "grey": np.asarray(Image.fromarray(picture).convert("L")).tolist(),
    },
    open(here / "formats.json", "w"),
)
