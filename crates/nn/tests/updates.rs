//! Update rules and what surrounds them, against PyTorch and Keras (`reference/optimizers.py`) and by themselves.

use luthier_nn::{
    Layer, Layout, Loss, MaxNorm, Network, Optimizer, OptimizerKind, Segment, UnitAxis, UpdateSettings,
    Updater,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    start: Vec<f32>,
    gradients: Vec<Vec<f32>>,
    optimizers: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    from: String,
    kind: OptimizerKind,
    rate: f64,
    rates: Option<Vec<f64>>,
    constants: Constants,
    weight_decay: f64,
    l1: f64,
    l2: f64,
    proximal: bool,
    clip_norm: Option<f64>,
    clip_value: Option<f64>,
    max_norm: Option<(f64, Axis)>,
    path: Vec<Vec<f64>>,
}

/// Those that a case does not name are the defaults.
#[derive(Deserialize, Clone, Copy)]
struct Constants {
    momentum: Option<f64>,
    rho: Option<f64>,
    beta1: Option<f64>,
    beta2: Option<f64>,
    epsilon: Option<f64>,
    initial_accumulator: Option<f64>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Axis {
    First,
    Last,
}

/// The problem's six weights are repeated, so that loops run through their vector part and their rest.
const COPIES: usize = 9;
/// Numbers that are not trained stand after the fourth copy.
const STATISTICS: std::ops::Range<usize> = 24..29;

impl Case {
    fn rule(&self) -> Optimizer {
        let given = self.constants;
        let mut rule = self.kind.rule();
        let put = |place: &mut f64, value: Option<f64>| *place = value.unwrap_or(*place);
        match &mut rule {
            Optimizer::Sgd { momentum, .. } => put(momentum, given.momentum),
            Optimizer::Rmsprop { rho, momentum, epsilon } => {
                put(rho, given.rho);
                put(momentum, given.momentum);
                put(epsilon, given.epsilon);
            }
            Optimizer::Adagrad { initial_accumulator, epsilon } => {
                put(initial_accumulator, given.initial_accumulator);
                put(epsilon, given.epsilon);
            }
            Optimizer::Adam { beta1, beta2, epsilon }
            | Optimizer::AdamW { beta1, beta2, epsilon }
            | Optimizer::NAdam { beta1, beta2, epsilon } => {
                put(beta1, given.beta1);
                put(beta2, given.beta2);
                put(epsilon, given.epsilon);
            }
            Optimizer::Lion { beta1, beta2 } => {
                put(beta1, given.beta1);
                put(beta2, given.beta2);
            }
        }
        rule
    }

    fn updater(&self) -> Updater {
        let settings = UpdateSettings {
            weight_decay: self.weight_decay,
            proximal_l1: self.proximal,
            // The norm of nine equal gradients is three times that of one.
            clip_norm: self.clip_norm.map(|norm| 3.0 * norm),
            clip_value: self.clip_value,
        };
        let max_norm = self.max_norm.map(|(limit, axis)| MaxNorm {
            limit,
            axis: match axis {
                Axis::First => UnitAxis::First { units: 2 },
                Axis::Last => UnitAxis::Last { units: 2 },
            },
        });
        let copy = |start| Segment {
            l1: self.l1,
            l2: self.l2,
            max_norm,
            decays: true,
            ..Segment::plain(start..start + 6)
        };
        let statistics = Segment { trainable: false, ..copy(24) };
        let segments = (0..4)
            .map(|k| copy(6 * k))
            .chain([Segment { range: STATISTICS, max_norm: None, ..statistics }])
            .chain((4..COPIES).map(|k| copy(6 * k + STATISTICS.len())));
        Updater::new(self.rule(), settings, segments.collect())
    }

    fn rate(&self, step: usize) -> f64 {
        self.rates.as_ref().map_or(self.rate, |rates| rates[step])
    }
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("reference/optimizers.json")).unwrap()
}

/// Copies of `values` with the untrained numbers among them.
fn repeated(values: &[f32], untrained: f32) -> Vec<f32> {
    let mut all = values.repeat(COPIES);
    all.splice(STATISTICS.start..STATISTICS.start, [untrained; 5]);
    all
}

#[test]
fn twenty_steps_agree_with_pytorch_and_keras() {
    let fixture = fixture();
    assert_eq!(fixture.optimizers.len(), 30);
    for case in &fixture.optimizers {
        let mut updater = case.updater();
        let mut weights = repeated(&fixture.start, 7.0);
        for (step, want) in case.path.iter().enumerate() {
            let mut gradients = repeated(&fixture.gradients[step], 1000.0);
            updater.step(&mut weights, &mut gradients, case.rate(step));
            assert_eq!(weights[STATISTICS], [7.0; 5], "{}", case.name);
            let trained = weights[..24].iter().chain(&weights[STATISTICS.end..]);
            for (place, (&got, want)) in trained.zip(want.iter().cycle()).enumerate() {
                let difference = (f64::from(got) - want).abs() / want.abs().max(1.0);
                assert!(
                    difference < 1e-6,
                    "{}: weight {place} after step {step} is {got}, in {} {want}",
                    case.name,
                    case.from
                );
            }
        }
        assert_eq!(updater.steps(), 20);
    }
}

#[test]
fn a_restored_updater_goes_on_with_the_same_bits() {
    let fixture = fixture();
    for case in &fixture.optimizers {
        let mut updater = case.updater();
        let mut weights = repeated(&fixture.start, 0.0);
        let steps = |updater: &mut Updater, weights: &mut [f32], range: std::ops::Range<usize>| {
            for step in range {
                updater.step(weights, &mut repeated(&fixture.gradients[step], 0.0), case.rate(step));
            }
        };
        steps(&mut updater, &mut weights, 0..8);
        let mut other = case.updater();
        let mut copy = weights.clone();
        other.restore(updater.steps(), updater.slots().to_vec());
        assert_eq!(other.slots().len(), other.slot_names().len());
        steps(&mut updater, &mut weights, 8..20);
        steps(&mut other, &mut copy, 8..20);
        assert_eq!(weights, copy, "{}", case.name);
    }
}

/// Twenty steps of given gradients from given weights, by weight decay and by an L2 penalty of half as much.
fn decayed_and_penalised(kind: OptimizerKind) -> [Vec<f32>; 2] {
    let fixture = fixture();
    [(0.2, 0.0), (0.0, 0.1)].map(|(weight_decay, l2)| {
        let settings = UpdateSettings { weight_decay, ..UpdateSettings::default() };
        let kernel = Segment { l2, decays: true, ..Segment::plain(0..6) };
        let mut updater = Updater::new(kind.rule(), settings, vec![kernel]);
        let mut weights = fixture.start.clone();
        for gradients in &fixture.gradients {
            updater.step(&mut weights, &mut gradients.clone(), 0.05);
        }
        weights
    })
}

#[test]
fn decay_equals_a_penalty_of_half_as_much_only_under_plain_sgd() {
    for &kind in OptimizerKind::ALL {
        let [decayed, penalised] = decayed_and_penalised(kind);
        let largest = decayed.iter().zip(&penalised).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        if kind == OptimizerKind::Sgd {
            assert!(largest < 1e-6, "{largest}");
        } else {
            assert!(largest > 1e-3, "{kind}: {largest}");
        }
    }
}

#[test]
fn decay_leaves_biases_alone() {
    let settings = UpdateSettings { weight_decay: 0.5, ..UpdateSettings::default() };
    let segments =
        vec![Segment { decays: true, ..Segment::plain(0..2) }, Segment::plain(2..3), Segment::plain(3..3)];
    let mut updater = Updater::new(OptimizerKind::AdamW.rule(), settings, segments);
    let mut weights = [1.0, -2.0, 3.0];
    updater.step(&mut weights, &mut [0.0; 3], 0.1);
    assert_eq!(weights, [0.95, -1.9, 3.0]);
}

#[test]
fn proximal_steps_reach_exact_zeros_and_subgradients_do_not() {
    let sparsity = |proximal_l1| {
        let settings = UpdateSettings { proximal_l1, ..UpdateSettings::default() };
        let kernel = Segment { l1: 0.5, decays: true, ..Segment::plain(0..4) };
        let mut updater =
            Updater::new(OptimizerKind::Sgd.rule(), settings, vec![kernel, Segment::plain(4..5)]);
        let mut weights = [0.31, -0.22, 3.0, 0.013, 0.0];
        for step in 0..50 {
            // A quadratic with its minimum at 2 for the third weight; the bias is zero but no kernel.
            let mut gradients = [0.0, 0.0, weights[2] - 2.0, 0.1, 0.0];
            updater.step(&mut weights, &mut gradients, 0.1);
            assert!(weights.iter().all(|w| w.is_finite()), "step {step}");
        }
        // The penalty moves the minimum from 2 to 1.5.
        assert!((weights[2] - 1.5).abs() < 0.02, "{weights:?}");
        updater.sparsity(&weights)
    };
    assert_eq!(sparsity(true), 0.75);
    assert_eq!(sparsity(false), 0.0);
}

#[test]
fn small_gradients_are_not_clipped_and_untrained_ones_do_not_count() {
    let settings =
        UpdateSettings { clip_norm: Some(5.0), clip_value: Some(4.0), ..UpdateSettings::default() };
    let statistics = Segment { trainable: false, ..Segment::plain(2..3) };
    let mut updater =
        Updater::new(OptimizerKind::Sgd.rule(), settings, vec![Segment::plain(0..2), statistics]);
    let mut weights = [0.0; 3];
    let mut gradients = [2.5, -4.0, 1e6];
    updater.step(&mut weights, &mut gradients, 1.0);
    assert_eq!((weights, gradients), ([-2.5, 4.0, 0.0], [2.5, -4.0, 1e6]));
    let mut gradients = [40.0, -4.0, 0.0];
    updater.step(&mut weights, &mut gradients, 1.0);
    let want = 5.0 / 2f32.sqrt();
    assert!((gradients[0] - want).abs() < 1e-5 && (gradients[1] + want).abs() < 1e-5, "{gradients:?}");
}

#[test]
fn units_within_the_limit_keep_their_bits() {
    for (axis, places) in [
        (UnitAxis::First { units: 2 }, [[0, 1, 2], [3, 4, 5]]),
        (UnitAxis::Last { units: 2 }, [[0, 2, 4], [1, 3, 5]]),
    ] {
        let kernel =
            Segment { max_norm: Some(MaxNorm { limit: 3.0, axis }), decays: true, ..Segment::plain(0..6) };
        let mut updater = Updater::new(OptimizerKind::Sgd.rule(), UpdateSettings::default(), vec![kernel]);
        let mut weights = [0.0; 6];
        let (small, large) = ([0.1, -0.7, 0.3], [2.0, -4.0, 4.0]);
        for k in 0..3 {
            (weights[places[0][k]], weights[places[1][k]]) = (small[k], large[k]);
        }
        updater.step(&mut weights, &mut [0.0; 6], 1.0);
        for k in 0..3 {
            assert_eq!(weights[places[0][k]], small[k]);
            assert_eq!(weights[places[1][k]], large[k] / 2.0);
        }
    }
}

#[test]
fn no_setting_hides_a_gradient_that_is_not_a_number() {
    let axis = UnitAxis::Last { units: 1 };
    for settings in [
        UpdateSettings { clip_norm: Some(1.0), ..UpdateSettings::default() },
        UpdateSettings { clip_value: Some(1.0), ..UpdateSettings::default() },
        UpdateSettings { proximal_l1: true, weight_decay: 0.1, ..UpdateSettings::default() },
    ] {
        for bad in [f32::NAN, f32::INFINITY] {
            if bad.is_infinite() && settings.clip_value.is_some() {
                continue; // Cut to a number, as it should be.
            }
            let kernel = Segment {
                l1: 0.1,
                max_norm: Some(MaxNorm { limit: 1.0, axis }),
                decays: true,
                ..Segment::plain(0..2)
            };
            let mut updater = Updater::new(OptimizerKind::Sgd.rule(), settings.clone(), vec![kernel]);
            let mut weights = [0.5, 0.5];
            updater.step(&mut weights, &mut [bad, 0.0], 0.1);
            assert!(!weights[0].is_finite(), "{settings:?} turned {bad} into {}", weights[0]);
        }
    }
}

#[test]
fn the_penalty_is_what_its_gradient_is_of() {
    let segments = vec![
        Segment { l1: 0.5, l2: 0.25, ..Segment::plain(0..2) },
        Segment::plain(2..3),
        Segment { l2: 9.0, trainable: false, ..Segment::plain(3..4) },
    ];
    let mut updater = Updater::new(OptimizerKind::Sgd.rule(), UpdateSettings::default(), segments);
    let mut weights = [1.0, -2.0, 5.0, 5.0];
    assert_eq!(updater.penalty(&weights), 0.5 * 3.0 + 0.25 * 5.0);
    let mut gradients = [0.0; 4];
    updater.step(&mut weights, &mut gradients, 0.1);
    assert_eq!(gradients, [1.0, -1.5, 0.0, 0.0]);
}

#[test]
fn segments_follow_the_parameters() {
    let network = Network {
        input: vec![3],
        layers: vec![
            Layer::dense(4),
            Layer::BatchNormalization { momentum: 0.9, epsilon: 1e-3 },
            Layer::dense(2),
        ],
        loss: Loss::SquaredError,
    };
    let layout = Layout::new(&network).unwrap();
    let segments = Segment::of(&layout);
    assert_eq!(segments.last().unwrap().range.end, layout.len());
    for (segment, (parameter, range)) in segments.iter().zip(layout.entries()) {
        assert_eq!(&segment.range, range);
        assert_eq!(segment.decays, parameter.name.ends_with("kernel"), "{}", parameter.name);
        assert_eq!(segment.trainable, !parameter.name.contains("moving"), "{}", parameter.name);
    }
    assert!(segments.iter().any(|segment| !segment.trainable));
    Updater::new(OptimizerKind::Adam.rule(), UpdateSettings::default(), segments);
}
