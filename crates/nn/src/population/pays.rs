//! Whether a population pays on this machine, measured on the data themselves.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Population, Shape};
use crate::burn::Compute;
use crate::data::Problem;
use crate::rng::seed_from_u64;
use crate::settings::Settings;
use crate::trainer::Trainer;

/// Each way is tried for about so long.
const PATIENCE: Duration = Duration::from_millis(250);
/// Steps that are timed at most, and at least.
const STEPS: (usize, usize) = (36, 3);

/// How many times as fast `members` networks of these settings train together as one by one; `None` if they cannot.
/// On the CPU a tensor program has the one thread that a lone network has; on a GPU it is compared with as many lone
/// networks as there are processors.
pub(crate) fn times_as_fast(problem: &Arc<Problem>, settings: &Settings, members: usize) -> Option<f64> {
    let trainer = |seed: usize| Trainer::new(problem, settings.clone(), seed_from_u64(seed as u64)).ok();
    let mut alone = trainer(0)?;
    let compute = Compute::best();
    let mut population = Population::new(problem, Shape::of(&alone).ok()?, compute);
    for seed in 0..members {
        population.add(trainer(seed)?).ok()?;
    }
    let threads =
        if compute == Compute::Cpu { 1 } else { thread::available_parallelism().map_or(1, usize::from) };
    let lone = shortest(alone.first_step()) / threads as f64;
    let each = shortest(population.first_step()) / members as f64;
    (each > 0.0).then(|| lone / each)
}

/// Seconds of the fastest call. The fastest, as other programs may be running; the first does not count, as it makes
/// what later ones reuse.
fn shortest(mut step: impl FnMut()) -> f64 {
    step();
    let begun = Instant::now();
    let mut shortest = f64::INFINITY;
    for number in 0..STEPS.0 {
        let started = Instant::now();
        step();
        shortest = shortest.min(started.elapsed().as_secs_f64());
        if begun.elapsed() > PATIENCE && number + 1 >= STEPS.1 {
            break;
        }
    }
    shortest
}
