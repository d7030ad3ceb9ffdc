"""Update rules and learning-rate schedules in PyTorch and Keras, for tests/updates.rs and tests/schedules.rs.

All optimisers run in double precision on the same given gradients (numbers that single precision holds exactly).
`from` says whose numbers a case has. Weight decay is decoupled: where PyTorch has only the coupled one, the weights are
multiplied by 1 - rate * decay before its step, as its AdamW does. Penalties are added to the gradients by hand.

    KERAS_BACKEND=torch python3 optimizers.py > optimizers.json     (made with torch 2.15, keras 3)
"""
import json
import os

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras
import numpy as np
import torch
from torch.optim import lr_scheduler

torch.set_default_dtype(torch.float64)
keras.config.set_floatx("float64")
STEPS = 20
random = np.random.default_rng(20260)
START = [0.5, -1.25, 2.0, -0.03125, 0.75, -0.375]
GRADIENTS = random.normal(size=(STEPS, 6)).astype(np.float32) * np.array([1, 0.1, 3, 0.01, 1, 0.5], np.float32)
GRADIENTS[:, 4] += 1
GRADIENTS[3:6, 5] = 0
GRADIENTS[0, 5] = 0


def digits(values):
    return [float(f"{v:.10g}") for v in values]


def sgn(w):
    return torch.sign(w)


def torch_case(name, kind, rate, make, *, decay=0.0, l1=0.0, l2=0.0, proximal=False, clip_norm=None,
               clip_value=None, max_norm=None, rates=None, **constants):
    w = torch.nn.Parameter(torch.tensor(START))
    optimizer = make([w])
    path = []
    for step, gradient in enumerate(GRADIENTS):
        now = rates[step] if rates else rate
        for group in optimizer.param_groups:
            group["lr"] = now
        g = torch.tensor(gradient.astype(np.float64)) + 2 * l2 * w.detach()
        if not proximal:
            g = g + l1 * sgn(w.detach())
        w.grad = g.clone()
        if clip_value:
            torch.nn.utils.clip_grad_value_([w], clip_value)
        if clip_norm:
            torch.nn.utils.clip_grad_norm_([w], clip_norm)
        with torch.no_grad():
            if kind != "adamw" and "decoupled_weight_decay" not in optimizer.defaults:
                w.mul_(1 - now * decay)
        optimizer.step()
        with torch.no_grad():
            if proximal:
                w.copy_(torch.nn.functional.softshrink(w, now * l1))
            if max_norm:
                limit, axis = max_norm
                # As a kernel of 2 units: [2, 3] with the units first or [3, 2] with the units last.
                kernel = w.view(2, 3) if axis == "first" else w.view(3, 2)
                dim = 0 if axis == "first" else 1
                w.copy_(torch.renorm(kernel, 2, dim, limit).reshape(-1))
        path.append(digits(w.tolist()))
    case = dict(name=name, kind=kind, rate=rate, constants=constants, weight_decay=decay, l1=l1, l2=l2,
                proximal=proximal, clip_norm=clip_norm, clip_value=clip_value, rates=rates,
                max_norm=max_norm, path=path)
    case["from"] = "torch"
    return case


def keras_case(name, kind, rate, optimizer, *, decay=0.0, **constants):
    w = keras.Variable(np.array(START), dtype="float64")
    optimizer.build([w])
    path = []
    for gradient in GRADIENTS:
        optimizer.apply([keras.ops.convert_to_tensor(gradient.astype(np.float64))])
        path.append(digits(keras.ops.convert_to_numpy(w).tolist()))
    case = dict(name=name, kind=kind, rate=rate, constants=constants, weight_decay=decay, l1=0.0, l2=0.0,
                proximal=False, clip_norm=None, clip_value=None, rates=None, max_norm=None, path=path)
    case["from"] = "keras"
    return case


def optimizers():
    o = torch.optim
    sgd = lambda p: o.SGD(p, lr=0.1)
    adam = lambda p: o.Adam(p, lr=0.01)
    falling = [0.1 * 0.9**step for step in range(STEPS)]
    return [
        torch_case("sgd", "sgd", 0.1, sgd),
        torch_case("momentum", "momentum", 0.05, lambda p: o.SGD(p, lr=0.05, momentum=0.9), momentum=0.9),
        torch_case("momentum, falling rate", "momentum", 0.1, lambda p: o.SGD(p, lr=0.1, momentum=0.8), momentum=0.8, rates=falling),
        torch_case("nesterov", "nesterov", 0.05, lambda p: o.SGD(p, lr=0.05, momentum=0.9, nesterov=True), momentum=0.9),
        torch_case("rmsprop", "rmsprop", 0.01, lambda p: o.RMSprop(p, lr=0.01, alpha=0.9, eps=1e-8), rho=0.9, epsilon=1e-8),
        torch_case("rmsprop with momentum", "rmsprop", 0.01, lambda p: o.RMSprop(p, lr=0.01, alpha=0.99, eps=1e-3, momentum=0.7), rho=0.99, epsilon=1e-3, momentum=0.7),
        torch_case("adagrad", "adagrad", 0.1, lambda p: o.Adagrad(p, lr=0.1, eps=1e-8), epsilon=1e-8, initial_accumulator=0),
        torch_case("adagrad from 0.1", "adagrad", 0.1, lambda p: o.Adagrad(p, lr=0.1, eps=1e-8, initial_accumulator_value=0.1), epsilon=1e-8, initial_accumulator=0.1),
        torch_case("adam", "adam", 0.01, adam),
        torch_case("adam, own constants", "adam", 0.02, lambda p: o.Adam(p, lr=0.02, betas=(0.8, 0.95), eps=1e-3), beta1=0.8, beta2=0.95, epsilon=1e-3),
        torch_case("adamw", "adamw", 0.01, lambda p: o.AdamW(p, lr=0.01, weight_decay=0.3), decay=0.3),
        torch_case("nadam", "nadam", 0.01, lambda p: o.NAdam(p, lr=0.01)),
        torch_case("nadam with decay", "nadam", 0.01, lambda p: o.NAdam(p, lr=0.01, betas=(0.7, 0.9), weight_decay=0.2, decoupled_weight_decay=True), decay=0.2, beta1=0.7, beta2=0.9),
        keras_case("lion", "lion", 0.01, keras.optimizers.Lion(0.01)),
        keras_case("lion with decay", "lion", 0.01, keras.optimizers.Lion(0.01, beta_1=0.8, beta_2=0.95, weight_decay=0.5), decay=0.5, beta1=0.8, beta2=0.95),
        keras_case("keras sgd", "sgd", 0.1, keras.optimizers.SGD(0.1)),
        keras_case("keras nesterov", "nesterov", 0.05, keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True), momentum=0.9),
        torch_case("sgd with decay", "sgd", 0.1, sgd, decay=0.4),
        torch_case("momentum with decay", "momentum", 0.05, lambda p: o.SGD(p, lr=0.05, momentum=0.9), momentum=0.9, decay=0.4),
        torch_case("rmsprop with decay", "rmsprop", 0.01, lambda p: o.RMSprop(p, lr=0.01, alpha=0.9), rho=0.9, decay=0.4),
        torch_case("adagrad with decay", "adagrad", 0.1, lambda p: o.Adagrad(p, lr=0.1, eps=1e-8), epsilon=1e-8, initial_accumulator=0, decay=0.2),
        torch_case("sgd, l1 and l2", "sgd", 0.1, sgd, l1=0.05, l2=0.1),
        torch_case("adam, l1 and l2", "adam", 0.01, adam, l1=0.05, l2=0.1),
        torch_case("sgd, proximal l1", "sgd", 0.1, sgd, l1=0.3, proximal=True),
        torch_case("adam, proximal l1", "adam", 0.01, adam, l1=0.6, l2=0.02, proximal=True),
        torch_case("sgd, clipped norm", "sgd", 0.1, sgd, clip_norm=1.5),
        torch_case("adam, clipped values", "adam", 0.01, adam, clip_value=0.3),
        torch_case("momentum, both clipped, l2", "momentum", 0.05, lambda p: o.SGD(p, lr=0.05, momentum=0.9), momentum=0.9, clip_norm=1.0, clip_value=0.8, l2=0.2),
        torch_case("sgd, rows limited", "sgd", 0.1, sgd, max_norm=(1.5, "first")),
        torch_case("adam, columns limited", "adam", 0.05, lambda p: o.Adam(p, lr=0.05), max_norm=(1.0, "last")),
    ]


def torch_schedule(make, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make(optimizer)
    factors = []
    for _ in range(steps):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return factors


def schedule_case(name, whose, plan, planned, passed, factors):
    return {"name": name, "from": whose, "plan": plan, "planned": planned, "passed": digits(passed), "factors": digits(factors)}


def torch_by_epoch(name, plan, planned, make):
    return schedule_case(name, "torch", plan, planned, range(planned), torch_schedule(make, planned))


def keras_by_tenth(name, plan, planned, schedule):
    """Keras counts steps; here ten to an epoch, so that fractions of epochs are tested."""
    steps = range(0, 10 * planned + 1, 7)
    factors = [float(schedule(step)) for step in steps]
    return schedule_case(name, "keras", plan, planned, [step / 10 for step in steps], factors)


def warm_restarts(first, multiplier, planned):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, first, multiplier, eta_min=0.05)
    passed, factors = [step / 4 for step in range(4 * planned)], []
    for epoch in passed:
        schedule.step(epoch)
        factors.append(optimizer.param_groups[0]["lr"])
    plan = dict(schedule="cosine_restarts", restart_epochs=first, restart_factor=multiplier, end_factor=0.05)
    return schedule_case(f"restarts, {first} times {multiplier}", "torch", plan, planned, passed, factors)


def one_cycle(steps, peak):
    """PyTorch's peak is at step peak * steps - 1 and its end at steps - 1; ours are at the fractions peak and 1."""
    factors = torch_schedule(lambda o: lr_scheduler.OneCycleLR(o, 1.0, total_steps=steps, pct_start=peak, cycle_momentum=False), steps)
    top = peak * steps - 1
    passed = [peak * s / top if s <= top else peak + (1 - peak) * (s - top) / (steps - 1 - top) for s in range(steps)]
    plan = dict(schedule="one_cycle", peak=peak, start_factor=0.04, end_factor=4e-6)
    return schedule_case(f"one cycle, peak at {peak}", "torch", plan, 1, passed, factors)


def schedules():
    s, k = lr_scheduler, keras.optimizers.schedules
    decays = dict(decay_rate=0.5, decay_epochs=3)
    return [
        torch_by_epoch("constant", dict(schedule="constant"), 5, lambda o: s.ConstantLR(o, 1.0)),
        torch_by_epoch("step", dict(schedule="step", **decays), 12, lambda o: s.StepLR(o, 3, 0.5)),
        torch_by_epoch("exponential", dict(schedule="exponential", decay_rate=0.9), 12, lambda o: s.ExponentialLR(o, 0.9)),
        torch_by_epoch("polynomial", dict(schedule="polynomial", power=2), 12, lambda o: s.PolynomialLR(o, 12, 2.0)),
        torch_by_epoch("cosine", dict(schedule="cosine", end_factor=0.1), 12, lambda o: s.CosineAnnealingLR(o, 12, 0.1)),
        torch_by_epoch("warm-up, then cosine", dict(schedule="cosine", warmup_epochs=4), 12, lambda o: s.SequentialLR(o, [s.LinearLR(o, 1e-12, 1.0, 4), s.CosineAnnealingLR(o, 8)], [4])),
        torch_by_epoch("warm-up, then step", dict(schedule="step", warmup_epochs=2, **decays), 12, lambda o: s.SequentialLR(o, [s.LinearLR(o, 1e-12, 1.0, 2), s.StepLR(o, 3, 0.5)], [2])),
        warm_restarts(3, 2, 30),
        warm_restarts(4, 1, 14),
        warm_restarts(1, 3, 45),
        one_cycle(50, 0.3),
        one_cycle(40, 0.5),
        keras_by_tenth("stairs", dict(schedule="step", **decays), 12, k.ExponentialDecay(1.0, 30, 0.5, staircase=True)),
        keras_by_tenth("exponential by steps", dict(schedule="exponential", **decays), 12, k.ExponentialDecay(1.0, 30, 0.5)),
        keras_by_tenth("inverse time", dict(schedule="inverse_time", **decays), 12, k.InverseTimeDecay(1.0, 30, 0.5)),
        keras_by_tenth("polynomial to an end", dict(schedule="polynomial", power=0.5, end_factor=0.2), 12, k.PolynomialDecay(1.0, 120, 0.2, 0.5)),
        keras_by_tenth("cosine by steps", dict(schedule="cosine", end_factor=0.1), 12, k.CosineDecay(1.0, 120, 0.1)),
        keras_by_tenth("warm-up, then cosine by steps", dict(schedule="cosine", end_factor=0.1, warmup_epochs=2), 12, k.CosineDecay(0.0, 100, 0.1, warmup_target=1.0, warmup_steps=20)),
        keras_by_tenth("restarts by steps", dict(schedule="cosine_restarts", restart_epochs=2, restart_factor=2, end_factor=0.1), 20, k.CosineDecayRestarts(1.0, 20, 2.0, 1.0, 0.1)),
    ]


LOSSES = [1.0, 0.9, 0.91, 0.9, 0.8, 0.85, 0.81, 0.83, 0.82, 0.81, 0.79995, 0.80, 0.79, 0.79, 0.79, 0.79, 0.79, 0.79,
          0.79, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]


def plateau_torch(settings):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    # PyTorch cuts when more than `patience` epochs were bad, hence one less.
    schedule = lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=settings["factor"], patience=settings["patience"] - 1, threshold=settings["threshold"],
        cooldown=settings["cooldown"], min_lr=settings["min_factor"], eps=0)
    factors = []
    for loss in LOSSES:
        schedule.step(loss)
        factors.append(optimizer.param_groups[0]["lr"])
    return {"from": "torch", "settings": settings, "losses": LOSSES, "factors": digits(factors)}


def plateau_keras(settings):
    callback = keras.callbacks.ReduceLROnPlateau(
        monitor="loss", factor=settings["factor"], patience=settings["patience"], min_delta=0, min_lr=settings["min_factor"])
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    callback.set_model(model)
    callback.on_train_begin()
    factors = []
    for epoch, loss in enumerate(LOSSES):
        callback.on_epoch_end(epoch, {"loss": loss})
        factors.append(float(model.optimizer.learning_rate))
    return {"from": "keras", "settings": settings, "losses": LOSSES, "factors": digits(factors)}


def plateaus():
    settings = lambda **changed: dict(patience=2, factor=0.5, threshold=1e-4, cooldown=0, min_factor=0.0) | changed
    return [
        plateau_torch(settings()),
        plateau_torch(settings(patience=3, cooldown=2)),
        plateau_torch(settings(patience=1, factor=0.1, min_factor=0.01, threshold=0.02)),
        plateau_keras(settings(threshold=0.0)),
        plateau_keras(settings(threshold=0.0, patience=4, min_factor=0.3)),
    ]


def rounded(value):
    return json.dumps(value, separators=(",", ":"))


print('{"start":%s,\n"gradients":[\n%s],\n"optimizers":[\n%s],\n"schedules":[\n%s],\n"plateaus":[\n%s]}' % (
    rounded(START),
    ",\n".join(rounded([float(g) for g in row]) for row in GRADIENTS),
    ",\n".join(rounded(case) for case in optimizers()),
    ",\n".join(rounded(case) for case in schedules()),
    ",\n".join(rounded(case) for case in plateaus()),
))
