//! What a pair of learning curves says about a run, in one plain sentence. A rule of thumb with its thresholds written
//! down below, not a test; it steers nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::naming::named_choices;

named_choices! {
    /// What is (or is not) wrong with a run.
    Verdict {
        /// Too few epochs to tell.
        TooShort = "too_short",
        /// The training loss is no longer finite, or ends above where it started, or gave back half of what it had gained.
        Diverging = "diverging",
        /// What was learned does not carry over to the validation part.
        OverFitting = "over_fitting",
        /// The network hardly learns even its training rows.
        UnderFitting = "under_fitting",
        /// The validation loss was still falling at the end.
        StillLearning = "still_learning",
        /// None of these.
        Fine = "fine",
    }
}

/// Fewer epochs than this tell nothing.
const FEWEST_EPOCHS: usize = 4;
/// The share of its gain that the training loss must give back to count as diverging.
const GIVEN_BACK: f64 = 0.5;
/// The share of its own gain that the validation loss must give back, after its best epoch, to count as over-fitting.
const RISEN: f64 = 0.1;
/// The share of the training loss's gain, over the whole run, that the gap may be before it counts as over-fitting.
const GAP: f64 = 0.5;
/// A network that takes off less than this share of the baseline's loss is under-fitting.
const EXPLAINED: f64 = 0.2;
/// The share of its gain that the validation loss must make in the last fifth of the run to be still learning.
const LATE_GAIN: f64 = 0.05;

/// The verdict with the numbers behind it. Its `Display` is the sentence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diagnosis {
    /// In a word.
    pub verdict: Verdict,
    /// Training loss at the end; `None` if it is not finite or there is none.
    pub train: Option<f64>,
    /// Validation loss at the end; `None` if it is not finite or there is none.
    pub validation: Option<f64>,
    /// Validation minus training loss at the end. With dropout, noise or label smoothing in training it may be
    /// below 0 for a sound network.
    pub gap: Option<f64>,
    /// The epoch, from 1, with the lowest validation loss; `None` if none is finite.
    pub best_epoch: Option<usize>,
    /// What it means and what to try.
    pub sentence: String,
}

/// Reads the training and the validation loss of each epoch, in one unit and without penalties. `baseline` is the loss of
/// the best constant prediction ([`crate::Loss::baseline`]: for classes the entropy of their shares, for squared error the variance); without
/// it, under-fitting is judged against the first epoch's training loss.
///
/// With g = start − lowest training loss and G = start − lowest validation loss, where a curve starts at its first loss or at
/// the baseline if that is higher (much may be learned within the first epoch), the first of these that holds:
///
/// 1. too short: fewer than 4 epochs, unless a loss is not finite;
/// 2. diverging: a loss that is not finite, a last training loss above the start, or above the lowest by more than ½ g;
/// 3. over-fitting: the last validation loss is above its lowest by more than 0.1 G, while training went on falling; or the
///    gap grew by more than ½ g over the run;
/// 4. under-fitting: the last training loss is above 0.8 times the baseline (which must be positive);
/// 5. still learning: the validation loss made more than 0.05 G in the last fifth of the epochs;
/// 6. fine.
///
/// ```
/// use luthier_nn::{Verdict, diagnose};
///
/// let found = diagnose(&[1.0, 0.6, 0.3, 0.1, 0.05], &[1.0, 0.7, 0.6, 0.7, 0.8], Some(1.1));
/// assert_eq!((found.verdict, found.best_epoch), (Verdict::OverFitting, Some(3)));
/// assert!(found.to_string().starts_with("over-fitting"));
/// ```
pub fn diagnose(train: &[f64], validation: &[f64], baseline: Option<f64>) -> Diagnosis {
    let finite = |curve: &[f64]| curve.last().copied().filter(|loss| loss.is_finite());
    let (last_train, last_validation) = (finite(train), finite(validation));
    let gap = last_train.zip(last_validation).map(|(train, validation)| validation - train);
    let best_epoch = lowest(validation).map(|place| place + 1);
    let verdict = verdict(train, validation, baseline);
    let mut diagnosis = Diagnosis {
        verdict,
        train: last_train,
        validation: last_validation,
        gap,
        best_epoch,
        sentence: String::new(),
    };
    diagnosis.sentence = diagnosis.in_words(validation);
    diagnosis
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl Diagnosis {
    fn in_words(&self, validation: &[f64]) -> String {
        let numbers = match (self.train, self.validation, self.gap) {
            (Some(train), Some(validation), Some(gap)) => {
                let decimals = decimals(validation);
                format!(
                    "training loss {train:.decimals$}, validation loss {validation:.decimals$}, gap {gap:+.decimals$}"
                )
            }
            _ if self.verdict == Verdict::TooShort => "a curve is empty".to_owned(),
            _ => "a loss is not finite".to_owned(),
        };
        match self.verdict {
            Verdict::TooShort => format!("too short: so few epochs tell nothing ({numbers})"),
            Verdict::Diverging => {
                format!(
                    "diverging: the training loss went up ({numbers}); try a smaller learning rate or gradient clipping"
                )
            }
            Verdict::OverFitting => {
                let best = self.best_epoch.map_or(String::new(), |epoch| {
                    let lowest = validation[epoch - 1];
                    format!(", lowest validation loss {lowest:.*} at epoch {epoch}", decimals(lowest))
                });
                format!(
                    "over-fitting: what it learns does not carry over ({numbers}{best}); try early stopping, more dropout or penalty, or a smaller network"
                )
            }
            Verdict::UnderFitting => format!(
                "under-fitting: it hardly learns even its training rows ({numbers}); try a larger network, another learning rate or less regularisation; or the inputs say little about the target"
            ),
            Verdict::StillLearning => {
                format!(
                    "still learning: the validation loss was falling at the end ({numbers}); more epochs should help"
                )
            }
            Verdict::Fine => format!("fine: what it learned carries over ({numbers})"),
        }
    }
}

/// Decimals by which a loss of this size is told: four around 1, more for tiny losses, fewer for large ones, such as squared prices.
fn decimals(loss: f64) -> usize {
    let magnitude = if loss == 0.0 || !loss.is_finite() { 0.0 } else { loss.abs().log10().floor() };
    let decimals = if magnitude < -2.0 { 3.0 - magnitude } else { (4.0 - magnitude).min(4.0) };
    decimals.clamp(0.0, 12.0) as usize
}

fn verdict(train: &[f64], validation: &[f64], baseline: Option<f64>) -> Verdict {
    if train.iter().chain(validation).any(|loss| !loss.is_finite()) {
        return Verdict::Diverging;
    }
    let epochs = train.len().min(validation.len());
    if epochs < FEWEST_EPOCHS {
        return Verdict::TooShort;
    }
    let (train, validation) =
        (Curve::of(&train[..epochs], baseline), Curve::of(&validation[..epochs], baseline));
    let given_back = train.last - train.lowest;
    if train.last > train.start || given_back > GIVEN_BACK * train.gain() {
        return Verdict::Diverging;
    }
    let risen = validation.last - validation.lowest;
    let fell_since_best = train.values[validation.lowest_at] > train.last;
    let gap_grew = (validation.last - train.last) - (validation.values[0] - train.values[0]);
    if (fell_since_best && risen > RISEN * validation.gain())
        || gap_grew > GAP * train.gain() && gap_grew > 0.0
    {
        return Verdict::OverFitting;
    }
    let reference = baseline.unwrap_or(train.values[0]);
    if reference > 0.0 && train.last > (1.0 - EXPLAINED) * reference {
        return Verdict::UnderFitting;
    }
    let late = validation.values[epochs - 1 - epochs.div_ceil(5)] - validation.last;
    if late > LATE_GAIN * validation.gain() && validation.gain() > 0.0 {
        return Verdict::StillLearning;
    }
    Verdict::Fine
}

/// A curve of finite losses with what is asked of it.
struct Curve<'a> {
    values: &'a [f64],
    start: f64,
    last: f64,
    lowest: f64,
    lowest_at: usize,
}

impl<'a> Curve<'a> {
    /// Of at least one value.
    fn of(values: &'a [f64], baseline: Option<f64>) -> Self {
        let lowest_at = lowest(values).unwrap_or(0);
        let start = baseline.map_or(values[0], |baseline| baseline.max(values[0]));
        Self { values, start, last: values[values.len() - 1], lowest: values[lowest_at], lowest_at }
    }

    fn gain(&self) -> f64 {
        self.start - self.lowest
    }
}

/// Index of the lowest finite loss, the first of equal ones.
fn lowest(losses: &[f64]) -> Option<usize> {
    let finite = losses.iter().enumerate().filter(|(_, loss)| loss.is_finite());
    finite.min_by(|a, b| a.1.total_cmp(b.1)).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: Verdict, train: &[f64], validation: &[f64], baseline: Option<f64>) {
        let found = diagnose(train, validation, baseline);
        assert_eq!(found.verdict, expected, "{found}");
        assert!(found.sentence.starts_with(&expected.name().replace('_', "-")[..3]), "{found}");
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Diagnosis>(&json).unwrap(), found);
    }

    #[test]
    fn losses_of_any_size_are_told_in_few_digits() {
        for (scale, told) in [
            (1.0, "training loss 0.1000, validation loss 0.1500, gap +0.0500"),
            (1e-5, "training loss 0.000001000, validation loss 0.000001500, gap +0.000000500"),
            (1e10, "training loss 1000000000, validation loss 1500000000, gap +500000000"),
        ] {
            let curve = |to: f64| falling(0.6 * scale, to * scale, 2.0, 40);
            let sentence = diagnose(&curve(0.1), &curve(0.15), None).sentence;
            assert!(sentence.contains(told), "{sentence}");
        }
    }

    fn falling(from: f64, to: f64, rate: f64, epochs: usize) -> Vec<f64> {
        (0..epochs).map(|epoch| to + (from - to) * (-rate * epoch as f64).exp()).collect()
    }

    #[test]
    fn runs_of_each_kind_are_told_apart() {
        let ln2 = Some(2f64.ln());
        check(Verdict::Fine, &falling(0.6, 0.1, 0.4, 40), &falling(0.6, 0.15, 0.4, 40), ln2);
        check(Verdict::StillLearning, &falling(0.6, 0.1, 0.05, 20), &falling(0.6, 0.15, 0.05, 20), ln2);
        check(Verdict::UnderFitting, &falling(0.69, 0.65, 0.4, 40), &falling(0.69, 0.66, 0.4, 40), ln2);
        check(Verdict::TooShort, &[0.6, 0.5], &[0.6, 0.5], ln2);
        check(Verdict::Diverging, &[0.6, 0.5, 0.9, 2.0, 40.0], &[0.6, 0.5, 0.9, 2.0, 40.0], ln2);
        check(Verdict::Diverging, &[0.6, 0.2, 0.2, 0.5], &[0.6, 0.3, 0.3, 0.5], ln2);
        check(Verdict::Diverging, &[0.6, f64::NAN], &[0.6], ln2);
        let rising: Vec<f64> =
            falling(0.6, 0.2, 0.8, 10).into_iter().chain(falling(0.2, 0.5, 0.1, 20)).collect();
        check(Verdict::OverFitting, &falling(0.6, 0.0, 0.3, 30), &rising, ln2);
        check(Verdict::OverFitting, &falling(0.69, 0.0, 0.3, 30), &falling(0.69, 0.6, 0.3, 30), ln2);
    }

    #[test]
    fn a_network_that_knows_all_after_one_epoch_is_fine_if_the_baseline_says_so() {
        let (train, validation) = (falling(0.02, 0.018, 0.4, 40), falling(0.02, 0.019, 0.4, 40));
        check(Verdict::Fine, &train, &validation, Some(0.7));
        check(Verdict::UnderFitting, &train, &validation, None);
    }

    #[test]
    fn losses_may_be_negative() {
        check(Verdict::Fine, &falling(-1.0, -3.0, 0.4, 40), &falling(-1.0, -2.8, 0.4, 40), None);
    }

    #[test]
    fn the_gap_and_the_best_epoch_are_reported() {
        let found = diagnose(&[1.0, 0.5, 0.4, 0.3], &[1.0, 0.6, 0.5, 0.55], None);
        assert_eq!((found.best_epoch, found.train, found.validation), (Some(3), Some(0.3), Some(0.55)));
        assert!((found.gap.unwrap() - 0.25).abs() < 1e-12);
        let empty = diagnose(&[], &[], None);
        assert_eq!((empty.verdict, empty.gap), (Verdict::TooShort, None));
    }
}
