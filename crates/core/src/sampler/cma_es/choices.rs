//! Probabilities of choices, learnt by a stochastic natural gradient: the categorical half of `CatCMA` (Hamano et al. 2024,
//! arXiv:2405.09962), with the learning rate of ASNG (Akimoto et al. 2019) and a lower bound that keeps every choice
//! possible.

/// Independent probabilities over the choices of some parameters.
#[derive(Clone, Debug)]
pub struct Choices {
    probabilities: Vec<Vec<f64>>,
    /// The least probability of a choice of each parameter.
    least: Vec<f64>,
    /// Δ, γ and s of ASNG.
    trust: f64,
    gamma: f64,
    path: Vec<f64>,
    step: f64,
}

/// The signal-to-noise ratio at which ASNG keeps its step: α.
const SIGNAL: f64 = 1.5;
const EPSILON: f64 = 1e-8;

/// The probability with which one of `discrete` parameters leaves its value whatever was learnt: together, they do so
/// with 27 % (Hamano et al. 2025, arXiv:2504.07884).
pub(super) fn margin(discrete: usize) -> f64 {
    1.0 - 0.73f64.powf(1.0 / discrete.max(1) as f64)
}

impl Choices {
    /// Starts from the given probabilities of each parameter's choices, at least two each. `discrete` counts all
    /// discrete parameters of the strategy.
    pub fn new(probabilities: Vec<Vec<f64>>, discrete: usize) -> Self {
        let least = probabilities.iter().map(|p| margin(discrete) / (p.len() - 1) as f64).collect();
        let free = probabilities.iter().map(|p| p.len() - 1).sum();
        let path = vec![0.0; free];
        let mut made = Self { probabilities, least, trust: 1.0, gamma: 0.0, path, step: 1.0 };
        made.bound();
        made
    }

    /// One probability per choice, for each parameter.
    pub fn probabilities(&self) -> &[Vec<f64>] {
        &self.probabilities
    }

    /// How far ASNG trusts its gradients at present: Δ.
    pub fn trust(&self) -> f64 {
        self.trust
    }

    /// The choice of parameter `k` at a uniform number.
    pub fn at(&self, k: usize, uniform: f64) -> u32 {
        let mut sum = 0.0;
        let probabilities = &self.probabilities[k];
        let found = probabilities.iter().position(|p| {
            sum += p;
            uniform < sum
        });
        found.unwrap_or(probabilities.len() - 1) as u32
    }

    /// Moves towards the choices of the best points; `ranked` gives the weight of each and its choices, none where a
    /// parameter was inactive: such a point says nothing about it.
    pub fn learn(&mut self, ranked: &[(f64, &[Option<u32>])]) {
        let gradients: Vec<Vec<f64>> =
            (0..self.probabilities.len()).map(|k| self.gradient(k, ranked)).collect();
        let normal: Vec<f64> =
            gradients.iter().enumerate().flat_map(|(k, g)| self.normalised(k, g)).collect();
        let norm = normal.iter().map(|x| x * x).sum::<f64>().sqrt();
        if norm == 0.0 {
            return;
        }
        let stride = self.step / (norm + EPSILON);
        for (probabilities, gradient) in self.probabilities.iter_mut().zip(&gradients) {
            probabilities.iter_mut().zip(gradient).for_each(|(p, g)| *p += stride * g);
        }
        self.adapt(&normal, norm);
        self.bound();
    }

    fn gradient(&self, k: usize, ranked: &[(f64, &[Option<u32>])]) -> Vec<f64> {
        let probabilities = &self.probabilities[k];
        let mut gradient = vec![0.0; probabilities.len()];
        let mut total = 0.0;
        for (weight, choices) in ranked {
            if let Some(choice) = choices[k] {
                gradient[choice as usize] += weight;
                total += weight;
            }
        }
        gradient.iter_mut().zip(probabilities).for_each(|(g, p)| *g -= total * p);
        gradient
    }

    /// The gradient times a root of the Fisher information (Akimoto et al. 2019, appendix B).
    fn normalised(&self, k: usize, gradient: &[f64]) -> Vec<f64> {
        let last = self.probabilities[k].len() - 1;
        let sum: f64 = gradient[..last].iter().sum();
        let p_last = self.probabilities[k][last];
        let common = sum / (p_last + p_last.sqrt());
        let entry = |(p, g): (&f64, &f64)| g / p.sqrt() + p.sqrt() * common;
        self.probabilities[k][..last].iter().zip(&gradient[..last]).map(entry).collect()
    }

    fn adapt(&mut self, normal: &[f64], norm: f64) {
        self.step = 1.0 / self.trust;
        let beta = self.step / (self.path.len() as f64).sqrt();
        let fresh = (beta * (2.0 - beta)).max(0.0).sqrt() / norm;
        self.path.iter_mut().zip(normal).for_each(|(s, x)| *s = (1.0 - beta) * *s + fresh * x);
        self.gamma = (1.0 - beta).powi(2) * self.gamma + beta * (2.0 - beta);
        let length: f64 = self.path.iter().map(|s| s * s).sum();
        self.trust *= (beta * (self.gamma - length / SIGNAL)).exp();
    }

    /// Raises every probability to its least one and lets them sum to 1 again.
    fn bound(&mut self) {
        for (probabilities, least) in self.probabilities.iter_mut().zip(&self.least) {
            for p in probabilities.iter_mut() {
                *p = p.max(*least);
            }
            let sum: f64 = probabilities.iter().sum();
            let above = sum - least * probabilities.len() as f64;
            if above > 0.0 {
                for p in probabilities.iter_mut() {
                    *p -= (sum - 1.0) * (*p - least) / above;
                }
            }
            let sum: f64 = probabilities.iter().sum();
            for p in probabilities.iter_mut() {
                *p /= sum;
            }
        }
    }
}
