//! One optimiser step over all parameters of a network: penalties, clipping, the update rule, decoupled decay,
//! proximal L1 and limits on norms, in this order. Every engine uses it, so that a setting means the same in all of
//! them. It sees flat slices and segments of them; which layer a segment belongs to is not known here.

use std::ops::Range;

use pulp::Arch;

use crate::kernels::add_penalty;
use crate::optimizer::{Optimizer, Step};
use crate::parameters::{Layout, Parameter, Role};
use crate::settings::Settings;

/// A stretch of the parameters that is treated alike: one kernel, one bias, one layer's moving statistics.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Its place in the flat slice.
    pub range: Range<usize>,
    /// λ₁ of the penalty λ₁ Σ|w| + λ₂ Σw², at least 0.
    pub l1: f64,
    /// λ₂ of the penalty (there is no ½), at least 0.
    pub l2: f64,
    /// Limit on the norm of each unit's weights.
    pub max_norm: Option<MaxNorm>,
    /// Whether it is a kernel: weight decay acts on it, and it counts in [`Updater::sparsity`].
    pub decays: bool,
    /// If not, a step leaves it as it is, and its gradient counts for nothing (moving statistics).
    pub trainable: bool,
}

impl Segment {
    /// A trainable segment without penalty, limit or decay.
    pub fn plain(range: Range<usize>) -> Self {
        Self { range, l1: 0.0, l2: 0.0, max_norm: None, decays: false, trainable: true }
    }

    /// One segment for each parameter of a network: weights decay, moving statistics are not trained, penalties and
    /// limits are the parameter's own. A unit's weights are a column of a kernel, a row of filters or of an embedding.
    pub fn of(layout: &Layout) -> Vec<Self> {
        let segment = |(parameter, range): &(Parameter, Range<usize>)| Self {
            range: range.clone(),
            l1: parameter.penalty.l1,
            l2: parameter.penalty.l2,
            max_norm: parameter.max_norm.map(|limit| MaxNorm { limit, axis: unit_axis(parameter) }),
            decays: parameter.role.is_weight(),
            trainable: parameter.role.is_trained(),
        };
        layout.entries().iter().map(segment).collect()
    }
}

/// After each step, the incoming weights of every unit are scaled down to this L2 norm if theirs is larger (Srebro
/// and Shraibman 2005). Units within the limit are left as they are, to the bit; Keras divides by the norm plus 1e-7
/// always.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaxNorm {
    /// The largest norm allowed, above 0.
    pub limit: f64,
    /// Where a unit's weights lie.
    pub axis: UnitAxis,
}

/// Which axis of a row-major kernel counts the units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitAxis {
    /// `[units, …]`, as the kernels of convolutions: each unit's weights lie together.
    First {
        /// How many; divides the segment's length.
        units: usize,
    },
    /// `[inputs, units]`, as the kernels of dense and recurrent layers: each unit has a column.
    Last {
        /// How many; divides the segment's length.
        units: usize,
    },
}

/// What happens around the update rule, the same for all segments.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UpdateSettings {
    /// Decoupled weight decay ω: w ← w − η ω w beside the rule's step, η being the learning rate of the step
    /// (Loshchilov and Hutter 2019, as `PyTorch` scales it). At least 0; default 0. Under plain SGD, and only there,
    /// it equals an L2 penalty with λ₂ = ω / 2.
    pub weight_decay: f64,
    /// How λ₁ acts. If false (the default) by the subgradient λ₁ sign(w), which makes weights small but hardly ever
    /// zero. If true by a proximal step: after the rule each weight moves by η λ₁ towards zero and stops there. The
    /// step is η λ₁ for adaptive rules too, not scaled by their denominators.
    pub proximal_l1: bool,
    /// Scales the gradient of all trainable parameters, penalties included, down to this L2 norm (as
    /// `torch.nn.utils.clip_grad_norm_`; what Keras calls `global_clipnorm`). Above 0; default off.
    pub clip_norm: Option<f64>,
    /// Cuts each component of the gradient, penalties included, to ± this; before `clip_norm` if both are set.
    /// Above 0; default off.
    pub clip_value: Option<f64>,
}

/// Moves the weights of one network, and holds what its rule remembers between steps.
///
/// ```
/// use luthier_nn::{OptimizerKind, Segment, UpdateSettings, Updater};
///
/// let segments = vec![Segment { l2: 0.1, ..Segment::plain(0..2) }, Segment { trainable: false, ..Segment::plain(2..3) }];
/// let mut updater = Updater::new(OptimizerKind::Sgd.rule(), UpdateSettings::default(), segments);
/// let mut weights = [1.0, 2.0, 3.0];
/// updater.step(&mut weights, &mut [0.5, 0.0, 9.0], 0.1);
/// assert_eq!(weights, [0.93, 1.96, 3.0]);
/// ```
#[derive(Debug, Clone)]
pub struct Updater {
    arch: Arch,
    rule: Optimizer,
    settings: UpdateSettings,
    segments: Vec<Segment>,
    runs: Vec<Run>,
    slots: Vec<Vec<f32>>,
    steps: u64,
    /// Πₜ after `steps` steps, see [`Optimizer::NAdam`].
    momentum_product: f64,
    /// Room for the sums of squares of a kernel's columns.
    sums: Vec<f64>,
}

/// Neighbouring segments that the rule can take in one go. Without weight decay and statistics that is everything.
#[derive(Debug, Clone, PartialEq)]
struct Run {
    range: Range<usize>,
    decays: bool,
}

impl Updater {
    /// An updater before its first step.
    ///
    /// # Panics
    /// If the segments do not follow each other from 0 without gap, or a unit axis does not divide its segment.
    pub fn new(rule: Optimizer, settings: UpdateSettings, segments: Vec<Segment>) -> Self {
        let mut total = 0;
        let mut widest = 0;
        for segment in &segments {
            assert_eq!(segment.range.start, total, "parameters between the segments");
            assert!(segment.range.end >= total, "a segment that ends before it starts");
            total = segment.range.end;
            if let Some(MaxNorm { axis: UnitAxis::First { units } | UnitAxis::Last { units }, .. }) =
                segment.max_norm
            {
                assert!(segment.range.len().is_multiple_of(units), "{units} units in {:?}", segment.range);
                widest = widest.max(units);
            }
        }
        Self {
            arch: Arch::new(),
            rule,
            runs: runs(&segments, settings.weight_decay > 0.0),
            settings,
            segments,
            slots: rule.kind().slots().iter().map(|_| vec![0.0; total]).collect(),
            steps: 0,
            momentum_product: 1.0,
            sums: vec![0.0; widest],
        }
    }

    /// The updater that `settings` describe for a network with these parameters. Every engine takes its own from here.
    pub fn for_network(layout: &Layout, settings: &Settings) -> Self {
        let around = UpdateSettings {
            weight_decay: settings.weight_decay(),
            proximal_l1: settings.l1_proximal,
            clip_norm: settings.clip_norm,
            clip_value: settings.clip_value,
        };
        Self::new(settings.update_rule(), around, Segment::of(layout))
    }

    /// One step with the learning rate η. `weights` and `gradients` (of the mean loss without penalties) are as long
    /// as all segments together; afterwards `gradients` holds what the rule was given: penalties added, then
    /// clipped. A gradient that is not a number shows in the weights.
    pub fn step(&mut self, weights: &mut [f32], gradients: &mut [f32], learning_rate: f64) {
        self.add_penalties(weights, gradients);
        self.clip(gradients);
        self.steps += 1;
        self.momentum_product = self.rule.next_momentum_product(self.momentum_product, self.steps);
        for run in &self.runs {
            let decay = if run.decays { learning_rate * self.settings.weight_decay } else { 0.0 };
            let step =
                Step { learning_rate, number: self.steps, momentum_product: self.momentum_product, decay };
            let range = run.range.clone();
            self.rule.update_range(self.arch, weights, gradients, &mut self.slots, range, step);
        }
        if self.settings.proximal_l1 {
            self.shrink(weights, learning_rate);
        }
        self.limit_norms(weights);
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.segments.last().map_or(0, |segment| segment.range.end)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its rule.
    pub fn rule(&self) -> Optimizer {
        self.rule
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The rule's numbers, one slice as long as the weights for each name in [`Updater::slot_names`].
    pub fn slots(&self) -> &[Vec<f32>] {
        &self.slots
    }

    /// Names of the slots, as checkpoints call them.
    pub fn slot_names(&self) -> &'static [&'static str] {
        self.rule.kind().slots()
    }

    /// Goes back to a state given by [`Updater::steps`] and [`Updater::slots`]; the steps after it are the same to
    /// the bit.
    ///
    /// # Panics
    /// If number or lengths of the slots differ from [`Updater::slots`].
    pub fn restore(&mut self, steps: u64, slots: Vec<Vec<f32>>) {
        assert_eq!(slots.len(), self.slots.len(), "slots of another rule");
        for (new, old) in slots.iter().zip(&self.slots) {
            assert_eq!(new.len(), old.len(), "a slot of another network");
        }
        self.slots = slots;
        self.steps = steps;
        self.momentum_product = self.rule.momentum_product(steps);
    }

    /// The fraction of weights in decaying segments (kernels) that are exactly zero; 0 if there are none.
    pub fn sparsity(&self, weights: &[f32]) -> f64 {
        let (mut zeros, mut all) = (0, 0);
        for segment in self.segments.iter().filter(|segment| segment.decays) {
            let kernel = &weights[segment.range.clone()];
            zeros += kernel.iter().filter(|w| **w == 0.0).count();
            all += kernel.len();
        }
        if all == 0 { 0.0 } else { zeros as f64 / all as f64 }
    }

    /// λ₁ Σ|w| + λ₂ Σw² over all trainable segments: what the penalties add to the loss.
    pub fn penalty(&self, weights: &[f32]) -> f64 {
        let penalised = self.trainable().filter(|segment| segment.l1 > 0.0 || segment.l2 > 0.0);
        penalised
            .map(|segment| {
                let (mut magnitudes, mut squares) = (0.0, 0.0);
                for &w in &weights[segment.range.clone()] {
                    magnitudes += f64::from(w.abs());
                    squares += f64::from(w) * f64::from(w);
                }
                segment.l1 * magnitudes + segment.l2 * squares
            })
            .sum()
    }

    fn trainable(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.trainable)
    }

    fn add_penalties(&self, weights: &[f32], gradients: &mut [f32]) {
        for segment in self.trainable() {
            let l1 = if self.settings.proximal_l1 { 0.0 } else { segment.l1 };
            if l1 > 0.0 || segment.l2 > 0.0 {
                let (gradient, kernel) =
                    (&mut gradients[segment.range.clone()], &weights[segment.range.clone()]);
                add_penalty(self.arch, gradient, kernel, l1, segment.l2);
            }
        }
    }

    fn clip(&self, gradients: &mut [f32]) {
        if let Some(limit) = self.settings.clip_value {
            for run in &self.runs {
                clip_values(self.arch, &mut gradients[run.range.clone()], limit as f32);
            }
        }
        if let Some(limit) = self.settings.clip_norm {
            let squares: f64 =
                self.runs.iter().map(|run| sum_of_squares(self.arch, &gradients[run.range.clone()])).sum();
            // The small number is PyTorch's.
            let factor = limit / (squares.sqrt() + 1e-6);
            if factor < 1.0 {
                for run in &self.runs {
                    scale(self.arch, &mut gradients[run.range.clone()], factor as f32);
                }
            }
        }
    }

    fn shrink(&self, weights: &mut [f32], learning_rate: f64) {
        for segment in self.trainable().filter(|segment| segment.l1 > 0.0) {
            let threshold = (learning_rate * segment.l1) as f32;
            soft_threshold(self.arch, &mut weights[segment.range.clone()], threshold);
        }
    }

    fn limit_norms(&mut self, weights: &mut [f32]) {
        for segment in self.segments.iter().filter(|segment| segment.trainable) {
            let kernel = &mut weights[segment.range.clone()];
            match segment.max_norm {
                Some(MaxNorm { limit, axis: UnitAxis::First { units } }) if !kernel.is_empty() => {
                    for unit in kernel.chunks_exact_mut(segment.range.len() / units) {
                        let factor = limit / sum_of_squares(self.arch, unit).sqrt();
                        if factor < 1.0 {
                            scale(self.arch, unit, factor as f32);
                        }
                    }
                }
                Some(MaxNorm { limit, axis: UnitAxis::Last { units } }) => {
                    limit_columns(self.arch, kernel, &mut self.sums[..units], limit);
                }
                Some(_) | None => {}
            }
        }
    }
}

fn unit_axis(parameter: &Parameter) -> UnitAxis {
    match parameter.role {
        Role::Filters | Role::Embedding => UnitAxis::First { units: parameter.shape[0] },
        Role::Kernel | Role::Bias | Role::Gamma | Role::Beta | Role::MovingMean | Role::MovingVariance => {
            UnitAxis::Last { units: parameter.shape.last().copied().unwrap_or(1) }
        }
    }
}

/// Trainable segments, neighbours joined as long as they need the same decay.
fn runs(segments: &[Segment], decay: bool) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for segment in segments.iter().filter(|segment| segment.trainable && !segment.range.is_empty()) {
        let decays = decay && segment.decays;
        match runs.last_mut() {
            Some(run) if run.range.end == segment.range.start && run.decays == decays => {
                run.range.end = segment.range.end;
            }
            _ => runs.push(Run { range: segment.range.clone(), decays }),
        }
    }
    runs
}

/// Σx² in double precision, in eight interleaved sums whatever the machine, so that all get the same bits.
fn sum_of_squares(arch: Arch, values: &[f32]) -> f64 {
    arch.dispatch(
        #[inline(always)]
        || {
            let mut lanes = [0.0f64; 8];
            let blocks = values.chunks_exact(8);
            let rest = blocks.remainder();
            for block in blocks {
                for (lane, &x) in lanes.iter_mut().zip(block) {
                    *lane += f64::from(x) * f64::from(x);
                }
            }
            for (lane, &x) in lanes.iter_mut().zip(rest) {
                *lane += f64::from(x) * f64::from(x);
            }
            lanes.iter().sum()
        },
    )
}

fn scale(arch: Arch, values: &mut [f32], factor: f32) {
    arch.dispatch(|| {
        for x in values {
            *x *= factor;
        }
    });
}

/// Comparisons leave NaN as it is.
fn clip_values(arch: Arch, values: &mut [f32], limit: f32) {
    arch.dispatch(|| {
        for x in values {
            let low = if *x < -limit { -limit } else { *x };
            *x = if low > limit { limit } else { low };
        }
    });
}

/// w ← sign(w) max(|w| − threshold, 0), the proximal step of the L1 norm.
fn soft_threshold(arch: Arch, weights: &mut [f32], threshold: f32) {
    arch.dispatch(|| {
        for w in weights {
            let above = if *w > threshold { *w - threshold } else { 0.0 };
            let below = if *w < -threshold { *w + threshold } else { 0.0 };
            // The last term is 0, but NaN if the weight is: a divergence must not turn into zeros.
            *w = above + below + 0.0 * *w;
        }
    });
}

/// Scales each column of a row-major kernel down to the norm `limit`. `sums` has a place for each column.
fn limit_columns(arch: Arch, kernel: &mut [f32], sums: &mut [f64], limit: f64) {
    let units = sums.len();
    if units == 0 {
        return;
    }
    let largest = limit * limit;
    arch.dispatch(|| {
        sums.fill(0.0);
        for row in kernel.chunks_exact(units) {
            for (sum, &w) in sums.iter_mut().zip(row) {
                *sum += f64::from(w) * f64::from(w);
            }
        }
        if sums.iter().all(|&sum| sum <= largest) {
            return;
        }
        for sum in sums.iter_mut() {
            *sum = if *sum > largest { limit / sum.sqrt() } else { 1.0 };
        }
        for row in kernel.chunks_exact_mut(units) {
            for (w, &factor) in row.iter_mut().zip(sums.iter()) {
                *w *= factor as f32;
            }
        }
    });
}
