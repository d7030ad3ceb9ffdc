//! How good *and* how dependable a trial is, from its replicates: the same settings trained on several folds or from
//! several seeds. Statistics of numbers and predictions that are given; it trains nothing and splits nothing.
//!
//! Two questions are answered. How far may each metric be off? (mean, spread, confidence interval.) And do the
//! replicates say the same about the same example, whatever they score on average? That needs at least two predictions
//! of an example: repeated cross-validation, or a hold-out that all replicates share.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use luthier::core::figures::{figure_of, percent};

use crate::metrics::Metric;

/// One trained network of a trial, as measured on its own validation or test rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replicate {
    /// What it scored, by name ([`Metric`] names, with or without `val_` or `test_` in front, or losses).
    pub values: Vec<(String, f64)>,
    /// Numbers of the examples it predicted, counted in the whole data set.
    pub examples: Vec<u32>,
    /// What it said about each of them.
    pub answers: Answers,
}

/// Predictions, or the truth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answers {
    /// Class numbers. Labels are decisions of their own: example `row · labels + label`, class 0 or 1.
    Classes(Vec<u32>),
    /// Numbers in the target's unit.
    Values(Vec<f64>),
}

/// How the replicates came to differ, which says how far their results can be trusted to be independent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Design {
    /// Only by seed, on the same rows: the standard error is s / √n and tells of the training's chance, not of the rows'.
    Seeds,
    /// By the rows they were trained on, as in (repeated) cross-validation or repeated random splits. The training parts
    /// overlap, so s / √n would be too small; the standard error is s √(1/n + test/train) instead (Nadeau and Bengio
    /// 2003, section 3; for repeated folds Bouckaert and Frank 2004).
    Folds {
        /// Rows that a replicate is scored on, over rows it is trained on: 1 / (k − 1) for k folds.
        test_per_train: f64,
    },
}

impl Design {
    /// (Repeated) cross-validation with `folds` folds, at least 2.
    pub fn folds(folds: usize) -> Self {
        Self::Folds { test_per_train: 1.0 / (folds.max(2) - 1) as f64 }
    }
}

/// What the replicates of a trial tell together. Its `Display` is a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// How many there are.
    pub replicates: usize,
    /// How they came to differ.
    pub design: Design,
    /// How sure intervals and bounds are, above 0.5 and below 1.
    pub confidence: f64,
    /// Each metric, in the order of the first replicate that has it.
    pub metrics: Vec<MetricQuality>,
    /// Whether they say the same about the same example.
    pub consistency: Consistency,
}

/// A metric over replicates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricQuality {
    /// Its name.
    pub name: String,
    /// Replicates that have a finite value of it; the others are left out.
    pub replicates: usize,
    /// Their mean.
    pub mean: f64,
    /// What two values allow to say; `None` for a single one.
    pub spread: Option<MetricSpread>,
}

/// How far a metric's mean may be off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricSpread {
    /// Of the values, with n − 1.
    pub standard_deviation: f64,
    /// Of the mean, by the [`Design`].
    pub standard_error: f64,
    /// Confidence interval of the mean (95 % unless said): Student's t with n − 1 degrees of freedom, cut at the metric's bounds.
    pub interval: (f64, f64),
    /// The worse end of a one-sided interval of the same confidence: what the mean is confidently at least (or, of a metric or loss that
    /// should be small, at most). Cut as the interval is.
    pub bound: f64,
}

/// Whether replicates say the same about the same example. Only examples that were predicted at least twice count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Consistency {
    /// Of classes.
    Classes {
        /// Share of the examples that every replicate got right.
        always_right: f64,
        /// Share that none got right.
        never_right: f64,
        /// The chance that two replicates say the same about an example, 0 to 1.
        agreement: f64,
        /// Agreement beyond chance, 1 if all say the same and 0 if no more than by guessing with the same shares of
        /// classes: Fleiss' kappa (1971), in Gwet's form (2014, chapter 2) that lets examples differ in how often they were
        /// predicted. `None` if all replicates say one and the same class about all examples.
        kappa: Option<f64>,
        /// Each example.
        examples: Vec<ExampleHits>,
    },
    /// Of numbers.
    Values {
        /// Mean over examples of the standard deviation (n − 1) of what was predicted, in the target's unit.
        spread: f64,
        /// That over the standard deviation of these examples' targets; `None` if the targets are constant.
        relative_spread: Option<f64>,
        /// Each example.
        examples: Vec<ExampleSpread>,
    },
    /// It cannot be told.
    Unknown {
        /// A sentence for the user.
        why: String,
    },
}

/// How often an example was predicted right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExampleHits {
    /// Its number.
    pub example: u32,
    /// How often it was predicted, at least twice.
    pub times: u32,
    /// How often right.
    pub right: u32,
}

/// How far the predictions of an example lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExampleSpread {
    /// Its number.
    pub example: u32,
    /// How often it was predicted, at least twice.
    pub times: u32,
    /// Their mean, in the target's unit.
    pub mean: f64,
    /// Their standard deviation with n − 1, in the target's unit.
    pub standard_deviation: f64,
}

/// How sure intervals are unless said.
const USUAL_CONFIDENCE: f64 = 0.95;

impl Quality {
    /// What `replicates` tell, with the truth of every example of the data set (found by its number).
    ///
    /// ```
    /// use luthier_nn::{Answers, Design, Quality, Replicate};
    ///
    /// let said = |accuracy, classes: [u32; 4]| Replicate {
    ///     values: vec![("accuracy".into(), accuracy)],
    ///     examples: vec![0, 1, 2, 3],
    ///     answers: Answers::Classes(classes.to_vec()),
    /// };
    /// let truth = Answers::Classes(vec![0, 1, 1, 0]);
    /// let quality = Quality::of(&[said(1.0, [0, 1, 1, 0]), said(0.75, [0, 1, 0, 0])], &truth, Design::Seeds);
    /// assert_eq!(quality.metrics[0].mean, 0.875);
    /// assert!(quality.to_string().contains("always right 75 %"));
    /// ```
    ///
    /// # Panics
    /// If a replicate has not one answer per example, an example is beyond the truth, or answers are of another kind
    /// than the truth.
    pub fn of(replicates: &[Replicate], truth: &Answers, design: Design) -> Self {
        Self::with_confidence(replicates, truth, design, USUAL_CONFIDENCE)
    }

    /// The same with another confidence than 95 %, above 0.5 and below 1.
    ///
    /// # Panics
    /// As [`Quality::of`] does.
    pub fn with_confidence(
        replicates: &[Replicate],
        truth: &Answers,
        design: Design,
        confidence: f64,
    ) -> Self {
        let mut by_name: Vec<(&str, Vec<f64>)> = Vec::new();
        for (name, value) in replicates.iter().flat_map(|replicate| &replicate.values) {
            let place = by_name.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                by_name.push((name, Vec::new()));
                by_name.len() - 1
            });
            by_name[place].1.extend(value.is_finite().then_some(*value));
        }
        let metrics = by_name
            .iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(name, values)| MetricQuality::with_confidence(name, values, design, confidence))
            .collect();
        let consistency = consistency(replicates, truth);
        Self { replicates: replicates.len(), design, confidence, metrics, consistency }
    }

    /// The metric with this name.
    pub fn metric(&self, name: &str) -> Option<&MetricQuality> {
        self.metrics.iter().find(|metric| metric.name == name)
    }
}

impl MetricQuality {
    /// From finite values, of which there is at least one. A name that is no [`Metric`] is taken for a loss: less is
    /// better, and there are no bounds.
    pub fn of(name: &str, values: &[f64], design: Design) -> Self {
        Self::with_confidence(name, values, design, USUAL_CONFIDENCE)
    }

    /// The same with another confidence than 95 %, above 0.5 and below 1.
    pub fn with_confidence(name: &str, values: &[f64], design: Design, confidence: f64) -> Self {
        let n = values.len();
        let mean = mean(values);
        let spread = (n >= 2).then(|| {
            let standard_deviation = standard_deviation(values);
            let standard_error = standard_deviation * design.variance_share(n).sqrt();
            let metric = metric_of(name);
            let (low, high) = metric.map_or((f64::NEG_INFINITY, f64::INFINITY), Metric::bounds);
            let two_sided = t_quantile(confidence, n - 1) * standard_error;
            // 95 % on one side leave 5 % there, as 90 % between two sides do.
            let one_sided = t_quantile(2.0 * confidence - 1.0, n - 1) * standard_error;
            let bound = if higher_is_better(name) { mean - one_sided } else { mean + one_sided };
            MetricSpread {
                standard_deviation,
                standard_error,
                interval: ((mean - two_sided).max(low), (mean + two_sided).min(high)),
                bound: bound.clamp(low, high),
            }
        });
        Self { name: name.to_owned(), replicates: n, mean, spread }
    }
}

impl Design {
    /// The variance of the mean over that of one value.
    fn variance_share(self, n: usize) -> f64 {
        match self {
            Self::Seeds => 1.0 / n as f64,
            Self::Folds { test_per_train } => 1.0 / n as f64 + test_per_train,
        }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.design {
            Design::Seeds => "seeds; intervals tell of the training's chance, not of the rows'",
            Design::Folds { .. } => "folds; intervals allow for training parts that overlap",
        };
        writeln!(f, "{} replicates by {by}", self.replicates)?;
        let name = self.metrics.iter().map(|metric| metric.name.len()).fold("metric".len(), usize::max);
        writeln!(
            f,
            "{:name$}  {:>10}  {:>10}  {:>10}  {:^23}  {:>13}",
            "metric",
            "mean",
            "sd",
            "se",
            format!("{} interval", percent(self.confidence)),
            "confidently"
        )?;
        for metric in &self.metrics {
            write!(f, "{:name$}  {:>10}", metric.name, short(metric.mean))?;
            match metric.spread {
                Some(spread) => {
                    let (low, high) = spread.interval;
                    let sign = if spread.bound < metric.mean { '≥' } else { '≤' };
                    writeln!(
                        f,
                        "  {:>10}  {:>10}  {:>10} … {:<10}  {:>13}",
                        short(spread.standard_deviation),
                        short(spread.standard_error),
                        short(low),
                        short(high),
                        format!("{sign} {}", short(spread.bound))
                    )?;
                }
                None => writeln!(f, "  (one value only: no spread)")?,
            }
        }
        write!(f, "{}", self.consistency)
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Classes { always_right, never_right, agreement, kappa, examples } => {
                let sometimes = (1.0 - always_right - never_right).max(0.0);
                writeln!(
                    f,
                    "of {} examples predicted at least twice: always right {}, sometimes {}, never {}",
                    examples.len(),
                    percent(*always_right),
                    percent(sometimes),
                    percent(*never_right)
                )?;
                let kappa =
                    kappa.map_or("undefined, all say one class".to_owned(), |kappa| format!("{kappa:.3}"));
                write!(
                    f,
                    "two replicates agree on {}; beyond chance (Fleiss' kappa): {kappa}",
                    percent(*agreement)
                )
            }
            Self::Values { spread, relative_spread, examples } => {
                write!(
                    f,
                    "predictions of the same example differ by {} (mean standard deviation over {} examples)",
                    short(*spread),
                    examples.len()
                )?;
                match relative_spread {
                    Some(relative) => write!(f, ", {} of the target's own", percent(*relative)),
                    None => Ok(()),
                }
            }
            Self::Unknown { why } => write!(f, "consistency is not known: {why}"),
        }
    }
}

fn consistency(replicates: &[Replicate], truth: &Answers) -> Consistency {
    match truth {
        Answers::Classes(truth) => {
            let said = by_example(replicates, |answers| match answers {
                Answers::Classes(classes) => classes,
                Answers::Values(_) => panic!("numbers were predicted, but the truth is classes"),
            });
            if said.is_empty() { unknown(replicates) } else { of_classes(&said, truth) }
        }
        Answers::Values(truth) => {
            let said = by_example(replicates, |answers| match answers {
                Answers::Values(values) => values,
                Answers::Classes(_) => panic!("classes were predicted, but the truth is numbers"),
            });
            if said.is_empty() { unknown(replicates) } else { of_values(&said, truth) }
        }
    }
}

/// What was said about each example that was predicted at least twice, by its number.
fn by_example<T: Copy>(replicates: &[Replicate], of: impl Fn(&Answers) -> &[T]) -> Vec<(u32, Vec<T>)> {
    let mut said: BTreeMap<u32, Vec<T>> = BTreeMap::new();
    for replicate in replicates {
        let answers = of(&replicate.answers);
        assert_eq!(answers.len(), replicate.examples.len(), "a replicate has one answer per example");
        for (&example, &answer) in replicate.examples.iter().zip(answers) {
            said.entry(example).or_default().push(answer);
        }
    }
    said.into_iter().filter(|(_, answers)| answers.len() >= 2).collect()
}

fn unknown(replicates: &[Replicate]) -> Consistency {
    let why = if replicates.len() < 2 {
        "there is one replicate only; use several seeds, or repeated folds"
    } else {
        "no example was predicted twice; repeat the cross-validation, or score all replicates on one hold-out"
    };
    Consistency::Unknown { why: why.to_owned() }
}

fn of_classes(said: &[(u32, Vec<u32>)], truth: &[u32]) -> Consistency {
    let hits = |(example, answers): &(u32, Vec<u32>)| ExampleHits {
        example: *example,
        times: answers.len() as u32,
        right: answers.iter().filter(|answer| **answer == truth[*example as usize]).count() as u32,
    };
    let examples: Vec<ExampleHits> = said.iter().map(hits).collect();
    let share = |of: &dyn Fn(&ExampleHits) -> bool| {
        examples.iter().filter(|hits| of(hits)).count() as f64 / examples.len() as f64
    };
    let (agreement, kappa) = agreement(said.iter().map(|(_, answers)| answers.as_slice()));
    Consistency::Classes {
        always_right: share(&|hits| hits.right == hits.times),
        never_right: share(&|hits| hits.right == 0),
        agreement,
        kappa,
        examples,
    }
}

/// Observed agreement Pₐ = mean over examples of Σⱼ nᵢⱼ (nᵢⱼ − 1) / (nᵢ (nᵢ − 1)), and kappa = (Pₐ − Pₑ) / (1 − Pₑ) with
/// Pₑ = Σⱼ πⱼ² and πⱼ the mean over examples of nᵢⱼ / nᵢ.
fn agreement<'a>(said: impl ExactSizeIterator<Item = &'a [u32]>) -> (f64, Option<f64>) {
    let examples = said.len() as f64;
    let mut shares: BTreeMap<u32, f64> = BTreeMap::new();
    let mut agreeing = 0.0;
    for answers in said {
        let n = answers.len() as f64;
        let mut counts: BTreeMap<u32, f64> = BTreeMap::new();
        for &answer in answers {
            *counts.entry(answer).or_default() += 1.0;
        }
        agreeing += counts.values().map(|c| c * (c - 1.0)).sum::<f64>() / (n * (n - 1.0));
        for (class, count) in counts {
            *shares.entry(class).or_default() += count / n;
        }
    }
    let observed = agreeing / examples;
    let by_chance: f64 = shares.values().map(|share| (share / examples).powi(2)).sum();
    (observed, (shares.len() > 1).then(|| (observed - by_chance) / (1.0 - by_chance)))
}

fn of_values(said: &[(u32, Vec<f64>)], truth: &[f64]) -> Consistency {
    let spread_of = |(example, values): &(u32, Vec<f64>)| ExampleSpread {
        example: *example,
        times: values.len() as u32,
        mean: mean(values),
        standard_deviation: standard_deviation(values),
    };
    let examples: Vec<ExampleSpread> = said.iter().map(spread_of).collect();
    let spread = examples.iter().map(|e| e.standard_deviation).sum::<f64>() / examples.len() as f64;
    let targets: Vec<f64> = examples.iter().map(|e| truth[e.example as usize]).collect();
    let varies = targets.iter().any(|&t| t != targets[0]);
    let relative_spread = varies.then(|| spread / standard_deviation(&targets));
    Consistency::Values { spread, relative_spread, examples }
}

/// Whether more of it is better; a name that is no [`Metric`] is taken for a loss.
pub(crate) fn higher_is_better(name: &str) -> bool {
    metric_of(name).is_some_and(Metric::higher_is_better)
}

fn metric_of(name: &str) -> Option<Metric> {
    let bare = name.strip_prefix("val_").or_else(|| name.strip_prefix("test_")).unwrap_or(name);
    Metric::named(bare)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// With n − 1; needs two values.
fn standard_deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

/// The t > 0 with P(|T| < t) = `inside` for Student's T with `freedom` ≥ 1 degrees of freedom.
fn t_quantile(inside: f64, freedom: usize) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while within(high, freedom) < inside {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if within(middle, freedom) < inside {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// P(|T| < t) for whole degrees of freedom ν (Abramowitz and Stegun 26.7.3 and 26.7.4), with θ = atan(t / √ν).
fn within(t: f64, freedom: usize) -> f64 {
    let angle = (t / (freedom as f64).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    // Odd ν: cos θ + ⅔ cos³ θ + … ; even ν: 1 + ½ cos² θ + … ; up to the power ν − 2.
    let odd = freedom % 2;
    let (mut term, mut sum) = (if odd == 1 { cosine } else { 1.0 }, 0.0);
    for power in (odd..freedom.saturating_sub(1)).step_by(2) {
        sum += term;
        term *= cosine * cosine * (power + 1) as f64 / (power + 2) as f64;
    }
    if odd == 1 { std::f64::consts::FRAC_2_PI * (angle + sine * sum) } else { sine * sum }
}

/// Four significant digits: spreads are not known better.
fn short(x: f64) -> String {
    figure_of(x, 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replicate(values: &[(&str, f64)], first: u32, answers: Answers) -> Replicate {
        let count = match &answers {
            Answers::Classes(classes) => classes.len(),
            Answers::Values(values) => values.len(),
        } as u32;
        let values = values.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        Replicate { values, examples: (first..first + count).collect(), answers }
    }

    /// Values of tables of Student's t.
    #[test]
    fn quantiles_of_students_t() {
        let table =
            [(1, 12.706_204_74), (2, 4.302_652_73), (3, 3.182_446_31), (4, 2.776_445_11), (9, 2.262_157_16)];
        for (freedom, t) in
            table.into_iter().chain([(29, 2.045_229_64), (100, 1.983_971_52), (999, 1.962_341_46)])
        {
            let got = t_quantile(0.95, freedom);
            assert!((got - t).abs() < 1e-7, "{freedom} degrees of freedom: {got}, not {t}");
        }
    }

    #[test]
    fn intervals_stay_within_the_bounds_of_the_metric_and_bounds_face_the_worse_side() {
        let high = MetricQuality::of("val_accuracy", &[0.99, 1.0, 0.98], Design::folds(3)).spread.unwrap();
        assert!(high.interval.1 == 1.0 && high.bound < 0.99 && high.interval.0 < high.bound);
        let low = MetricQuality::of("val_loss", &[0.3, 0.4], Design::Seeds).spread.unwrap();
        assert!(low.bound > 0.35 && low.interval.0 < 0.3 && low.interval.1 > low.bound);
        assert!(MetricQuality::of("rmse", &[3.0], Design::Seeds).spread.is_none());
    }

    #[test]
    fn folds_are_less_sure_than_seeds() {
        let values = [0.9, 0.92, 0.88, 0.91, 0.9];
        let folds = MetricQuality::of("accuracy", &values, Design::folds(5)).spread.unwrap();
        let seeds = MetricQuality::of("accuracy", &values, Design::Seeds).spread.unwrap();
        assert!((folds.standard_error / seeds.standard_error - (1.0 + 5.0 / 4.0f64).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn one_cross_validation_tells_nothing_of_consistency() {
        let folds = [
            replicate(&[("accuracy", 1.0)], 0, Answers::Classes(vec![0, 1])),
            replicate(&[("accuracy", 0.5)], 2, Answers::Classes(vec![0, 1])),
        ];
        let quality = Quality::of(&folds, &Answers::Classes(vec![0, 1, 0, 0]), Design::folds(2));
        let Consistency::Unknown { why } = &quality.consistency else { panic!("{quality}") };
        assert!(why.contains("no example was predicted twice"));
        let one = Quality::of(&folds[..1], &Answers::Classes(vec![0, 1]), Design::Seeds);
        assert!(one.to_string().contains("one replicate only"), "{one}");
    }

    #[test]
    fn replicates_that_always_say_the_same_agree_fully() {
        let same = replicate(&[], 0, Answers::Classes(vec![0, 1, 1]));
        let truth = Answers::Classes(vec![0, 1, 0]);
        let quality = Quality::of(&[same.clone(), same], &truth, Design::Seeds);
        let Consistency::Classes { always_right, never_right, agreement, kappa, examples } =
            quality.consistency
        else {
            panic!("classes")
        };
        assert!((always_right - 2.0 / 3.0).abs() < 1e-15 && (never_right - 1.0 / 3.0).abs() < 1e-15);
        assert_eq!((agreement, kappa), (1.0, Some(1.0)));
        assert_eq!(examples[2], ExampleHits { example: 2, times: 2, right: 0 });

        let constant = replicate(&[], 0, Answers::Classes(vec![0, 0, 0]));
        let quality = Quality::of(&[constant.clone(), constant], &truth, Design::Seeds);
        assert!(matches!(quality.consistency, Consistency::Classes { kappa: None, .. }));
    }

    #[test]
    fn reports_are_tables_and_survive_json() {
        let of = |rmse: f64, values: Vec<f64>| replicate(&[("rmse", rmse)], 0, Answers::Values(values));
        let truth = Answers::Values(vec![10.0, 20.0]);
        let replicates = [of(1.0, vec![9.0, 21.0]), of(2.0, vec![11.0, 21.0])];
        let quality = Quality::of(&replicates, &truth, Design::Seeds);
        let Consistency::Values { spread, relative_spread, .. } = &quality.consistency else {
            panic!("numbers")
        };
        assert!((spread - 0.5 * 2f64.sqrt()).abs() < 1e-12);
        assert!((relative_spread.unwrap() - spread / (10.0 / 2f64.sqrt())).abs() < 1e-12);
        let text = quality.to_string();
        assert!(
            text.contains("rmse") && text.contains(" 1.5 ") && text.contains("differ by 0.7071"),
            "{text}"
        );
        let json = serde_json::to_string(&quality).unwrap();
        assert_eq!(serde_json::from_str::<Quality>(&json).unwrap(), quality);
    }
}
