//! The shape of the search distribution: a symmetric matrix or its diagonal, with the roots that sampling needs.
//!
//! Roots are the symmetric ones, `C^½ = B D Bᵀ`. Unlike `B D` they do not depend on which eigenvectors a decomposition
//! picks where eigenvalues are equal, so a proposal is the same whichever instructions a machine has.

use faer::{Mat, Side};

/// A covariance matrix over `n` coordinates, row by row.
#[derive(Clone, Debug)]
pub struct Covariance {
    n: usize,
    separable: bool,
    /// `n²` numbers, or the `n` of the diagonal.
    matrix: Vec<f64>,
    root: Vec<f64>,
    inverse_root: Vec<f64>,
    /// Smallest and largest root of an eigenvalue when last decomposed.
    range: (f64, f64),
    stale: u64,
}

impl Covariance {
    /// A diagonal matrix with these variances; `separable` if it is to stay one.
    pub fn diagonal(variances: &[f64], separable: bool) -> Self {
        let n = variances.len();
        let matrix = if separable {
            variances.to_vec()
        } else {
            let entry = |k: usize| if k / n == k % n { variances[k % n] } else { 0.0 };
            (0..n * n).map(entry).collect()
        };
        Self::new(n, matrix, separable)
    }

    /// A full matrix of `n²` numbers, row by row; symmetric and positive definite.
    pub fn full(n: usize, matrix: Vec<f64>) -> Self {
        Self::new(n, matrix, false)
    }

    fn new(n: usize, matrix: Vec<f64>, separable: bool) -> Self {
        let (root, inverse_root) = (Vec::new(), Vec::new());
        let mut made = Self { n, separable, matrix, root, inverse_root, range: (1.0, 1.0), stale: 0 };
        made.decompose();
        made
    }

    /// The entries: `n²` row by row, or `n` of a diagonal.
    pub fn entries(&self) -> &[f64] {
        &self.matrix
    }

    /// Whether it is a diagonal.
    pub fn is_separable(&self) -> bool {
        self.separable
    }

    /// The variance of one coordinate.
    pub fn variance(&self, k: usize) -> f64 {
        if self.separable { self.matrix[k] } else { self.matrix[k * self.n + k] }
    }

    /// Smallest and largest standard deviation along its axes, as of the last decomposition.
    pub fn range(&self) -> (f64, f64) {
        self.range
    }

    /// `C^½ z`.
    pub fn spread(&self, z: &[f64]) -> Vec<f64> {
        self.times(&self.root, z)
    }

    /// `C^−½ y`.
    pub fn whiten(&self, y: &[f64]) -> Vec<f64> {
        self.times(&self.inverse_root, y)
    }

    fn times(&self, matrix: &[f64], x: &[f64]) -> Vec<f64> {
        if self.separable {
            return matrix.iter().zip(x).map(|(m, x)| m * x).collect();
        }
        let row = |k: usize| matrix[k * self.n..(k + 1) * self.n].iter().zip(x).map(|(m, x)| m * x).sum();
        (0..self.n).map(row).collect()
    }

    /// `C ← keep · C + Σ w y yᵀ`. The roots follow once `patience` such updates have passed: decomposing less often than
    /// the matrix changes saves most of the time in many dimensions (Hansen 2016, B.2).
    pub fn update(&mut self, keep: f64, terms: &[(f64, &[f64])], patience: u64) {
        self.matrix.iter_mut().for_each(|c| *c *= keep);
        for (weight, y) in terms {
            if self.separable {
                self.matrix.iter_mut().zip(*y).for_each(|(c, y)| *c += weight * y * y);
                continue;
            }
            for (row, a) in self.matrix.chunks_exact_mut(self.n.max(1)).zip(*y) {
                row.iter_mut().zip(*y).for_each(|(c, b)| *c += weight * (a * b));
            }
        }
        self.stale += 1;
        if self.stale > patience || self.separable {
            self.decompose();
        }
    }

    /// Replaces the matrix and decomposes it.
    pub fn replace(&mut self, entries: Vec<f64>) {
        self.matrix = entries;
        self.decompose();
    }

    /// ln det C, from a decomposition of the entries as they are.
    pub fn log_determinant(&self) -> f64 {
        if self.separable {
            return self.matrix.iter().map(|c| c.max(LEAST).ln()).sum();
        }
        let (values, _) = eigen(self.n, &self.matrix);
        values.iter().map(|value| value.ln()).sum()
    }

    /// Recomputes the roots.
    fn decompose(&mut self) {
        self.stale = 0;
        if self.n == 0 {
            return;
        }
        if self.separable {
            self.root = self.matrix.iter().map(|c| c.max(LEAST).sqrt()).collect();
            self.inverse_root = self.root.iter().map(|d| 1.0 / d).collect();
            self.range = extremes(&self.root);
            return;
        }
        let n = self.n;
        let (values, vectors) = eigen(n, &self.matrix);
        let roots: Vec<f64> = values.iter().map(|value| value.sqrt()).collect();
        self.range = extremes(&roots);
        let product = |scales: &[f64]| {
            let mut made = vec![0.0; n * n];
            for (vector, scale) in vectors.chunks_exact(n.max(1)).zip(scales) {
                for (row, a) in made.chunks_exact_mut(n.max(1)).zip(vector) {
                    row.iter_mut().zip(vector).for_each(|(entry, b)| *entry += scale * (a * b));
                }
            }
            made
        };
        self.root = product(&roots);
        self.inverse_root = product(&roots.iter().map(|d| 1.0 / d).collect::<Vec<f64>>());
    }
}

/// Eigenvalues below this share of the largest count as this share: rounding can make them negative.
const SINGULAR: f64 = 1e-20;
/// The least variance of a diagonal.
const LEAST: f64 = 1e-300;

/// Eigenvalues, raised to a positive least one, and eigenvectors one after the other.
fn eigen(n: usize, matrix: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let symmetric = Mat::from_fn(n, n, |i, j| f64::midpoint(matrix[i * n + j], matrix[j * n + i]));
    let Ok(found) = symmetric.self_adjoint_eigen(Side::Lower) else {
        // Only numbers that are not finite do not decompose: the variances alone are what is left of them.
        let variance =
            |k: usize| if matrix[k * n + k].is_finite() { matrix[k * n + k].max(LEAST) } else { 1.0 };
        let unit = |k: usize| f64::from(u8::from(k / n == k % n));
        return ((0..n).map(variance).collect(), (0..n * n).map(unit).collect());
    };
    let values: Vec<f64> = (0..n).map(|k| found.S()[k]).collect();
    let floor = values.iter().fold(0.0f64, |most, value| most.max(*value)).max(LEAST) * SINGULAR;
    let vectors = (0..n * n).map(|k| found.U()[(k % n, k / n)]).collect();
    (values.into_iter().map(|value| value.max(floor)).collect(), vectors)
}

fn extremes(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, 0.0), |(low, high), x| (low.min(*x), high.max(*x)))
}
