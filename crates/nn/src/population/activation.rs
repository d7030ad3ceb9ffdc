//! Activations of tensors with their slopes. The formulas are those of [`crate::activation`].

use std::f64::consts::{PI, SQRT_2};

use burn::Tensor;
use burn::tensor::activation as burns;

use crate::activation::Activation;

const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const LEAK: f64 = 0.01;

/// f(x) for all numbers.
pub(super) fn value(x: Tensor<3>, activation: Activation) -> Tensor<3> {
    match activation {
        Activation::Linear => x,
        Activation::Sigmoid => burns::sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Relu => burns::relu(x),
        Activation::LeakyRelu => burns::leaky_relu(x, LEAK),
        Activation::Elu => exponential_unit(x, 1.0, 1.0).0,
        Activation::Selu => exponential_unit(x, SELU_SCALE, SELU_ALPHA).0,
        Activation::Gelu => x.clone() * normal_distribution(x),
        Activation::Silu => x.clone() * burns::sigmoid(x),
        Activation::Softplus => softplus(x),
        Activation::Softmax => unreachable!("no shape of a population has it"),
    }
}

/// f(x) and f'(x); no slope where it is 1 everywhere.
pub(super) fn value_and_slope(x: Tensor<3>, activation: Activation) -> (Tensor<3>, Option<Tensor<3>>) {
    let (value, slope) = match activation {
        Activation::Linear => return (x, None),
        Activation::Sigmoid => {
            let y = burns::sigmoid(x);
            (y.clone(), y.clone() * (-y + 1.0))
        }
        Activation::Tanh => {
            let y = x.tanh();
            (y.clone(), -(y.square()) + 1.0)
        }
        Activation::Relu => (burns::relu(x.clone()), x.greater_elem(0.0).float()),
        Activation::LeakyRelu => {
            let slope = x.clone().greater_elem(0.0).float() * (1.0 - LEAK) + LEAK;
            (burns::leaky_relu(x, LEAK), slope)
        }
        Activation::Elu => exponential_unit(x, 1.0, 1.0),
        Activation::Selu => exponential_unit(x, SELU_SCALE, SELU_ALPHA),
        Activation::Gelu => {
            let below = normal_distribution(x.clone());
            let density = (x.clone().square() * -0.5).exp() * (1.0 / (2.0 * PI).sqrt());
            (x.clone() * below.clone(), below + x * density)
        }
        Activation::Silu => {
            let s = burns::sigmoid(x.clone());
            let y = x * s.clone();
            (y.clone(), s.clone() + y * (-s + 1.0))
        }
        Activation::Softplus => (softplus(x.clone()), burns::sigmoid(x)),
        Activation::Softmax => unreachable!("no shape of a population has it"),
    };
    (value, Some(slope))
}

/// Whether f(0) is 0, so that padded units stay 0 by themselves.
pub(super) fn keeps_zero(activation: Activation) -> bool {
    !matches!(activation, Activation::Sigmoid | Activation::Softplus | Activation::Softmax)
}

fn exponential_unit(x: Tensor<3>, scale: f64, alpha: f64) -> (Tensor<3>, Tensor<3>) {
    let positive = x.clone().greater_elem(0.0);
    // The exponential of a large number must not become an infinity that a mask turns into NaN.
    let below = x.clone().clamp_max(0.0).exp();
    let y = ((below.clone() - 1.0) * (scale * alpha)).mask_where(positive.clone(), x * scale);
    (y, (below * (scale * alpha)).mask_fill(positive, scale))
}

fn normal_distribution(x: Tensor<3>) -> Tensor<3> {
    ((x / SQRT_2).erf() + 1.0) * 0.5
}

/// max(x, 0) + ln(1 + e^−|x|).
fn softplus(x: Tensor<3>) -> Tensor<3> {
    burns::relu(x.clone()) + (-x.abs()).exp().log1p()
}
