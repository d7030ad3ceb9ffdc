//! A Rust closure as an objective.

use luthier_core::event::Failure;

use super::{Failed, Objective, Running};

/// An objective from a closure that returns the value of the metric called `metric`.
///
/// ```
/// use luthier::objective::closure;
/// let sphere = closure("loss", |running| {
///     let (x, y) = (running.float("x")?, running.float("y")?);
///     Ok(x * x + y * y)
/// });
/// ```
pub fn closure<F>(metric: &str, function: F) -> impl Objective
where
    F: Fn(&mut Running<'_>) -> Result<f64, Failure> + Send + Sync,
{
    Closure { metric: metric.to_owned(), function }
}

struct Closure<F> {
    metric: String,
    function: F,
}

impl<F> Objective for Closure<F>
where
    F: Fn(&mut Running<'_>) -> Result<f64, Failure> + Send + Sync,
{
    fn evaluate(&self, running: &mut Running<'_>) -> Result<(), Failed> {
        let value = (self.function)(running)?;
        if running.ended().is_none() {
            running.conclude(vec![(self.metric.as_str().into(), value)]);
        }
        Ok(())
    }
}
