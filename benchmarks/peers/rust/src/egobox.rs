//! The crate `egobox-ego`: efficient global optimisation in its own loop, with its own initial design.
//!
//! It knows neither logarithmic ranges nor conditions: logarithmic parameters are handed over as the logarithm (integers among them
//! are rounded afterwards), and everything is always active.

use egobox_ego::{EgorBuilder, XType};
use ndarray::{Array2, ArrayView2};

use crate::refuse;
use crate::task::{Kind, Parameter, Point, Task};

pub fn run(task: &Task) {
    let types: Vec<XType> = task.space.iter().map(x_type).collect();
    let objective = |rows: &ArrayView2<f64>| {
        let losses = rows.outer_iter().map(|row| {
            let point: Point =
                task.space.iter().zip(row).map(|(parameter, &x)| Some(plain(parameter, x))).collect();
            // The package takes NaN for a failed point.
            crate::evaluate(&point).unwrap_or(f64::NAN)
        });
        let losses: Vec<f64> = losses.collect();
        Array2::from_shape_vec((losses.len(), 1), losses).expect("one loss per row")
    };
    let result = EgorBuilder::optimize(objective)
        .configure(|config| config.seed(task.seed).max_iters(task.trials))
        .min_within_mixint_space(&types)
        .and_then(|egor| egor.run());
    if let Err(error) = result {
        refuse(&error.to_string());
    }
}

fn x_type(parameter: &Parameter) -> XType {
    let (low, high) = (parameter.low, parameter.high);
    match parameter.kind {
        Kind::Float | Kind::Int if parameter.log => XType::Float(low.ln(), high.ln()),
        Kind::Float => XType::Float(low, high),
        Kind::Int => XType::Int(low as i32, high as i32),
        Kind::Ordinal => XType::Ord((0..=high as usize).map(|index| index as f64).collect()),
        Kind::Categorical => XType::Enum(high as usize + 1),
    }
}

fn plain(parameter: &Parameter, x: f64) -> f64 {
    let x = if parameter.log { x.exp() } else { x };
    let x = if parameter.kind == Kind::Float { x } else { x.round() };
    x.clamp(parameter.low, parameter.high)
}
