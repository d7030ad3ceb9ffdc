//! What a [`Population`](crate::Population) does for a trainer whose steps it takes together with those of others: an
//! epoch in three parts, of which the middle one, the steps, is the population's.

use std::sync::Arc;

use super::{TrainError, Trainer};
use crate::EpochReport;
use crate::data::{Part, Problem};
use crate::engine::{Batch, Engine, Targets};
use crate::rng::{Purpose, Stream};

impl Trainer {
    /// Rows that are trained on, and those of a batch.
    pub(crate) fn rows_and_batch(&self) -> (usize, usize) {
        self.batches.rows_and_batch()
    }

    /// Whether a batch is nothing but rows of the data, all counting the same.
    pub(crate) fn has_plain_batches(&self) -> bool {
        self.batches.are_plain()
    }

    pub(crate) fn problem(&self) -> &Arc<Problem> {
        &self.problem
    }

    pub(crate) fn training_part(&self) -> (&Part, Targets<'_>) {
        let part = self.problem.train();
        (part, self.batches.targets(part))
    }

    pub(crate) fn watches_rows(&self) -> bool {
        self.stopping.is_some()
    }

    /// Another engine in place of the present one, which is returned.
    pub(crate) fn replace_engine(&mut self, engine: Box<dyn Engine>) -> Box<dyn Engine> {
        std::mem::replace(&mut self.engine, engine)
    }

    /// Takes over how far another run is, and what it measures.
    pub(crate) fn stand_where(&mut self, other: &Self) {
        (self.epoch, self.steps) = (other.epoch, other.steps);
        self.metrics.clone_from(&other.metrics);
    }

    /// Shuffles for the next epoch; returns the learning rate of each of its steps, and its stream of dropout.
    pub(crate) fn begin_epoch(&mut self) -> (Vec<f64>, Stream) {
        let epoch = self.epoch + 1;
        self.batches.begin(&self.seed, epoch);
        let steps = self.batches.count();
        let rate = |step| self.learning_rate_after(self.epoch as f64 + step as f64 / steps as f64);
        ((0..steps).map(rate).collect(), Stream::new(&self.seed, Purpose::Dropout, epoch as u64))
    }

    /// The rows of this epoch, in order.
    pub(crate) fn order(&self) -> &[u32] {
        self.batches.order()
    }

    /// The batch of a step of this epoch, from 0; steps are asked for in order.
    pub(crate) fn batch(&mut self, step: usize) -> Batch<'_> {
        self.batches.gather(self.problem.train(), step)
    }

    /// Takes the first step of an epoch again and again; the weights move, but nothing else is noted.
    pub(crate) fn first_step(&mut self) -> impl FnMut() + '_ {
        let (rates, mut dropout) = self.begin_epoch();
        let rate = rates.first().copied().unwrap_or(0.0);
        move || {
            let batch = self.batches.gather(self.problem.train(), 0);
            self.engine.train(batch, rate, &mut dropout);
        }
    }

    /// Ends the epoch whose steps had these summed losses and total weights, with `seconds` for this trainer.
    pub(crate) fn finish_epoch(
        &mut self,
        losses: &[f64],
        weight: f64,
        learning_rate: f64,
        seconds: f64,
    ) -> Result<EpochReport, TrainError> {
        if let Some(error) = &self.diverged {
            return Err(error.clone());
        }
        let report = self.took(losses, weight, learning_rate, seconds);
        if let Err(error) = &report {
            self.diverged = Some(error.clone());
        }
        report
    }

    fn took(
        &mut self,
        losses: &[f64],
        weight: f64,
        learning_rate: f64,
        seconds: f64,
    ) -> Result<EpochReport, TrainError> {
        let epoch = self.epoch + 1;
        let mut sum = 0.0;
        for &loss in losses {
            self.steps += 1;
            self.must_be_finite(loss, epoch, "training loss")?;
            sum += loss;
        }
        let mean = sum / weight * self.evaluator.reading().unit();
        let watched = self.watch(epoch)?;
        self.conclude(epoch, (mean, learning_rate), watched, seconds)
    }
}
