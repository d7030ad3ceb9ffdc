//! The tensor program: weights and optimiser state of all members with a leading member axis, and one step of all of
//! them. It never sees epochs, seeds, files or reports.
//!
//! A narrower member is padded to the widest with zeros. Its padded units give 0 (what an activation or a mean would make
//! of them is masked away), the weights behind them are 0, so their gradients are 0, and every rule leaves a weight of 0
//! with a gradient of 0 at 0: the padding is exact and never grows.

use burn::Tensor;
use burn::tensor::ops::PadMode;
use burn::tensor::{Device, Int, TensorData, Transaction};

use super::activation::{keeps_zero, value, value_and_slope};
use super::loss::{Losses, Weights};
use super::rules::{Held, Rules, Step, move_to, some_vector, vector};
use super::shape::{Kind, Numbers, Shape};
use crate::activation::Activation;
use crate::loss::{Loss, LossKind};
use crate::network::{Network, Penalty};
use crate::parameters::Layout;
use crate::settings::Settings;

/// What the program must know of a member.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    pub(super) settings: Settings,
    pub(super) loss: Loss,
    pub(super) numbers: Vec<Numbers>,
    pub(super) layout: Layout,
    /// Penalty and largest norm of each parameter.
    held: Vec<(Penalty, Option<f64>)>,
}

/// A member's weights and optimiser slots on the host, in its own layout.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HostState {
    pub(super) weights: Vec<f32>,
    pub(super) slots: Vec<Vec<f32>>,
}

pub(super) struct Program {
    device: Device,
    shape: Shape,
    stages: Vec<Stage>,
    places: Vec<Place>,
    /// Width of what comes out of each stage, of the widest member.
    widths: Vec<usize>,
    weights: Vec<Tensor<3>>,
    /// For each parameter, its slots.
    slots: Vec<Vec<Tensor<3>>>,
    members: Vec<Profile>,
    constants: Constants,
}

/// A stage of the way, with the number of its first parameter.
#[derive(Debug, Clone, Copy)]
struct Stage {
    kind: Kind,
    first: usize,
}

/// What a parameter is.
#[derive(Debug, Clone, Copy)]
struct Place {
    stage: usize,
    is_kernel: bool,
}

/// What follows from who the members are.
struct Constants {
    rules: Rules,
    losses: Losses,
    held: Vec<Held>,
    stages: Vec<StageConstants>,
}

struct StageConstants {
    /// 1 for the units a member has, `[members, 1, width]`; none if all have all.
    mask: Option<Tensor<3>>,
    /// 1 / width of each member.
    share: Option<Tensor<3>>,
    epsilon: Option<Tensor<3>>,
    /// Batch normalisation's momentum and the rest.
    momentum: Option<(Tensor<3>, Tensor<3>)>,
}

/// What a stage keeps of the way forward.
struct Trace {
    input: Tensor<3>,
    slope: Option<Tensor<3>>,
    dropped: Option<Tensor<3>>,
    /// Normalised numbers and 1 / √(variance + ε).
    normalised: Option<(Tensor<3>, Tensor<3>)>,
}

/// One step's batch of every member.
pub(super) struct BatchOfAll {
    /// `[members, rows, inputs]`.
    pub(super) inputs: Tensor<3>,
    /// `[members, rows, outputs]`.
    pub(super) targets: Tensor<3>,
    pub(super) weights: Weights,
    /// What each stage's outputs are multiplied by, where any member drops some.
    pub(super) masks: Vec<Option<Tensor<3>>>,
}

impl Profile {
    pub(super) fn new(network: &Network, settings: &Settings, numbers: Vec<Numbers>) -> Self {
        let layout = Layout::new(network).expect("a trainer's network has a layout");
        let held =
            layout.entries().iter().map(|(parameter, _)| (parameter.penalty, parameter.max_norm)).collect();
        Self { settings: settings.clone(), loss: network.loss, numbers, layout, held }
    }
}

impl Program {
    /// Without members.
    pub(super) fn new(shape: &Shape, device: Device) -> Self {
        let (stages, places) = plan(&shape.kinds);
        let constants = Constants {
            rules: Rules::new(&[], &device),
            losses: Losses { kind: shape.loss, smoothing: None, delta: None },
            held: Vec::new(),
            stages: Vec::new(),
        };
        Self {
            device,
            shape: shape.clone(),
            widths: vec![0; stages.len()],
            stages,
            places,
            weights: Vec::new(),
            slots: Vec::new(),
            members: Vec::new(),
            constants,
        }
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn members(&self) -> &[Profile] {
        &self.members
    }

    pub(super) fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// One more member, at the end.
    pub(super) fn push(&mut self, profile: Profile, state: &HostState) {
        self.widen(&profile);
        let own = self.upload(&profile, state);
        self.append(own);
        self.members.push(profile);
        self.refresh();
    }

    /// A copy of a member, at the end, with numbers of its own; widths must be the same.
    pub(super) fn copy(&mut self, from: usize, profile: Profile) {
        let one = self.indices(&[from]);
        let pick = |tensor: &Tensor<3>| tensor.clone().select(0, one.clone());
        let own = self
            .weights
            .iter()
            .zip(&self.slots)
            .map(|(weight, slots)| (pick(weight), slots.iter().map(pick).collect::<Vec<_>>()));
        let own = own.collect();
        self.append(own);
        self.members.push(profile);
        self.refresh();
    }

    /// Keeps only these members, in this order.
    pub(super) fn keep(&mut self, kept: &[usize]) {
        if kept.is_empty() {
            *self = Self::new(&self.shape, self.device.clone());
            return;
        }
        let indices = self.indices(kept);
        for tensor in self.weights.iter_mut().chain(self.slots.iter_mut().flatten()) {
            move_to(tensor, |old| old.select(0, indices.clone()));
        }
        self.members = kept.iter().map(|&index| self.members[index].clone()).collect();
        self.refresh();
    }

    /// A member's state.
    pub(super) fn state(&self, member: usize, with_slots: bool) -> HostState {
        let layout = &self.members[member].layout;
        let mut reading = Transaction::default();
        for (weight, slots) in self.weights.iter().zip(&self.slots) {
            reading = reading.register(weight.clone().narrow(0, member, 1));
            for slot in slots.iter().filter(|_| with_slots) {
                reading = reading.register(slot.clone().narrow(0, member, 1));
            }
        }
        let mut data = reading.execute().into_iter();
        let count = if with_slots { self.slots.first().map_or(0, Vec::len) } else { 0 };
        let mut state =
            HostState { weights: vec![0.0; layout.len()], slots: vec![vec![0.0; layout.len()]; count] };
        for (place, (parameter, range)) in layout.entries().iter().enumerate() {
            let [_, columns] = self.dims(place);
            let own = *parameter.shape.last().expect("no parameter is a single number");
            let mut take = |into: &mut [f32]| {
                let padded: Vec<f32> =
                    data.next().expect("all were asked for").try_into_vec().expect("single precision");
                for (row, padded) in into.chunks_exact_mut(own).zip(padded.chunks_exact(columns)) {
                    row.copy_from_slice(&padded[..own]);
                }
            };
            take(&mut state.weights[range.clone()]);
            for slot in &mut state.slots {
                take(&mut slot[range.clone()]);
            }
        }
        state
    }

    /// One step of all members; returns the summed losses of their batches, `[members, 1, 1]`. `table` holds the
    /// numbers of [`Step`].
    pub(super) fn train(&mut self, batch: BatchOfAll, table: &Tensor<2>, step: usize) -> Tensor<3> {
        let BatchOfAll { inputs, targets, weights, masks } = batch;
        let (scores, traces) = self.forward(inputs, masks);
        let (loss, delta) = self.constants.losses.gradient(scores, targets, &weights);
        let mut gradients = self.backward(delta, traces);
        let constants = &self.constants;
        constants.rules.prepare(&mut gradients, &self.weights, &constants.held);
        let step = Step::new(table, step);
        for (place, gradient) in gradients.into_iter().enumerate() {
            if let Some(gradient) = gradient {
                let (slots, held) = (&mut self.slots[place], &constants.held[place]);
                move_to(&mut self.weights[place], |w| {
                    constants.rules.update(w, gradient, slots, &step, held)
                });
            }
        }
        loss
    }

    /// Scores of the same `[1, rows, inputs]` for all members, `[members, rows, outputs]`.
    pub(super) fn predict(&self, inputs: Tensor<3>) -> Tensor<3> {
        let mut x = inputs;
        for (stage, constants) in self.stages.iter().zip(&self.constants.stages) {
            let weight = |offset: usize| self.weights[stage.first + offset].clone();
            x = match stage.kind {
                Kind::Dense { activation, bias } => {
                    masked(value(self.sums(x, stage.first, bias), activation), activation, constants)
                }
                Kind::Activation(activation) => masked(value(x, activation), activation, constants),
                Kind::BatchNormalization => {
                    let epsilon = constants.epsilon.clone().expect("normalisations have one");
                    let scale = weight(0) / (weight(3) + epsilon).sqrt();
                    (x - weight(2)) * scale + weight(1)
                }
                Kind::LayerNormalization => {
                    let (normal, _) = normalise_rows(x, constants);
                    normal * weight(0) + weight(1)
                }
            };
        }
        x
    }

    fn forward(&mut self, inputs: Tensor<3>, masks: Vec<Option<Tensor<3>>>) -> (Tensor<3>, Vec<Trace>) {
        let mut x = inputs;
        let mut traces = Vec::with_capacity(self.stages.len());
        for ((index, dropped), stage) in masks.into_iter().enumerate().zip(self.stages.clone()) {
            let input = x.clone();
            let (y, slope, normalised) = match stage.kind {
                Kind::Dense { activation, bias } => {
                    let sums = self.sums(x, stage.first, bias);
                    let (y, slope) = value_and_slope(sums, activation);
                    (masked(y, activation, &self.constants.stages[index]), slope, None)
                }
                Kind::Activation(activation) => {
                    let (y, slope) = value_and_slope(x, activation);
                    (masked(y, activation, &self.constants.stages[index]), slope, None)
                }
                Kind::BatchNormalization => {
                    let (normal, inverse) = self.normalise_columns(x, index, stage.first);
                    (self.scaled(normal.clone(), stage.first), None, Some((normal, inverse)))
                }
                Kind::LayerNormalization => {
                    let (normal, inverse) = normalise_rows(x, &self.constants.stages[index]);
                    (self.scaled(normal.clone(), stage.first), None, Some((normal, inverse)))
                }
            };
            x = match &dropped {
                Some(mask) => y * mask.clone(),
                None => y,
            };
            traces.push(Trace { input, slope, dropped, normalised });
        }
        (x, traces)
    }

    fn backward(&self, mut delta: Tensor<3>, traces: Vec<Trace>) -> Vec<Option<Tensor<3>>> {
        let mut gradients: Vec<Option<Tensor<3>>> = self.places.iter().map(|_| None).collect();
        for (index, trace) in traces.into_iter().enumerate().rev() {
            let Stage { kind, first } = self.stages[index];
            if let Some(mask) = trace.dropped {
                delta = delta * mask;
            }
            if let Some(slope) = trace.slope {
                delta = delta * slope;
            }
            match (kind, trace.normalised) {
                (Kind::Dense { bias, .. }, _) => {
                    gradients[first] = Some(trace.input.swap_dims(1, 2).matmul(delta.clone()));
                    if bias {
                        gradients[first + 1] = Some(delta.clone().sum_dim(1));
                    }
                    if index > 0 {
                        delta = delta.matmul(self.weights[first].clone().swap_dims(1, 2));
                    }
                }
                (Kind::BatchNormalization, Some((normal, inverse))) => {
                    shift_and_scale(&mut gradients, first, &delta, &normal);
                    let inner = delta * self.weights[first].clone();
                    let along = (inner.clone() * normal.clone()).mean_dim(1);
                    delta = (inner.clone() - inner.mean_dim(1) - normal * along) * inverse;
                }
                (Kind::LayerNormalization, Some((normal, inverse))) => {
                    shift_and_scale(&mut gradients, first, &delta, &normal);
                    let constants = &self.constants.stages[index];
                    let inner = delta * self.weights[first].clone();
                    let along = row_mean(inner.clone() * normal.clone(), constants);
                    let mean = row_mean(inner.clone(), constants);
                    // Padded units have no gradient, so what is taken off must not reach them either.
                    delta = only_real(inner - mean, constants) - normal * along;
                    delta = delta * inverse;
                }
                (Kind::Activation(_), _) => {}
                (kind, None) => unreachable!("{kind:?} kept nothing"),
            }
        }
        gradients
    }

    fn sums(&self, x: Tensor<3>, first: usize, bias: bool) -> Tensor<3> {
        let sums = x.matmul(self.weights[first].clone());
        if bias { sums + self.weights[first + 1].clone() } else { sums }
    }

    /// γ · normal + β.
    fn scaled(&self, normal: Tensor<3>, first: usize) -> Tensor<3> {
        normal * self.weights[first].clone() + self.weights[first + 1].clone()
    }

    /// Normalises by the batch's own statistics and moves the moving ones towards them.
    fn normalise_columns(&mut self, x: Tensor<3>, stage: usize, first: usize) -> (Tensor<3>, Tensor<3>) {
        let constants = &self.constants.stages[stage];
        let (keep, rest) = constants.momentum.clone().expect("batch normalisation has one");
        let epsilon = constants.epsilon.clone().expect("normalisations have one");
        let mean = x.clone().mean_dim(1);
        let centred = x - mean.clone();
        let variance = centred.clone().square().mean_dim(1);
        let inverse = (variance.clone() + epsilon).sqrt().recip();
        for (offset, seen) in [(2, mean), (3, variance)] {
            move_to(&mut self.weights[first + offset], |old| old * keep.clone() + seen * rest.clone());
        }
        (centred * inverse.clone(), inverse)
    }

    /// Rows and columns of a parameter, of the widest member.
    fn dims(&self, place: usize) -> [usize; 2] {
        let Place { stage, is_kernel, .. } = self.places[place];
        let before = if stage == 0 { self.shape.inputs } else { self.widths[stage - 1] };
        [if is_kernel { before } else { 1 }, self.widths[stage]]
    }

    /// Makes room for a wider member.
    fn widen(&mut self, profile: &Profile) {
        let before: Vec<[usize; 2]> = (0..self.places.len()).map(|place| self.dims(place)).collect();
        for (width, numbers) in self.widths.iter_mut().zip(&profile.numbers) {
            *width = (*width).max(numbers.width);
        }
        for (place, [rows, columns]) in before.into_iter().enumerate() {
            let [more_rows, more_columns] = self.dims(place);
            let padding = (0, more_columns - columns, 0, more_rows - rows);
            if padding == (0, 0, 0, 0) || self.weights.is_empty() {
                continue;
            }
            for tensor in std::iter::once(&mut self.weights[place]).chain(&mut self.slots[place]) {
                move_to(tensor, |old| old.pad(padding, PadMode::Constant(0.0)));
            }
        }
    }

    fn append(&mut self, own: Vec<(Tensor<3>, Vec<Tensor<3>>)>) {
        if self.members.is_empty() {
            (self.weights, self.slots) = own.into_iter().unzip();
            return;
        }
        for ((weights, slots), (weight, own)) in self.weights.iter_mut().zip(&mut self.slots).zip(own) {
            move_to(weights, |all| Tensor::cat(vec![all, weight], 0));
            for (slot, own) in slots.iter_mut().zip(own) {
                move_to(slot, |all| Tensor::cat(vec![all, own], 0));
            }
        }
    }

    fn upload(&self, profile: &Profile, state: &HostState) -> Vec<(Tensor<3>, Vec<Tensor<3>>)> {
        let entries = profile.layout.entries().iter().enumerate();
        let upload = |(place, (parameter, range)): (
            usize,
            &(crate::parameters::Parameter, std::ops::Range<usize>),
        )| {
            let [rows, columns] = self.dims(place);
            let own = *parameter.shape.last().expect("no parameter is a single number");
            let tensor = |values: &[f32]| {
                let mut padded = vec![0.0; rows * columns];
                for (row, padded) in
                    values[range.clone()].chunks_exact(own).zip(padded.chunks_exact_mut(columns))
                {
                    padded[..own].copy_from_slice(row);
                }
                Tensor::from_data(TensorData::new(padded, [1, rows, columns]), &self.device)
            };
            (tensor(&state.weights), state.slots.iter().map(|slot| tensor(slot)).collect())
        };
        entries.map(upload).collect()
    }

    /// Makes anew what follows from who the members are.
    fn refresh(&mut self) {
        let settings: Vec<&Settings> = self.members.iter().map(|member| &member.settings).collect();
        self.constants = Constants {
            rules: Rules::new(&settings, &self.device),
            losses: self.losses(),
            held: (0..self.places.len()).map(|place| self.held(place)).collect(),
            stages: (0..self.stages.len()).map(|stage| self.stage_constants(stage)).collect(),
        };
    }

    fn losses(&self) -> Losses {
        let smoothing = |loss: &Loss| match *loss {
            Loss::CrossEntropy { label_smoothing }
            | Loss::BinaryCrossEntropy { label_smoothing }
            | Loss::MultiLabel { label_smoothing } => label_smoothing,
            Loss::SquaredError | Loss::AbsoluteError | Loss::Huber { .. } | Loss::Poisson => 0.0,
        };
        let smoothings: Vec<Option<f64>> =
            self.members.iter().map(|member| Some(smoothing(&member.loss)).filter(|&e| e > 0.0)).collect();
        let delta = |member: &Profile| if let Loss::Huber { delta } = member.loss { delta } else { 1.0 };
        let is_huber = self.shape.loss == LossKind::Huber;
        Losses {
            kind: self.shape.loss,
            smoothing: some_vector(&smoothings, 0.0, &self.device),
            delta: is_huber.then(|| vector(self.members.iter().map(delta), &self.device)),
        }
    }

    fn held(&self, place: usize) -> Held {
        let positive = |of: &dyn Fn(&Profile) -> f64| {
            let values: Vec<Option<f64>> =
                self.members.iter().map(|member| Some(of(member)).filter(|&x| x > 0.0)).collect();
            some_vector(&values, 0.0, &self.device)
        };
        let limits: Vec<Option<f64>> = self.members.iter().map(|member| member.held[place].1).collect();
        let is_kernel = self.places[place].is_kernel;
        Held {
            l1: positive(&|member| member.held[place].0.l1),
            twice_l2: positive(&|member| 2.0 * member.held[place].0.l2),
            decay: positive(&|member| if is_kernel { member.settings.weight_decay() } else { 0.0 }),
            max_norm: some_vector(&limits, f64::from(f32::MAX), &self.device),
        }
    }

    fn stage_constants(&self, stage: usize) -> StageConstants {
        let width = self.widths[stage];
        let all = |of: &dyn Fn(&Numbers) -> f64| {
            vector(self.members.iter().map(|member| of(&member.numbers[stage])), &self.device)
        };
        let narrower = self.members.iter().any(|member| member.numbers[stage].width < width);
        let kind = self.stages[stage].kind;
        let is_normalisation = matches!(kind, Kind::BatchNormalization | Kind::LayerNormalization);
        let is_batch = kind == Kind::BatchNormalization;
        StageConstants {
            mask: narrower.then(|| self.mask(stage)),
            share: (kind == Kind::LayerNormalization).then(|| all(&|numbers| 1.0 / numbers.width as f64)),
            epsilon: is_normalisation.then(|| all(&|numbers| numbers.epsilon)),
            momentum: is_batch.then(|| (all(&|n| n.momentum), all(&|n| 1.0 - n.momentum))),
        }
    }

    fn mask(&self, stage: usize) -> Tensor<3> {
        let width = self.widths[stage];
        let mut mask = vec![0.0f32; self.members.len() * width];
        for (row, member) in mask.chunks_exact_mut(width).zip(&self.members) {
            row[..member.numbers[stage].width].fill(1.0);
        }
        Tensor::from_data(TensorData::new(mask, [self.members.len(), 1, width]), &self.device)
    }

    fn indices(&self, of: &[usize]) -> Tensor<1, Int> {
        let indices: Vec<i64> = of.iter().map(|&index| index as i64).collect();
        Tensor::from_data(TensorData::new(indices, [of.len()]), &self.device)
    }
}

fn plan(kinds: &[Kind]) -> (Vec<Stage>, Vec<Place>) {
    let (mut stages, mut places) = (Vec::new(), Vec::new());
    for (stage, &kind) in kinds.iter().enumerate() {
        stages.push(Stage { kind, first: places.len() });
        let vector = Place { stage, is_kernel: false };
        match kind {
            Kind::Dense { bias, .. } => {
                places.push(Place { is_kernel: true, ..vector });
                places.extend(bias.then_some(vector));
            }
            Kind::Activation(_) => {}
            Kind::BatchNormalization => places.extend([vector; 4]),
            Kind::LayerNormalization => places.extend([vector; 2]),
        }
    }
    (stages, places)
}

/// The gradients of a normalisation's γ and β.
fn shift_and_scale(gradients: &mut [Option<Tensor<3>>], first: usize, delta: &Tensor<3>, normal: &Tensor<3>) {
    gradients[first] = Some((delta.clone() * normal.clone()).sum_dim(1));
    gradients[first + 1] = Some(delta.clone().sum_dim(1));
}

fn masked(y: Tensor<3>, activation: Activation, constants: &StageConstants) -> Tensor<3> {
    if keeps_zero(activation) { y } else { only_real(y, constants) }
}

fn only_real(y: Tensor<3>, constants: &StageConstants) -> Tensor<3> {
    match &constants.mask {
        Some(mask) => y * mask.clone(),
        None => y,
    }
}

fn normalise_rows(x: Tensor<3>, constants: &StageConstants) -> (Tensor<3>, Tensor<3>) {
    let epsilon = constants.epsilon.clone().expect("normalisations have one");
    let mean = row_mean(x.clone(), constants);
    let centred = only_real(x - mean, constants);
    let variance = row_mean(centred.clone().square(), constants);
    let inverse = (variance + epsilon).sqrt().recip();
    (centred * inverse.clone(), inverse)
}

/// The mean over the units that each member has; padded ones must be 0.
fn row_mean(x: Tensor<3>, constants: &StageConstants) -> Tensor<3> {
    x.sum_dim(2) * constants.share.clone().expect("layer normalisation knows the widths")
}
