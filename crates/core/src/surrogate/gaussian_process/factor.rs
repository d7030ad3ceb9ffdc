//! The Cholesky factor of a covariance matrix that grows by rows: made at once, or row by row at O(n²) each.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{LltRegularization, cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::{MatMut, MatRef, Par, Spec};

use super::kernel::lanes;

/// L with L Lᵀ = A, in columns of length `stride`; only the lower triangle is ever read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Factor {
    size: usize,
    stride: usize,
    columns: Vec<f64>,
    /// What was added to the diagonal so that A had a factor at all.
    pub(super) jitter: f64,
}

impl Factor {
    /// Factorises the lower triangle of a matrix given by columns, n × n. Adds to the diagonal 10⁻¹⁰ of its mean, then
    /// ten times more and so on, until there is a factor.
    pub(super) fn of(matrix: &[f64], size: usize) -> Self {
        let mean = (0..size).map(|k| matrix[k * size + k]).sum::<f64>() / size.max(1) as f64;
        let mut jitter = 0.0;
        let mut scratch = Scratch::new(size);
        loop {
            let mut columns = matrix.to_vec();
            for k in 0..size {
                columns[k * size + k] += jitter;
            }
            // With the diagonal doubled and more, only NaN has no factor; it shows in every result.
            if factorise(&mut columns, size, &mut scratch) || jitter > mean || !mean.is_finite() {
                return Self { size, stride: size, columns, jitter };
            }
            jitter = if jitter == 0.0 { 1e-10 * mean } else { 10.0 * jitter };
        }
    }

    fn column(&self, k: usize) -> &[f64] {
        &self.columns[k * self.stride..k * self.stride + self.size]
    }

    /// Appends a row to A: its covariances with the rows before it and its own variance. Returns its row of L.
    ///
    /// The new pivot is kept above 10⁻¹⁰ of the variance, as if jitter had been added.
    pub(super) fn append(&mut self, covariances: &[f64], variance: f64) -> (Vec<f64>, f64) {
        let row = self.forward(covariances);
        let variance = variance + self.jitter;
        let left = variance - lanes(&row, &row, |a, b| a * b);
        let pivot = left.max(1e-10 * variance).sqrt();
        self.reserve();
        for (k, entry) in row.iter().enumerate() {
            self.columns[k * self.stride + self.size] = *entry;
        }
        self.columns[self.size * self.stride + self.size] = pivot;
        self.size += 1;
        (row, pivot)
    }

    fn reserve(&mut self) {
        if self.size < self.stride {
            return;
        }
        let stride = self.size + self.size / 8 + 8;
        let mut columns = vec![0.0; stride * stride];
        for k in 0..self.size {
            columns[k * stride..k * stride + self.size].copy_from_slice(self.column(k));
        }
        (self.stride, self.columns) = (stride, columns);
    }

    /// Forgets all rows but the first `size`.
    pub(super) fn truncate(&mut self, size: usize) {
        self.size = self.size.min(size);
    }

    /// L⁻¹ b.
    pub(super) fn forward(&self, b: &[f64]) -> Vec<f64> {
        let mut x = b.to_vec();
        for k in 0..self.size {
            let column = self.column(k);
            x[k] /= column[k];
            let pivot = x[k];
            for (x, entry) in x[k + 1..].iter_mut().zip(&column[k + 1..]) {
                *x -= pivot * entry;
            }
        }
        x
    }

    /// L⁻ᵀ b.
    pub(super) fn backward(&self, b: &[f64]) -> Vec<f64> {
        let mut x = b.to_vec();
        for k in (0..self.size).rev() {
            let column = self.column(k);
            let below = lanes(&column[k + 1..], &x[k + 1..], |a, b| a * b);
            x[k] = (x[k] - below) / column[k];
        }
        x
    }

    /// L⁻¹ B in place, for a matrix B given by columns.
    pub(super) fn forward_all(&self, columns: &mut [f64]) {
        if self.size == 0 {
            return;
        }
        let many = columns.len() / self.size;
        let right = MatMut::from_column_major_slice_mut(columns, self.size, many);
        solve_lower_triangular_in_place(self.lower(), right, Par::Seq);
    }

    fn lower(&self) -> MatRef<'_, f64> {
        MatRef::from_column_major_slice_with_stride(&self.columns, self.size, self.size, self.stride)
    }

    /// ln det A.
    pub(super) fn log_determinant(&self) -> f64 {
        (0..self.size).map(|k| 2.0 * self.column(k)[k].ln()).sum()
    }

    /// The diagonal of A⁻¹.
    pub(super) fn inverse_diagonal(&self) -> Vec<f64> {
        let n = self.size;
        let mut inverse = vec![0.0; n * n];
        for k in 0..n {
            inverse[k * n + k] = 1.0;
        }
        self.forward_all(&mut inverse);
        inverse.chunks_exact(n.max(1)).map(|column| lanes(column, column, |a, b| a * b)).collect()
    }

    /// L b.
    pub(super) fn times(&self, b: &[f64]) -> Vec<f64> {
        let mut product = vec![0.0; self.size];
        for (k, b) in b.iter().enumerate().take(self.size) {
            for (sum, entry) in product[k..].iter_mut().zip(&self.column(k)[k..]) {
                *sum += b * entry;
            }
        }
        product
    }
}

/// Room for a factorisation, made once.
pub(super) struct Scratch(MemBuffer);

impl Scratch {
    pub(super) fn new(size: usize) -> Self {
        Self(MemBuffer::new(cholesky_in_place_scratch::<f64>(size, Par::Seq, Spec::default())))
    }
}

/// Puts the factor of a matrix given by columns in place of its lower triangle; false if it has none.
pub(super) fn factorise(columns: &mut [f64], size: usize, scratch: &mut Scratch) -> bool {
    let matrix = MatMut::from_column_major_slice_mut(columns, size, size);
    let stack = MemStack::new(&mut scratch.0);
    cholesky_in_place(matrix, LltRegularization::default(), Par::Seq, stack, Spec::default()).is_ok()
}
