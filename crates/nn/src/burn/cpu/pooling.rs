//! Pooling as one node. Windows stay inside the image.
#![allow(clippy::inline_always, reason = "inlined into a loop compiled for the machine's SIMD level")]

use burn::Tensor;
use pulp::{Arch, Simd, WithSimd};

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
    match window.stride[1] {
        1 => arch.dispatch(Largest::<1> {
            window,
            values: &values,
            outputs: &mut outputs,
            places: &mut places,
        }),
        2 => arch.dispatch(Largest::<2> {
            window,
            values: &values,
            outputs: &mut outputs,
            places: &mut places,
        }),
        _ => arch.dispatch(Largest::<0> {
            window,
            values: &values,
            outputs: &mut outputs,
            places: &mut places,
        }),
    }
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

/// The forward pass over all planes. `STRIDE` is the step to the right, 0 where it is known only at run time: loads
/// with a known step become SIMD code.
///
/// It is a type of its own, not a closure, because a closure of this length would not be inlined where the machine's
/// SIMD level is known.
struct Largest<'a, const STRIDE: usize> {
    window: Window,
    values: &'a [f32],
    outputs: &'a mut [f32],
    places: &'a mut [u32],
}

impl<const STRIDE: usize> WithSimd for Largest<'_, STRIDE> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let positions = self.window.positions();
        let plane = self.window.height * self.window.width;
        let outputs = self.outputs.chunks_exact_mut(positions).zip(self.places.chunks_exact_mut(positions));
        let mut line = vec![0; self.window.output[1]];
        for (plane, (output, places)) in self.values.chunks_exact(plane).zip(outputs) {
            largest_of_plane::<STRIDE>(&self.window, plane, &mut line, output, places);
        }
    }
}

/// `line` is room for a line of windows.
#[inline(always)]
fn largest_of_plane<const STRIDE: usize>(
    window: &Window,
    plane: &[f32],
    line: &mut [u64],
    output: &mut [f32],
    places: &mut [u32],
) {
    let stride = if STRIDE == 0 { window.stride[1] } else { STRIDE };
    let columns = line.len();
    let lines = output.chunks_exact_mut(columns).zip(places.chunks_exact_mut(columns));
    for (position, (output, places)) in lines.enumerate() {
        line.fill(0);
        for y in 0..window.size[0] {
            for x in 0..window.size[1] {
                let start = (position * window.stride[0] + y) * window.width + x;
                // The last window may end with the plane, so its step is not all there.
                let (most, last) = plane[start..].split_at((columns - 1) * stride);
                for (at, (best, step)) in line.iter_mut().zip(most.chunks_exact(stride)).enumerate() {
                    *best = rank(step[0], start + at * stride).max(*best);
                }
                line[columns - 1] = rank(last[0], start + most.len()).max(line[columns - 1]);
            }
        }
        for ((y, place), &best) in output.iter_mut().zip(places).zip(&*line) {
            *place = !(best as u32);
            *y = plane[*place as usize];
        }
    }
}

/// A whole number that orders numbers and, where they are equal, earlier places before later ones; NaN is above all.
/// Comparing these takes no branch, which on data would be guessed wrong half the time.
#[inline(always)]
fn rank(value: f32, place: usize) -> u64 {
    const SIGN: u32 = 1 << 31;
    const INFINITY: u32 = f32::INFINITY.to_bits();
    let bits = value.to_bits();
    // Negative numbers order the other way round, below the positive ones.
    let ordered = bits ^ (((bits as i32 >> 31) as u32) | SIGN);
    let ordered = if bits & !SIGN > INFINITY { u32::MAX } else { ordered };
    (u64::from(ordered) << 32) | u64::from(!(place as u32))
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

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn ranks_order_numbers_then_places_and_let_nan_through() {
        let ascending = [f32::NEG_INFINITY, -3.5, -f32::MIN_POSITIVE, 0.0, 1e-30, 2.0, f32::INFINITY];
        for pair in ascending.windows(2) {
            assert!(rank(pair[0], 0) < rank(pair[1], 9), "{pair:?}");
        }
        assert!(rank(2.0, 3) > rank(2.0, 4));
        for nan in [f32::NAN, -f32::NAN] {
            assert!(rank(nan, 5) > rank(f32::INFINITY, 0));
        }
        assert!(rank(f32::NEG_INFINITY, 1_000_000) > 0, "every number is above an empty line");
    }
}
