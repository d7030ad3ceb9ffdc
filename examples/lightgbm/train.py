"""Trains LightGBM on scikit-learn's digits; prints the validation loss every tenth round, the test accuracy at the end."""
import argparse, json
import lightgbm
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

parser = argparse.ArgumentParser()
parser.add_argument("--learning-rate", type=float, default=0.1)
parser.add_argument("--num-leaves", type=int, default=31)
parser.add_argument("--min-child-samples", type=int, default=20)
parser.add_argument("--feature-fraction", type=float, default=1.0)
parser.add_argument("--lambda-l2", type=float, default=0.0)
parser.add_argument("--booster", choices=["gbdt", "dart"], default="gbdt")
parser.add_argument("--drop-rate", type=float, default=0.1)
parser.add_argument("--rounds", type=int, default=90)
given = vars(parser.parse_args())
rounds, given["boosting"] = given.pop("rounds"), given.pop("booster")

x, y = load_digits(return_X_y=True)
x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
x, x_valid, y, y_valid = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
train = lightgbm.Dataset(x, y)

def report(state):
    if (state.iteration + 1) % 10 == 0:
        print(json.dumps({"step": state.iteration + 1, "val_loss": state.evaluation_result_list[0][2]}), flush=True)

settings = {"objective": "multiclass", "num_class": 10, "verbosity": -1, "seed": 0, "deterministic": True, **given}
model = lightgbm.train(settings, train, rounds, [train.create_valid(x_valid, y_valid)], callbacks=[report])
print(json.dumps({"test_accuracy": (model.predict(x_test).argmax(axis=1) == y_test).mean()}))
