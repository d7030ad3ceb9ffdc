//! What an epoch came to, and under which names it is reported.

use crate::evaluation::Evaluation;

/// What an epoch came to. The same run gives the same reports, but for `seconds`.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochReport {
    /// Epochs done, from 1.
    pub epoch: usize,
    /// Optimiser steps done.
    pub steps: u64,
    /// Mean loss over the epoch's rows, each taken before the step it contributed to, as training sees it: with dropout,
    /// augmentation, label smoothing and class weights, without penalties. In the unit of the validation loss.
    pub train_loss: f64,
    /// Validation part, after the epoch. In the epoch that ends a run with `patience` it is measured with the weights
    /// of [`EpochReport::restored`], those of the finished model.
    pub validation: Evaluation,
    /// What early stopping watches, on its own rows.
    pub watched: Option<f64>,
    /// The epoch whose weights have returned, if this epoch ends a run with `patience`.
    pub restored: Option<usize>,
    /// Learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// Seconds that the epoch took, measurements included.
    pub seconds: f64,
}

impl EpochReport {
    /// The values to report: `train_loss`, `val_loss`, and each metric with `val_` before its name.
    pub fn values(&self) -> Vec<(&'static str, f64)> {
        let metrics =
            self.validation.metrics.iter().map(|(metric, value)| (metric.validation_name(), *value));
        [("train_loss", self.train_loss), ("val_loss", self.validation.loss)]
            .into_iter()
            .chain(metrics)
            .collect()
    }

    /// Validation minus training loss. With dropout and the like it may be below 0 for a sound network.
    pub fn gap(&self) -> f64 {
        self.validation.loss - self.train_loss
    }
}
