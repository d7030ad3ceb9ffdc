//! What may be set about a proposal, and which choice the table makes of a history's features.

use serde::{Deserialize, Serialize};

use super::super::tpe::{Grouping, Tpe};
use super::features::Features;
use super::table::{MARGIN, TABLE};

/// Which bad trials are left out: half of them, in the mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// None.
    None,
    /// The older, the more probably.
    Age,
    /// The worse, the more probably.
    Rank,
    /// Each with the same probability.
    Random,
}

/// How one proposal is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Share of the trials that count as good.
    pub gamma: f64,
    /// Points drawn.
    pub n_candidates: usize,
    /// The smallest bandwidth of both models, as a share of the range.
    pub width: f64,
    /// The smallest bandwidth of the bad trials' model, as that of [`super::super::tpe`].
    pub bad_width: f64,
    /// Weight of the prior, in trials.
    pub prior_weight: f64,
    /// Probability with which a parameter that matters less is locked.
    pub lock: f64,
    /// Which bad trials are left out.
    pub filter: Filter,
    /// Whether parameters are chosen at once or one by one.
    pub grouping: Grouping,
}

/// How many settings there are.
pub const SETTING_COUNT: usize = 8;

/// The settings and how many choices each has, in the order of the table. Choice 0 is the plain estimator's.
pub const SETTINGS: [(&str, usize); SETTING_COUNT] = [
    ("gamma", GAMMA.len()),
    ("n_candidates", CANDIDATES.len()),
    ("width", WIDTH.len()),
    ("bad_width", BAD_WIDTH.len()),
    ("prior_weight", PRIOR_WEIGHT.len()),
    ("lock", LOCK.len()),
    ("filter", FILTER.len()),
    ("grouping", GROUPING.len()),
];

const GAMMA: [f64; 3] = [0.1, 0.05, 0.2];
const CANDIDATES: [usize; 3] = [24, 8, 64];
const WIDTH: [f64; 3] = [0.0, 0.05, 0.1];
const BAD_WIDTH: [f64; 3] = [0.2, 0.1, 0.4];
const PRIOR_WEIGHT: [f64; 3] = [1.0, 0.3, 3.0];
const LOCK: [f64; 3] = [0.0, 0.35, 0.7];
const FILTER: [Filter; 4] = [Filter::None, Filter::Age, Filter::Rank, Filter::Random];
const GROUPING: [Grouping; 2] = [Grouping::Auto, Grouping::Single];

impl Settings {
    /// The settings with these choices, one per entry of [`SETTINGS`]; a number too large counts as the last.
    pub fn of(choices: [usize; SETTING_COUNT]) -> Self {
        fn pick<T: Copy, const N: usize>(values: [T; N], choice: usize) -> T {
            values[choice.min(N - 1)]
        }
        Self {
            gamma: pick(GAMMA, choices[0]),
            n_candidates: pick(CANDIDATES, choices[1]),
            width: pick(WIDTH, choices[2]),
            bad_width: pick(BAD_WIDTH, choices[3]),
            prior_weight: pick(PRIOR_WEIGHT, choices[4]),
            lock: pick(LOCK, choices[5]),
            filter: pick(FILTER, choices[6]),
            grouping: pick(GROUPING, choices[7]),
        }
    }

    /// The estimator that makes the proposal, but for what is locked, filtered and widened.
    pub(super) fn estimator(&self) -> Tpe {
        let Self { gamma, n_candidates, prior_weight, bad_width, grouping, .. } = *self;
        Tpe { n_candidates, gamma, prior_weight, grouping, bad_width, ..Tpe::default() }
    }

    /// Of each setting the choice that promises most in a study with these features.
    pub fn by(features: &Features) -> Self {
        let mut choices = [0; SETTING_COUNT];
        let mut row = 0;
        for (choice, (_, count)) in choices.iter_mut().zip(SETTINGS) {
            let gains: Vec<f64> = TABLE[row..row + count].iter().map(|row| gain(row, features)).collect();
            for (k, gain) in gains.iter().enumerate().skip(1) {
                let least = if *choice == 0 { gains[0] + MARGIN } else { gains[*choice] };
                if *gain > least {
                    *choice = k;
                }
            }
            row += count;
        }
        Self::of(choices)
    }
}

fn gain(row: &[f64], features: &Features) -> f64 {
    row.iter().zip(features).map(|(weight, feature)| weight * feature).sum()
}
