//! From a network to the stages that run it. An activation and a dropout are put at the end of the stage before them
//! where that changes nothing, so that a dense layer, its activation and its dropout are one stage.

use std::ops::Range;

use super::normalization::Normalized;
use super::stage::{Kind, Source, Stage};
use crate::activation::Activation;
use crate::network::{Dense, EmbedColumn, Layer, Network, Penalty};
use crate::parameters::Layout;

/// The stages of a network for up to `rows` rows, with room to go backward through them if `training`; `None` if one
/// of its layers is of a kind that is not made of rows of features.
pub(super) fn plan(network: &Network, layout: &Layout, rows: usize, training: bool) -> Option<Vec<Stage>> {
    let mut planner = Planner {
        ranges: layout.entries().iter().map(|(_, range)| range.clone()),
        stages: Vec::new(),
        shape: network.input.clone(),
        value: Source::Inputs,
        open: false,
        rows,
        training,
    };
    planner.chain(&network.layers)?;
    if planner.stages.is_empty() {
        planner.copy();
    }
    Some(planner.stages)
}

struct Planner<R> {
    /// The places of the parameters, in the order of the layers.
    ranges: R,
    stages: Vec<Stage>,
    /// Of one example, after the last stage.
    shape: Vec<usize>,
    /// Where the next stage reads.
    value: Source,
    /// Whether the last stage can still take an activation or a dropout.
    open: bool,
    rows: usize,
    training: bool,
}

impl<R: Iterator<Item = Range<usize>>> Planner<R> {
    fn chain(&mut self, layers: &[Layer]) -> Option<()> {
        layers.iter().try_for_each(|layer| self.layer(layer))
    }

    fn layer(&mut self, layer: &Layer) -> Option<()> {
        match layer {
            Layer::Dense(dense) => self.dense(dense),
            Layer::Dropout { rate } => {
                self.dropout(*rate);
                Some(())
            }
            Layer::Activation { activation } => self.activation(*activation),
            Layer::BatchNormalization { momentum, epsilon } => {
                let (positions, width) = self.features()?;
                let (gamma, beta) = (self.ranges.next()?, self.ranges.next()?);
                let moving = self.ranges.next()?.start..self.ranges.next()?.end;
                let kept = self.normalized(positions * width, width);
                let constants = (*momentum, *epsilon);
                self.push(Kind::BatchNormalization { gamma, moving, constants, kept }, width, Some(beta))
            }
            Layer::LayerNormalization { epsilon } => {
                let (positions, width) = self.features()?;
                let (gamma, beta) = (self.ranges.next()?, self.ranges.next()?);
                let kept = Normalized {
                    values: vec![0.0; self.rows * positions * width],
                    inverse: vec![0.0; self.rows * positions],
                    means: Vec::new(),
                };
                self.push(Kind::LayerNormalization { gamma, epsilon: *epsilon, kept }, width, Some(beta))
            }
            Layer::Flatten => {
                self.shape = vec![self.shape.iter().product()];
                Some(())
            }
            Layer::EmbedColumns { columns } => self.embed(columns),
            Layer::Residual { layers } => self.residual(layers),
            Layer::Conv1d(_)
            | Layer::Conv2d(_)
            | Layer::Pool1d(_)
            | Layer::Pool2d(_)
            | Layer::GlobalPool { .. }
            | Layer::Rows
            | Layer::Embedding { .. }
            | Layer::Recurrent(_) => None,
        }
    }

    /// Positions of an example, and features of each.
    fn features(&self) -> Option<(usize, usize)> {
        match self.shape[..] {
            [features] => Some((1, features)),
            [steps, features] => Some((steps, features)),
            _ => None,
        }
    }

    fn dense(&mut self, dense: &Dense) -> Option<()> {
        let kernel = self.ranges.next()?;
        let bias = if dense.bias { Some(self.ranges.next()?) } else { None };
        self.push(Kind::Dense { kernel }, dense.units, bias)?;
        self.activation(dense.activation)?;
        let activity = dense.weights.activity;
        if !activity.is_none() {
            self.stages.last_mut()?.activity = activity;
            self.open = false;
        }
        Some(())
    }

    fn activation(&mut self, activation: Activation) -> Option<()> {
        match activation {
            Activation::Linear => {}
            Activation::Softmax => {
                let (_, width) = self.features()?;
                self.push(Kind::Softmax, width, None)?;
                // Its way back needs its outputs as they are.
                self.open = false;
            }
            _ => {
                if !self.open || self.last().activation != Activation::Linear {
                    self.copy();
                }
                self.last().activation = activation;
                self.room_for_slopes();
            }
        }
        Some(())
    }

    fn dropout(&mut self, rate: f64) {
        if rate > 0.0 {
            if !self.open {
                self.copy();
            }
            self.last().dropout = rate;
            self.room_for_slopes();
            self.open = false;
        }
    }

    fn embed(&mut self, columns: &[EmbedColumn]) -> Option<()> {
        let (1, inputs) = self.features()? else { return None };
        let others: Vec<usize> =
            (0..inputs).filter(|&place| columns.iter().all(|column| column.input != place)).collect();
        let tables = columns.iter().map(|&column| Some((column, self.ranges.next()?)));
        let tables: Vec<_> = tables.collect::<Option<_>>()?;
        let is_known = |column: &EmbedColumn| column.cardinality > 0;
        if others.len() + columns.len() != inputs || !columns.iter().all(is_known) {
            return None;
        }
        let units = others.len() + columns.iter().map(|column| column.dimension).sum::<usize>();
        self.push(Kind::Embed { others, tables }, units, None)
    }

    fn residual(&mut self, layers: &[Layer]) -> Option<()> {
        let (skip, before) = (self.value, self.shape.clone());
        let fork = self.stages.len();
        let width = before.iter().product();
        self.stages.push(Stage::new(Kind::Fork { join: 0 }, skip, 1, (width, width), 0));
        self.open = false;
        self.chain(layers)?;
        self.stages[fork].kind = Kind::Fork { join: self.stages.len() };
        let kept = if self.training { vec![0.0; self.rows * self.size()] } else { Vec::new() };
        if before == self.shape {
            let kind = Kind::Join { skip, projection: None, kept };
            self.push_elementwise(kind);
            return Some(());
        }
        let inputs = *before.last()?;
        let (_, units) = self.features()?;
        let projection = Some((self.ranges.next()?, inputs));
        self.push(Kind::Join { skip, projection, kept }, units, None)
    }

    fn normalized(&self, size: usize, width: usize) -> Normalized {
        let values = if self.training { self.rows * size } else { 0 };
        Normalized { values: vec![0.0; values], inverse: vec![0.0; width], means: vec![0.0; width] }
    }

    /// Numbers in one example.
    fn size(&self) -> usize {
        self.shape.iter().product()
    }

    fn last(&mut self) -> &mut Stage {
        let last = self.stages.len() - 1;
        &mut self.stages[last]
    }

    fn room_for_slopes(&mut self) {
        if self.training {
            let stage = self.last();
            stage.slopes = vec![0.0; stage.outputs.len()];
        }
    }

    /// A stage for what cannot be put at the end of the one before.
    fn copy(&mut self) {
        self.push_elementwise(Kind::Copy);
    }

    /// A stage that does not care for the shape.
    fn push_elementwise(&mut self, kind: Kind) {
        let size = self.size();
        let stage = Stage::new(kind, self.value, 1, (size, size), self.rows);
        self.value = Source::Stage(self.stages.len());
        self.stages.push(stage);
        self.open = true;
    }

    fn push(&mut self, kind: Kind, units: usize, bias: Option<Range<usize>>) -> Option<()> {
        let (positions, inputs) = self.features()?;
        let mut stage = Stage::new(kind, self.value, positions, (inputs, units), self.rows);
        stage.bias = bias;
        self.value = Source::Stage(self.stages.len());
        self.stages.push(stage);
        *self.shape.last_mut()? = units;
        self.open = true;
        Some(())
    }
}

impl Stage {
    fn new(kind: Kind, from: Source, positions: usize, (inputs, units): (usize, usize), rows: usize) -> Self {
        Self {
            kind,
            from,
            positions,
            inputs,
            units,
            bias: None,
            activation: Activation::Linear,
            dropout: 0.0,
            activity: Penalty::NONE,
            outputs: vec![0.0; rows * positions * units],
            slopes: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::Loss;
    use crate::network::WeightSettings;

    /// The number of stages, copies among them.
    fn stages(layers: Vec<Layer>) -> (usize, usize) {
        let network = Network { input: vec![3], layers, loss: Loss::SquaredError };
        let layout = Layout::new(&network).unwrap_or_else(|error| unreachable!("{error}"));
        let stages = plan(&network, &layout, 2, true).unwrap_or_default();
        let copies = stages.iter().filter(|stage| matches!(stage.kind, Kind::Copy)).count();
        (stages.len(), copies)
    }

    #[test]
    fn an_activation_and_a_dropout_cost_no_stage_where_they_need_none() {
        let relu = || Layer::Activation { activation: Activation::Relu };
        let dropout = || Layer::Dropout { rate: 0.5 };
        let normal = || Layer::BatchNormalization { momentum: 0.9, epsilon: 1e-3 };
        let penalised = Layer::Dense(Dense {
            units: 4,
            activation: Activation::Linear,
            bias: true,
            weights: WeightSettings { activity: Penalty { l1: 0.1, l2: 0.0 }, ..WeightSettings::default() },
        });
        let residual = Layer::Residual { layers: vec![Layer::dense(4), relu()] };
        assert_eq!(stages(vec![Layer::dense(4), relu(), dropout()]), (1, 0));
        assert_eq!(stages(vec![Layer::dense(4), normal(), relu(), dropout()]), (2, 0));
        assert_eq!(stages(vec![Layer::dense(4), residual, relu(), dropout()]), (4, 0));
        assert_eq!(stages(vec![dropout(), Layer::dense(4)]), (2, 1));
        assert_eq!(stages(vec![Layer::dense(4), dropout(), relu()]), (2, 1));
        assert_eq!(stages(vec![penalised, relu(), dropout()]), (2, 1));
        assert_eq!(stages(vec![Layer::Flatten]), (1, 1));
    }
}
