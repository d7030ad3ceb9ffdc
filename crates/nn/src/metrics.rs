//! How good predictions are: metrics over predictions and truth that are given as slices, each in double precision.
//! Losses that training follows live in [`crate::loss`]; this file knows no network, no data set and no split.
//!
//! Values agree with scikit-learn's (macro averages over classes, ties in the ROC curve by mid-ranks). Where a metric
//! is undefined (one class only, a constant target) it has no value and a note says why; nothing here is ever NaN.

use std::cmp::Ordering;
use std::fmt;

use crate::naming::named_choices;

/// One table gives the metrics and both their names.
macro_rules! metrics {
    ($(#[$attribute:meta])* $name:ident {
        $($(#[$doc:meta])* $variant:ident = $text:literal $(| $alias:literal)*,)+
    }) => {
        named_choices! {
            $(#[$attribute])* $name { $($(#[$doc])* $variant = $text $(| $alias)*,)+ }
        }

        impl $name {
            /// The name that an epoch's report gives it, measured on the validation part: `val_accuracy`.
            pub fn validation_name(self) -> &'static str {
                match self { $(Self::$variant => concat!("val_", $text),)+ }
            }
        }
    };
}

metrics! {
    /// A number that says how good predictions are. Which targets it is for: [`Metric::applies_to`].
    Metric {
        /// Share of rows whose most probable class is the right one (the first of equally probable ones counts); for
        /// labels, share of all label decisions that are right.
        Accuracy = "accuracy",
        /// Share of rows whose right class is among the two most probable; needs three classes.
        Top2Accuracy = "top_2_accuracy",
        /// Share of rows whose right class is among the three most probable; needs four classes.
        Top3Accuracy = "top_3_accuracy",
        /// Share of rows whose right class is among the five most probable; needs six classes.
        Top5Accuracy = "top_5_accuracy" | "top_k_accuracy",
        /// Mean recall over the classes that are present.
        BalancedAccuracy = "balanced_accuracy",
        /// Share of the rows predicted to be of a class that are. Two classes: of the second one. More, or labels: the
        /// unweighted mean over those that are present or predicted (macro); 0 for one that is never predicted.
        Precision = "precision",
        /// Share of a class's rows that are found, averaged as precision.
        Recall = "recall" | "sensitivity",
        /// Harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN), averaged as precision.
        F1 = "f1" | "f1_score",
        /// F1 averaged over all classes, also where there are two.
        F1Macro = "f1_macro",
        /// F1 averaged over classes with their numbers of rows as weights.
        F1Weighted = "f1_weighted",
        /// Area under the ROC curve: the chance that a row of the class scores higher than one of the others, ties
        /// counting half. Two classes: of the second one. More: mean over one class against the rest; labels: mean over
        /// labels. Classes that are absent, or alone, are left out and noted.
        RocAuc = "roc_auc" | "auc",
        /// −ln of the probability of what is true, in nats; probabilities are held within 1.19e-7 of 0 and 1. For labels,
        /// a mean over labels.
        LogLoss = "log_loss",
        /// Expected calibration error: |accuracy − confidence| over 15 bins of equal width, weighted by their rows (Guo et
        /// al. 2017, equation 3). Confidence is the probability of the predicted class, with two classes too; for
        /// labels, that of each label decision.
        CalibrationError = "calibration_error" | "ece",
        /// Mean squared distance of the probabilities from what is true (Brier 1950): (p − t)² of the second class
        /// where there are two, and for each label; Σₖ (pₖ − tₖ)² where there are more.
        Brier = "brier" | "brier_score",
        /// Share of rows with every label right.
        SubsetAccuracy = "subset_accuracy" | "exact_match",
        /// 1 − squared error / squared deviation from these rows' mean, as a mean over outputs.
        R2 = "r2",
        /// Root mean squared error, in the target's unit, as a mean over outputs.
        Rmse = "rmse",
        /// Mean squared error, in the square of the target's unit.
        Mse = "mse",
        /// Mean absolute error, in the target's unit.
        Mae = "mae",
        /// Median absolute error, in the target's unit, as a mean over outputs.
        MedianAbsoluteError = "median_absolute_error",
        /// 2 (t ln(t / μ) − t + μ) as a mean, for targets t ≥ 0 and predictions μ > 0.
        PoissonDeviance = "poisson_deviance",
    }
}

/// What kind of thing is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TargetKind {
    /// One of several classes.
    Classes,
    /// Any number of labels.
    Labels,
    /// One or several numbers.
    Values,
}

/// Predictions beside the truth, row by row.
#[derive(Debug, Clone, Copy)]
pub enum Predicted<'a> {
    /// Of classes.
    Classes {
        /// A probability per class, or per row only that of the second of two classes.
        probabilities: &'a [f32],
        /// Numbers per row: the number of classes, or 1.
        width: usize,
        /// The right class of each row, below the number of classes.
        truth: &'a [u32],
    },
    /// Of labels.
    Labels {
        /// The probability of each label.
        probabilities: &'a [f32],
        /// Labels per row.
        width: usize,
        /// For each of these probabilities whether the label holds: above ½ if so.
        truth: &'a [f32],
    },
    /// Of numbers.
    Values {
        /// In the target's unit.
        predicted: &'a [f64],
        /// Numbers per row.
        width: usize,
        /// As many as there are predictions, in the same unit.
        truth: &'a [f64],
    },
}

/// What [`compute`] found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Measured {
    /// Metrics that have a value, always finite, in the order asked for.
    pub values: Vec<(Metric, f64)>,
    /// A sentence for each metric that has none, or that leaves something out.
    pub notes: Vec<String>,
}

impl Measured {
    /// The value of a metric, if it has one.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        self.values.iter().find(|(m, _)| *m == metric).map(|(_, value)| *value)
    }
}

/// Each of `metrics` over `predicted`.
///
/// ```
/// use luthier_nn::{Metric, Predicted, compute};
///
/// let probabilities = [0.1, 0.8, 0.35, 0.6];
/// let predicted = Predicted::Classes { probabilities: &probabilities, width: 1, truth: &[0, 1, 1, 0] };
/// let measured = compute(&[Metric::Accuracy, Metric::RocAuc], predicted);
/// assert_eq!(measured.values, [(Metric::Accuracy, 0.5), (Metric::RocAuc, 0.75)]);
/// ```
///
/// # Panics
/// If lengths do not fit or a class number is too large: who made the predictions sees to that.
pub fn compute(metrics: &[Metric], predicted: Predicted<'_>) -> Measured {
    let mut measured = Measured::default();
    let kind = predicted.kind();
    let problem = predicted.problem();
    let tables = Tables::of(predicted);
    for &metric in metrics {
        let found = match (problem, metric.applies_to(kind)) {
            (_, false) => Err(format!("it is not for {kind}")),
            (Some(problem), true) => Err(problem.to_owned()),
            (None, true) => value_of(metric, predicted, &tables, &mut measured.notes),
        };
        match found {
            Ok(value) if value.is_finite() => measured.values.push((metric, value)),
            Ok(_) => measured.notes.push(format!("`{metric}` has no value: it is too large to be written")),
            Err(why) => measured.notes.push(format!("`{metric}` has no value: {why}")),
        }
    }
    measured
}

impl Metric {
    /// What is measured unless something else is asked for, best first.
    pub fn defaults(kind: TargetKind) -> &'static [Self] {
        match kind {
            TargetKind::Classes => {
                &[Self::Accuracy, Self::BalancedAccuracy, Self::F1, Self::RocAuc, Self::LogLoss]
            }
            TargetKind::Labels => &[Self::F1, Self::SubsetAccuracy, Self::RocAuc],
            TargetKind::Values => &[Self::R2, Self::Rmse, Self::Mae],
        }
    }

    /// Whether it can be computed for such targets.
    pub fn applies_to(self, kind: TargetKind) -> bool {
        match self {
            Self::Accuracy
            | Self::Precision
            | Self::Recall
            | Self::F1
            | Self::F1Macro
            | Self::F1Weighted
            | Self::RocAuc
            | Self::LogLoss
            | Self::CalibrationError
            | Self::Brier => kind != TargetKind::Values,
            Self::Top2Accuracy | Self::Top3Accuracy | Self::Top5Accuracy | Self::BalancedAccuracy => {
                kind == TargetKind::Classes
            }
            Self::SubsetAccuracy => kind == TargetKind::Labels,
            Self::R2
            | Self::Rmse
            | Self::Mse
            | Self::Mae
            | Self::MedianAbsoluteError
            | Self::PoissonDeviance => kind == TargetKind::Values,
        }
    }

    /// Whether more is better.
    pub fn higher_is_better(self) -> bool {
        match self {
            Self::LogLoss
            | Self::CalibrationError
            | Self::Brier
            | Self::Rmse
            | Self::Mse
            | Self::Mae
            | Self::MedianAbsoluteError
            | Self::PoissonDeviance => false,
            Self::Accuracy
            | Self::Top2Accuracy
            | Self::Top3Accuracy
            | Self::Top5Accuracy
            | Self::BalancedAccuracy
            | Self::Precision
            | Self::Recall
            | Self::F1
            | Self::F1Macro
            | Self::F1Weighted
            | Self::RocAuc
            | Self::SubsetAccuracy
            | Self::R2 => true,
        }
    }

    /// The smallest and the largest value it can take.
    pub fn bounds(self) -> (f64, f64) {
        match self {
            Self::R2 => (f64::NEG_INFINITY, 1.0),
            Self::Brier => (0.0, 2.0),
            // −ln of the smallest probability that is let in.
            Self::LogLoss => (0.0, -f64::from(f32::EPSILON).ln()),
            Self::Rmse | Self::Mse | Self::Mae | Self::MedianAbsoluteError | Self::PoissonDeviance => {
                (0.0, f64::INFINITY)
            }
            Self::Accuracy
            | Self::Top2Accuracy
            | Self::Top3Accuracy
            | Self::Top5Accuracy
            | Self::BalancedAccuracy
            | Self::Precision
            | Self::Recall
            | Self::F1
            | Self::F1Macro
            | Self::F1Weighted
            | Self::RocAuc
            | Self::CalibrationError
            | Self::SubsetAccuracy => (0.0, 1.0),
        }
    }
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classes => "classes",
            Self::Labels => "labels",
            Self::Values => "numbers",
        })
    }
}

impl Predicted<'_> {
    /// What is predicted.
    pub fn kind(&self) -> TargetKind {
        match self {
            Self::Classes { .. } => TargetKind::Classes,
            Self::Labels { .. } => TargetKind::Labels,
            Self::Values { .. } => TargetKind::Values,
        }
    }

    /// Why nothing can be measured at all.
    fn problem(&self) -> Option<&'static str> {
        let (empty, finite) = match self {
            Self::Classes { probabilities, width, truth } => {
                assert_eq!(probabilities.len(), width * truth.len(), "a row of probabilities for each row");
                (truth.is_empty(), probabilities.iter().all(|p| p.is_finite()))
            }
            Self::Labels { probabilities, truth, .. } => {
                assert_eq!(probabilities.len(), truth.len(), "a truth for each label");
                (truth.is_empty(), probabilities.iter().all(|p| p.is_finite()))
            }
            Self::Values { predicted, truth, .. } => {
                assert_eq!(predicted.len(), truth.len(), "a truth for each number");
                (truth.is_empty(), predicted.iter().chain(*truth).all(|v| v.is_finite()))
            }
        };
        match (empty, finite) {
            (true, _) => Some("there are no rows"),
            (false, false) => Some("a prediction is not finite"),
            (false, true) => None,
        }
    }
}

/// The class that a row of probabilities says: the most probable, the first of equally probable ones; with the
/// probability of the second of two classes alone, that class if above ½.
pub fn predicted_class(probabilities: &[f32]) -> usize {
    match probabilities {
        [p] => usize::from(*p > 0.5),
        all => largest(all),
    }
}

/// Index of the largest value, the first of equal ones.
pub(crate) fn largest(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

/// Counts of one class or label against everything else.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    right: f64,
    predicted: f64,
    present: f64,
}

/// What several metrics share: counts per class or per label; none for numbers.
struct Tables {
    counts: Vec<Counts>,
}

impl Tables {
    fn of(predicted: Predicted<'_>) -> Self {
        let counts = match predicted {
            Predicted::Classes { probabilities, width, truth } => {
                let mut counts = vec![Counts::default(); width.max(2)];
                for (row, &right) in probabilities.chunks_exact(width).zip(truth) {
                    let said = predicted_class(row);
                    counts[said].predicted += 1.0;
                    counts[right as usize].present += 1.0;
                    counts[said].right += f64::from(u8::from(said == right as usize));
                }
                counts
            }
            Predicted::Labels { probabilities, width, truth } => {
                let mut counts = vec![Counts::default(); width];
                for (row, truth) in probabilities.chunks_exact(width).zip(truth.chunks_exact(width)) {
                    for ((count, &p), &t) in counts.iter_mut().zip(row).zip(truth) {
                        let (said, holds) = (p > 0.5, t > 0.5);
                        count.predicted += f64::from(u8::from(said));
                        count.present += f64::from(u8::from(holds));
                        count.right += f64::from(u8::from(said && holds));
                    }
                }
                counts
            }
            Predicted::Values { .. } => Vec::new(),
        };
        Self { counts }
    }
}

impl Counts {
    fn precision(&self) -> Option<f64> {
        (self.predicted + self.present > 0.0).then(|| self.right / self.predicted.max(1.0))
    }

    fn recall(&self) -> Option<f64> {
        (self.predicted + self.present > 0.0).then(|| self.right / self.present.max(1.0))
    }

    fn f1(&self) -> Option<f64> {
        let both = self.predicted + self.present;
        (both > 0.0).then(|| 2.0 * self.right / both)
    }
}

/// The value, or why there is none.
type Found = Result<f64, String>;

fn value_of(metric: Metric, predicted: Predicted<'_>, tables: &Tables, notes: &mut Vec<String>) -> Found {
    let counts = &tables.counts;
    match predicted {
        Predicted::Classes { probabilities, width, truth } => {
            let scores = Scores { probabilities, width, truth };
            match metric {
                Metric::Accuracy => Ok(scores.accuracy()),
                Metric::Top2Accuracy => scores.top_accuracy(2),
                Metric::Top3Accuracy => scores.top_accuracy(3),
                Metric::Top5Accuracy => scores.top_accuracy(5),
                Metric::BalancedAccuracy => {
                    mean(counts.iter().filter(|c| c.present > 0.0).filter_map(Counts::recall))
                }
                Metric::Precision => of_second_or_macro(counts, Counts::precision),
                Metric::Recall => of_second_or_macro(counts, Counts::recall),
                Metric::F1 => of_second_or_macro(counts, Counts::f1),
                Metric::F1Macro => mean(counts.iter().filter_map(Counts::f1)),
                Metric::F1Weighted => weighted_f1(counts),
                Metric::RocAuc => scores.roc_auc(notes),
                Metric::LogLoss => Ok(scores.log_loss()),
                Metric::CalibrationError => Ok(scores.calibration_error()),
                Metric::Brier => Ok(scores.brier()),
                _ => unreachable!("`{metric}` does not apply to classes"),
            }
        }
        Predicted::Labels { probabilities, width, truth } => match metric {
            Metric::Accuracy => {
                let right = probabilities.iter().zip(truth).filter(|(p, t)| (**p > 0.5) == (**t > 0.5));
                Ok(right.count() as f64 / truth.len() as f64)
            }
            Metric::SubsetAccuracy => {
                let rows = probabilities.chunks_exact(width).zip(truth.chunks_exact(width));
                let all_right =
                    |(p, t): &(&[f32], &[f32])| p.iter().zip(*t).all(|(p, t)| (*p > 0.5) == (*t > 0.5));
                Ok(rows.filter(all_right).count() as f64 * width as f64 / truth.len() as f64)
            }
            Metric::Precision => mean(counts.iter().filter_map(Counts::precision)),
            Metric::Recall => mean(counts.iter().filter_map(Counts::recall)),
            Metric::F1 | Metric::F1Macro => mean(counts.iter().filter_map(Counts::f1)),
            Metric::F1Weighted => weighted_f1(counts),
            Metric::RocAuc => {
                let column = |label: usize| {
                    let rows = probabilities.chunks_exact(width).zip(truth.chunks_exact(width));
                    rows.map(|(p, t)| (p[label], t[label] > 0.5)).collect()
                };
                mean_area(width, "labels", column, notes)
            }
            Metric::LogLoss => {
                let of = |(&p, &t): (&f32, &f32)| -if t > 0.5 { held(p) } else { 1.0 - held(p) }.ln();
                mean(probabilities.iter().zip(truth).map(of))
            }
            Metric::CalibrationError => {
                let decisions = probabilities.iter().zip(truth);
                Ok(calibration_error(decisions.map(|(&p, &t)| (p.max(1.0 - p), (p > 0.5) == (t > 0.5)))))
            }
            Metric::Brier => {
                let of = |(&p, &t): (&f32, &f32)| (f64::from(p) - f64::from(u8::from(t > 0.5))).powi(2);
                mean(probabilities.iter().zip(truth).map(of))
            }
            _ => unreachable!("`{metric}` does not apply to labels"),
        },
        Predicted::Values { predicted, width, truth } => {
            let errors = Errors { predicted, width, truth };
            match metric {
                Metric::R2 => errors.r2(notes),
                Metric::Rmse => mean((0..width).map(|output| errors.mean_square(output).sqrt())),
                Metric::Mse => mean((0..width).map(|output| errors.mean_square(output))),
                Metric::Mae => mean(predicted.iter().zip(truth).map(|(y, t)| (y - t).abs())),
                Metric::MedianAbsoluteError => mean((0..width).map(|output| errors.median(output))),
                Metric::PoissonDeviance => errors.poisson_deviance(),
                _ => unreachable!("`{metric}` does not apply to numbers"),
            }
        }
    }
}

/// Probabilities of classes beside the right ones.
struct Scores<'a> {
    probabilities: &'a [f32],
    width: usize,
    truth: &'a [u32],
}

impl Scores<'_> {
    fn rows(&self) -> impl Iterator<Item = (&[f32], usize)> {
        self.probabilities.chunks_exact(self.width).zip(self.truth.iter().map(|&class| class as usize))
    }

    fn share(&self, right: impl Fn(&[f32], usize) -> bool) -> f64 {
        self.rows().filter(|(row, class)| right(row, *class)).count() as f64 / self.truth.len() as f64
    }

    fn accuracy(&self) -> f64 {
        self.share(|row, class| predicted_class(row) == class)
    }

    /// Of equally probable classes the first come first, as for the accuracy.
    fn top_accuracy(&self, k: usize) -> Found {
        if self.width.max(2) <= k {
            return Err(format!("with {} classes it is always 1", self.width.max(2)));
        }
        Ok(self.share(|row, class| {
            let before = |(other, p): (usize, &f32)| *p > row[class] || (*p == row[class] && other < class);
            row.iter().enumerate().filter(|pair| before(*pair)).count() < k
        }))
    }

    fn roc_auc(&self, notes: &mut Vec<String>) -> Found {
        let against_rest =
            |class: usize| self.rows().map(|(row, right)| (row[class], right == class)).collect();
        match self.width {
            1 => area(self.rows().map(|(row, right)| (row[0], right == 1)).collect()).ok_or_else(one_class),
            2 => area(against_rest(1)).ok_or_else(one_class),
            width => mean_area(width, "classes", against_rest, notes),
        }
    }

    fn log_loss(&self) -> f64 {
        let of = |(row, class): (&[f32], usize)| match row {
            [p] => -if class == 1 { held(*p) } else { 1.0 - held(*p) }.ln(),
            row => -held(row[class]).ln(),
        };
        self.rows().map(of).sum::<f64>() / self.truth.len() as f64
    }

    fn calibration_error(&self) -> f64 {
        calibration_error(self.rows().map(|(row, class)| {
            let said = predicted_class(row);
            let confidence = if let [p] = row { p.max(1.0 - p) } else { row[said] };
            (confidence, said == class)
        }))
    }

    fn brier(&self) -> f64 {
        let holds = |class: usize, right: usize| f64::from(u8::from(class == right));
        let of = |(row, right): (&[f32], usize)| match row {
            [p] | [_, p] => (f64::from(*p) - holds(1, right)).powi(2),
            row => {
                row.iter().enumerate().map(|(class, &p)| (f64::from(p) - holds(class, right)).powi(2)).sum()
            }
        };
        self.rows().map(of).sum::<f64>() / self.truth.len() as f64
    }
}

/// Numbers beside the right ones.
struct Errors<'a> {
    predicted: &'a [f64],
    width: usize,
    truth: &'a [f64],
}

impl Errors<'_> {
    fn column(&self, output: usize) -> impl Iterator<Item = (f64, f64)> + Clone {
        let truth = self.truth.iter().skip(output).step_by(self.width).copied();
        self.predicted.iter().skip(output).step_by(self.width).copied().zip(truth)
    }

    fn mean_square(&self, output: usize) -> f64 {
        let rows = self.truth.len() / self.width;
        self.column(output).map(|(y, t)| (y - t).powi(2)).sum::<f64>() / rows as f64
    }

    fn r2(&self, notes: &mut Vec<String>) -> Found {
        let rows = (self.truth.len() / self.width) as f64;
        let of = |output: usize| {
            let mean = self.column(output).map(|(_, t)| t).sum::<f64>() / rows;
            let spread = self.column(output).map(|(_, t)| (t - mean).powi(2)).sum::<f64>();
            let first = self.truth[output];
            let varies = self.column(output).any(|(_, t)| t != first);
            (varies && spread > 0.0).then(|| 1.0 - self.mean_square(output) * rows / spread)
        };
        let values: Vec<f64> = (0..self.width).filter_map(of).collect();
        if values.is_empty() {
            return Err("the target is constant in these rows".to_owned());
        }
        if values.len() < self.width {
            let constant = self.width - values.len();
            notes.push(format!(
                "`r2` leaves out {constant} of {} outputs, constant in these rows",
                self.width
            ));
        }
        mean(values)
    }

    fn median(&self, output: usize) -> f64 {
        let mut errors: Vec<f64> = self.column(output).map(|(y, t)| (y - t).abs()).collect();
        errors.sort_by(f64::total_cmp);
        let middle = errors.len() / 2;
        if errors.len() % 2 == 1 { errors[middle] } else { 0.5 * (errors[middle - 1] + errors[middle]) }
    }

    fn poisson_deviance(&self) -> Found {
        if self.truth.iter().any(|&t| t < 0.0) {
            return Err("a target is negative".to_owned());
        }
        if self.predicted.iter().any(|&y| y <= 0.0) {
            return Err("a prediction is not above 0".to_owned());
        }
        let log = |t: f64, y: f64| if t > 0.0 { t * (t / y).ln() } else { 0.0 };
        mean(self.predicted.iter().zip(self.truth).map(|(&y, &t)| 2.0 * (log(t, y) - t + y)))
    }
}

fn one_class() -> String {
    "only one class is present in these rows".to_owned()
}

fn mean(values: impl IntoIterator<Item = f64>) -> Found {
    let (mut sum, mut count) = (0.0, 0usize);
    for value in values {
        sum += value;
        count += 1;
    }
    if count == 0 { Err("nothing is present or predicted".to_owned()) } else { Ok(sum / count as f64) }
}

fn of_second_or_macro(counts: &[Counts], of: impl Fn(&Counts) -> Option<f64>) -> Found {
    if let [_, second] = counts {
        return of(second).ok_or_else(|| "the second class is neither present nor predicted".to_owned());
    }
    mean(counts.iter().filter_map(of))
}

fn weighted_f1(counts: &[Counts]) -> Found {
    let rows: f64 = counts.iter().map(|c| c.present).sum();
    if rows == 0.0 {
        return Err("no label holds in these rows".to_owned());
    }
    Ok(counts.iter().filter_map(|c| Some(c.f1()? * c.present)).sum::<f64>() / rows)
}

/// A probability as far from 0 and 1 as scikit-learn holds those in single precision.
fn held(p: f32) -> f64 {
    f64::from(p.clamp(f32::EPSILON, 1.0 - f32::EPSILON))
}

/// Mean area over classes or labels that are present and not alone.
fn mean_area(
    width: usize,
    what: &str,
    column: impl Fn(usize) -> Vec<(f32, bool)>,
    notes: &mut Vec<String>,
) -> Found {
    let areas: Vec<f64> = (0..width).filter_map(|one| area(column(one))).collect();
    if areas.is_empty() {
        return Err(one_class());
    }
    if areas.len() < width {
        let without = width - areas.len();
        notes.push(format!(
            "`roc_auc` leaves out {without} of {width} {what}, which these rows cannot tell apart"
        ));
    }
    mean(areas)
}

/// Area under the ROC curve from the ranks of the positive rows, equal scores sharing their mean rank (Mann and
/// Whitney's U over the number of pairs).
fn area(mut scored: Vec<(f32, bool)>) -> Option<f64> {
    let positives = scored.iter().filter(|(_, positive)| *positive).count();
    let negatives = scored.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    scored.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal));
    let (mut ranks, mut before) = (0.0, 0usize);
    for ties in scored.chunk_by(|a, b| a.0 == b.0) {
        let mean_rank = before as f64 + 0.5 * (ties.len() + 1) as f64;
        ranks += mean_rank * ties.iter().filter(|(_, positive)| *positive).count() as f64;
        before += ties.len();
    }
    let (positives, negatives) = (positives as f64, negatives as f64);
    Some((ranks - 0.5 * positives * (positives + 1.0)) / (positives * negatives))
}

/// From (confidence, right) of each decision. Bin m of 15 holds confidences in ((m − 1) / 15, m / 15].
fn calibration_error(decisions: impl Iterator<Item = (f32, bool)>) -> f64 {
    const BINS: usize = 15;
    let mut gaps = [0.0; BINS];
    let mut rows = 0usize;
    for (confidence, right) in decisions {
        let bin = (f64::from(confidence) * BINS as f64).ceil() as usize;
        gaps[bin.clamp(1, BINS) - 1] += f64::from(u8::from(right)) - f64::from(confidence);
        rows += 1;
    }
    gaps.iter().map(|gap| gap.abs()).sum::<f64>() / rows as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(probabilities: &[f32], truth: &[u32]) -> Measured {
        compute(Metric::ALL, Predicted::Classes { probabilities, width: 1, truth })
    }

    #[test]
    fn one_probability_is_the_same_as_two() {
        let one = [0.9, 0.2, 0.5, 0.75, 0.3];
        let two: Vec<f32> = one.iter().flat_map(|p| [1.0 - p, *p]).collect();
        let truth = [1, 0, 1, 0, 1];
        let (a, b) = (
            binary(&one, &truth),
            compute(Metric::ALL, Predicted::Classes { probabilities: &two, width: 2, truth: &truth }),
        );
        assert_eq!(a.values.len(), 11);
        for ((metric, one), (other, two)) in a.values.iter().zip(&b.values) {
            assert!(metric == other && (one - two).abs() < 1e-7, "{metric}: {one}, {two}");
        }
    }

    #[test]
    fn what_is_undefined_has_no_value_but_a_note() {
        let alone = binary(&[0.2, 0.3], &[0, 0]);
        assert!(alone.get(Metric::RocAuc).is_none() && alone.get(Metric::Precision).is_none());
        assert_eq!(alone.get(Metric::Accuracy), Some(1.0));
        assert!(alone.notes.iter().any(|n| n.contains("`roc_auc`") && n.contains("only one class")));

        let never_predicted = binary(&[0.2, 0.3], &[0, 1]);
        assert_eq!(never_predicted.get(Metric::Precision), Some(0.0));

        let constant = Predicted::Values { predicted: &[1.0, 2.0], width: 1, truth: &[0.1, 0.1] };
        let constant = compute(&[Metric::R2, Metric::Mae], constant);
        assert!(constant.get(Metric::R2).is_none() && constant.get(Metric::Mae).is_some());

        for bad in [f32::NAN, f32::INFINITY] {
            assert_eq!(binary(&[0.2, bad], &[0, 1]).values, []);
        }
        assert_eq!(
            compute(Metric::ALL, Predicted::Values { predicted: &[], width: 1, truth: &[] }).values,
            []
        );
    }

    #[test]
    fn a_class_that_is_absent_is_left_out_of_the_mean_area() {
        let probabilities = [0.6, 0.3, 0.1, 0.2, 0.7, 0.1, 0.5, 0.4, 0.1];
        let predicted = Predicted::Classes { probabilities: &probabilities, width: 3, truth: &[0, 1, 0] };
        let measured = compute(&[Metric::RocAuc], predicted);
        assert_eq!(measured.get(Metric::RocAuc), Some(1.0));
        assert!(measured.notes[0].contains("1 of 3 classes"), "{:?}", measured.notes);
    }

    #[test]
    fn values_lie_within_their_bounds() {
        let right = binary(&[0.0, 1.0], &[0, 1]);
        let wrong = binary(&[1.0, 0.0], &[0, 1]);
        for (metric, best) in &right.values {
            let worst = wrong.get(*metric).unwrap();
            let (low, high) = metric.bounds();
            assert!(
                (low..=high).contains(best) && (low..=high).contains(&worst),
                "{metric}: {best}, {worst}"
            );
            let better = if metric.higher_is_better() { *best > worst } else { *best < worst };
            assert!(better, "{metric}: {best} should be better than {worst}");
        }
    }

    #[test]
    fn every_metric_is_for_something_and_defaults_apply() {
        let kinds = [TargetKind::Classes, TargetKind::Labels, TargetKind::Values];
        for &metric in Metric::ALL {
            assert!(kinds.iter().any(|&kind| metric.applies_to(kind)), "{metric}");
        }
        for kind in kinds {
            assert!(Metric::defaults(kind).iter().all(|metric| metric.applies_to(kind)));
        }
        assert_eq!(Metric::named("AUC"), Some(Metric::RocAuc));
    }
}
