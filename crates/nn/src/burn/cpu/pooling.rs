//! Pooling as one node. Windows stay inside the image.

use burn::Tensor;
use pulp::Arch;

use super::node::{Input, record};
use crate::burn::shape::Window;

/// The largest number of each window; the first of equals, NaN before all.
pub(in crate::burn) fn largest(arch: Arch, images: Tensor<2>, window: Window) -> Tensor<2> {
    let rows = images.dims()[0];
    let input = Input::new(images);
    let values = input.values();
    let planes = rows * window.channels;
    let mut outputs = vec![0.0; planes * window.positions()];
    let mut places = vec![0u32; outputs.len()];
    arch.dispatch(|| {
        let each = values.chunks_exact(window.height * window.width);
        let outputs = outputs.chunks_exact_mut(window.positions());
        for ((plane, output), places) in
            each.zip(outputs).zip(places.chunks_exact_mut(window.positions()))
        {
            match window.stride[1] {
                1 => largest_of_plane::<1>(&window, plane, output, places),
                2 => largest_of_plane::<2>(&window, plane, output, places),
                3 => largest_of_plane::<3>(&window, plane, output, places),
                _ => largest_of_plane::<0>(&window, plane, output, places),
            }
        }
    });
    let size = values.len();
    let backward = move |gradient: &[f32], _: [bool; 1]| {
        let mut to_images = vec![0.0; size];
        let each = to_images.chunks_exact_mut(window.height * window.width);
        let given = gradient.chunks_exact(window.positions()).zip(places.chunks_exact(window.positions()));
        for (plane, (gradient, places)) in each.zip(given) {
            for (&g, &place) in gradient.iter().zip(places) {
                plane[place as usize] += g;
            }
        }
        [Some(to_images)]
    };
    record([input], outputs, rows, Box::new(backward))
}

/// `STRIDE` is the step to the right, 0 where it is known only at run time: loads with a known step become SIMD code.
#[inline(always)]
#[allow(clippy::inline_always, reason = "inlined into a loop compiled for the machine's SIMD level")]
fn largest_of_plane<const STRIDE: usize>(
    window: &Window,
    plane: &[f32],
    output: &mut [f32],
    places: &mut [u32],
) {
    let columns = window.output[1];
    let stride = if STRIDE == 0 { window.stride[1] } else { STRIDE };
    let lines = output.chunks_exact_mut(columns).zip(places.chunks_exact_mut(columns));
    for (position, (line, places)) in lines.enumerate() {
        for y in 0..window.size[0] {
            for x in 0..window.size[1] {
                let start = (position * window.stride[0] + y) * window.width + x;
                let seen = &plane[start..][..(columns - 1) * stride + 1];
                let begins = y == 0 && x == 0;
                for column in 0..columns {
                    let value = seen[column * stride];
                    let better = begins | (value > line[column]) | value.is_nan();
                    line[column] = if better { value } else { line[column] };
                    places[column] = if better { (start + column * stride) as u32 } else { places[column] };
                }
            }
        }
    }
}

/// The mean of each window.
pub(in crate::burn) fn average(arch: Arch, images: Tensor<2>, window: Window) -> Tensor<2> {
    let rows = images.dims()[0];
    let input = Input::new(images);
    let values = input.values();
    let mut outputs = vec![0.0; rows * window.channels * window.positions()];
    arch.dispatch(|| {
        let each = values.chunks_exact(window.height * window.width);
        for (plane, output) in each.zip(outputs.chunks_exact_mut(window.positions())) {
            visit(&window, |from, to| output[to] += plane[from]);
            for y in output {
                *y *= share(&window);
            }
        }
    });
    let size = values.len();
    let backward = move |gradient: &[f32], _: [bool; 1]| {
        let mut to_images = vec![0.0; size];
        arch.dispatch(|| {
            let each = to_images.chunks_exact_mut(window.height * window.width);
            for (plane, gradient) in each.zip(gradient.chunks_exact(window.positions())) {
                visit(&window, |to, from| plane[to] += gradient[from] * share(&window));
            }
        });
        [Some(to_images)]
    };
    record([input], outputs, rows, Box::new(backward))
}

#[inline]
fn share(window: &Window) -> f32 {
    1.0 / (window.size[0] * window.size[1]) as f32
}

/// Calls `pair` with each place in a plane and the position of a window that covers it.
#[inline(always)]
#[allow(clippy::inline_always, reason = "inlined into a loop compiled for the machine's SIMD level")]
fn visit(window: &Window, mut pair: impl FnMut(usize, usize)) {
    for position in 0..window.output[0] {
        for y in 0..window.size[0] {
            for x in 0..window.size[1] {
                let start = (position * window.stride[0] + y) * window.width + x;
                for column in 0..window.output[1] {
                    pair(start + column * window.stride[1], position * window.output[1] + column);
                }
            }
        }
    }
}
