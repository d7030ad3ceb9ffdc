//! Many networks as one tensor program: trainers of one shape take their steps together. Each has its own initial
//! weights, shuffles, dropout masks, learning rate and constants, and its reports are those it would give alone, but
//! for rounding. What is trained next to what is decided elsewhere.

mod activation;
mod loss;
mod member;
mod pays;
mod program;
mod rules;
mod shape;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use burn::Tensor;
use burn::tensor::{Int, TensorData};

use crate::burn::Compute;
use crate::data::Problem;
use crate::engine::Targets;
use crate::evaluation::ROWS_AT_ONCE;
use crate::model::Model;
use crate::rng::Stream;
use crate::settings::Settings;
use crate::trainer::{EpochReport, TrainError, Trainer};
use loss::Weights;
use member::Remote;
pub(crate) use pays::times_as_fast;
use program::{BatchOfAll, Profile, Program};
use rules::{COLUMNS, columns};
pub use shape::Shape;

/// Trainers that are trained together, epoch by epoch.
///
/// ```no_run
/// use std::{path::Path, sync::Arc};
/// use luthier_nn::{Compute, DataSpec, Population, Problem, Settings, Shape, Trainer};
///
/// let problem = Arc::new(Problem::prepare(&DataSpec::new("digits.csv"), Path::new("."))?);
/// let trainer = |seed| Trainer::new(&problem, Settings::default(), [seed; 32]);
/// let shape = Shape::of(&trainer(0)?)?;
/// let mut population = Population::new(&problem, shape, Compute::Cpu);
/// for seed in 0..32 {
///     population.add(trainer(seed)?)?;
/// }
/// for (member, report) in population.epoch() {
///     println!("{member:?} {:?}", report?.values());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Population {
    problem: Arc<Problem>,
    shape: Shape,
    program: Program,
    /// Whether members predict on the device too.
    predicts_on_device: bool,
    members: Vec<Entry>,
    next: u64,
    tables: Option<Tables>,
}

/// Which member of a population; never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member(u64);

/// A trainer that cannot join.
#[derive(thiserror::Error)]
#[error("{reason}")]
pub struct Misfit {
    /// The trainer, unchanged.
    pub trainer: Box<Trainer>,
    /// Why.
    pub reason: String,
}

impl std::fmt::Debug for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Misfit").field("reason", &self.reason).finish_non_exhaustive()
    }
}

struct Entry {
    member: Member,
    trainer: Trainer,
    remote: Remote,
    /// Whether weights, and the optimiser's slots, on the host are those of the device.
    weights_are_here: bool,
    slots_are_here: bool,
}

/// The training rows and the validation rows on the device.
struct Tables {
    inputs: Tensor<2>,
    targets: Tensor<2>,
    /// Blocks of validation rows, `[1, rows, inputs]`.
    validation: Vec<Tensor<3>>,
}

/// What an epoch has beside the members' weights.
struct Epoch {
    /// `[steps · COLUMNS, members]`.
    table: Tensor<2>,
    /// Learning rate of the last step of each member.
    last_rates: Vec<f64>,
    dropout: Vec<Stream>,
    /// Total weight of the rows so far.
    weights: Vec<f64>,
    /// Losses of each step, `[members, 1, 1]`.
    losses: Vec<Tensor<3>>,
    steps: usize,
}

impl Population {
    /// Without members.
    pub fn new(problem: &Arc<Problem>, shape: Shape, compute: Compute) -> Self {
        Self {
            problem: Arc::clone(problem),
            program: Program::new(&shape, compute.device()),
            shape,
            predicts_on_device: compute != Compute::Cpu,
            members: Vec::new(),
            next: 0,
            tables: None,
        }
    }

    /// What its members have in common.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Its members, the first to join first.
    pub fn members(&self) -> impl Iterator<Item = Member> + '_ {
        self.members.iter().map(|entry| entry.member)
    }

    /// Takes in a trainer, which may be at any epoch.
    ///
    /// # Errors
    ///
    /// Gives it back if it is for other data, of another shape, or not finite.
    pub fn add(&mut self, mut trainer: Trainer) -> Result<Member, Misfit> {
        let misfit = |trainer, reason: String| Misfit { trainer: Box::new(trainer), reason };
        if !Arc::ptr_eq(trainer.problem(), &self.problem) {
            return Err(misfit(trainer, "it is for other data".to_owned()));
        }
        match Shape::of(&trainer) {
            Ok(shape) if shape == self.shape => {}
            Ok(_) => return Err(misfit(trainer, "its network or training has another shape".to_owned())),
            Err(reason) => return Err(misfit(trainer, reason)),
        }
        let profile = profile(&trainer);
        let slots = trainer.settings().update_rule().kind().slots();
        let engine = trainer.replace_engine(Box::new(Nothing));
        let remote = match Remote::new(engine, profile.layout.clone(), slots) {
            Ok(remote) => remote,
            Err((error, engine)) => {
                trainer.replace_engine(engine);
                return Err(misfit(trainer, error.to_string()));
            }
        };
        self.program.push(profile, &remote.state());
        trainer.replace_engine(Box::new(remote.clone()));
        Ok(self.enter(trainer, remote, true))
    }

    /// A new member that begins with the weights, optimiser state and epoch of another, with settings and a seed of its
    /// own: nothing leaves the device.
    ///
    /// # Errors
    ///
    /// Settings that do not make a trainer, or one of another shape or of other widths.
    pub fn branch(
        &mut self,
        from: Member,
        settings: Settings,
        seed: [u8; 32],
    ) -> Result<Member, BranchError> {
        let Some(index) = self.place(from) else { return Err(BranchError::Gone) };
        let mut trainer = Trainer::new(&self.problem, settings, seed)?;
        let shape = Shape::of(&trainer).map_err(BranchError::Shape)?;
        let (profile, parent) = (profile(&trainer), profile(&self.members[index].trainer));
        let widths = |profile: &Profile| profile.numbers.iter().map(|n| n.width).collect::<Vec<_>>();
        if shape != self.shape || widths(&profile) != widths(&parent) {
            return Err(BranchError::Shape("its network or training has another shape".to_owned()));
        }
        trainer.stand_where(&self.members[index].trainer);
        let slots = trainer.settings().update_rule().kind().slots();
        let engine = trainer.replace_engine(Box::new(Nothing));
        let remote = Remote::new(engine, profile.layout.clone(), slots)
            .unwrap_or_else(|(error, _)| unreachable!("a new engine: {error}"));
        self.program.copy(index, profile);
        trainer.replace_engine(Box::new(remote.clone()));
        Ok(self.enter(trainer, remote, false))
    }

    /// Lets a member go, with all it has learned; it can go on alone. The others move together.
    pub fn remove(&mut self, member: Member) -> Option<Trainer> {
        self.bring_back(member, true)?;
        let index = self.place(member)?;
        let mut entry = self.members.remove(index);
        let kept: Vec<usize> = (0..=self.members.len()).filter(|&other| other != index).collect();
        self.program.keep(&kept);
        if let Ok(engine) = entry.remote.give_back(Box::new(Nothing)) {
            entry.trainer.replace_engine(engine);
        }
        Some(entry.trainer)
    }

    /// A member as it is now, to be measured, saved, or made a model of.
    pub fn trainer(&mut self, member: Member) -> Option<&Trainer> {
        self.bring_back(member, true)?;
        let index = self.place(member)?;
        Some(&self.members[index].trainer)
    }

    /// The network of a member as it is now, to predict with; see [`Trainer::model`].
    pub fn model(&mut self, member: Member) -> Option<Model> {
        self.bring_back(member, false)?;
        let index = self.place(member)?;
        Some(self.members[index].trainer.model())
    }

    /// A member's trainer for what does not depend on its weights.
    pub fn look(&self, member: Member) -> Option<&Trainer> {
        self.place(member).map(|index| &self.members[index].trainer)
    }

    /// Trains all members for one epoch of each, and measures the validation part. A member that diverges gets an error,
    /// now and in every epoch after; it does no harm to the others.
    pub fn epoch(&mut self) -> Vec<(Member, Result<EpochReport, TrainError>)> {
        if self.members.is_empty() {
            return Vec::new();
        }
        let started = Instant::now();
        let mut epoch = self.begin();
        for step in 0..epoch.steps {
            let batch = self.batch(step, &mut epoch);
            epoch.losses.push(self.program.train(batch, &epoch.table, step));
        }
        let losses = read(Tensor::cat(std::mem::take(&mut epoch.losses), 1));
        for entry in &mut self.members {
            (entry.weights_are_here, entry.slots_are_here) = (false, false);
        }
        self.predict();
        let seconds = started.elapsed().as_secs_f64() / self.members.len() as f64;
        let of_member = losses.chunks_exact(epoch.steps);
        let mut reports = Vec::with_capacity(self.members.len());
        for (index, (entry, losses)) in self.members.iter_mut().zip(of_member).enumerate() {
            let losses: Vec<f64> = losses.iter().map(|&loss| f64::from(loss)).collect();
            let (weight, rate) = (epoch.weights[index], epoch.last_rates[index]);
            reports.push((entry.member, entry.trainer.finish_epoch(&losses, weight, rate, seconds)));
        }
        reports
    }

    /// Takes the first step of an epoch again and again, and waits for it; the weights move, but nothing else is noted.
    pub(crate) fn first_step(&mut self) -> impl FnMut() + '_ {
        let mut epoch = self.begin();
        move || {
            let batch = self.batch(0, &mut epoch);
            read(self.program.train(batch, &epoch.table, 0));
        }
    }

    fn enter(&mut self, trainer: Trainer, remote: Remote, is_here: bool) -> Member {
        let member = Member(self.next);
        self.next += 1;
        let (weights_are_here, slots_are_here) = (is_here, is_here);
        self.members.push(Entry { member, trainer, remote, weights_are_here, slots_are_here });
        member
    }

    fn place(&self, member: Member) -> Option<usize> {
        self.members.iter().position(|entry| entry.member == member)
    }

    /// Brings a member's state from the device to its trainer.
    fn bring_back(&mut self, member: Member, with_slots: bool) -> Option<()> {
        let index = self.place(member)?;
        let entry = &mut self.members[index];
        if !entry.weights_are_here || (with_slots && !entry.slots_are_here) {
            let state = self.program.state(index, with_slots);
            entry.remote.set(state, entry.trainer.steps_done());
            entry.weights_are_here = true;
            entry.slots_are_here |= with_slots;
        }
        Some(())
    }

    /// Shuffles of all members, and the numbers of all their steps.
    fn begin(&mut self) -> Epoch {
        let members = self.members.len();
        let begun: Vec<(Vec<f64>, Stream)> =
            self.members.iter_mut().map(|entry| entry.trainer.begin_epoch()).collect();
        let steps = self.shape.rows.div_ceil(self.shape.batch);
        let mut table = vec![0.0; steps * COLUMNS * members];
        for (index, (entry, (rates, _))) in self.members.iter().zip(&begun).enumerate() {
            let rule = entry.trainer.settings().update_rule();
            let mut number = entry.trainer.steps_done();
            let mut product = rule.momentum_product(number);
            for (step, &rate) in rates.iter().enumerate() {
                number += 1;
                product = rule.next_momentum_product(product, number);
                for (column, value) in columns(rule, rate, number, product).into_iter().enumerate() {
                    table[(step * COLUMNS + column) * members + index] = value;
                }
            }
        }
        let shape = [steps * COLUMNS, members];
        let (rates, dropout): (Vec<Vec<f64>>, Vec<Stream>) = begun.into_iter().unzip();
        Epoch {
            table: Tensor::from_data(TensorData::new(table, shape), self.program.device()),
            last_rates: rates.iter().map(|rates| rates.last().copied().unwrap_or(0.0)).collect(),
            dropout,
            weights: vec![0.0; members],
            losses: Vec::with_capacity(steps),
            steps,
        }
    }

    fn batch(&mut self, step: usize, epoch: &mut Epoch) -> BatchOfAll {
        let first = step * self.shape.batch;
        let rows = self.shape.batch.min(self.shape.rows - first);
        let masks = self.masks(rows, &mut epoch.dropout);
        let (inputs, targets, weights) = if self.shape.by_hand {
            self.gather(step, rows, &mut epoch.weights)
        } else {
            epoch.weights.iter_mut().for_each(|weight| *weight += rows as f64);
            let (inputs, targets) = self.select(first, rows);
            (inputs, targets, Weights::Equal(1.0 / rows as f64))
        };
        BatchOfAll { inputs, targets, weights, masks }
    }

    /// A batch out of the rows that are on the device.
    fn select(&mut self, first: usize, rows: usize) -> (Tensor<3>, Tensor<3>) {
        let members = self.members.len();
        let chosen: Vec<i64> = self
            .members
            .iter()
            .flat_map(|entry| entry.trainer.order()[first..first + rows].iter().map(|&row| i64::from(row)))
            .collect();
        let chosen: Tensor<1, Int> =
            Tensor::from_data(TensorData::new(chosen, [members * rows]), self.program.device());
        let (inputs, outputs) = (self.shape.inputs, self.shape.outputs);
        let tables = self.tables();
        (
            tables.inputs.clone().select(0, chosen.clone()).reshape([members, rows, inputs]),
            tables.targets.clone().select(0, chosen).reshape([members, rows, outputs]),
        )
    }

    /// A batch that the trainers make.
    fn gather(&mut self, step: usize, rows: usize, sums: &mut [f64]) -> (Tensor<3>, Tensor<3>, Weights) {
        let (members, outputs) = (self.members.len(), self.shape.outputs);
        let (mut inputs, mut targets, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        let mut is_weighted = false;
        let mut shares = Vec::with_capacity(members);
        for (entry, sum) in self.members.iter_mut().zip(sums) {
            let batch = entry.trainer.batch(step);
            let weight = crate::loss::total_weight(batch.rows, batch.weights);
            *sum += weight;
            shares.push(if weight > 0.0 { 1.0 / weight } else { 0.0 });
            inputs.extend_from_slice(batch.inputs);
            extend_targets(&mut targets, batch.targets, outputs);
            is_weighted |= batch.weights.is_some();
            match batch.weights {
                Some(own) => weights.extend_from_slice(own),
                None => weights.resize(weights.len() + rows, 1.0),
            }
        }
        let device = self.program.device();
        let tensor = |values: Vec<f32>, width| {
            Tensor::from_data(TensorData::new(values, [members, rows, width]), device)
        };
        let weights = if is_weighted {
            Weights::Each(tensor(weights, 1), rules::vector(shares.into_iter(), device))
        } else {
            Weights::Equal(1.0 / rows as f64)
        };
        (tensor(inputs, self.shape.inputs), tensor(targets, outputs), weights)
    }

    /// What dropout multiplies each stage's outputs by. Each member draws what it would draw alone.
    fn masks(&self, rows: usize, streams: &mut [Stream]) -> Vec<Option<Tensor<3>>> {
        let members = self.program.members();
        let mut noise = Vec::new();
        let mut mask_of = |(stage, &width): (usize, &usize)| {
            if members.iter().all(|member| member.numbers[stage].dropout == 0.0) {
                return None;
            }
            let mut mask = vec![1.0f32; members.len() * rows * width];
            for ((mask, member), stream) in
                mask.chunks_exact_mut(rows * width).zip(members).zip(&mut *streams)
            {
                let own = member.numbers[stage];
                if own.dropout > 0.0 {
                    noise.resize(2 * rows * own.width, 0);
                    stream.fill(&mut noise);
                    drop_units(mask, width, own.dropout, &noise, own.width);
                }
            }
            Some(Tensor::from_data(
                TensorData::new(mask, [members.len(), rows, width]),
                self.program.device(),
            ))
        };
        self.program.widths().iter().enumerate().map(&mut mask_of).collect()
    }

    /// Gets ready what the trainers ask for at the end of an epoch: weights to predict with, or predictions.
    fn predict(&mut self) {
        let on_device = self.predicts_on_device;
        let waiting: Vec<Member> = self
            .members
            .iter()
            .filter(|entry| !on_device || entry.trainer.watches_rows())
            .map(|entry| entry.member)
            .collect();
        for &member in &waiting {
            self.bring_back(member, false);
        }
        if waiting.len() == self.members.len() {
            return;
        }
        let mut blocks: Vec<VecDeque<Vec<f32>>> = vec![VecDeque::new(); self.members.len()];
        let validation = self.tables().validation.clone();
        for block in validation {
            let scores = read(self.program.predict(block));
            let size = scores.len() / self.members.len();
            for (own, scores) in blocks.iter_mut().zip(scores.chunks_exact(size)) {
                own.push_back(scores.to_vec());
            }
        }
        for (entry, blocks) in self.members.iter().zip(blocks) {
            if !entry.trainer.watches_rows() {
                entry.remote.predict_ahead(blocks);
            }
        }
    }

    fn tables(&mut self) -> &Tables {
        let (width, outputs) = (self.shape.inputs, self.shape.outputs);
        let device = self.program.device().clone();
        let rows = |values: &[f32], width: usize| -> Tensor<2> {
            Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / width, width]), &device)
        };
        let (members, problem) = (&self.members, &self.problem);
        self.tables.get_or_insert_with(|| {
            let (part, targets) = members[0].trainer.training_part();
            let mut table = Vec::new();
            extend_targets(&mut table, targets, outputs);
            let blocks = problem.validation().inputs().chunks(ROWS_AT_ONCE * width);
            let block = |values: &[f32]| rows(values, width).reshape([1, values.len() / width, width]);
            Tables {
                inputs: rows(part.inputs(), width),
                targets: rows(&table, outputs),
                validation: blocks.map(block).collect(),
            }
        })
    }
}

/// A copy of a member that cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BranchError {
    /// The settings do not make a trainer.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The copy could not train beside its parent.
    #[error("a copy must have the shape of its population and the widths of its parent: {0}")]
    Shape(String),
    /// The parent is no member any more.
    #[error("the member to copy has left the population")]
    Gone,
}

fn profile(trainer: &Trainer) -> Profile {
    let (_, numbers) = shape::kinds(trainer.network()).unwrap_or_else(|reason| unreachable!("{reason}"));
    Profile::new(trainer.network(), trainer.settings(), numbers)
}

/// As a row of numbers for each row: what the outputs should be, or 1 for the class and 0 for the others.
fn extend_targets(table: &mut Vec<f32>, targets: Targets<'_>, outputs: usize) {
    match targets {
        Targets::Values(values) => table.extend_from_slice(values),
        Targets::Classes(classes) if outputs == 1 => table.extend(classes.iter().map(|&class| class as f32)),
        Targets::Classes(classes) => {
            for &class in classes {
                table.extend((0..outputs).map(|k| f32::from(u8::from(class as usize == k))));
            }
        }
    }
}

/// As [`crate::kernels::drop_units`]: two bytes of noise for each unit the member has.
fn drop_units(mask: &mut [f32], width: usize, rate: f64, noise: &[u8], own: usize) {
    let threshold = (rate * 65_536.0).round() as u32;
    let scale = (1.0 / (1.0 - rate)) as f32;
    for (row, noise) in mask.chunks_exact_mut(width).zip(noise.chunks_exact(2 * own)) {
        for (factor, draw) in row.iter_mut().zip(noise.chunks_exact(2)) {
            let draw = u32::from(u16::from_le_bytes([draw[0], draw[1]]));
            *factor = if draw < threshold { 0.0 } else { scale };
        }
    }
}

fn read(tensor: Tensor<3>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("single precision")
}

/// Stands in for an engine that is being exchanged.
struct Nothing;

impl crate::engine::Engine for Nothing {
    fn train(&mut self, _: crate::engine::Batch<'_>, _: f64, _: &mut Stream) -> f64 {
        unreachable!("exchanged at once")
    }

    fn predict(&mut self, _: &[f32], _: usize, outputs: &mut [f32]) {
        outputs.fill(f32::NAN);
    }

    fn weights(&self) -> Vec<crate::engine::Tensor> {
        Vec::new()
    }

    fn memory(&self) -> crate::engine::OptimizerMemory {
        crate::engine::OptimizerMemory { steps: 0, slots: Vec::new() }
    }

    fn load_weights(&mut self, _: &[crate::engine::Tensor]) -> Result<(), crate::engine::StateError> {
        Ok(())
    }

    fn load_memory(&mut self, _: &crate::engine::OptimizerMemory) -> Result<(), crate::engine::StateError> {
        Ok(())
    }
}
