//! The update rules of [`crate::optimizer`], and what [`crate::update`] does around them, for all members at once: each
//! member's numbers are a `[members, 1, 1]` tensor beside weights of `[members, rows, columns]`.

use burn::Tensor;
use burn::tensor::{Device, TensorData};

use super::shape::family;
use crate::optimizer::{Optimizer, power, scheduled_momentum};
use crate::settings::Settings;

/// Numbers of one step and member: learning rate, what multiplies the gradient (`NAdam`), what multiplies the mean, and
/// 1 / √(1 − β₂ᵗ).
pub(super) const COLUMNS: usize = 4;

/// What members remember beside their numbers: penalties and limits of one parameter.
pub(super) struct Held {
    pub(super) l1: Option<Tensor<3>>,
    pub(super) twice_l2: Option<Tensor<3>>,
    /// ω of decoupled decay.
    pub(super) decay: Option<Tensor<3>>,
    /// The largest norm of a column.
    pub(super) max_norm: Option<Tensor<3>>,
}

/// One rule with the constants of all members.
pub(super) struct Rules {
    constants: Constants,
    proximal: bool,
    clip_value: Option<Tensor<3>>,
    clip_norm: Option<Tensor<3>>,
}

#[allow(clippy::large_enum_variant, reason = "there is one of them in a population")]
enum Constants {
    Sgd { momentum: Tensor<3>, nesterov: Option<(Tensor<3>, Tensor<3>)> },
    Rmsprop { rho: Share, momentum: Tensor<3>, epsilon: Tensor<3> },
    Adagrad { initial: Tensor<3>, epsilon: Tensor<3> },
    Adam { beta1: Share, beta2: Share, epsilon: Tensor<3>, nesterov: bool },
    Lion { beta1: Share, beta2: Share },
}

/// β and 1 − β.
struct Share {
    keep: Tensor<3>,
    rest: Tensor<3>,
}

/// The numbers of a step.
pub(super) struct Step {
    rate: Tensor<3>,
    own: Tensor<3>,
    along: Tensor<3>,
    root: Tensor<3>,
}

impl Step {
    /// Of the rows of an epoch's table that begin at `first`: `[steps · COLUMNS, members]`.
    pub(super) fn new(table: &Tensor<2>, step: usize) -> Self {
        let members = table.dims()[1];
        let column = |c: usize| table.clone().narrow(0, step * COLUMNS + c, 1).reshape([members, 1, 1]);
        Self { rate: column(0), own: column(1), along: column(2), root: column(3) }
    }
}

/// A member's [`Step`] number `number` (from 1) as numbers.
pub(super) fn columns(rule: Optimizer, rate: f64, number: u64, momentum_product: f64) -> [f32; COLUMNS] {
    let root = |beta2| 1.0 / (1.0 - power(beta2, number)).sqrt();
    let (own, along, root) = match rule {
        Optimizer::Adam { beta1, beta2, .. } | Optimizer::AdamW { beta1, beta2, .. } => {
            (0.0, rate / (1.0 - power(beta1, number)), root(beta2))
        }
        Optimizer::NAdam { beta1, beta2, .. } => {
            let (now, next) = (scheduled_momentum(beta1, number), scheduled_momentum(beta1, number + 1));
            let own = rate * (1.0 - now) / (1.0 - momentum_product);
            (own, rate * next / (1.0 - momentum_product * next), root(beta2))
        }
        Optimizer::Sgd { .. }
        | Optimizer::Rmsprop { .. }
        | Optimizer::Adagrad { .. }
        | Optimizer::Lion { .. } => (0.0, 0.0, 0.0),
    };
    [rate, own, along, root].map(|x| x as f32)
}

/// One number of each member, `[members, 1, 1]`.
pub(super) fn vector(values: impl Iterator<Item = f64>, device: &Device) -> Tensor<3> {
    let values: Vec<f32> = values.map(|x| x as f32).collect();
    let members = values.len();
    Tensor::from_data(TensorData::new(values, [members, 1, 1]), device)
}

/// The same, but nothing if it is nothing for all.
pub(super) fn some_vector(values: &[Option<f64>], nothing: f64, device: &Device) -> Option<Tensor<3>> {
    let any = values.iter().any(Option::is_some);
    any.then(|| vector(values.iter().map(|value| value.unwrap_or(nothing)), device))
}

impl Rules {
    /// For members with these settings, all of one [`family`].
    pub(super) fn new(members: &[&Settings], device: &Device) -> Self {
        let rules: Vec<Optimizer> = members.iter().map(|settings| family(settings)).collect();
        let all = |of: &dyn Fn(&Optimizer) -> f64| vector(rules.iter().map(of), device);
        let share =
            |of: &dyn Fn(&Optimizer) -> f64| Share { keep: all(of), rest: all(&|rule| 1.0 - of(rule)) };
        let betas = || (share(&|rule| betas(rule).0), share(&|rule| betas(rule).1));
        let epsilons = || all(&epsilon);
        let constants = match rules.first() {
            None | Some(Optimizer::Sgd { .. }) => {
                let looks_ahead = |rule: &Optimizer| matches!(rule, Optimizer::Sgd { nesterov: true, .. });
                let own = || all(&|rule| f64::from(u8::from(looks_ahead(rule))));
                let along = || all(&|rule| if looks_ahead(rule) { momentum(rule) } else { 1.0 });
                let nesterov = rules.iter().any(looks_ahead).then(|| (own(), along()));
                Constants::Sgd { momentum: all(&momentum), nesterov }
            }
            Some(Optimizer::Rmsprop { .. }) => {
                let rho = share(&|rule| if let Optimizer::Rmsprop { rho, .. } = rule { *rho } else { 0.0 });
                Constants::Rmsprop { rho, momentum: all(&momentum), epsilon: epsilons() }
            }
            Some(Optimizer::Adagrad { .. }) => {
                Constants::Adagrad { initial: all(&initial), epsilon: epsilons() }
            }
            Some(rule @ (Optimizer::Adam { .. } | Optimizer::AdamW { .. } | Optimizer::NAdam { .. })) => {
                let (beta1, beta2) = betas();
                let nesterov = matches!(rule, Optimizer::NAdam { .. });
                Constants::Adam { beta1, beta2, epsilon: epsilons(), nesterov }
            }
            Some(Optimizer::Lion { .. }) => {
                let (beta1, beta2) = betas();
                Constants::Lion { beta1, beta2 }
            }
        };
        let limits = |of: fn(&Settings) -> Option<f64>| {
            let values: Vec<Option<f64>> = members.iter().map(|settings| of(settings)).collect();
            some_vector(&values, f64::from(f32::MAX), device)
        };
        Self {
            constants,
            proximal: members.first().is_some_and(|settings| settings.l1_proximal),
            clip_value: limits(|settings| settings.clip_value),
            clip_norm: limits(|settings| settings.clip_norm),
        }
    }

    /// Adds penalties to the gradients (none for what is not trained) and clips them.
    pub(super) fn prepare(&self, gradients: &mut [Option<Tensor<3>>], weights: &[Tensor<3>], held: &[Held]) {
        for ((gradient, weight), held) in gradients.iter_mut().zip(weights).zip(held) {
            let Some(mut g) = gradient.take() else { continue };
            if let Some(l1) = held.l1.as_ref().filter(|_| !self.proximal) {
                g = g + weight.clone().sign() * l1.clone();
            }
            if let Some(twice_l2) = &held.twice_l2 {
                g = g + weight.clone() * twice_l2.clone();
            }
            if let Some(limit) = &self.clip_value {
                let limit = limit.clone().expand(g.dims());
                g = g.min_pair(limit.clone()).max_pair(-limit);
            }
            *gradient = Some(g);
        }
        let Some(limit) = &self.clip_norm else { return };
        let squares = gradients.iter().flatten().map(|g| g.clone().square().sum_dim(1).sum_dim(2));
        let Some(squares) = squares.reduce(|a, b| a + b) else { return };
        let factor = (limit.clone() / (squares.sqrt() + 1e-6)).clamp_max(1.0);
        for gradient in gradients.iter_mut() {
            *gradient = gradient.take().map(|g| g * factor.clone());
        }
    }

    /// One step of a parameter; `slots` are what the rule remembers of it.
    pub(super) fn update(
        &self,
        w: Tensor<3>,
        g: Tensor<3>,
        slots: &mut [Tensor<3>],
        step: &Step,
        held: &Held,
    ) -> Tensor<3> {
        let change = self.change(g, slots, step);
        let change = match &held.decay {
            Some(decay) => change + w.clone() * (decay.clone() * step.rate.clone()),
            None => change,
        };
        let mut w = w - change;
        if let Some(l1) = held.l1.as_ref().filter(|_| self.proximal) {
            let threshold = l1.clone() * step.rate.clone();
            w = w.clone().sign() * (w.abs() - threshold).clamp_min(0.0);
        }
        if let Some(limit) = &held.max_norm {
            let norms = w.clone().square().sum_dim(1).sqrt().clamp_min(f64::from(f32::MIN_POSITIVE));
            w = w * (limit.clone() / norms).clamp_max(1.0);
        }
        w
    }

    fn change(&self, g: Tensor<3>, slots: &mut [Tensor<3>], step: &Step) -> Tensor<3> {
        let rate = step.rate.clone();
        match (&self.constants, slots) {
            (Constants::Sgd { momentum, nesterov }, [velocity]) => {
                move_to(velocity, |v| v * momentum.clone() + g.clone());
                match nesterov {
                    None => velocity.clone() * rate,
                    Some((own, along)) => (g * own.clone() + velocity.clone() * along.clone()) * rate,
                }
            }
            (Constants::Rmsprop { rho, momentum, epsilon }, [square, velocity]) => {
                move_to(square, |s| rho.mix(s, g.clone().square()));
                let scaled = g / (square.clone().sqrt() + epsilon.clone());
                move_to(velocity, |v| v * momentum.clone() + scaled);
                velocity.clone() * rate
            }
            (Constants::Adagrad { initial, epsilon }, [square]) => {
                move_to(square, |s| s + g.clone().square());
                g * rate / ((square.clone() + initial.clone()).sqrt() + epsilon.clone())
            }
            (Constants::Adam { beta1, beta2, epsilon, nesterov }, [mean, square]) => {
                move_to(mean, |m| beta1.mix(m, g.clone()));
                move_to(square, |s| beta2.mix(s, g.clone().square()));
                let along = mean.clone() * step.along.clone();
                let along = if *nesterov { along + g * step.own.clone() } else { along };
                along / (square.clone().sqrt() * step.root.clone() + epsilon.clone())
            }
            (Constants::Lion { beta1, beta2 }, [mean]) => {
                let direction = beta1.mix(mean.clone(), g.clone()).sign();
                move_to(mean, |m| beta2.mix(m, g));
                direction * rate
            }
            (_, slots) => unreachable!("{} slots of another rule", slots.len()),
        }
    }
}

impl Share {
    /// keep · old + rest · new.
    fn mix(&self, old: Tensor<3>, new: Tensor<3>) -> Tensor<3> {
        old * self.keep.clone() + new * self.rest.clone()
    }
}

/// Replaces a tensor by a function of it, so that the device may write the result in its place.
pub(super) fn move_to(place: &mut Tensor<3>, of: impl FnOnce(Tensor<3>) -> Tensor<3>) {
    let old = std::mem::replace(place, Tensor::empty([1, 1, 1], &place.device()));
    *place = of(old);
}

fn momentum(rule: &Optimizer) -> f64 {
    match rule {
        Optimizer::Sgd { momentum, .. } | Optimizer::Rmsprop { momentum, .. } => *momentum,
        _ => 0.0,
    }
}

fn betas(rule: &Optimizer) -> (f64, f64) {
    match *rule {
        Optimizer::Adam { beta1, beta2, .. }
        | Optimizer::AdamW { beta1, beta2, .. }
        | Optimizer::NAdam { beta1, beta2, .. }
        | Optimizer::Lion { beta1, beta2 } => (beta1, beta2),
        _ => (0.0, 0.0),
    }
}

fn initial(rule: &Optimizer) -> f64 {
    if let Optimizer::Adagrad { initial_accumulator, .. } = rule { *initial_accumulator } else { 0.0 }
}

fn epsilon(rule: &Optimizer) -> f64 {
    match *rule {
        Optimizer::Rmsprop { epsilon, .. }
        | Optimizer::Adagrad { epsilon, .. }
        | Optimizer::Adam { epsilon, .. }
        | Optimizer::AdamW { epsilon, .. }
        | Optimizer::NAdam { epsilon, .. } => epsilon,
        _ => 0.0,
    }
}
