//! Matrix products on the `gemm` crate, on the calling thread only: trials run in parallel, products do not.
//!
//! The one place in this crate with unsafe code: `gemm` takes raw pointers, and everything here is checked against
//! slice lengths before it is called.

/// A row-major matrix, read as it is stored or transposed.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `data` holds `rows` rows of `columns` values.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "a {rows} × {columns} matrix of {} values", data.len());
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The same values with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// Overwrites `product` (row-major) with `left · right`.
pub(crate) fn multiply(product: &mut [f32], left: Matrix<'_>, right: Matrix<'_>) {
    product_into(product, left, right, false);
}

/// Adds `left · right` to `sum` (row-major).
#[cfg(feature = "burn")]
pub(crate) fn accumulate(sum: &mut [f32], left: Matrix<'_>, right: Matrix<'_>) {
    product_into(sum, left, right, true);
}

#[allow(unsafe_code)]
fn product_into(product: &mut [f32], left: Matrix<'_>, right: Matrix<'_>, add: bool) {
    let (rows, depth, columns) = (left.rows, left.columns, right.columns);
    assert_eq!(depth, right.rows, "inner sizes of a matrix product");
    assert_eq!(product.len(), rows * columns, "size of a matrix product");
    // SAFETY: `Matrix` guarantees that rows and columns with these strides stay inside its slice (its length is
    // rows · columns and the strides are those of a row-major matrix or of its transpose), and the asserts above
    // say the same of `product`, which is borrowed mutably and so overlaps neither factor. Without `add`
    // the destination is only written.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            product.as_mut_ptr(),
            1,
            columns as isize,
            add,
            left.data.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            if add { 1.0 } else { 0.0 },
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_transposed_products_agree_with_sums() {
        for (rows, depth, columns) in [(1, 1, 1), (2, 3, 4), (32, 16, 3), (7, 64, 33), (64, 1, 5), (1, 70, 1)]
        {
            let left: Vec<f32> = (0..rows * depth).map(|i| ((i * 7) % 11) as f32 - 5.0).collect();
            let right: Vec<f32> = (0..depth * columns).map(|i| ((i * 5) % 13) as f32 - 6.0).collect();
            let mut expected = vec![0.0; rows * columns];
            for r in 0..rows {
                for c in 0..columns {
                    expected[r * columns + c] =
                        (0..depth).map(|d| left[r * depth + d] * right[d * columns + c]).sum();
                }
            }
            let mut product = vec![f32::NAN; rows * columns];
            multiply(&mut product, Matrix::new(&left, rows, depth), Matrix::new(&right, depth, columns));
            assert_eq!(product, expected);

            let flipped: Vec<f32> = (0..depth * rows).map(|i| left[(i % rows) * depth + i / rows]).collect();
            let left = Matrix::new(&flipped, depth, rows).transposed();
            multiply(&mut product, left, Matrix::new(&right, depth, columns));
            assert_eq!(product, expected);
        }
    }
}
