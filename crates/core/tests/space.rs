//! The search space: values and the unit cube, conditions, constraints, repeated groups, and every bad declaration
//! with its message and its line.

use luthier_core::rng::{Purpose, Rng};
use luthier_core::space::file::{FileError, Format, line_of, parse, read, read_json, read_toml};
use luthier_core::space::{
    Comparison, Condition, Constraint, Distribution, Parameter, Params, Point, Prior, Scale, Space,
    SpaceError, Value,
};
use proptest::prelude::*;

fn float(low: f64, high: f64, scale: Scale, step: Option<f64>) -> Distribution {
    Distribution::Float { low, high, scale, step }
}

fn int(low: i64, high: i64, scale: Scale, step: i64) -> Distribution {
    Distribution::Int { low, high, scale, step }
}

fn choices(values: impl IntoIterator<Item = Value>) -> Distribution {
    Distribution::Categorical { choices: values.into_iter().collect() }
}

/// Even points of the unit interval, the middle of `n` equal parts.
fn even(n: u32) -> impl Iterator<Item = f64> {
    (0..n).map(move |i| (f64::from(i) + 0.5) / f64::from(n))
}

// ---------------------------------------------------------------------------------------------------- unit cube

/// Every cell comes back from its unit coordinate, has the share of the interval that `cell_bounds` says, the shares
/// fill the interval in order, and both ends are reached.
fn check_cells(distribution: &Distribution) {
    distribution.check("x").expect("a good distribution");
    let cells = distribution.cells().expect("cells");
    let mut end = 0.0;
    for k in 0..cells {
        let coded = distribution.cell(k);
        let unit = distribution.to_unit(coded);
        assert_eq!(distribution.from_unit(unit), coded, "cell {k} of {distribution:?}");
        assert_eq!(distribution.cell_of(coded), k, "{distribution:?}");
        let (from, to) = distribution.cell_bounds(coded);
        assert!((from - end).abs() < 1e-9 && from < to, "cell {k}: {from} … {to} after {end}");
        assert!((from..=to).contains(&unit), "cell {k}: {unit} outside {from} … {to}");
        let inside = (to - from) * 1e-6;
        assert_eq!(distribution.from_unit(from + inside), coded, "left end of cell {k} of {distribution:?}");
        assert_eq!(distribution.from_unit(to - inside), coded, "right end of cell {k} of {distribution:?}");
        let value = distribution.decode(coded);
        assert_eq!(distribution.encode(&value).as_ref(), Ok(&coded), "{value:?} of {distribution:?}");
        end = to;
    }
    assert!((end - 1.0).abs() < 1e-9, "the shares end at {end}");
    assert_eq!(distribution.from_unit(0.0), distribution.cell(0));
    assert_eq!(distribution.from_unit(1.0), distribution.cell(cells - 1));
}

#[test]
fn every_cell_of_every_grid_comes_back() {
    for distribution in [
        int(1, 1, Scale::Linear, 1),
        int(-3, 7, Scale::Linear, 1),
        int(0, 10, Scale::Linear, 3),
        int(1, 1000, Scale::Log, 1),
        int(8, 256, Scale::Log, 8),
        int(1, 2, Scale::Log, 1),
        int(-20, 0, Scale::Log1m, 1),
        int(-(1 << 53), -(1 << 53) + 9, Scale::Linear, 1),
        float(0.0, 1.0, Scale::Linear, Some(0.1)),
        float(-0.3, 0.35, Scale::Linear, Some(0.1)),
        float(0.1, 1.09, Scale::Log, Some(0.1)),
        float(1e-5, 1e-3, Scale::Log, Some(1e-5)),
        float(0.5, 0.99, Scale::Log1m, Some(0.01)),
        float(0.9, 0.999, Scale::Log1m, Some(0.003)),
        float(1e6, 1e6 + 1.0, Scale::Linear, Some(1e-3)),
        float(2.5, 2.5, Scale::Linear, None),
        choices([false.into(), true.into()]),
        choices(["a".into(), 1.into(), 1.5.into(), "1".into()]),
        Distribution::Ordinal { levels: ["low", "mid", "high"].map(Value::from).into_iter().collect() },
    ] {
        check_cells(&distribution);
    }
}

#[test]
fn steps_give_the_decimals_that_a_person_would_write() {
    let tenths = float(-0.3, 0.3, Scale::Linear, Some(0.1));
    let values: Vec<f64> = (0..7).map(|k| tenths.cell(k)).collect();
    assert_eq!(values, [-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3]);
    assert!(values[3].is_sign_positive());
    assert_eq!(float(0.0, 1.0, Scale::Linear, Some(0.3)).range(), Some((0.0, 0.9)));
}

#[test]
fn log_scales_are_even_in_their_own_measure() {
    let share = |d: &Distribution, inside: &dyn Fn(f64) -> bool| {
        even(10_000).filter(|&u| inside(d.from_unit(u))).count() as f64 / 10_000.0
    };
    let rate = float(1e-5, 1e-1, Scale::Log, None);
    for decade in [1e-5, 1e-4, 1e-3, 1e-2] {
        assert!((share(&rate, &|x| (decade..decade * 10.0).contains(&x)) - 0.25).abs() < 1e-3);
    }
    let momentum = float(0.9, 0.9999, Scale::Log1m, None);
    for nines in [0.9, 0.99, 0.999] {
        let next = 1.0 - (1.0 - nines) / 10.0;
        assert!((share(&momentum, &|x| x >= nines && x < next) - 1.0 / 3.0).abs() < 1e-3, "{nines}");
    }
    // Whole numbers on a log scale: 1 owns 0.5 … 1.5 and 100 owns 99.5 … 100.5, in logarithms.
    let width = int(1, 100, Scale::Log, 1);
    let (from, to) = width.cell_bounds(1.0);
    assert!((to - from - 3f64.ln() / 201f64.ln()).abs() < 1e-12);
}

proptest! {
    #[test]
    fn continuous_values_come_back_and_stay_inside(
        a in -1e9..1e9f64, b in -1e9..1e9f64, unit in 0.0..=1.0f64, which in 0..3u8,
    ) {
        let (low, high) = (a.min(b), a.max(b));
        let d = match which {
            0 => float(low, high, Scale::Linear, None),
            1 => float((low / 1e8).exp(), (high / 1e8).exp(), Scale::Log, None),
            _ => float(1.0 - (-low / 1e8).exp(), 1.0 - (-high / 1e8).exp(), Scale::Log1m, None),
        };
        prop_assume!(d.check("x").is_ok());
        let x = d.from_unit(unit);
        let (low, high) = d.range().unwrap();
        prop_assert!((low..=high).contains(&x));
        prop_assert_eq!(d.encode(&d.decode(x)), Ok(x));
        prop_assert!((d.from_unit(d.to_unit(x)) - x).abs() <= 1e-6 * (1.0 + x.abs()));
    }

    #[test]
    fn grids_come_back(low in -500i64..500, width in 0i64..500, step in 1i64..40, which in 0..3u8) {
        let d = match which {
            0 => int(low, low + width, Scale::Linear, step),
            1 => int(low.abs() + 1, low.abs() + 1 + width, Scale::Log, step),
            _ => float(low as f64 / 8.0, (low + width) as f64 / 8.0, Scale::Linear, Some(step as f64 / 10.0)),
        };
        prop_assume!(d.check("x").is_ok());
        check_cells(&d);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        for format in [Format::Toml, Format::Json] {
            if let Err(error) = read(&text, format) {
                prop_assert!(!error.message.is_empty());
            }
        }
    }

    #[test]
    fn any_broken_document_is_read_or_refused(cut in 0usize..2000, insert in "[\\[\\]{}\",:=\\\\ k\n]{0,6}") {
        for (format, text) in [(Format::Toml, RICH_TOML), (Format::Json, RICH_JSON)] {
            let mut cut = cut % text.len();
            while !text.is_char_boundary(cut) { cut -= 1; }
            for broken in [text[..cut].to_owned(), format!("{}{insert}{}", &text[..cut], &text[cut..])] {
                if let Err(error) = read(&broken, format) {
                    let line = error.position.map_or(1, |p| p.line);
                    prop_assert!(line <= broken.lines().count() + 1);
                }
            }
        }
    }
}

// ------------------------------------------------------------------------------------------- the two file forms

const RICH_TOML: &str = r#"
[params.lr]
type = "float"
low = 1e-5
high = 0.1
log = true
default = 1e-3
prior = { center = 1e-3, spread = 0.1 }

[params.layers]
type = "int"
low = 1
high = 3

[params.units]
type = "int"
low = 8
high = 256
scale = "log"
step = 8
repeat = "layers"

[params.act]
type = "categorical"
choices = ["relu", "elu"]
repeat = "layers"

[params.alpha]
type = "float"
low = 0.1
high = 1
repeat = "layers"
when = { param = "act[k]", eq = "elu" }

[params.optimizer]
type = "categorical"
choices = ["sgd", "adam"]
prior = { weights = { adam = 3 } }

[params.momentum]
type = "float"
low = 0.5
high = 0.999
scale = "log1m"
when = { param = "optimizer", eq = "sgd" }

[params.nesterov]
type = "bool"
when = { all = [{ param = "optimizer", in = ["sgd"] }, { param = "momentum", gt = 0.6 }] }

[params.batch]
type = "ordinal"
levels = [16, 32, 64]

[params.seed]
type = "fixed"
value = 7

[[constraints]]
forbid = { all = [{ param = "layers", eq = 3 }, { param = "batch", eq = 16 }] }

[[constraints]]
require = { param = "units[k+1]", le = { param = "units[k]" } }

[[constraints]]
linear = { weights = { layers = 1.0, seed = -1.0 }, at_most = 3.0, at_least = -6.5 }

[[constraints]]
product = { of = ["units[k]", "layers"], at_most = 700 }
"#;

const RICH_JSON: &str = r#"{
  "params": {
    "lr": { "type": "float", "low": 1e-5, "high": 0.1, "scale": "log", "default": 1e-3,
            "prior": { "center": 1e-3, "spread": 0.1 } },
    "layers": { "type": "int", "low": 1, "high": 3 },
    "units": { "type": "int", "low": 8, "high": 256, "scale": "log", "step": 8, "repeat": "layers" },
    "act": { "type": "categorical", "choices": ["relu", "elu"], "repeat": "layers" },
    "alpha": { "type": "float", "low": 0.1, "high": 1, "repeat": "layers", "when": { "param": "act[k]", "eq": "elu" } },
    "optimizer": { "type": "categorical", "choices": ["sgd", "adam"], "prior": { "weights": [1, 3] } },
    "momentum": { "type": "float", "low": 0.5, "high": 0.999, "scale": "log1m",
                  "when": { "eq": "sgd", "param": "optimizer" } },
    "nesterov": { "type": "bool",
                  "when": { "all": [{ "param": "optimizer", "in": ["sgd"] }, { "param": "momentum", "gt": 0.6 }] } },
    "batch": { "type": "ordinal", "levels": [16, 32, 64] },
    "seed": { "type": "fixed", "value": 7 }
  },
  "constraints": [
    { "forbid": { "all": [{ "param": "layers", "eq": 3 }, { "param": "batch", "eq": 16 }] } },
    { "require": { "param": "units[k+1]", "le": { "param": "units[k]" } } },
    { "linear": { "weights": { "layers": 1, "seed": -1 }, "at_most": 3, "at_least": -6.5 } },
    { "product": { "of": ["units[k]", "layers"], "at_most": 700 } }
  ]
}
"#;

fn rich_builder() -> Space {
    let sgd = || Condition::is_in("optimizer", ["sgd"]);
    Space::builder()
        .float("lr", 1e-5..=0.1)
        .log()
        .default(1e-3)
        .prior(1e-3, 0.1)
        .int("layers", 1..=3)
        .int("units", 8..=256)
        .log()
        .step(8)
        .repeat("layers")
        .categorical("act", ["relu", "elu"])
        .repeat("layers")
        .float("alpha", 0.1..=1.0)
        .repeat("layers")
        .when(Condition::eq("act[k]", "elu"))
        .categorical("optimizer", ["sgd", "adam"])
        .weights([1.0, 3.0])
        .float("momentum", 0.5..=0.999)
        .log1m()
        .when(Condition::eq("optimizer", "sgd"))
        .bool("nesterov")
        .when(Condition::All(vec![sgd(), Condition::compare("momentum", Comparison::Gt, 0.6)]))
        .ordinal("batch", [16, 32, 64])
        .fixed("seed", 7)
        .forbid(Condition::All(vec![Condition::eq("layers", 3), Condition::eq("batch", 16)]))
        .require(Condition::between("units[k+1]", Comparison::Le, "units[k]"))
        .sum_at_most([("layers", 1.0), ("seed", -1.0)], 3.0)
        .sum_at_least([("layers", 1.0), ("seed", -1.0)], -6.5)
        .product_at_most(["units[k]", "layers"], 700.0)
        .build()
        .expect("a good space")
}

#[test]
fn toml_json_and_the_builder_declare_the_same_space() {
    let toml = read_toml(RICH_TOML).expect("good TOML");
    assert_eq!(toml, read_json(RICH_JSON).expect("good JSON"));
    assert_eq!(toml, rich_builder());
    assert_eq!(
        toml,
        read_toml(&format!("\u{feff}{}", RICH_TOML.replace('\n', "\r\n"))).expect("BOM and CRLF")
    );
    assert_eq!(
        toml,
        read_json(&format!("\u{feff}{}", RICH_JSON.replace('\n', "\r\n"))).expect("BOM and CRLF")
    );
    let names: Vec<&str> = toml.parameters().iter().map(|p| &*p.name).collect();
    assert_eq!(names[..6], ["lr", "layers", "units[1]", "units[2]", "units[3]", "act[1]"]);
}

#[test]
fn a_space_survives_json() {
    let space = rich_builder();
    let text = serde_json::to_string(&space).expect("serialises");
    assert_eq!(serde_json::from_str::<Space>(&text).expect("reads back"), space);
    let bent = text.replacen("\"low\":8,", "\"low\":800,", 1);
    assert!(serde_json::from_str::<Space>(&bent).unwrap_err().to_string().contains("low = 800 is above"));
}

#[test]
fn repeated_groups_follow_their_counter_and_their_neighbour() {
    let space = rich_builder();
    for i in 0..500 {
        let cube: Vec<f64> =
            (0..space.len()).map(|k| (f64::from(i) * 0.618 + k as f64 * 0.37).fract()).collect();
        let params = space.decode(&space.from_unit(&cube));
        let layers = params.get("layers").and_then(Value::as_i64).expect("always active");
        for k in 1..=3 {
            assert_eq!(params.get(&format!("units[{k}]")).is_some(), k <= layers, "{params}");
            let elu = params.get(&format!("act[{k}]")).and_then(Value::as_str) == Some("elu");
            assert_eq!(params.get(&format!("alpha[{k}]")).is_some(), elu, "{params}");
        }
        let sgd = params.get("optimizer").and_then(Value::as_str) == Some("sgd");
        assert_eq!(params.get("momentum").is_some(), sgd);
        let fast = params.get("momentum").and_then(Value::as_f64).is_some_and(|m| m > 0.6);
        assert_eq!(params.get("nesterov").is_some(), fast, "{params}");
    }
}

#[test]
fn a_group_may_be_repeated_a_fixed_number_of_times() {
    let space = Space::builder().float("w", 0.0..=1.0).repeat(3).build().expect("a good space");
    assert_eq!(space.len(), 3);
    assert!(!space.is_conditional());
    let counted =
        Space::builder().fixed("n", 2).float("w", 0.0..=1.0).repeat("n").build().expect("a good space");
    assert_eq!(counted.default_point().0.len(), 3);
    assert!(counted.default_point().get(2).is_some());
}

#[test]
fn constraints_hold_where_their_parameters_are_active() {
    let space = rich_builder();
    let keep = |layers: i64, units: &[i64], batch: i64| {
        let mut params = Params::new().with("lr", 1e-3).with("layers", layers);
        for (k, unit) in units.iter().enumerate() {
            params.set(format!("units[{}]", k + 1), *unit);
            params.set(format!("act[{}]", k + 1), "relu");
        }
        let params = params.with("optimizer", "adam").with("batch", batch).with("seed", 7);
        space.encode(&params).map(|point| assert!(space.allows(&point.0)))
    };
    let broken = |result: Result<(), SpaceError>| match result {
        Err(SpaceError::Constraint { index, .. }) => index,
        other => panic!("expected a broken constraint, not {other:?}"),
    };
    keep(1, &[256], 16).expect("one layer says nothing of a second");
    keep(2, &[64, 64], 16).expect("equal is fine");
    assert_eq!(broken(keep(2, &[64, 72], 16)), 1);
    assert_eq!(broken(keep(3, &[64, 32, 40], 32)), 2);
    assert_eq!(broken(keep(3, &[64, 32, 8], 16)), 0);
    assert_eq!(broken(keep(3, &[240, 32, 8], 32)), 5);
}

#[test]
fn what_is_given_for_a_trial_is_checked() {
    let space = Space::builder()
        .categorical("optimizer", ["sgd", "adam"])
        .float("momentum", 0.5..=0.99)
        .when(Condition::eq("optimizer", "sgd"))
        .build()
        .expect("a good space");
    let error = |params: Params| space.encode(&params).unwrap_err().to_string();
    assert_eq!(error(Params::new().with("momentum", 0.9)), "\"optimizer\": active, but without a value");
    assert_eq!(error(Params::new().with("optimizer", "sgd")), "\"momentum\": active, but without a value");
    assert_eq!(
        error(Params::new().with("optimizer", "adam").with("momentum", 0.9)),
        "\"momentum\": given a value, but its condition does not hold"
    );
    assert_eq!(
        error(Params::new().with("optimiser", "adam")),
        "\"optimiser\": the space has no such parameter"
    );
    assert_eq!(
        error(Params::new().with("optimizer", "adamw")),
        "\"optimizer\": \"adamw\" is not among \"sgd\", \"adam\""
    );
    assert_eq!(
        error(Params::new().with("optimizer", "sgd").with("momentum", f64::NAN)),
        "\"momentum\": NaN is outside 0.5 … 0.99"
    );
}

// -------------------------------------------------------------------------------------- finite spaces, visiting

#[test]
fn every_point_of_a_finite_space_is_visited_once_in_order() {
    let space = Space::builder()
        .int("layers", 1..=2)
        .categorical("act", ["a", "b"])
        .repeat("layers")
        .forbid(Condition::eq("act[1]", "b").and(Condition::eq("act[2]", "b")))
        .build()
        .expect("a good space");
    let mut seen = Vec::new();
    space.visit_points(&mut |point| {
        seen.push(space.decode(&Point(point.into())).to_string());
        true
    });
    assert_eq!(
        seen,
        [
            "layers=1 act[1]=a",
            "layers=1 act[1]=b",
            "layers=2 act[1]=a act[2]=a",
            "layers=2 act[1]=a act[2]=b",
            "layers=2 act[1]=b act[2]=a",
        ]
    );
    assert_eq!(space.cardinality(5), Some(5));
    assert_eq!(space.cardinality(4), None);
    assert_eq!(Space::default().cardinality(10), Some(1));
    assert_eq!(Space::builder().float("x", 0.0..=1.0).build().expect("good").cardinality(10), None);
}

#[test]
fn counting_gives_up_on_a_space_that_its_constraints_all_but_empty() {
    let mut builder = Space::builder();
    for k in 0..40 {
        builder = builder.int(&format!("x{k}"), 0..=9);
    }
    let space = builder
        .sum_at_least((0..40).map(|k| NAMES[k]).map(|name| (name, 1.0)), 359.5)
        .build()
        .expect("only nines meet it, and that is one point");
    assert_eq!(space.cardinality(1000), None);
}

const NAMES: [&str; 40] = [
    "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
    "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30",
    "x31", "x32", "x33", "x34", "x35", "x36", "x37", "x38", "x39",
];

#[test]
fn priors_shift_draws_and_leave_room_for_doubt() {
    let space = Space::builder()
        .float("lr", 1e-5..=1e-1)
        .log()
        .prior(1e-3, 0.1)
        .categorical("optimizer", ["sgd", "adam"])
        .weights([1.0, 3.0])
        .build()
        .expect("a good space");
    let draws: Vec<f64> = even(10_000).map(|u| space.draw_one(0, u)).collect();
    let near = draws.iter().filter(|x| (3e-4..3e-3).contains(*x)).count() as f64 / 1e4;
    assert!((0.6..0.95).contains(&near), "{near}");
    assert!(draws[0] < 2e-5 && draws[9_999] > 5e-2, "both ends stay reachable");
    let adam = even(10_000).filter(|&u| space.draw_one(1, u) == 1.0).count() as f64 / 1e4;
    assert!((adam - (0.2 * 0.5 + 0.8 * 0.75)).abs() < 1e-3, "{adam}");
    let Some(prior) = &space.parameters()[0].prior else { panic!("a prior") };
    let mass: f64 =
        even(10_000).map(|u| prior.density(&space.parameters()[0].distribution, u)).sum::<f64>() / 1e4;
    assert!((mass - 1.0).abs() < 1e-4, "{mass}");
}

#[test]
fn one_draw_in_five_ignores_all_priors_at_once() {
    let parameter = |k: usize| Parameter {
        prior: (k > 0).then(|| Prior::Center { center: 0.9.into(), spread: 0.02 }),
        ..Parameter::new(
            format!("x{k}"),
            Distribution::Float { low: 0.0, high: 1.0, scale: Scale::Linear, step: None },
        )
    };
    let space = Space::new((0..4).map(parameter).collect(), vec![]).expect("a good space");
    let mut rng = Rng::stream(1, 0, Purpose::Objective, 0);
    let points: Vec<Point> = (0..10_000).map(|_| space.draw(&rng.uniforms(4))).collect();
    let far = |point: &&Point| point.0[1..].iter().all(|x| *x < 0.8);
    let share = points.iter().filter(far).count() as f64 / 1e4;
    // A fifth of 0.8³, with a standard deviation of 0.003.
    assert!((share - 0.2 * 0.512).abs() < 0.012, "{share}");
    // By itself each is as a single draw: 0.2 · 0.5 below the middle, and evenly where there is no prior.
    for k in 0..4 {
        let below = points.iter().filter(|point| point.0[k] < 0.5).count() as f64 / 1e4;
        let expected = if k == 0 { 0.5 } else { 0.1 };
        assert!((below - expected).abs() < 0.02, "{k}: {below}");
    }
    // The middle of the cube is the middle of what is expected.
    assert!((space.draw(&[0.5; 4]).0[1] - 0.9).abs() < 1e-3);
}

// ------------------------------------------------------------------------------------------------------- size

#[test]
fn a_hundred_thousand_choices_work() {
    let names: Vec<String> = (0..100_000).map(|k| format!("choice {k}")).collect();
    let space = Space::builder()
        .categorical("c", names.clone())
        .categorical("d", names)
        .float("x", 0.0..=1.0)
        .when(Condition::eq("c", "choice 77777"))
        .require(Condition::between("c", Comparison::Ne, "d"))
        .build()
        .expect("a good space");
    for u in even(1000) {
        let point = space.from_unit(&[u, 1.0 - u, 0.5]);
        assert_eq!(space.encode(&space.decode(&point)).expect("a point of the space"), point);
    }
    let params = Params::new().with("c", "choice 77777").with("d", "choice 1").with("x", 0.25);
    assert_eq!(space.decode(&space.encode(&params).expect("good params")), params);
    let text = serde_json::to_string(&space).expect("serialises");
    assert_eq!(serde_json::from_str::<Space>(&text).expect("reads back"), space);
}

/// `count` parameters, every second one active while the one before is above the middle.
fn many(count: usize) -> Space {
    let mut builder = Space::builder();
    for k in 0..count {
        builder = builder.float(&format!("p{k}"), 0.0..=1.0);
        if k % 2 == 1 {
            builder = builder.when(Condition::compare(&format!("p{}", k - 1), Comparison::Gt, 0.5));
        }
    }
    builder.build().expect("a good space")
}

#[test]
fn hundreds_and_thousands_of_parameters_work() {
    for count in [500, 10_000] {
        let space = many(count);
        for i in 0..20 {
            let cube: Vec<f64> =
                (0..count).map(|k| (f64::from(i) * 0.618 + k as f64 * 0.7549).fract()).collect();
            let point = space.draw(&cube);
            let active = (0..count).filter(|&k| point.get(k).is_some()).count();
            assert!(active > count / 2 && active < count);
            if count == 500 {
                assert_eq!(space.encode(&space.decode(&point)).expect("a point of the space"), point);
            }
        }
    }
}

#[test]
fn a_long_chain_of_conditions_does_not_overflow() {
    let mut builder = Space::builder().float("p0", 0.0..=1.0);
    for k in 1..5000 {
        let parent = Condition::compare(&format!("p{}", k - 1), Comparison::Gt, 0.0);
        builder = builder.float(&format!("p{k}"), 0.0..=1.0).when(parent);
    }
    assert_eq!(builder.build().expect("a good space").default_point().0.len(), 5000);
}

// ------------------------------------------------------------------------------------------------- bad documents

/// Checks a bad document's whole message, position and quoted line included.
#[track_caller]
fn check(format: Format, text: &str, expected: &str) {
    let name = if format == Format::Toml { "space.toml" } else { "space.json" };
    let error = read(text, format).expect_err("a bad document").in_file(name);
    let quoted = error.quoted.clone().unwrap_or_default();
    let expected = if error.quoted.is_some() {
        let line = error.position.expect("a quoted line has a position").line;
        assert_eq!(
            text.trim_start_matches('\u{feff}').lines().nth(line - 1).unwrap_or_default().trim_end(),
            quoted.trim_end()
        );
        format!("{expected}\n{line:>5} | {quoted}")
    } else {
        expected.to_owned()
    };
    assert_eq!(error.to_string(), expected);
}

/// Checks one parameter's bad declaration in both formats. `toml` are its lines below `[params.x]`, which is line 1;
/// `line` is the line of the error counted from there. In JSON every key stands on the same line as in TOML.
#[track_caller]
fn check_parameter(keys: &[(&str, &str)], line: usize, message: &str) {
    let toml: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    check(
        Format::Toml,
        &format!("[params.x]\n{}\n", toml.join("\n")),
        &format!("space.toml:{line}:{}: {message}", if line == 1 { 9 } else { 1 }),
    );
    let json: Vec<String> =
        keys.iter().map(|(key, value)| format!("\"{key}\": {}", as_json(value))).collect();
    let text = format!("{{\"params\": {{\"x\": {{\n{}\n}}}}}}\n", json.join(",\n"));
    check(Format::Json, &text, &format!("space.json:{line}:{}: {message}", if line == 1 { 13 } else { 1 }));
}

/// A TOML value without strings that hold `=` as JSON.
fn as_json(value: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Holder {
        v: serde_json::Value,
    }
    parse::<Holder>(&format!("v = {value}"), Format::Toml).expect("a TOML value").v.to_string()
}

#[test]
fn bad_ranges_are_refused() {
    let range = |kind: &'static str, low: &'static str, high: &'static str| {
        vec![("type", kind), ("low", low), ("high", high)]
    };
    let x = |field: &str, problem: &str| format!("parameter \"x\", {field}: {problem}");
    let float = "\"float\"";
    let int = "\"int\"";
    check_parameter(&range(float, "3.0", "1.0"), 3, &x("low", "low = 3 is above high = 1; swap them"));
    check_parameter(&range(int, "3", "1"), 3, &x("low", "low = 3 is above high = 1; swap them"));
    check_parameter(
        &range(int, "0.5", "1"),
        3,
        &x("low", "0.5 is not a whole number within ±2^53; an int takes only those"),
    );
    check_parameter(&range(float, "\"a\"", "1"), 3, &x("low", "\"a\" is not a number"));
    check_parameter(&range(float, "true", "1"), 3, &x("low", "true is not a number"));
    check_parameter(
        &range(float, "-1.7e308", "1.7e308"),
        4,
        &x("high", "the range is wider than the largest number; narrow it"),
    );
    let edge = "is beyond ±2^53, where integers stop being exact; use a float";
    check_parameter(
        &range(int, "-9223372036854775808", "1"),
        3,
        &x("low", &format!("-9223372036854775808 {edge}")),
    );
    check_parameter(
        &range(int, "0", "9223372036854775807"),
        4,
        &x("high", &format!("9223372036854775807 {edge}")),
    );
}

#[test]
fn bad_scales_steps_and_hints_are_refused() {
    let range = |kind: &'static str, low: &'static str, high: &'static str| {
        vec![("type", kind), ("low", low), ("high", high)]
    };
    let x = |field: &str, problem: &str| format!("parameter \"x\", {field}: {problem}");
    let float = "\"float\"";
    let int = "\"int\"";
    let with = |mut keys: Vec<(&'static str, &'static str)>, key, value| {
        keys.push((key, value));
        keys
    };
    let log = "a log scale needs low > 0, not 0; raise low or use scale = \"linear\"";
    check_parameter(&with(range(float, "0.0", "1.0"), "scale", "\"log\""), 3, &x("low", log));
    check_parameter(&with(range(float, "0.0", "1.0"), "log", "true"), 3, &x("low", log));
    check_parameter(
        &with(range(float, "0.9", "1.0"), "scale", "\"log1m\""),
        4,
        &x("high", "the log scale of 1 - x needs high < 1, not 1; lower high"),
    );
    let both = with(with(range(float, "0.1", "1.0"), "scale", "\"log\""), "log", "true");
    check_parameter(&both, 6, &x("log", "scale and log say the same thing; keep scale"));
    check_parameter(
        &with(range(float, "0.0", "1.0"), "step", "0"),
        5,
        &x("step", "a step must be a positive number, not 0"),
    );
    check_parameter(
        &with(range(float, "0.0", "1.0"), "step", "-0.1"),
        5,
        &x("step", "a step must be a positive number, not -0.1"),
    );
    check_parameter(
        &with(range(float, "0.0", "1.0"), "step", "1.5"),
        5,
        &x("step", "the step 1.5 is wider than the range 0 … 1; lower it"),
    );
    check_parameter(
        &with(range(float, "0.0", "1.0"), "step", "1e-300"),
        5,
        &x("step", "the step 1e-300 is too small to tell values of 0 … 1 apart"),
    );
    check_parameter(
        &with(range(int, "0", "4"), "step", "0"),
        5,
        &x("step", "the step of an int must be at least 1, not 0"),
    );
    check_parameter(
        &with(range(int, "0", "4"), "step", "5"),
        5,
        &x("step", "the step 5 is wider than the range 0 … 4; lower it"),
    );
    check_parameter(
        &with(range(float, "0.0", "1.0"), "default", "2"),
        5,
        &x("default", "2 is outside 0 … 1"),
    );
    check_parameter(
        &with(range(float, "0.0", "1.0"), "default", "\"a\""),
        5,
        &x("default", "\"a\" is not a number"),
    );
    check_parameter(
        &with(with(range(float, "0.0", "1.0"), "step", "0.25"), "default", "0.3"),
        6,
        &x("default", "0.3 is not 0 plus a multiple of 0.25"),
    );
    check_parameter(
        &with(range(float, "0.0", "1.0"), "prior", "{ center = 2.0 }"),
        5,
        &x("prior", "2 is outside 0 … 1"),
    );
    check_parameter(
        &with(range(float, "0.0", "1.0"), "prior", "{ center = 0.5, spread = 0.0 }"),
        5,
        &x("prior", "spread is a share of the range in (0, 1], not 0"),
    );
    check_parameter(
        &with(range(float, "0.0", "1.0"), "prior", "{ weights = [1.0] }"),
        5,
        &x("prior", "a number takes center and spread, not weights"),
    );
    check_parameter(
        &with(range(float, "0.0", "1.0"), "choices", "[1]"),
        5,
        &x(
            "choices",
            "a float parameter has no choices; its keys are low, high, scale, log, step, default, prior, when, repeat",
        ),
    );
    check_parameter(&[("type", float), ("low", "1")], 1, &x("high", "a float parameter needs high; add it"));
    check_parameter(
        &[("low", "1")],
        1,
        &x(
            "type",
            "say what it is: type = one of \"float\", \"int\", \"bool\", \"categorical\", \"ordinal\", \"fixed\"",
        ),
    );
}

#[test]
fn bad_choices_are_refused() {
    let x = |field: &str, problem: &str| format!("parameter \"x\", {field}: {problem}");
    let cat = |choices: &'static str| vec![("type", "\"categorical\""), ("choices", choices)];
    check_parameter(&cat("[]"), 3, &x("choices", "the list is empty; give at least one value"));
    check_parameter(&cat("[\"a\", \"b\", \"a\"]"), 3, &x("choices", "\"a\" is listed twice"));
    check_parameter(&cat("[1, 1.0]"), 3, &x("choices", "1 is listed twice"));
    check_parameter(&cat("[0.0, -0.0]"), 3, &x("choices", "-0 is listed twice"));
    check_parameter(
        &cat("[9007199254740993]"),
        3,
        &x("choices", "9007199254740992 is beyond ±2^53, where integers stop being exact"),
    );
    check_parameter(
        &[("type", "\"ordinal\""), ("levels", "[]")],
        3,
        &x("levels", "the list is empty; give at least one value"),
    );
    let with = |key, value| {
        let mut keys = cat("[\"a\", \"b\"]");
        keys.push((key, value));
        keys
    };
    check_parameter(&with("default", "\"c\""), 4, &x("default", "\"c\" is not among \"a\", \"b\""));
    check_parameter(&with("prior", "{ weights = [1.0] }"), 4, &x("prior", "1 weights for 2 choices"));
    check_parameter(
        &with("prior", "{ weights = [-1.0, 2.0] }"),
        4,
        &x("prior", "weights must be finite, not negative, and not all zero"),
    );
    check_parameter(
        &with("prior", "{ weights = { c = 2.0 } }"),
        4,
        &x("prior", "the weight of \"c\" belongs to no choice"),
    );
    check_parameter(
        &with("prior", "{ center = \"a\" }"),
        4,
        &x("prior", "choices have no centre; give weights = [one number per choice]"),
    );
    check_parameter(
        &with("prior", "{}"),
        4,
        &x("prior", "a prior is { center = VALUE }, { center = VALUE, spread = SHARE } or { weights = .. }"),
    );
    check_parameter(
        &[("type", "\"bool\""), ("value", "true")],
        3,
        &x("value", "a bool parameter has no value; its keys are default, prior, when, repeat"),
    );
    check_parameter(&[("type", "\"fixed\"")], 1, &x("value", "a fixed parameter needs value; add it"));
}

#[test]
fn bad_conditions_are_refused() {
    let parent = "[params.o]\ntype = \"categorical\"\nchoices = [\"sgd\", \"adam\"]\n[params.n]\ntype = \"int\"\nlow = 1\nhigh = 9\n";
    let refuse = |when: &str, problem: &str| {
        let text = format!("{parent}[params.x]\ntype = \"bool\"\nwhen = {when}\n");
        check(Format::Toml, &text, &format!("space.toml:10:1: parameter \"x\", when: {problem}"));
        let json = as_json(&format!(
            "{{ params = {{ o = {{ type = \"categorical\", choices = [\"sgd\", \"adam\"] }}, n = {{ type = \"int\", low = 1, high = 9 }}, x = {{ type = \"bool\", when = {when} }} }} }}"
        ));
        let error = read_json(&json).unwrap_err();
        assert_eq!(error.message, format!("parameter \"x\", when: {problem}"));
        assert_eq!(error.position.map(|p| p.column), json.find("\"when\"").map(|at| at + 1));
    };
    refuse("{ param = \"y\", eq = 1 }", "there is no parameter \"y\"; the parameters are o, n, x");
    refuse("{ param = \"x\", eq = true }", "the condition depends on \"x\" itself; remove that");
    refuse(
        "{ param = \"o\", eq = \"adamw\" }",
        "\"o\" can never be \"adamw\": \"adamw\" is not among \"sgd\", \"adam\"",
    );
    refuse("{ param = \"o\", gt = \"adam\" }", "the choices of \"o\" have no order; use eq, ne or in");
    refuse("{ param = \"n\", eq = 10 }", "\"n\" can never be 10: 10 is outside 1 … 9");
    refuse("{ param = \"n\", gt = \"a\" }", "\"n\" is a number and cannot be compared with \"a\"");
    refuse("{ param = \"n\", in = [] }", "the list of values for \"n\" is empty");
    refuse("{ param = \"n\", lt = { param = \"o\" } }", "\"n\" and \"o\" cannot be compared with lt");
    refuse(
        "{ param = \"n[k]\", lt = 3 }",
        "\"n[k]\" stands for one parameter of each repetition, and there is none here to count k",
    );
    let never = "the condition can never hold; change it, or remove the parameter";
    refuse("{ param = \"n\", gt = 9 }", never);
    refuse("{ all = [{ param = \"n\", gt = 5 }, { param = \"n\", lt = 4 }] }", never);
    refuse("{ all = [{ param = \"o\", eq = \"sgd\" }, { not = { param = \"o\", in = [\"sgd\"] } }] }", never);
    refuse("{ not = { any = [{ param = \"n\", gt = 3 }, { param = \"n\", le = 3 }] } }", never);
    refuse("{ param = \"n\", ne = { param = \"n\" } }", never);
}

#[test]
fn a_condition_that_hangs_on_an_inactive_parent_can_never_hold() {
    let space = |when: Condition| {
        Space::builder()
            .categorical("o", ["sgd", "adam"])
            .float("momentum", 0.5..=0.99)
            .when(Condition::eq("o", "sgd"))
            .bool("nesterov")
            .when(when)
            .build()
    };
    let adam = Condition::eq("o", "adam");
    space(Condition::ge("momentum", 0.6)).expect("possible");
    space(adam.clone()).expect("possible");
    space(adam.clone().and(Condition::Not(Box::new(Condition::ge("momentum", 0.6)))))
        .expect("possible: inactive");
    let error = space(adam.and(Condition::ge("momentum", 0.6))).unwrap_err().to_string();
    assert_eq!(
        error,
        "parameter \"nesterov\", when: the condition can never hold; change it, or remove the parameter"
    );
}

#[test]
fn circles_and_repeated_names_are_refused() {
    let member = |name: &str, parent: &str| {
        format!("[params.{name}]\ntype = \"bool\"\nwhen = {{ param = \"{parent}\", eq = true }}\n")
    };
    let text = [member("leaf", "a"), member("a", "b"), member("b", "c"), member("c", "a")].concat();
    check(
        Format::Toml,
        &text,
        "space.toml:6:1: the conditions of \"a\", \"b\", \"c\" depend on one another in a circle; remove one of them",
    );
    check(
        Format::Json,
        "{ \"params\": {\n \"x\": { \"type\": \"bool\" },\n \"x\": { \"type\": \"bool\" } } }",
        "space.json:3:4: params.x: \"x\" is declared twice; rename one of them",
    );
    let group =
        "[params.n]\ntype = \"int\"\nlow = 1\nhigh = 2\n[params.u]\ntype = \"bool\"\nrepeat = \"n\"\n";
    check(
        Format::Toml,
        &format!("{group}[params.\"u[2]\"]\ntype = \"bool\"\n"),
        "space.toml:8:9: parameter \"u[2]\" is declared twice; rename one of them",
    );
    check(
        Format::Toml,
        &format!("{group}[params.v]\ntype = \"bool\"\nwhen = {{ param = \"u\", eq = true }}\n"),
        "space.toml:10:1: parameter \"v\", when: \"u\" is repeated; write \"u[k]\" or \"u[1]\"",
    );
}

#[test]
fn bad_repetitions_are_refused() {
    let refuse = |counter: &str, repeat: &str, problem: &str| {
        let text = format!("[params.n]\n{counter}\n[params.u]\ntype = \"bool\"\nrepeat = {repeat}\n");
        let line = counter.lines().count() + 4;
        check(Format::Toml, &text, &format!("space.toml:{line}:1: parameter \"u\", repeat: {problem}"));
    };
    let good = "type = \"int\"\nlow = 1\nhigh = 2";
    refuse(good, "\"m\"", "there is no parameter \"m\"");
    refuse(good, "\"u\"", "\"u\" is not an int parameter of its own, so it counts nothing");
    refuse(
        "type = \"float\"\nlow = 1\nhigh = 2",
        "\"n\"",
        "\"n\" is not an int parameter of its own, so it counts nothing",
    );
    refuse(
        "type = \"int\"\nlow = -2\nhigh = 0",
        "\"n\"",
        "the number of repetitions goes up to 1 … 10000, not 0",
    );
    refuse(
        "type = \"int\"\nlow = 1\nhigh = 100000000",
        "\"n\"",
        "the number of repetitions goes up to 1 … 10000, not 100000000",
    );
    refuse(good, "0", "the number of repetitions goes up to 1 … 10000, not 0");
}

#[test]
fn bad_constraints_are_refused() {
    let params = "[params.a]\ntype = \"int\"\nlow = 1\nhigh = 9\n[params.b]\ntype = \"float\"\nlow = 1\nhigh = 9\n[params.o]\ntype = \"bool\"\n";
    let json_params = "\"params\": { \"a\": { \"type\": \"int\", \"low\": 1, \"high\": 9 }, \"b\": { \"type\": \"float\", \"low\": 1, \"high\": 9 }, \"o\": { \"type\": \"bool\" } }";
    let refuse = |constraint: &str, problem: &str| {
        let text = format!(
            "{params}[[constraints]]\nforbid = {{ param = \"a\", eq = 9 }}\n[[constraints]]\n{constraint}\n"
        );
        let error = read_toml(&text).unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.position.map(|p| p.line)),
            (format!("constraint 2: {problem}").as_str(), Some(13))
        );
        let json = format!(
            "{{ {json_params}, \"constraints\": [\n{{ \"forbid\": {{ \"param\": \"a\", \"eq\": 9 }} }},\n{} ] }}",
            as_json(&format!("{{ {constraint} }}"))
        );
        let error = read_json(&json).unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.position.map(|p| p.line)),
            (format!("constraint 2: {problem}").as_str(), Some(3))
        );
    };
    refuse("forbid = { param = \"c\", eq = 1 }", "there is no parameter \"c\"; the parameters are a, b, o");
    refuse(
        "forbid = { param = \"a\", ge = 1 }",
        "it forbids every value that \"a\" can have; narrow it or remove it",
    );
    refuse("require = { param = \"b\", gt = 9 }", "no values of \"b\" meet it; loosen it or remove it");
    refuse(
        "require = { all = [{ param = \"b\", gt = 5 }, { param = \"b\", lt = 4 }] }",
        "no values of \"b\" meet it; loosen it or remove it",
    );
    refuse(
        "linear = { weights = { a = 1.0, b = 2.0 }, at_most = 2.9 }",
        "no values of \"a\", \"b\" keep the weighted sum within the bound; move the bound",
    );
    refuse(
        "linear = { weights = { a = 1.0, b = -1.0 }, at_least = 8.5 }",
        "no values of \"a\", \"b\" keep the weighted sum within the bound; move the bound",
    );
    refuse(
        "product = { of = [\"a\", \"b\"], at_most = 0.5 }",
        "no values of \"a\", \"b\" keep the product within the bound; raise the bound",
    );
    refuse("product = { of = [\"a\", \"o\"], at_most = 5 }", "\"o\" is not a number");
    refuse("product = { of = [], at_most = 5 }", "the product is empty; name at least one parameter");
    refuse("linear = { weights = {}, at_most = 5 }", "there are no weights; name at least one parameter");
    refuse("linear = { weights = { a = 1.0 } }", "a linear constraint needs at_most or at_least");
    refuse(
        "linear = { weights = { a = 1.0 }, at_least = 1, at_most = 0.5 }",
        "at_least = 1 is above at_most = 0.5",
    );
    refuse("require = { param = \"a[k]\", gt = 1 }", "\"a\" is not repeated, so it has no [k]");
    refuse("", "a constraint has exactly one of forbid, require, linear and product");
    let two = format!(
        "{params}[[constraints]]\nforbid = {{ param = \"a\", eq = 9 }}\nrequire = {{ param = \"a\", eq = 1 }}\n"
    );
    let message = read_toml(&two).unwrap_err().message;
    assert_eq!(message, "constraint 1: a constraint has exactly one of forbid, require, linear and product");
}

#[test]
fn constraints_that_exclude_one_another_are_refused() {
    let build = |third: Constraint| {
        let x = |name: &str| Parameter::new(name, int(0, 9, Scale::Linear, 1));
        let at_least = |name: &str, n: i64| Constraint::Require(Condition::ge(name, n));
        Space::new(vec![x("a"), x("b")], vec![at_least("a", 5), at_least("b", 3), third])
    };
    let sum =
        |at_most: f64| Constraint::Linear { weights: vec![("a".into(), 1.0), ("b".into(), 1.0)], at_most };
    assert_eq!(build(sum(8.0)).expect("5 + 3 is allowed").cardinality(10), Some(1));
    assert_eq!(
        build(sum(7.0)).unwrap_err().to_string(),
        "constraint 3: together with the constraints before it, it leaves no values at all; loosen one of them"
    );
}

#[test]
fn a_constraint_of_numbers_that_are_none_is_refused() {
    let build =
        |constraint| Space::new(vec![Parameter::new("a", int(0, 9, Scale::Linear, 1))], vec![constraint]);
    let linear = |weight, at_most| Constraint::Linear { weights: vec![("a".into(), weight)], at_most };
    assert_eq!(
        build(linear(f64::NAN, 1.0)).unwrap_err().to_string(),
        "constraint 1: the weight of \"a\" must be a finite number, not NaN"
    );
    assert_eq!(
        build(linear(1.0, f64::INFINITY)).unwrap_err().to_string(),
        "constraint 1: the bound must be a finite number, not inf"
    );
    let nan = Constraint::Forbid(Condition::ge("a", f64::NAN));
    assert_eq!(
        build(nan).unwrap_err().to_string(),
        "constraint 1: \"a\" is a number and cannot be compared with NaN"
    );
    for (low, high, field) in [(f64::NAN, 1.0, "low"), (0.0, f64::INFINITY, "high")] {
        let error = Space::builder().float("x", low..=high).build().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("parameter \"x\", {field}: "))
                && error.ends_with("is not a finite number"),
            "{error}"
        );
    }
}

#[test]
fn bad_names_are_refused() {
    let error = |name: &str| Space::builder().bool(name).build().unwrap_err().to_string();
    assert_eq!(error(""), "parameter \"\", name: the name is empty");
    assert_eq!(
        error("a\nb"),
        "parameter \"a\\nb\", name: a name may not contain control characters or braces"
    );
    assert_eq!(error("{a}"), "parameter \"{a}\", name: a name may not contain control characters or braces");
    assert!(error(&"x".repeat(10_000)).len() < 200);
    // Unusual, but names: two writings of é, right-to-left, emoji, paths, SQL, a spreadsheet's formula.
    let names = ["é", "e\u{301}", "שלום", "🎻", "../x", "'; DROP TABLE trials;--", "=cmd()"];
    let space =
        names.iter().fold(Space::builder(), |builder, name| builder.bool(name)).build().expect("good names");
    assert!(names.iter().enumerate().all(|(k, name)| space.find(name) == Some(k)));
}

// ------------------------------------------------------------------------------------------ syntax and types

#[test]
fn syntax_and_type_errors_tell_where_they_are() {
    let toml = |text: &str, expected: &str| check(Format::Toml, text, &format!("space.toml:{expected}"));
    let json = |text: &str, expected: &str| check(Format::Json, text, &format!("space.json:{expected}"));
    toml("", "1:1: there is no parameter; add a table such as [params.lr]");
    toml("[params]\n", "1:1: there is no parameter; add a table such as [params.lr]");
    json("", "1:1: EOF while parsing a value");
    json("{}", "1:1: there is no parameter; add one to \"params\": { \"lr\": { … } }");
    toml("[params.x]\ntype = \"float\"\nlow = nan\nhigh = 1\n", "3:7: params.x.low: NaN is not finite");
    toml("[params.x]\ntype = \"float\"\nlow = 1\nhigh = inf\n", "4:8: params.x.high: inf is not finite");
    json("{\"params\": {\"x\": {\n\"low\": 1e400\n}}}", "2:12: params.x.low: number out of range");
    json(
        "{\"params\": {\"x\": {\n\"low\": 18446744073709551615\n}}}",
        "2:27: params.x.low: 18446744073709551615 is too large an integer",
    );
    let keys = "expected one of `type`, `low`, `high`, `scale`, `log`, `step`, `choices`, `levels`, `value`, `default`, `when`, `prior`, `repeat`";
    toml(
        "[params.x]\ntype = \"float\"\nlwo = 1\n",
        &format!("3:1: params.x.lwo: unknown field `lwo`, {keys}"),
    );
    json(
        "{\"params\": {\"x\": {\n\"lwo\": 1\n}}}",
        &format!("2:5: params.x.lwo: unknown field `lwo`, {keys}"),
    );
    toml("[parms.x]\n", "1:2: parms: unknown field `parms`, expected `params` or `constraints`");
    toml(
        "[params.x]\nscale = \"logg\"\n",
        "2:9: params.x.scale: unknown variant `logg`, expected one of `linear`, `log`, `log1m`",
    );
    toml(
        "[params.x]\ntype = \"flaot\"\n",
        "2:8: params.x.type: unknown variant `flaot`, expected one of `float`, `int`, `bool`, `categorical`, `ordinal`, `fixed`",
    );
    toml(
        "[params.x]\nlow = [1]\n",
        "2:7: params.x.low: invalid type: sequence, expected true, false, a finite number or a text",
    );
    toml("[params.x]\nlog = 1\n", "2:7: params.x.log: invalid type: integer `1`, expected true or false");
    toml("[params.x]\nlow = 1\nlow = 2\n", "3:1: duplicate key");
    toml(
        "[params.x]\ntype = \"\\d+\"\n",
        "2:10: in double quotes a backslash begins an escape such as \\n, and this is none; write the text in single quotes, such as 'step (\\d+)', or two backslashes",
    );
    json("{\"params\": {\"x\": {\n\"low\": 1,\n\"low\": 2\n}}}", "3:5: params.x.low: duplicate field `low`");
    toml("params = 3\n", "1:10: params: invalid type: integer `3`, expected a table");
    toml(
        "[params.x]\nrepeat = -1\n",
        "2:10: params.x.repeat: repeat takes the name of an int parameter or a positive whole number",
    );
    toml(
        "[params.x]\nwhen = { param = \"a\", is = 1 }\n",
        "2:8: params.x.when: unknown key \"is\"; a condition is { param = NAME, eq|ne|lt|le|gt|ge = VALUE }, { param = NAME, in = [VALUES] }, { all = [..] }, { any = [..] } or { not = .. }",
    );
    json(
        "{\"params\": {\"x\": {\n\"when\": { \"param\": \"a\", \"eq\": 1, \"eq\": 2 }}}}",
        "2:37: params.x.when.eq: \"eq\" is one key too many; a condition is { param = NAME, eq|ne|lt|le|gt|ge = VALUE }, { param = NAME, in = [VALUES] }, { all = [..] }, { any = [..] } or { not = .. }",
    );
}

#[test]
fn nesting_is_bounded() {
    for depth in [20, 40, 200, 100_000] {
        let leaf = "{\"param\":\"o\",\"eq\":true}";
        let when = format!("{}{leaf}{}", "{\"not\":".repeat(depth), "}".repeat(depth));
        let json = format!(
            "{{\"params\":{{\"o\":{{\"type\":\"bool\"}},\"x\":{{\"type\":\"bool\",\"when\":{when}}}}}}}"
        );
        let toml = format!(
            "[params.o]\ntype = \"bool\"\n[params.x]\ntype = \"bool\"\nwhen = {}\n",
            when.replace(':', "=")
        );
        for (text, format) in [(json, Format::Json), (toml, Format::Toml)] {
            match read(&text, format) {
                Ok(space) => assert!(depth == 20 && space.len() == 2),
                Err(FileError { message, position, .. }) => {
                    assert!(depth > 20 && position.is_some(), "{message}");
                    assert!(
                        depth > 40 || message.ends_with("conditions nest at most 32 deep; flatten this one"),
                        "{message}"
                    );
                    assert!(depth <= 40 || message.contains("recurs"), "{message}");
                }
            }
        }
    }
    for (text, format) in
        [("[".repeat(100_000), Format::Json), ("a = ".to_owned() + &"[".repeat(100_000), Format::Toml)]
    {
        assert!(read(&text, format).unwrap_err().position.is_some());
    }
    let header = format!("[params.{}x]\ntype = \"bool\"\n", "a.".repeat(100_000));
    assert!(read_toml(&header).is_err());
}

#[test]
fn entries_are_found_in_both_formats() {
    let toml = |path: &[&str]| line_of(RICH_TOML, Format::Toml, path);
    let json = |path: &[&str]| line_of(RICH_JSON, Format::Json, path);
    assert_eq!((toml(&["params", "lr", "high"]), json(&["params", "lr", "high"])), (Some(5), Some(3)));
    assert_eq!((toml(&["params", "units"]), json(&["params", "units"])), (Some(15), Some(6)));
    assert_eq!(json(&["params", "nesterov", "when", "all", "1", "gt"]), Some(13));
    assert_eq!(
        (toml(&["constraints", "3", "product"]), json(&["constraints", "3", "product"])),
        (Some(69), Some(21))
    );
    assert_eq!((toml(&["engine"]), json(&["engine"])), (None, None));
    assert_eq!(line_of("not = toml = at all", Format::Toml, &["not"]), None);
    assert_eq!(line_of("{ \"a\": 1,\n\"b\": tru", Format::Json, &["b"]), Some(2));
}

#[test]
fn a_prior_may_be_declared_without_a_file() {
    let mut parameter = Parameter::new("x", float(0.0, 1.0, Scale::Linear, None));
    parameter.prior = Some(Prior::around(0.5));
    Space::new(vec![parameter.clone()], Vec::new()).expect("a good prior");
    parameter.prior = Some(Prior::Center { center: f64::NAN.into(), spread: 0.1 });
    assert!(Space::new(vec![parameter], Vec::new()).is_err());
    let stray = Space::builder().log().build().unwrap_err().to_string();
    assert_eq!(stray, "parameter \"\", log: said before any parameter was declared; move it behind one");
}

#[test]
fn a_repeated_constraint_tells_at_which_repetition_it_is_impossible() {
    let error = Space::builder()
        .int("layers", 1..=4)
        .int("units", 8..=256)
        .repeat("layers")
        .product_at_most(["units[k]", "layers"], 30.0)
        .build()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "constraint 1: no values of \"units[4]\", \"layers\" keep the product within the bound; raise the bound"
    );
}
