//! Generated search spaces, and studies with all kinds of pasts, for the contracts that every sampler keeps.

use luthier_core::engine::written;
use luthier_core::event::{Event, Failure, Origin, Outcome, Work};
use luthier_core::rng::{Purpose, Rng};
use luthier_core::space::{
    Condition, Constraint, Distribution, Parameter, Point, Prior, Scale, Space, SpaceError, Value,
};
use luthier_core::study::Study;
use proptest::prelude::*;

/// The raw material of one parameter; `build` makes it valid.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    kind: u8,
    low: f64,
    width: f64,
    cells: i64,
    hint: u8,
    /// Its parent, counted back from it; 0 for none.
    parent: usize,
    parent_cell: u64,
}

fn raw(kinds: std::ops::Range<u8>, cells: i64) -> impl Strategy<Value = Raw> {
    (kinds, -3.0..3.0f64, 0.1..5.0f64, 1..=cells, 0..4u8, 0..4usize, 0..8u64).prop_map(
        |(kind, low, width, cells, hint, parent, parent_cell)| Raw {
            kind,
            low,
            width,
            cells,
            hint,
            parent,
            parent_cell,
        },
    )
}

/// Spaces of up to six parameters of every kind.
pub(crate) fn any_space() -> impl Strategy<Value = Space> {
    (prop::collection::vec(raw(0..12, 6), 1..7), 0..4u8).prop_map(|(raws, rules)| build(&raws, rules))
}

/// Spaces without continuous parameters, at most five values each.
pub(crate) fn finite_space() -> impl Strategy<Value = Space> {
    (prop::collection::vec(raw(4..12, 5), 1..5), 0..4u8).prop_map(|(raws, rules)| build(&raws, rules))
}

fn build(raws: &[Raw], rules: u8) -> Space {
    let mut parameters: Vec<Parameter> = Vec::new();
    for (k, raw) in raws.iter().enumerate() {
        let distribution = distribution(raw);
        let mut parameter = Parameter::new(format!("p{k}"), distribution);
        if raw.hint & 1 == 1 {
            parameter.default = Some(parameter.distribution.decode(parameter.distribution.from_unit(0.3)));
        }
        if raw.hint & 2 == 2 {
            parameter.prior = Some(prior(&parameter.distribution));
        }
        if let Some(parent) = k.checked_sub(raw.parent).filter(|_| raw.parent > 0) {
            parameter.when = Some(condition(&parameters[parent], raw.parent_cell));
        }
        parameters.push(parameter);
    }
    let constraints = constraints(&parameters, rules);
    match Space::new(parameters.clone(), constraints) {
        // Forbidding one pair of values forbids everything where there is no other pair: no such space exists.
        Err(SpaceError::Constraint { .. }) => Space::new(parameters, Vec::new()).unwrap(),
        made => made.unwrap(),
    }
}

fn distribution(raw: &Raw) -> Distribution {
    let Raw { low, width, cells, .. } = *raw;
    let whole = low.round() as i64;
    let text = |k: i64| Value::from(format!("choice {k}"));
    match raw.kind {
        0 => Distribution::Float { low, high: low + width, scale: Scale::Linear, step: None },
        1 => Distribution::Float {
            low: 10f64.powf(low),
            high: 10f64.powf(low + width),
            scale: Scale::Log,
            step: None,
        },
        2 => Distribution::Float {
            low: 1.0 - 10f64.powf(-low),
            high: 1.0 - 10f64.powf(-low - width),
            scale: Scale::Log1m,
            step: None,
        },
        3 => Distribution::Int { low: whole, high: whole + 1000, scale: Scale::Linear, step: 1 },
        4 => Distribution::Float { low, high: low, scale: Scale::Linear, step: None },
        5 => Distribution::Float {
            low: 0.5 * whole as f64,
            high: 0.5 * (whole + cells) as f64,
            scale: Scale::Linear,
            step: (cells > 1).then_some(1.0).or(Some(0.5)),
        },
        6 => Distribution::Float {
            low: 0.1,
            high: 0.1 * cells as f64,
            scale: Scale::Log,
            step: (cells > 1).then_some(0.1).or(Some(1.0)),
        },
        7 => Distribution::Int { low: whole, high: whole + cells - 1, scale: Scale::Linear, step: 1 },
        8 => Distribution::Int { low: 1, high: cells, scale: Scale::Log, step: 1 },
        9 => Distribution::Int {
            low: 0,
            high: 3 * cells - 1,
            scale: Scale::Linear,
            step: 3.min(3 * cells - 1),
        },
        10 => {
            let mixed = |k: i64| match k % 4 {
                0 if k < 8 => Value::Bool(k == 0),
                1 => Value::Int(k),
                2 => Value::Float(k as f64 + 0.25),
                _ => text(k),
            };
            Distribution::Categorical { choices: (0..cells).map(mixed).collect() }
        }
        _ => Distribution::Ordinal { levels: (0..cells).map(text).collect() },
    }
}

fn prior(distribution: &Distribution) -> Prior {
    match distribution.values() {
        Some(values) if distribution.is_categorical() => {
            Prior::Weights { weights: (0..values.len()).map(|k| (k + 1) as f64).collect() }
        }
        _ => Prior::Center { center: distribution.decode(distribution.from_unit(0.7)), spread: 0.1 },
    }
}

fn condition(parent: &Parameter, cell: u64) -> Condition {
    let distribution = &parent.distribution;
    match distribution.cells() {
        Some(cells) if cells <= 5 => {
            Condition::eq(&parent.name, distribution.decode(distribution.cell(cell % cells)))
        }
        _ if distribution.values().is_some() => {
            Condition::is_in(&parent.name, (0..2).map(|k| distribution.decode(distribution.cell(k))))
        }
        _ => Condition::ge(&parent.name, distribution.decode(distribution.from_unit(cell as f64 / 10.0))),
    }
}

fn constraints(parameters: &[Parameter], rules: u8) -> Vec<Constraint> {
    let mut constraints = Vec::new();
    let numbers: Vec<&Parameter> = parameters.iter().filter(|p| p.distribution.range().is_some()).collect();
    if let (true, [first, second, ..]) = (rules & 1 == 1, &numbers[..]) {
        let middle =
            |p: &Parameter| p.distribution.range().map_or(0.0, |(low, high)| f64::midpoint(low, high));
        constraints.push(Constraint::Linear {
            weights: vec![(first.name.clone(), 1.0), (second.name.clone(), 1.0)],
            at_most: middle(first) + middle(second),
        });
    }
    if rules & 2 == 2 && parameters.len() > 1 {
        let low =
            |p: &Parameter| Condition::eq(&p.name, p.distribution.decode(p.distribution.from_unit(0.0)));
        constraints.push(Constraint::Forbid(low(&parameters[0]).and(low(&parameters[1]))));
    }
    constraints
}

/// What a study has behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Past {
    Empty,
    One,
    AllFailed,
    AllPruned,
    AllRunning,
    Duplicated,
    Ties,
    Huge,
    Tiny,
    Mixed,
}

pub(crate) const PASTS: [Past; 10] = [
    Past::Empty,
    Past::One,
    Past::AllFailed,
    Past::AllPruned,
    Past::AllRunning,
    Past::Duplicated,
    Past::Ties,
    Past::Huge,
    Past::Tiny,
    Past::Mixed,
];

impl Past {
    /// Adds the past to a study: `n` trials with points drawn at random, allowed where that is easy.
    pub(crate) fn live(self, study: &Study, n: usize) -> Vec<Event> {
        let n = match self {
            Self::Empty => 0,
            Self::One => 1,
            _ => n,
        };
        let mut rng = Rng::stream(99, 0, Purpose::Objective, 0);
        let space = study.space();
        let one = some_point(space, &mut rng);
        let mut events = Vec::new();
        for trial in 0..n as u32 {
            let point = if self == Self::Duplicated { one.clone() } else { some_point(space, &mut rng) };
            let params = written(space, &point);
            let why = Origin::Sampler;
            events.push(Event::Started {
                trial,
                space: 0,
                params,
                replicates: None,
                budget: None,
                parent: None,
                why,
                by: None,
            });
            self.spend(trial, rng.uniform(), &mut events);
        }
        events
    }

    fn spend(self, trial: u32, loss: f64, events: &mut Vec<Event>) {
        let work = Work::of(trial);
        let mut add = |event| events.push(event);
        let end = |outcome| Event::Ended { work, outcome, seconds: 1.0, used: None };
        let done = |value: f64| end(Outcome::Completed { values: vec![value] });
        add(Event::Claimed { work, attempt: 1 });
        match self {
            Self::AllRunning => {}
            Self::AllFailed => add(end(failure())),
            Self::AllPruned => {
                for step in 1..=3 {
                    let values = vec![("loss".into(), loss / step as f64)];
                    add(Event::Reported { work, step, values, seconds: 1.0 });
                }
                add(end(Outcome::Pruned));
            }
            Self::Ties => add(done(0.5)),
            Self::Huge => add(done((loss - 0.5) * 2e300)),
            Self::Tiny => add(done((loss - 0.5) * 2e-300)),
            Self::Empty | Self::One | Self::Duplicated => add(done(loss)),
            Self::Mixed => match trial % 4 {
                0 => add(done(loss)),
                1 => add(end(failure())),
                2 => add(end(Outcome::Cancelled)),
                _ => {}
            },
        }
    }
}

fn failure() -> Outcome {
    Outcome::Failed { reason: Failure::Timeout { seconds: 9.0 }, detail: "slow".into() }
}

fn some_point(space: &Space, rng: &mut Rng) -> Point {
    let mut point = space.draw(&rng.uniforms(space.len()));
    for _ in 0..100 {
        if space.allows(&point.0) {
            break;
        }
        point = space.draw(&rng.uniforms(space.len()));
    }
    point
}
