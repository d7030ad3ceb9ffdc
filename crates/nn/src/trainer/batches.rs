//! The batches of an epoch: which rows, in which order, with which weights, changed how. All of it follows from seed and
//! epoch alone.

use crate::augmentation::{Augmentation, Draws, Mixing};
use crate::data::{Part, Problem};
use crate::engine::{Batch, Targets};
use crate::network::Network;
use crate::rng::{Purpose, Stream};
use crate::settings::{ClassWeights, Settings};
use crate::target::Reading;

/// The order of the training rows in an epoch, and room for one batch of them.
pub(super) struct Batches {
    rows: usize,
    width: usize,
    outputs: usize,
    /// The rows that are trained on, ascending.
    training: Vec<u32>,
    order: Vec<u32>,
    draws: Draws,
    augmentation: Augmentation,
    mixing: Mixing,
    /// Targets as the loss wants them, if the data have them otherwise.
    raw_targets: Option<Vec<f32>>,
    /// How much each class counts; `None` if all count the same.
    class_weights: Option<Vec<f32>>,
    buffer: Buffer,
}

#[derive(Default)]
struct Buffer {
    inputs: Vec<f32>,
    classes: Vec<u32>,
    values: Vec<f32>,
    weights: Vec<f32>,
    room: Vec<f32>,
}

impl Batches {
    /// Of the given rows of the training part.
    pub(super) fn new(
        problem: &Problem,
        network: &Network,
        settings: &Settings,
        reading: &Reading,
        training: Vec<u32>,
    ) -> Self {
        let targets = problem.train().targets();
        Self {
            rows: settings.batch_size.min(training.len()).max(1),
            width: network.inputs(),
            outputs: reading.outputs(),
            order: training.clone(),
            draws: Draws::new(&[0; 32], 0),
            augmentation: Augmentation::new(network, settings),
            mixing: Mixing::default(),
            raw_targets: reading.raw_targets(targets),
            class_weights: match (settings.class_weights, targets) {
                (ClassWeights::Balanced, Targets::Classes(classes)) => {
                    Some(balanced(classes, &training, problem.classes().len()))
                }
                _ => None,
            },
            training,
            buffer: Buffer::default(),
        }
    }

    /// How many batches an epoch has.
    pub(super) fn count(&self) -> usize {
        self.training.len().div_ceil(self.rows)
    }

    /// Begins an epoch: shuffles the natural order anew, so that it depends on nothing but seed and epoch.
    pub(super) fn begin(&mut self, seed: &[u8; 32], epoch: usize) {
        self.order.copy_from_slice(&self.training);
        Stream::new(seed, Purpose::Shuffle, epoch as u64).shuffle(&mut self.order);
        self.draws = Draws::new(seed, epoch);
    }

    /// The batch of a step of this epoch, from 0; steps are asked for in order. The last batch may be smaller.
    pub(super) fn gather(&mut self, part: &Part, step: usize) -> Batch<'_> {
        let first = step * self.rows;
        let chosen = &self.order[first..self.order.len().min(first + self.rows)];
        let buffer = &mut self.buffer;
        copy_rows(&mut buffer.inputs, part.inputs(), self.width, chosen);
        self.augmentation.apply(&mut buffer.inputs, self.width, &mut self.draws, &mut self.mixing);
        let targets = self.raw_targets.as_deref().map_or(part.targets(), Targets::Values);
        let is_classes = match targets {
            Targets::Classes(classes) => {
                buffer.classes.clear();
                buffer.classes.extend(chosen.iter().map(|&row| classes[row as usize]));
                true
            }
            Targets::Values(values) => {
                copy_rows(&mut buffer.values, values, self.outputs, chosen);
                false
            }
        };
        let weighted = is_classes && self.class_weights.is_some();
        if let Some(weights) = self.class_weights.as_deref().filter(|_| weighted) {
            buffer.weights.clear();
            buffer.weights.extend(buffer.classes.iter().map(|&class| weights[class as usize]));
        }
        let mixes = self.augmentation.mixes();
        if mixes {
            if is_classes {
                buffer.soften(self.outputs);
            }
            mix(&mut buffer.values, self.outputs, &self.mixing, &mut buffer.room);
            if weighted {
                mix(&mut buffer.weights, 1, &self.mixing, &mut buffer.room);
            }
        }
        Batch {
            rows: chosen.len(),
            inputs: &buffer.inputs,
            targets: if is_classes && !mixes {
                Targets::Classes(&buffer.classes)
            } else {
                Targets::Values(&buffer.values)
            },
            weights: weighted.then_some(&buffer.weights[..]),
        }
    }
}

impl Buffer {
    /// From class numbers to a probability for each of `outputs` classes, or that of the second of two.
    fn soften(&mut self, outputs: usize) {
        self.values.clear();
        for &class in &self.classes {
            if outputs == 1 {
                self.values.push(f32::from(u8::from(class == 1)));
            } else {
                self.values.extend((0..outputs).map(|k| f32::from(u8::from(class as usize == k))));
            }
        }
    }
}

fn copy_rows(to: &mut Vec<f32>, from: &[f32], width: usize, rows: &[u32]) {
    to.clear();
    for &row in rows {
        to.extend_from_slice(&from[row as usize * width..][..width]);
    }
}

fn mix(values: &mut [f32], width: usize, mixing: &Mixing, room: &mut Vec<f32>) {
    room.clear();
    room.extend_from_slice(values);
    for (row, &(partner, share)) in values.chunks_exact_mut(width).zip(&mixing.pairs) {
        let other = &room[partner as usize * width..][..width];
        for (own, other) in row.iter_mut().zip(other) {
            *own = share * *own + (1.0 - share) * other;
        }
    }
}

/// rows / (classes · rows of the class), so that the mean weight of all rows is 1.
fn balanced(classes: &[u32], rows: &[u32], count: usize) -> Vec<f32> {
    let mut of_class = vec![0usize; count];
    for &row in rows {
        of_class[classes[row as usize] as usize] += 1;
    }
    let present = of_class.iter().filter(|&&n| n > 0).count();
    of_class.iter().map(|&n| rows.len() as f32 / (present * n.max(1)) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_classes_count_as_much_as_frequent_ones() {
        let classes = [0, 0, 0, 1, 0, 0, 0, 2];
        let weights = balanced(&classes, &[0, 1, 2, 3, 4, 5, 7], 3);
        assert_eq!(weights, [7.0 / 15.0, 7.0 / 3.0, 7.0 / 3.0]);
    }
}
