//! The losses of [`crate::loss`] for all members at once, on the device.

use burn::Tensor;
use burn::tensor::activation as burns;

use crate::loss::LossKind;

/// A loss with each member's own numbers, `[members, 1, 1]`.
pub(super) struct Losses {
    pub(super) kind: LossKind,
    /// ε of label smoothing; none if all have 0.
    pub(super) smoothing: Option<Tensor<3>>,
    /// δ of Huber's loss.
    pub(super) delta: Option<Tensor<3>>,
}

/// How much rows count.
#[allow(clippy::large_enum_variant, reason = "there is one of them at a time")]
pub(super) enum Weights {
    /// All the same; the number is 1 / rows.
    Equal(f64),
    /// `[members, rows, 1]`, and `[members, 1, 1]` with 1 / their sums.
    Each(Tensor<3>, Tensor<3>),
}

impl Losses {
    /// The weighted sum of the rows' losses, `[members, 1, 1]`, and the gradient of the weighted mean by the scores,
    /// `[members, rows, outputs]`. Targets are as the scores.
    pub(super) fn gradient(
        &self,
        scores: Tensor<3>,
        targets: Tensor<3>,
        weights: &Weights,
    ) -> (Tensor<3>, Tensor<3>) {
        let outputs = scores.dims()[2];
        let (rows, slopes) = match self.kind {
            LossKind::CrossEntropy => cross_entropy(scores, self.smooth(targets, 1.0 / outputs as f64)),
            kind => {
                let (losses, slopes) = match kind {
                    LossKind::BinaryCrossEntropy | LossKind::MultiLabel => {
                        binary(scores, self.smooth(targets, 0.5))
                    }
                    LossKind::SquaredError => {
                        let error = scores - targets;
                        (error.clone().square(), error * 2.0)
                    }
                    LossKind::AbsoluteError => {
                        let error = scores - targets;
                        (error.clone().abs(), error.sign())
                    }
                    LossKind::Huber => self.huber(scores - targets),
                    LossKind::Poisson => {
                        let mean = scores.clone().exp();
                        (mean.clone() - targets.clone() * scores, mean - targets)
                    }
                    LossKind::CrossEntropy => unreachable!("taken above"),
                };
                let part = 1.0 / outputs as f64;
                (losses.sum_dim(2) * part, slopes * part)
            }
        };
        match weights {
            Weights::Equal(share) => (rows.sum_dim(1), slopes * *share),
            Weights::Each(weights, shares) => {
                let sum = (rows * weights.clone()).sum_dim(1);
                (sum, slopes * (weights.clone() * shares.clone()))
            }
        }
    }

    /// (1 − ε) t + ε · share.
    fn smooth(&self, targets: Tensor<3>, share: f64) -> Tensor<3> {
        match &self.smoothing {
            None => targets,
            Some(smoothing) => targets * (-smoothing.clone() + 1.0) + smoothing.clone() * share,
        }
    }

    fn huber(&self, error: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        let delta = self.delta.clone().expect("a population with Huber's loss has thresholds");
        let size = error.clone().abs();
        let beyond = size.clone().greater(delta.clone().expand(size.dims()));
        let linear = (size - delta.clone() * 0.5) * delta.clone();
        let losses = (error.clone().square() * 0.5).mask_where(beyond.clone(), linear);
        (losses, error.clone().mask_where(beyond, error.sign() * delta))
    }
}

fn cross_entropy(scores: Tensor<3>, targets: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    let scores = scores.clone() - scores.max_dim(2);
    let powers = scores.clone().exp();
    let sum = powers.clone().sum_dim(2);
    let whole = targets.clone().sum_dim(2);
    let rows = whole.clone() * sum.clone().log() - (targets.clone() * scores).sum_dim(2);
    (rows, powers * (whole / sum) - targets)
}

fn binary(scores: Tensor<3>, targets: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    let soft = (-scores.clone().abs()).exp().log1p();
    let losses = burns::relu(scores.clone()) - targets.clone() * scores.clone() + soft;
    (losses, burns::sigmoid(scores) - targets)
}
