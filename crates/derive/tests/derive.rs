//! Derived declarations: the space they make and the values they read back.

use luthier_core::space::{Comparison, Condition, Params, Space, SpaceError, Tunable, Value};
use luthier_derive::Tunable;

#[derive(Debug, PartialEq, Tunable)]
struct Settings {
    #[tune(low = 1e-5, high = 1e-1, scale = "log", default = 1e-3, prior(center = 1e-3, spread = 0.2))]
    lr: f64,
    #[tune(low = 1, high = 4)]
    layers: u32,
    #[tune(low = 8, high = 256, log, step = 8, repeat = "layers")]
    units: Vec<usize>,
    #[tune(choices = ["relu", "tanh"], weights = [2, 1], repeat = "layers")]
    activation: Vec<String>,
    #[tune(low = 0.0, high = 0.5, repeat = "layers", when("activation[k]" = "relu", layers >= 2))]
    dropout: Vec<Option<f32>>,
    #[tune(default = "sgd")]
    optimizer: Optimizer,
    #[tune(levels = [16, 32, 64])]
    batch: i64,
    #[tune(when(any(layers > 3, not(batch = [16, 32]))))]
    warm: Option<bool>,
    #[tune(value = 7)]
    seed: u64,
    regularisation: Regularisation,
    shuffle: bool,
}

#[derive(Debug, PartialEq, Tunable)]
enum Optimizer {
    Adam,
    #[tune(name = "adamw")]
    AdamW(Decay),
    Sgd {
        #[tune(low = 0.5, high = 0.999, scale = "log1m")]
        momentum: f64,
        #[tune(when(momentum > 0.6))]
        nesterov: Option<bool>,
    },
}

#[derive(Debug, PartialEq, Tunable)]
struct Decay {
    #[tune(low = 1e-6, high = 1e-2, log, name = "weight_decay")]
    rate: f64,
}

#[derive(Debug, PartialEq, Tunable)]
struct Regularisation {
    #[tune(low = -1, high = 1)]
    l1: i8,
}

/// The same as [`Settings`], with the builder.
fn built() -> Space {
    let optimizer = |name: &str| Condition::eq("optimizer", name);
    Space::builder()
        .float("lr", 1e-5..=1e-1)
        .log()
        .default(1e-3)
        .prior(1e-3, 0.2)
        .int("layers", 1..=4)
        .int("units", 8..=256)
        .log()
        .step(8)
        .repeat("layers")
        .categorical("activation", ["relu", "tanh"])
        .weights([2.0, 1.0])
        .repeat("layers")
        .float("dropout", 0.0..=0.5)
        .repeat("layers")
        .when(Condition::All(vec![Condition::eq("activation[k]", "relu"), Condition::ge("layers", 2)]))
        .categorical("optimizer", ["adam", "adamw", "sgd"])
        .default("sgd")
        .float("weight_decay", 1e-6..=1e-2)
        .log()
        .when(optimizer("adamw"))
        .float("momentum", 0.5..=0.999)
        .log1m()
        .when(optimizer("sgd"))
        .bool("nesterov")
        .when(optimizer("sgd").and(Condition::compare("momentum", Comparison::Gt, 0.6)))
        .ordinal("batch", [16, 32, 64])
        .bool("warm")
        .when(Condition::Any(vec![
            Condition::compare("layers", Comparison::Gt, 3),
            Condition::Not(Box::new(Condition::is_in("batch", [16, 32]))),
        ]))
        .fixed("seed", 7)
        .int("l1", -1..=1)
        .bool("shuffle")
        .build()
        .expect("a good space")
}

#[test]
fn a_struct_declares_the_space_that_its_attributes_say() {
    assert_eq!(Settings::space().expect("a good space"), built());
}

#[test]
fn a_struct_is_filled_in_for_each_trial() {
    let params = Params::new()
        .with("lr", 0.01)
        .with("layers", 2)
        .with("units[1]", 64)
        .with("units[2]", 32)
        .with("activation[1]", "tanh")
        .with("activation[2]", "relu")
        .with("dropout[2]", 0.25)
        .with("optimizer", "sgd")
        .with("momentum", 0.9)
        .with("nesterov", true)
        .with("batch", 64)
        .with("warm", false)
        .with("seed", 7)
        .with("l1", -1)
        .with("shuffle", true);
    built().encode(&params).expect("params of the space");
    assert_eq!(
        Settings::from_params(&params).expect("a trial"),
        Settings {
            lr: 0.01,
            layers: 2,
            units: vec![64, 32],
            activation: vec!["tanh".into(), "relu".into()],
            dropout: vec![None, Some(0.25)],
            optimizer: Optimizer::Sgd { momentum: 0.9, nesterov: Some(true) },
            batch: 64,
            warm: Some(false),
            seed: 7,
            regularisation: Regularisation { l1: -1 },
            shuffle: true,
        }
    );
}

#[test]
fn every_point_of_the_space_can_be_read() {
    let space = Settings::space().expect("a good space");
    let mut seen = [false; 3];
    for i in 0..500 {
        let cube: Vec<f64> =
            (0..space.len()).map(|k| (f64::from(i) * 0.618 + k as f64 * 0.37).fract()).collect();
        let settings = Settings::from_params(&space.decode(&space.draw(&cube))).expect("a trial");
        assert_eq!(settings.units.len(), settings.layers as usize);
        seen[match settings.optimizer {
            Optimizer::Adam => 0,
            Optimizer::AdamW(Decay { rate }) => usize::from((1e-6..=1e-2).contains(&rate)),
            Optimizer::Sgd { momentum, nesterov } => {
                assert_eq!(nesterov.is_some(), momentum > 0.6);
                2
            }
        }] = true;
    }
    assert_eq!(seen, [true; 3]);
}

#[test]
fn wrong_params_are_refused_by_name() {
    let error = |params: Params| Decay::from_params(&params).unwrap_err().to_string();
    assert_eq!(error(Params::new()), "\"weight_decay\": the params of this trial have no value for it");
    assert_eq!(
        error(Params::new().with("weight_decay", "a")),
        "\"weight_decay\": \"a\" does not fit into f64"
    );
    let error = Regularisation::from_params(&Params::new().with("l1", 300)).unwrap_err().to_string();
    assert_eq!(error, "\"l1\": 300 does not fit into i8");
    let error = Optimizer::from_params(&Params::new().with("optimizer", "lbfgs")).unwrap_err().to_string();
    assert_eq!(error, "\"optimizer\": \"lbfgs\" is not among adam, adamw, sgd");
}

#[derive(Debug, PartialEq, Tunable)]
struct Network {
    #[tune(low = 1, high = 3)]
    depth: usize,
    #[tune(repeat = "depth")]
    layer: Vec<Layer>,
    #[tune(when(depth >= 2))]
    head: Option<Head>,
}

#[derive(Debug, PartialEq, Tunable)]
struct Layer {
    #[tune(low = 8, high = 64, log)]
    width: u16,
    activation: Activation,
    #[tune(low = 0.1, high = 1.0, when(width > 16))]
    noise: Option<f64>,
}

#[derive(Debug, PartialEq, Tunable)]
enum Activation {
    Relu,
    Elu {
        #[tune(low = 0.1, high = 1.0)]
        alpha: f64,
    },
}

#[derive(Debug, PartialEq, Tunable)]
enum Head {
    Linear,
    Cosine,
}

#[test]
fn whole_structs_may_be_repeated_and_conditional() {
    let space = Network::space().expect("a good space");
    let names: Vec<&str> = space.parameters().iter().map(|p| &*p.name).collect();
    assert_eq!(names[..3], ["depth", "width[1]", "width[2]"]);
    assert!(names.contains(&"activation[3]") && names.contains(&"alpha[2]") && names.contains(&"head"));
    for i in 0..200 {
        let cube: Vec<f64> =
            (0..space.len()).map(|k| (f64::from(i) * 0.618 + k as f64 * 0.37).fract()).collect();
        let params = space.decode(&space.from_unit(&cube));
        let network = Network::from_params(&params).expect("a trial");
        assert_eq!(network.layer.len(), network.depth);
        assert_eq!(network.head.is_some(), network.depth >= 2, "{params}");
        for (k, layer) in network.layer.iter().enumerate() {
            assert_eq!(layer.noise.is_some(), layer.width > 16, "{params}");
            let alpha = params.get(&format!("alpha[{}]", k + 1)).and_then(Value::as_f64);
            match layer.activation {
                Activation::Relu => assert_eq!(alpha, None),
                Activation::Elu { alpha: read } => assert_eq!(alpha, Some(read)),
            }
        }
    }
}

#[derive(Debug, Tunable)]
struct Deep {
    #[tune(repeat = 2)]
    #[allow(dead_code, reason = "declared only to be refused")]
    part: Vec<Part>,
}

#[derive(Debug, Tunable)]
struct Part {
    #[tune(repeat = 2)]
    #[allow(dead_code, reason = "declared only to be refused")]
    flag: Vec<bool>,
}

#[test]
fn lists_in_lists_and_names_that_meet_are_refused() {
    let error = Deep::space().unwrap_err().to_string();
    assert!(error.contains("\"flag\", repeat") && error.contains("lists in lists"), "{error}");
    assert_eq!(Twice::space().unwrap_err(), SpaceError::Duplicate { name: "l1".into() });
}

#[derive(Debug, Tunable)]
#[allow(dead_code, reason = "declared only to be refused")]
struct Twice {
    first: Regularisation,
    second: Regularisation,
}
