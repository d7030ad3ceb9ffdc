//! Losses, each written once for all engines: from a network's output scores and the targets to the loss of some rows
//! and its gradient with respect to the scores. Penalties are not losses and live elsewhere; metrics, which need no
//! gradient, do too.
//!
//! A loss is a mean over rows, in which a row counts with its weight: Σ wᵣ ℓᵣ / Σ wᵣ, as `PyTorch`'s cross-entropy with
//! class weights has it, and here for every loss. (`PyTorch`'s `BCEWithLogitsLoss` divides by the number of rows instead;
//! and where class weights meet label smoothing its `CrossEntropyLoss` weights each class's smoothed share, while here
//! a weight belongs to the row as a whole.) A row's loss is a mean over its outputs, except for cross-entropy,
//! which is one number for all of them.

use pulp::Arch;
use serde::{Deserialize, Serialize};

use crate::elementary::{exp, ln, ln_1p, logistic};
use crate::engine::Targets;
use crate::kernels::{exponentials, softmax, subtract_row_maxima};
use crate::metrics::TargetKind;
use crate::naming::named_choices;

/// What training makes small. In files it is its name (`"huber"`), or with parameters
/// `{ kind = "huber", delta = 0.5 }`.
///
/// ```
/// use luthier_nn::{Arch, Loss, Targets};
///
/// let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
/// let mut scores = [0.0, 0.0, 2.0, 2.0];
/// let sum = loss.gradient(Arch::new(), &mut scores, 2, Targets::Classes(&[0, 1]), None);
/// assert!((sum - 2.0 * 2f64.ln()).abs() < 1e-6);
/// assert_eq!(scores, [-0.25, 0.25, 0.25, -0.25]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Loss {
    /// −Σ qₖ ln pₖ in nats with p the softmax of the scores, one score per class, and q the target: 1 for the right
    /// class, or given probabilities. With label smoothing ε over K classes q becomes (1 − ε) q + ε / K.
    CrossEntropy {
        /// ε in [0, 1); 0 by default.
        label_smoothing: f64,
    },
    /// −t ln p − (1 − t) ln(1 − p) in nats with p the sigmoid of the score: one score for two classes, where the second
    /// class is 1. With label smoothing ε the target t becomes (1 − ε) t + ε / 2.
    BinaryCrossEntropy {
        /// ε in [0, 1); 0 by default.
        label_smoothing: f64,
    },
    /// Binary cross-entropy of each label on its own, as a mean over the labels: any number of them may hold.
    MultiLabel {
        /// ε in [0, 1); 0 by default.
        label_smoothing: f64,
    },
    /// (score − target)².
    SquaredError,
    /// |score − target|; its slope at 0 is taken as 0.
    AbsoluteError,
    /// ½ e² for errors |e| ≤ δ and δ (|e| − ½ δ) beyond (Huber 1964), so that outliers pull no harder than δ.
    Huber {
        /// δ > 0, in the unit of the (standardised) target; 1 by default.
        delta: f64,
    },
    /// exp(s) − t s, the negative log-likelihood of a count t with mean exp(s) but for ln t!, as `PyTorch`'s
    /// `PoissonNLLLoss` has it by default. It may be negative.
    Poisson,
}

named_choices! {
    /// Which [`Loss`], without its parameters.
    LossKind {
        /// [`Loss::CrossEntropy`].
        CrossEntropy = "cross_entropy" | "categorical_crossentropy" | "sparse_categorical_crossentropy",
        /// [`Loss::BinaryCrossEntropy`].
        BinaryCrossEntropy = "binary_cross_entropy" | "binary_crossentropy" | "bce",
        /// [`Loss::MultiLabel`].
        MultiLabel = "multi_label",
        /// [`Loss::SquaredError`].
        SquaredError = "squared_error" | "mse" | "mean_squared_error",
        /// [`Loss::AbsoluteError`].
        AbsoluteError = "absolute_error" | "mae" | "mean_absolute_error",
        /// [`Loss::Huber`].
        Huber = "huber",
        /// [`Loss::Poisson`].
        Poisson = "poisson",
    }
}

named_choices! {
    /// From a score to a prediction: what the loss takes the scores for.
    Link {
        /// The score is the prediction.
        Identity = "identity",
        /// 1 / (1 + e⁻ˢ): the probability of the second class, or of the label.
        Sigmoid = "sigmoid",
        /// A probability for each class.
        Softmax = "softmax",
        /// eˢ: the expected count.
        Exp = "exp",
    }
}

/// A loss that cannot be used as it is.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LossError {
    /// A parameter is out of range.
    #[error("`{name}` is {value}, but must be {expected}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// The target is another kind of thing.
    #[error("the loss `{kind}` is for {wanted}, but the target is {found}: choose {fitting}")]
    Unfit {
        /// The loss.
        kind: LossKind,
        /// What it is for.
        wanted: &'static str,
        /// The target, in words.
        found: String,
        /// The losses for it.
        fitting: &'static str,
    },
    /// A parameter that the loss does not have.
    #[error("the loss `{kind}` has no `{name}`: remove it")]
    Foreign {
        /// The loss.
        kind: LossKind,
        /// The parameter.
        name: &'static str,
    },
}

impl Loss {
    /// Cross-entropy without label smoothing.
    pub const CROSS_ENTROPY: Self = Self::CrossEntropy { label_smoothing: 0.0 };

    /// Turns `scores` (`rows` × outputs) into the gradient of the weighted mean loss with respect to them, and returns
    /// the weighted *sum* of the rows' losses. Weights are not negative, one a row; if all are 0, so are loss and
    /// gradient.
    ///
    /// Class targets are one number a row, below the number of outputs (below 2 with one output); all other targets are
    /// as many as there are scores. A score that is not finite makes the sum or the gradient not finite; scores
    /// as large as they come do no harm.
    ///
    /// # Panics
    /// If lengths do not fit, or class targets are given to a loss other than cross-entropy that has several outputs:
    /// who builds the network sees to that.
    pub fn gradient(
        &self,
        arch: Arch,
        scores: &mut [f32],
        rows: usize,
        targets: Targets<'_>,
        weights: Option<&[f32]>,
    ) -> f64 {
        if rows == 0 {
            return 0.0;
        }
        let width = scores.len() / rows;
        check_lengths(scores.len(), rows, targets, weights);
        let sum_of_weights = total_weight(rows, weights);
        let weighing =
            Weighing { weights, scale: if sum_of_weights > 0.0 { 1.0 / sum_of_weights } else { 0.0 } };
        match *self {
            Self::CrossEntropy { label_smoothing } => match targets {
                Targets::Classes(classes) => {
                    cross_entropy(arch, scores, width, classes, weighing, label_smoothing as f32)
                }
                Targets::Values(shares) => {
                    soft_cross_entropy(arch, scores, width, shares, weighing, label_smoothing as f32)
                }
            },
            Self::BinaryCrossEntropy { label_smoothing } | Self::MultiLabel { label_smoothing } => {
                let (keep, add) = ((1.0 - label_smoothing) as f32, (0.5 * label_smoothing) as f32);
                elementwise(arch, scores, width, targets, weighing, |s, t| binary(s, keep * t + add))
            }
            Self::SquaredError => elementwise(arch, scores, width, targets, weighing, |s, t| {
                let error = s - t;
                (error * error, 2.0 * error)
            }),
            Self::AbsoluteError => elementwise(arch, scores, width, targets, weighing, |s, t| {
                let error = s - t;
                (error.abs(), sign(error))
            }),
            Self::Huber { delta } => {
                let delta = delta as f32;
                elementwise(arch, scores, width, targets, weighing, |s, t| huber(s - t, delta))
            }
            Self::Poisson => elementwise(arch, scores, width, targets, weighing, |s, t| {
                let mean = exp(s);
                (mean - t * s, mean - t)
            }),
        }
    }

    /// The weighted sum of the rows' losses, as [`Loss::gradient`] returns it, with the scores left as they are.
    pub fn value(
        &self,
        arch: Arch,
        scores: &[f32],
        rows: usize,
        targets: Targets<'_>,
        weights: Option<&[f32]>,
    ) -> f64 {
        const ROWS: usize = 256;
        let width = scores.len() / rows.max(1);
        let mut room = vec![0.0; ROWS.min(rows) * width];
        let mut sum = 0.0;
        for first in (0..rows).step_by(ROWS) {
            let block = first..rows.min(first + ROWS);
            let cells = block.start * width..block.end * width;
            let targets = match targets {
                Targets::Classes(classes) => Targets::Classes(&classes[block.clone()]),
                Targets::Values(values) => Targets::Values(&values[cells.clone()]),
            };
            let weights = weights.map(|weights| &weights[block.clone()]);
            let scores = &scores[cells];
            let room = &mut room[..scores.len()];
            room.copy_from_slice(scores);
            sum += self.gradient(arch, room, block.len(), targets, weights);
        }
        sum
    }

    /// What the scores stand for.
    pub fn link(&self) -> Link {
        match self {
            Self::CrossEntropy { .. } => Link::Softmax,
            Self::BinaryCrossEntropy { .. } | Self::MultiLabel { .. } => Link::Sigmoid,
            Self::SquaredError | Self::AbsoluteError | Self::Huber { .. } => Link::Identity,
            Self::Poisson => Link::Exp,
        }
    }

    /// Which loss it is.
    pub fn kind(&self) -> LossKind {
        match self {
            Self::CrossEntropy { .. } => LossKind::CrossEntropy,
            Self::BinaryCrossEntropy { .. } => LossKind::BinaryCrossEntropy,
            Self::MultiLabel { .. } => LossKind::MultiLabel,
            Self::SquaredError => LossKind::SquaredError,
            Self::AbsoluteError => LossKind::AbsoluteError,
            Self::Huber { .. } => LossKind::Huber,
            Self::Poisson => LossKind::Poisson,
        }
    }

    /// What it is for.
    pub fn target_kind(&self) -> TargetKind {
        match self {
            Self::CrossEntropy { .. } | Self::BinaryCrossEntropy { .. } => TargetKind::Classes,
            Self::MultiLabel { .. } => TargetKind::Labels,
            Self::SquaredError | Self::AbsoluteError | Self::Huber { .. } | Self::Poisson => {
                TargetKind::Values
            }
        }
    }

    /// How many scores a network needs for a target with `size` classes, labels or numbers.
    ///
    /// # Errors
    ///
    /// A target of another kind.
    pub fn outputs(&self, target: TargetKind, size: usize) -> Result<usize, LossError> {
        let fits = target == self.target_kind();
        match self.kind() {
            LossKind::BinaryCrossEntropy if fits && size == 2 => return Ok(1),
            LossKind::BinaryCrossEntropy => {}
            _ if fits => return Ok(size),
            _ => {}
        }
        let wanted = match self.kind() {
            LossKind::CrossEntropy => "classes",
            LossKind::BinaryCrossEntropy => "two classes",
            LossKind::MultiLabel => "labels",
            LossKind::SquaredError | LossKind::AbsoluteError | LossKind::Huber => "numbers",
            LossKind::Poisson => "counts",
        };
        let (found, fitting) = match target {
            TargetKind::Classes if size == 2 => {
                ("two classes".to_owned(), "cross_entropy or binary_cross_entropy")
            }
            TargetKind::Classes => (format!("one of {size} classes"), "cross_entropy"),
            TargetKind::Labels => (format!("{size} labels"), "multi_label"),
            TargetKind::Values => ("a number".to_owned(), "squared_error, absolute_error, huber or poisson"),
        };
        Err(LossError::Unfit { kind: self.kind(), wanted, found, fitting })
    }

    /// The mean loss of the best constant prediction of some targets, `width` scores a row: what a network has to beat.
    /// Without weights and label smoothing; there must be rows. For cross-entropies the entropy of the shares, for
    /// squared errors the variance.
    pub fn baseline(&self, targets: Targets<'_>, width: usize) -> f64 {
        let columns = target_columns(targets, width, self.kind() == LossKind::CrossEntropy);
        let losses = columns.iter().map(|column| self.baseline_of(column));
        match self.kind() {
            LossKind::CrossEntropy => losses.sum(),
            _ => losses.sum::<f64>() / columns.len() as f64,
        }
    }

    /// One output's part of the baseline, not empty.
    fn baseline_of(&self, targets: &[f64]) -> f64 {
        let mean_of =
            |of: &dyn Fn(f64) -> f64| targets.iter().map(|&t| of(t)).sum::<f64>() / targets.len() as f64;
        let mean = mean_of(&|t| t);
        let surprise = |share: f64| if share > 0.0 { -share * share.ln() } else { 0.0 };
        match *self {
            Self::CrossEntropy { .. } => surprise(mean),
            Self::BinaryCrossEntropy { .. } | Self::MultiLabel { .. } => {
                surprise(mean) + surprise(1.0 - mean)
            }
            Self::SquaredError => mean_of(&|t| (t - mean).powi(2)),
            Self::AbsoluteError => {
                let mut sorted = targets.to_vec();
                sorted.sort_by(f64::total_cmp);
                let median = sorted[sorted.len() / 2];
                mean_of(&|t| (t - median).abs())
            }
            Self::Huber { delta } => {
                let centre = huber_centre(targets, delta);
                mean_of(&|t| {
                    let error = (t - centre).abs();
                    if error > delta { delta * (error - 0.5 * delta) } else { 0.5 * error * error }
                })
            }
            Self::Poisson => mean + surprise(mean.max(0.0)),
        }
    }

    /// Whether its targets may be standardised: those of Poisson are counts and must stay so.
    pub fn allows_standardising(&self) -> bool {
        self.link() == Link::Identity
    }

    /// What its value is multiplied by to be in the target's unit, when the target was divided by `deviation`. A Huber
    /// loss then has the threshold δ · `deviation`.
    pub fn unit(&self, deviation: f64) -> f64 {
        match self {
            Self::SquaredError | Self::Huber { .. } => deviation * deviation,
            Self::AbsoluteError => deviation,
            Self::CrossEntropy { .. }
            | Self::BinaryCrossEntropy { .. }
            | Self::MultiLabel { .. }
            | Self::Poisson => 1.0,
        }
    }

    /// The same loss with other label smoothing; unchanged if it has none.
    pub fn with_label_smoothing(self, label_smoothing: f64) -> Self {
        match self {
            Self::CrossEntropy { .. } => Self::CrossEntropy { label_smoothing },
            Self::BinaryCrossEntropy { .. } => Self::BinaryCrossEntropy { label_smoothing },
            Self::MultiLabel { .. } => Self::MultiLabel { label_smoothing },
            Self::SquaredError | Self::AbsoluteError | Self::Huber { .. } | Self::Poisson => self,
        }
    }

    /// Whether the parameters are in range.
    pub fn check(&self) -> Result<(), LossError> {
        let (name, value, ok, expected) = match *self {
            Self::CrossEntropy { label_smoothing }
            | Self::BinaryCrossEntropy { label_smoothing }
            | Self::MultiLabel { label_smoothing } => {
                let ok = (0.0..1.0).contains(&label_smoothing);
                ("label_smoothing", label_smoothing, ok, "at least 0 and below 1")
            }
            Self::Huber { delta } => ("delta", delta, delta > 0.0 && delta.is_finite(), "above 0 and finite"),
            Self::SquaredError | Self::AbsoluteError | Self::Poisson => return Ok(()),
        };
        if ok { Ok(()) } else { Err(LossError::Parameter { name, value, expected }) }
    }
}

impl From<LossKind> for Loss {
    /// The loss with its default parameters.
    fn from(kind: LossKind) -> Self {
        let label_smoothing = 0.0;
        match kind {
            LossKind::CrossEntropy => Self::CrossEntropy { label_smoothing },
            LossKind::BinaryCrossEntropy => Self::BinaryCrossEntropy { label_smoothing },
            LossKind::MultiLabel => Self::MultiLabel { label_smoothing },
            LossKind::SquaredError => Self::SquaredError,
            LossKind::AbsoluteError => Self::AbsoluteError,
            LossKind::Huber => Self::Huber { delta: 1.0 },
            LossKind::Poisson => Self::Poisson,
        }
    }
}

impl Link {
    /// Turns scores (rows × `width`) into predictions, in place.
    pub fn apply(self, arch: Arch, scores: &mut [f32], width: usize) {
        match self {
            Self::Identity => {}
            Self::Softmax => softmax(arch, scores, width),
            Self::Exp => exponentials(arch, scores),
            Self::Sigmoid => arch.dispatch(|| {
                for score in scores {
                    *score = logistic(*score);
                }
            }),
        }
    }
}

/// Σ wᵣ: what a weighted sum of losses is divided by to give the mean. The number of rows if there are no weights.
pub fn total_weight(rows: usize, weights: Option<&[f32]>) -> f64 {
    weights.map_or(rows as f64, |weights| weights.iter().map(|&w| f64::from(w)).sum())
}

/// A loss as files have it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Name(LossKind),
    Full(Full),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Full {
    kind: LossKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label_smoothing: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delta: Option<f64>,
}

impl From<Loss> for Written {
    fn from(loss: Loss) -> Self {
        let kind = loss.kind();
        if loss == Loss::from(kind) {
            return Self::Name(kind);
        }
        let (label_smoothing, delta) = match loss {
            Loss::CrossEntropy { label_smoothing }
            | Loss::BinaryCrossEntropy { label_smoothing }
            | Loss::MultiLabel { label_smoothing } => (Some(label_smoothing), None),
            Loss::Huber { delta } => (None, Some(delta)),
            Loss::SquaredError | Loss::AbsoluteError | Loss::Poisson => (None, None),
        };
        Self::Full(Full { kind, label_smoothing, delta })
    }
}

impl TryFrom<Written> for Loss {
    type Error = LossError;

    fn try_from(written: Written) -> Result<Self, LossError> {
        let Full { kind, label_smoothing, delta } = match written {
            Written::Name(kind) => return Ok(kind.into()),
            Written::Full(full) => full,
        };
        let plain = Self::from(kind);
        let loss = match (plain, delta) {
            (Self::Huber { .. }, Some(delta)) => Self::Huber { delta },
            (_, Some(_)) => return Err(LossError::Foreign { kind, name: "delta" }),
            (plain, None) => plain,
        };
        let loss = match label_smoothing {
            Some(_) if !matches!(loss.link(), Link::Softmax | Link::Sigmoid) => {
                return Err(LossError::Foreign { kind, name: "label_smoothing" });
            }
            Some(smoothing) => loss.with_label_smoothing(smoothing),
            None => loss,
        };
        loss.check().map(|()| loss)
    }
}

/// The targets of each output; of each class, 1 where it is the right one, if `one_hot`.
fn target_columns(targets: Targets<'_>, width: usize, one_hot: bool) -> Vec<Vec<f64>> {
    let column = |output: usize| match targets {
        Targets::Values(values) => values.iter().skip(output).step_by(width).map(|&t| f64::from(t)).collect(),
        Targets::Classes(classes) if one_hot => {
            classes.iter().map(|&class| f64::from(u8::from(class as usize == output))).collect()
        }
        Targets::Classes(classes) => classes.iter().map(|&class| f64::from(class)).collect(),
    };
    (0..width).map(column).collect()
}

/// Where the Huber losses of `targets` are least, by halving: their slope only rises.
fn huber_centre(targets: &[f64], delta: f64) -> f64 {
    let (mut low, mut high) =
        targets.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &t| (low.min(t), high.max(t)));
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        let slope: f64 = targets.iter().map(|&t| (middle - t).clamp(-delta, delta)).sum();
        if slope < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// How much each row counts in the mean.
#[derive(Clone, Copy)]
struct Weighing<'a> {
    weights: Option<&'a [f32]>,
    /// 1 / Σ wᵣ.
    scale: f64,
}

impl Weighing<'_> {
    #[inline]
    fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |weights| f64::from(weights[row]))
    }
}

fn check_lengths(scores: usize, rows: usize, targets: Targets<'_>, weights: Option<&[f32]>) {
    let expected = match targets {
        Targets::Classes(classes) => classes.len() == rows,
        Targets::Values(values) => values.len() == scores,
    };
    assert!(expected && scores.is_multiple_of(rows), "{rows} rows with {scores} scores have other targets");
    assert!(weights.is_none_or(|weights| weights.len() == rows), "{rows} rows have a weight each");
}

/// With one-hot targets. Each row's largest score is taken off first, so nothing overflows; the sums of exponentials
/// are taken from the same values that become the gradient.
fn cross_entropy(
    arch: Arch,
    scores: &mut [f32],
    width: usize,
    classes: &[u32],
    weighing: Weighing<'_>,
    smoothing: f32,
) -> f64 {
    subtract_row_maxima(scores, width);
    let share = smoothing / width as f32;
    let mut expected = 0.0;
    for (index, (row, &class)) in scores.chunks_exact(width).zip(classes).enumerate() {
        let mut right = f64::from(row[class as usize]);
        if smoothing > 0.0 {
            let all: f64 = row.iter().map(|&s| f64::from(s)).sum();
            right = right * f64::from(1.0 - smoothing) + all * f64::from(share);
        }
        expected += weighing.weight(index) * right;
    }
    exponentials(arch, scores);
    let mut log_sums = 0.0;
    for (index, (row, &class)) in scores.chunks_exact_mut(width).zip(classes).enumerate() {
        let weight = weighing.weight(index);
        let factor = (weight * weighing.scale) as f32;
        let sum: f32 = row.iter().sum();
        let (scale, smoothed) = (factor / sum, factor * share);
        for p in &mut *row {
            *p = *p * scale - smoothed;
        }
        row[class as usize] -= factor * (1.0 - smoothing);
        log_sums += weight * f64::from(ln(sum));
    }
    log_sums - expected
}

/// With a share for each class; they need not sum to one.
fn soft_cross_entropy(
    arch: Arch,
    scores: &mut [f32],
    width: usize,
    shares: &[f32],
    weighing: Weighing<'_>,
    smoothing: f32,
) -> f64 {
    let (keep, add) = (1.0 - smoothing, smoothing / width as f32);
    let smoothed = |share: f32| keep * share + add;
    subtract_row_maxima(scores, width);
    let mut expected = 0.0;
    for (index, (row, shares)) in scores.chunks_exact(width).zip(shares.chunks_exact(width)).enumerate() {
        let products = row.iter().zip(shares).map(|(&s, &q)| f64::from(s) * f64::from(smoothed(q)));
        expected += weighing.weight(index) * products.sum::<f64>();
    }
    exponentials(arch, scores);
    let mut log_sums = 0.0;
    for (index, (row, shares)) in scores.chunks_exact_mut(width).zip(shares.chunks_exact(width)).enumerate() {
        let weight = weighing.weight(index);
        let factor = (weight * weighing.scale) as f32;
        let sum: f32 = row.iter().sum();
        let whole: f32 = shares.iter().map(|&q| smoothed(q)).sum();
        let scale = factor * whole / sum;
        for (p, &q) in row.iter_mut().zip(shares) {
            *p = *p * scale - factor * smoothed(q);
        }
        log_sums += weight * f64::from(whole) * f64::from(ln(sum));
    }
    log_sums - expected
}

/// Scores that are worked on together: short enough to stay in the nearest cache, long enough for SIMD.
const BLOCK: usize = 64;

/// Losses that are a mean over outputs of `of(score, target) = (loss, slope)`. Rows are taken in groups of about
/// [`BLOCK`] scores, longer rows in pieces; the losses of a piece are summed in their order, so that blocks and
/// SIMD levels do not change a bit.
fn elementwise(
    arch: Arch,
    scores: &mut [f32],
    width: usize,
    targets: Targets<'_>,
    weighing: Weighing<'_>,
    of: impl Fn(f32, f32) -> (f32, f32) + Copy,
) -> f64 {
    let rows = scores.len() / width;
    assert!(width == 1 || matches!(targets, Targets::Values(_)), "classes need cross-entropy or one output");
    let at_once = (BLOCK / width).max(1);
    let part = 1.0 / width as f64;
    let mut losses = [0.0; BLOCK];
    let mut wanted = [0.0; BLOCK];
    let mut sum = 0.0;
    for (first_row, group) in (0..rows).step_by(at_once).zip(scores.chunks_mut(at_once * width)) {
        for (piece_number, piece) in group.chunks_mut(BLOCK).enumerate() {
            let first = first_row * width + piece_number * BLOCK;
            let (losses, wanted) = (&mut losses[..piece.len()], &mut wanted[..piece.len()]);
            match targets {
                Targets::Values(values) => wanted.copy_from_slice(&values[first..first + piece.len()]),
                Targets::Classes(classes) => {
                    for (t, &class) in wanted.iter_mut().zip(&classes[first..]) {
                        *t = class as f32;
                    }
                }
            }
            arch.dispatch(|| {
                for ((score, loss), &target) in piece.iter_mut().zip(&mut *losses).zip(&*wanted) {
                    (*loss, *score) = of(*score, target);
                }
            });
            // A piece holds whole rows, or lies within one.
            for (index, (losses, slopes)) in losses.chunks(width).zip(piece.chunks_mut(width)).enumerate() {
                let weight = weighing.weight(first_row + index) * part;
                let factor = (weight * weighing.scale) as f32;
                for (loss, slope) in losses.iter().zip(slopes) {
                    sum += weight * f64::from(*loss);
                    *slope *= factor;
                }
            }
        }
    }
    sum
}

/// Loss and slope of a score whose sigmoid should be `target`: max(s, 0) − t s + ln(1 + e^−|s|).
#[allow(clippy::inline_always, reason = "must be compiled for the SIMD level of the loop around it")]
#[inline(always)]
fn binary(score: f32, target: f32) -> (f32, f32) {
    let small = exp(-score.abs());
    let positive = if score > 0.0 { score } else { 0.0 };
    let chance = if score > 0.0 { 1.0 } else { small } / (1.0 + small);
    (positive - target * score + ln_1p(small), chance - target)
}

#[allow(clippy::inline_always, reason = "must be compiled for the SIMD level of the loop around it")]
#[inline(always)]
fn huber(error: f32, delta: f32) -> (f32, f32) {
    let size = error.abs();
    if size > delta {
        (delta * (size - 0.5 * delta), delta * sign(error))
    } else {
        (0.5 * error * error, error)
    }
}

/// −1, 0 or 1; NaN stays NaN.
#[allow(clippy::inline_always, reason = "must be compiled for the SIMD level of the loop around it")]
#[inline(always)]
fn sign(x: f32) -> f32 {
    let sign = if x > 0.0 { 1.0 } else { 0.0 } - if x < 0.0 { 1.0 } else { 0.0 };
    sign + 0.0 * x
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient(loss: Loss, scores: &mut [f32], classes: &[u32]) -> f64 {
        loss.gradient(Arch::new(), scores, classes.len(), Targets::Classes(classes), None)
    }

    #[test]
    fn huge_scores_do_no_harm_and_not_a_number_is_seen() {
        let mut scores = [1e30, -1e30, 0.0, 500.0, 499.0, -500.0];
        let loss = gradient(Loss::CROSS_ENTROPY, &mut scores, &[0, 1]);
        let expected = (1.0 + 1f64.exp()).ln();
        assert!((loss - expected).abs() < 1e-6, "{loss}, not {expected}");
        assert!(scores.iter().all(|g| g.is_finite()));

        let mut scores = [500.0, -500.0, 1e30];
        let loss = gradient(LossKind::BinaryCrossEntropy.into(), &mut scores, &[0, 1, 1]);
        assert!((loss - 1000.0).abs() < 1e-3 && scores.iter().all(|g| g.is_finite()), "{loss}");

        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            // A score of −∞ is a class ruled out: no harm unless it is the right one.
            let hidden =
                gradient(Loss::CROSS_ENTROPY, &mut [0.0, bad], &[u32::from(bad == f32::NEG_INFINITY)]);
            assert!(!hidden.is_finite());
            for &kind in LossKind::ALL {
                let mut score = [bad];
                let sum =
                    Loss::from(kind).gradient(Arch::new(), &mut score, 1, Targets::Values(&[0.5]), None);
                assert!(!sum.is_finite() || !score[0].is_finite(), "{kind} hides {bad}");
            }
        }
    }

    #[test]
    fn two_classes_reduce_to_the_logistic_loss() {
        let two_scores = gradient(Loss::CROSS_ENTROPY, &mut [0.3, 1.5], &[1]);
        let one_score = gradient(LossKind::BinaryCrossEntropy.into(), &mut [1.2], &[1]);
        let expected = (-1.2f64).exp().ln_1p();
        assert!((two_scores - expected).abs() < 1e-6 && (one_score - expected).abs() < 1e-6);
    }

    #[test]
    fn rows_longer_than_a_block_and_groups_of_rows_give_the_same() {
        let cells = 200;
        let scores: Vec<f32> = (0..cells).map(|i| (i as f32 * 0.37).sin()).collect();
        let values: Vec<f32> = (0..cells).map(|i| (i as f32 * 0.11).cos()).collect();
        for width in [1, 2, 50, 100, 200] {
            let rows = cells / width;
            let weights: Vec<f32> = (0..rows).map(|r| 0.5 + r as f32).collect();
            let mut got = scores.clone();
            let targets = Targets::Values(&values);
            let sum = Loss::SquaredError.gradient(Arch::new(), &mut got, rows, targets, Some(&weights));
            let whole: f64 = weights.iter().map(|&w| f64::from(w)).sum();
            let mut expected = 0.0;
            for cell in 0..cells {
                let (error, weight) =
                    (f64::from(scores[cell] - values[cell]), f64::from(weights[cell / width]));
                expected += weight * error * error / width as f64;
                let slope = 2.0 * error * weight / width as f64 / whole;
                assert!((f64::from(got[cell]) - slope).abs() < 1e-7, "width {width}, cell {cell}");
            }
            assert!((sum - expected).abs() < 1e-5 * expected, "width {width}: {sum}, not {expected}");
        }
    }

    #[test]
    fn a_row_of_weight_two_is_two_rows_and_one_of_weight_zero_is_none() {
        for &kind in LossKind::ALL {
            let loss = Loss::from(kind);
            let (mut weighed, mut repeated) = ([0.3, -0.7, 9.0], [0.3, 0.3, -0.7]);
            let (two, three) = ([1.0, 0.0, 1.0], [1.0, 1.0, 0.0]);
            let arch = Arch::new();
            let a = loss.gradient(arch, &mut weighed, 3, Targets::Values(&two), Some(&[2.0, 1.0, 0.0]));
            let b = loss.gradient(arch, &mut repeated, 3, Targets::Values(&three), None);
            assert!((a - b).abs() < 1e-6, "{kind}: {a}, {b}");
            assert!((weighed[0] - 2.0 * repeated[0]).abs() < 1e-7 && weighed[2] == 0.0, "{kind}");
            let mut scores = [0.3, -0.7, 9.0];
            let none = loss.gradient(arch, &mut scores, 3, Targets::Values(&two), Some(&[0.0; 3]));
            assert!(none == 0.0 && scores == [0.0; 3], "{kind}");
        }
    }

    #[test]
    fn no_constant_beats_the_baseline_and_one_reaches_it() {
        let classes = [0, 1, 1, 1];
        let numbers = [0.0, 1.0, 1.0, 4.0];
        let cases = [
            (LossKind::BinaryCrossEntropy, Targets::Classes(&classes), 3f64.ln()),
            (LossKind::MultiLabel, Targets::Values(&[0.0, 1.0, 1.0, 1.0]), 3f64.ln()),
            (LossKind::SquaredError, Targets::Values(&numbers), 1.5),
            (LossKind::AbsoluteError, Targets::Values(&numbers), 1.0),
            (LossKind::Huber, Targets::Values(&numbers), 1.0),
            (LossKind::Poisson, Targets::Values(&numbers), 1.5f64.ln()),
        ];
        for (kind, targets, best) in cases {
            let loss = Loss::from(kind);
            let at = |score: f64| loss.value(Arch::new(), &[score as f32; 4], 4, targets, None) / 4.0;
            let baseline = loss.baseline(targets, 1);
            assert!((at(best) - baseline).abs() < 1e-6, "{kind}: {}, {baseline}", at(best));
            assert!(at(best - 0.1) > baseline - 1e-6 && at(best + 0.1) > baseline - 1e-6, "{kind}");
        }
        let entropy = -(0.25f64 * 0.25f64.ln() + 0.75 * 0.75f64.ln());
        assert!((Loss::CROSS_ENTROPY.baseline(Targets::Classes(&classes), 3) - entropy).abs() < 1e-12);
    }

    #[test]
    fn a_loss_says_how_many_scores_it_needs_and_which_target_it_cannot_have() {
        use TargetKind::{Classes, Labels, Values};
        let outputs = |kind: LossKind, target, size| Loss::from(kind).outputs(target, size);
        assert_eq!(outputs(LossKind::CrossEntropy, Classes, 2), Ok(2));
        assert_eq!(outputs(LossKind::BinaryCrossEntropy, Classes, 2), Ok(1));
        assert_eq!(outputs(LossKind::MultiLabel, Labels, 4), Ok(4));
        assert_eq!(outputs(LossKind::Huber, Values, 3), Ok(3));
        let error = outputs(LossKind::BinaryCrossEntropy, Classes, 5).unwrap_err().to_string();
        assert_eq!(
            error,
            "the loss `binary_cross_entropy` is for two classes, but the target is one of 5 classes: choose cross_entropy"
        );
        assert!(
            outputs(LossKind::SquaredError, Labels, 2).is_err()
                && outputs(LossKind::Poisson, Classes, 3).is_err()
        );
    }

    #[test]
    fn files_name_a_loss_or_give_its_parameters() {
        let read = |text: &str| serde_json::from_str::<Loss>(text).map_err(|error| error.to_string());
        assert_eq!(read("\"mse\""), Ok(Loss::SquaredError));
        assert_eq!(read("{\"kind\":\"huber\",\"delta\":0.5}"), Ok(Loss::Huber { delta: 0.5 }));
        for loss in [Loss::Huber { delta: 0.5 }, Loss::CROSS_ENTROPY.with_label_smoothing(0.1), Loss::Poisson]
        {
            assert_eq!(read(&serde_json::to_string(&loss).unwrap()), Ok(loss));
        }
        assert_eq!(serde_json::to_string(&Loss::CROSS_ENTROPY).unwrap(), "\"cross_entropy\"");
        assert!(read("{\"kind\":\"poisson\",\"delta\":0.5}").unwrap_err().contains("has no `delta`"));
        assert!(read("{\"kind\":\"huber\",\"delta\":-1}").unwrap_err().contains("above 0"));
    }
}
