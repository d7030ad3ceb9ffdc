//! Convolution with its bias and activation as one node: for each image the patches under the kernel are laid out as
//! the columns of a matrix (Chellapilla et al. 2006), so that the rest is matrix products. Patches of one image stay
//! in the cache; the backward pass lays them out again instead of keeping all of them.
#![allow(clippy::inline_always, reason = "inlined into a loop compiled for the machine's SIMD level")]

use burn::Tensor;
use pulp::{Arch, Simd, WithSimd};

use super::node::{Input, record};
use crate::activation::{Activation, with_activation};
use crate::burn::shape::Window;
use crate::matmul::{Matrix, accumulate, multiply};

/// `images` holds rows of channels · height · width; the result rows of filters · height · width as the window says.
pub(in crate::burn) fn convolve(
    arch: Arch,
    images: Tensor<2>,
    kernel: Tensor<1>,
    bias: Option<Tensor<1>>,
    window: Window,
    filters: usize,
    activation: Activation,
) -> Tensor<2> {
    let rows = images.dims()[0];
    let device = images.device();
    // Without a bias a constant zero takes its place; its gradient is not asked for.
    let bias = bias.unwrap_or_else(|| Tensor::zeros([filters], &device));
    let inputs = [Input::new(images), Input::new(kernel), Input::new(bias)];
    let [images, kernel, bias] = inputs.each_ref().map(Input::values);
    let layer = Convolution { arch, window, filters };
    let mut outputs = vec![0.0; rows * layer.output()];
    let mut slopes = vec![0.0; if activation == Activation::Linear { 0 } else { outputs.len() }];
    layer.forward(&images, &kernel, &bias, activation, &mut outputs, &mut slopes);
    let backward = move |gradient: &[f32], [wants_images, _, _]: [bool; 3]| {
        let mut to_images = wants_images.then(|| vec![0.0; images.len()]);
        let mut to_kernel = vec![0.0; kernel.len()];
        let to_bias =
            layer.backward(&images, &kernel, &slopes, gradient, to_images.as_deref_mut(), &mut to_kernel);
        [to_images, Some(to_kernel), Some(to_bias)]
    };
    record(inputs, outputs, rows, Box::new(backward))
}

#[derive(Clone, Copy)]
struct Convolution {
    arch: Arch,
    window: Window,
    filters: usize,
}

impl Convolution {
    /// Rows of the matrix of patches.
    fn depth(&self) -> usize {
        self.window.channels * self.window.size[0] * self.window.size[1]
    }

    /// Numbers in one image that comes out.
    fn output(&self) -> usize {
        self.filters * self.window.positions()
    }

    fn forward(
        &self,
        images: &[f32],
        kernel: &[f32],
        bias: &[f32],
        activation: Activation,
        outputs: &mut [f32],
        slopes: &mut [f32],
    ) {
        let (depth, positions) = (self.depth(), self.window.positions());
        let kernel = Matrix::new(kernel, self.filters, depth);
        let mut patches = vec![0.0; depth * positions];
        let mut slopes = slopes.chunks_exact_mut(self.output());
        for (image, output) in
            images.chunks_exact(self.window.input()).zip(outputs.chunks_exact_mut(self.output()))
        {
            self.arch.dispatch(LayOut { window: &self.window, image, patches: &mut patches });
            multiply(output, kernel, Matrix::new(&patches, depth, positions));
            match slopes.next() {
                None => self.arch.dispatch(|| {
                    for (plane, &b) in output.chunks_exact_mut(positions).zip(bias) {
                        for z in plane {
                            *z += b;
                        }
                    }
                }),
                Some(slope) => with_activation!(activation, f => self.arch.dispatch(|| {
                    let planes = output.chunks_exact_mut(positions).zip(slope.chunks_exact_mut(positions));
                    for ((plane, slopes), &b) in planes.zip(bias) {
                        for (z, slope) in plane.iter_mut().zip(slopes) {
                            (*z, *slope) = f(*z + b);
                        }
                    }
                })),
            }
        }
    }

    /// Fills the gradients by images and kernel and returns that by the bias.
    fn backward(
        &self,
        images: &[f32],
        kernel: &[f32],
        slopes: &[f32],
        gradient: &[f32],
        to_images: Option<&mut [f32]>,
        to_kernel: &mut [f32],
    ) -> Vec<f32> {
        let (depth, positions) = (self.depth(), self.window.positions());
        let kernel = Matrix::new(kernel, self.filters, depth).transposed();
        let mut patches = vec![0.0; depth * positions];
        let mut delta = vec![0.0; self.output()];
        let mut to_bias = vec![0.0; self.filters];
        let mut slopes = slopes.chunks_exact(self.output());
        let mut to_images = to_images.map(|all| all.chunks_exact_mut(self.window.input()));
        for (image, gradient) in
            images.chunks_exact(self.window.input()).zip(gradient.chunks_exact(self.output()))
        {
            let slope = slopes.next();
            self.arch.dispatch(|| {
                match slope {
                    None => delta.copy_from_slice(gradient),
                    Some(slope) => {
                        for ((d, &g), &s) in delta.iter_mut().zip(gradient).zip(slope) {
                            *d = g * s;
                        }
                    }
                }
                for (sum, plane) in to_bias.iter_mut().zip(delta.chunks_exact(positions)) {
                    *sum += sum_in_lanes(plane);
                }
            });
            self.arch.dispatch(LayOut { window: &self.window, image, patches: &mut patches });
            let errors = Matrix::new(&delta, self.filters, positions);
            accumulate(to_kernel, errors, Matrix::new(&patches, depth, positions).transposed());
            if let Some(to_image) = to_images.as_mut().and_then(Iterator::next) {
                multiply(&mut patches, kernel, errors);
                self.arch.dispatch(Gather { window: &self.window, patches: &patches, image: to_image });
            }
        }
        to_bias
    }
}

/// A sum whose order is fixed and does not depend on the machine's SIMD width.
#[inline(always)]
fn sum_in_lanes(values: &[f32]) -> f32 {
    let mut lanes = [0.0; 16];
    for chunk in values.chunks(16) {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += x;
        }
    }
    lanes.iter().sum()
}

/// Row (c, y, x) of `patches` is what the kernel's weight (c, y, x) meets at each position.
///
/// This and [`Gather`] are types, not closures, because closures of this length would not be inlined where the
/// machine's SIMD level is known.
struct LayOut<'a> {
    window: &'a Window,
    image: &'a [f32],
    patches: &'a mut [f32],
}

impl WithSimd for LayOut<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        lay_out(self.window, self.image, self.patches);
    }
}

#[inline(always)]
fn lay_out(window: &Window, image: &[f32], patches: &mut [f32]) {
    let mut rows = patches.chunks_exact_mut(window.positions());
    window.each_offset(|plane, dy, dx| {
        let Some(row) = rows.next() else { return };
        let image = &image[plane * window.height * window.width..][..window.height * window.width];
        let (first, last) = window.inside(dx);
        for (oy, line) in row.chunks_exact_mut(window.output[1]).enumerate() {
            let Some(y) = window.source_line(oy, dy) else {
                line.fill(0.0);
                continue;
            };
            let source = &image[y * window.width..][..window.width];
            line[..first].fill(0.0);
            line[last..].fill(0.0);
            if first < last {
                let start = first * window.stride[1] + dx - window.before[1];
                if window.stride[1] == 1 {
                    line[first..last].copy_from_slice(&source[start..][..last - first]);
                } else {
                    let taken = source[start..].iter().step_by(window.stride[1]);
                    for (to, from) in line[first..last].iter_mut().zip(taken) {
                        *to = *from;
                    }
                }
            }
        }
    });
}

/// Adds each patch to where [`LayOut`] took it from.
struct Gather<'a> {
    window: &'a Window,
    patches: &'a [f32],
    image: &'a mut [f32],
}

impl WithSimd for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        gather(self.window, self.patches, self.image);
    }
}

#[inline(always)]
fn gather(window: &Window, patches: &[f32], image: &mut [f32]) {
    let mut rows = patches.chunks_exact(window.positions());
    window.each_offset(|plane, dy, dx| {
        let Some(row) = rows.next() else { return };
        let image = &mut image[plane * window.height * window.width..][..window.height * window.width];
        let (first, last) = window.inside(dx);
        for (oy, line) in row.chunks_exact(window.output[1]).enumerate() {
            let Some(y) = window.source_line(oy, dy).filter(|_| first < last) else { continue };
            let target = &mut image[y * window.width..][..window.width];
            let start = first * window.stride[1] + dx - window.before[1];
            if window.stride[1] == 1 {
                for (to, from) in target[start..][..last - first].iter_mut().zip(&line[first..last]) {
                    *to += from;
                }
            } else {
                let places = target[start..].iter_mut().step_by(window.stride[1]);
                for (to, from) in places.zip(&line[first..last]) {
                    *to += from;
                }
            }
        }
    });
}
