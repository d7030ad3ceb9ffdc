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

/// Each way is tried for about so long at most.
const PATIENCE: Duration = Duration::from_millis(250);
/// Steps that are timed at first, and further ones if they leave it open.
const STEPS: (usize, usize) = (3, 33);
/// On the CPU, what is so many times as fast in the first steps is the faster: a study of small networks takes a second,
/// of which the measurement must not be a third. (A GPU may still be choosing its kernels.)
const CLEAR: f64 = 1.5;

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
    let (mut lone, mut joint) = (Timed::new(alone.first_step()), Timed::new(population.first_step()));
    let mut times = |steps| {
        let lone = lone.shortest_of(steps) / threads as f64;
        let each = joint.shortest_of(steps) / members as f64;
        (each > 0.0).then(|| lone / each)
    };
    let first = times(STEPS.0)?;
    let is_clear = compute == Compute::Cpu && !(1.0 / CLEAR..CLEAR).contains(&first);
    if is_clear { Some(first) } else { times(STEPS.1) }
}

/// Steps of one way. The fastest counts, as other programs may be running.
struct Timed<F> {
    step: F,
    shortest: f64,
}

impl<F: FnMut()> Timed<F> {
    /// The first step is not timed, as it makes what later ones reuse.
    fn new(mut step: F) -> Self {
        step();
        Self { step, shortest: f64::INFINITY }
    }

    /// Seconds of the fastest step so far, after so many more, or those for which there is patience.
    fn shortest_of(&mut self, steps: usize) -> f64 {
        let begun = Instant::now();
        for number in 0..steps {
            let started = Instant::now();
            (self.step)();
            self.shortest = self.shortest.min(started.elapsed().as_secs_f64());
            if begun.elapsed() > PATIENCE && number + 1 >= STEPS.0 {
                break;
            }
        }
        self.shortest
    }
}
