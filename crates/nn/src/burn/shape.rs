//! Where a kernel or window lies over an image: sizes, steps, padding, and what comes out. No tensors here.
#![allow(clippy::inline_always, reason = "inlined into loops compiled for the machine's SIMD level")]

use crate::network::{Conv, Pool};

/// A window that slides over images of `channels · height · width` numbers. A sequence is an image of height 1 with
/// its features as channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// Height and width of the window.
    pub(super) size: [usize; 2],
    /// Steps down and to the right.
    pub(super) stride: [usize; 2],
    /// Zeros above and to the left.
    pub(super) before: [usize; 2],
    /// Zeros below and to the right.
    pub(super) after: [usize; 2],
    /// Positions down and to the right.
    pub(super) output: [usize; 2],
}

impl Window {
    /// Of a convolution over an image.
    pub(super) fn over_image(conv: &Conv, [channels, height, width]: [usize; 3]) -> Self {
        let (vertical, horizontal) = (conv.padding_of(height), conv.padding_of(width));
        Self {
            channels,
            height,
            width,
            size: [conv.kernel_size; 2],
            stride: [conv.stride; 2],
            before: [vertical.0, horizontal.0],
            after: [vertical.1, horizontal.1],
            output: [height, width].map(|length| conv.output_length(length).unwrap_or_default()),
        }
    }

    /// Of a convolution over a sequence.
    pub(super) fn over_sequence(conv: &Conv, [steps, features]: [usize; 2]) -> Self {
        let padding = conv.padding_of(steps);
        Self {
            channels: features,
            height: 1,
            width: steps,
            size: [1, conv.kernel_size],
            stride: [1, conv.stride],
            before: [0, padding.0],
            after: [0, padding.1],
            output: [1, conv.output_length(steps).unwrap_or_default()],
        }
    }

    /// Of single positions with a step between them.
    pub(super) fn points([channels, height, width]: [usize; 3], stride: usize) -> Self {
        Self {
            channels,
            height,
            width,
            size: [1; 2],
            stride: [stride; 2],
            before: [0; 2],
            after: [0; 2],
            output: [height.div_ceil(stride), width.div_ceil(stride)],
        }
    }

    /// Of a pooling layer over an image.
    pub(super) fn pool_image(pool: &Pool, [channels, height, width]: [usize; 3]) -> Self {
        Self {
            channels,
            height,
            width,
            size: [pool.size; 2],
            stride: [pool.stride; 2],
            before: [0; 2],
            after: [0; 2],
            output: [height, width].map(|length| pool.output_length(length).unwrap_or_default()),
        }
    }

    /// Of a pooling layer over a sequence.
    pub(super) fn pool_sequence(pool: &Pool, [steps, features]: [usize; 2]) -> Self {
        Self {
            channels: features,
            height: 1,
            width: steps,
            size: [1, pool.size],
            stride: [1, pool.stride],
            before: [0; 2],
            after: [0; 2],
            output: [1, pool.output_length(steps).unwrap_or_default()],
        }
    }

    /// Numbers in one image that goes in.
    pub(super) fn input(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Positions in one plane that comes out.
    pub(super) fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Calls `visit` with (channel, y, x) of each place in the window, in the order of a kernel's weights.
    #[inline(always)]
    pub(super) fn each_offset(&self, mut visit: impl FnMut(usize, usize, usize)) {
        for channel in 0..self.channels {
            for y in 0..self.size[0] {
                for x in 0..self.size[1] {
                    visit(channel, y, x);
                }
            }
        }
    }

    /// The line of the image that line `y` of the window meets at output line `position`; `None` in the padding.
    #[inline(always)]
    pub(super) fn source_line(&self, position: usize, y: usize) -> Option<usize> {
        (position * self.stride[0] + y).checked_sub(self.before[0]).filter(|&line| line < self.height)
    }

    /// The range of output columns at which column `x` of the window lies inside the image.
    #[inline(always)]
    pub(super) fn inside(&self, x: usize) -> (usize, usize) {
        let columns = self.output[1];
        let first = self.before[1].saturating_sub(x).div_ceil(self.stride[1]).min(columns);
        let last = (self.width + self.before[1]).saturating_sub(x).div_ceil(self.stride[1]).min(columns);
        (first, last.max(first))
    }
}
