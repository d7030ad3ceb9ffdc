//! An activation as one node: values and slopes in one pass, by the same functions as the dense engine's.

use burn::Tensor;
use pulp::Arch;

use super::node::{Input, record};
use crate::activation::{Activation, with_activation};

/// f of every number.
pub(in crate::burn) fn activate(arch: Arch, rows: Tensor<2>, activation: Activation) -> Tensor<2> {
    let count = rows.dims()[0];
    let input = Input::new(rows);
    let sums = input.values();
    let (mut outputs, mut slopes) = (vec![0.0; sums.len()], vec![0.0; sums.len()]);
    with_activation!(activation, f => arch.dispatch(|| {
        for ((y, slope), &z) in outputs.iter_mut().zip(&mut slopes).zip(&*sums) {
            (*y, *slope) = f(z);
        }
    }));
    let backward = move |gradient: &[f32], _: [bool; 1]| {
        arch.dispatch(|| {
            for (slope, &g) in slopes.iter_mut().zip(gradient) {
                *slope *= g;
            }
        });
        [Some(slopes)]
    };
    record([input], outputs, count, Box::new(backward))
}
