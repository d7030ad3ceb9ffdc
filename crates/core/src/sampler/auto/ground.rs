//! Level ground: where a proposal will most likely give again what the trial nearest to it gave.
//!
//! Losses that are exactly equal come from choices that make no difference: a number that the program rounds, a part that is switched
//! off, a table of recorded results. How far that reaches is told by the trials themselves: each had a nearest one when it
//! finished, at some distance, and repeated its loss or did not.

use std::cell::OnceCell;
use std::collections::VecDeque;

use crate::acquisition::search::reflected;
use crate::rng::Rng;
use crate::space::{Point, Space};

/// Trials among which the nearest is looked for, and whose own nearest tell how far level ground reaches; the latest.
const PLACES: usize = 2_000;
/// Where a repetition is no more likely than this, the ground is not level.
const UNEVEN: f64 = 0.15;
/// How far the first step off level ground goes, as a standard deviation in the unit cube, and by what each further one is longer.
const STEP: (f64, f64) = (0.02, 1.15);
/// Steps that are tried.
const STEPS: usize = 40;
/// What counts of all results beside what counts of the nearest alone, in trials.
const GENERAL: f64 = 2.0;

/// Where trials completed.
#[derive(Default)]
pub(super) struct Ground {
    /// Twice as many as are looked at, so that the nearest of each of those is known whenever it is asked for.
    places: VecDeque<Place>,
}

struct Place {
    unit: Box<[f64]>,
    loss: f64,
    /// The one that was nearest when this one came; none if it was the first.
    nearest: OnceCell<Option<Nearest>>,
}

#[derive(Clone, Copy)]
struct Nearest {
    /// Squared, in the unit cube.
    distance: f64,
    loss: f64,
}

/// How near the latest trials were to their nearest, and whether they repeated its loss.
struct History {
    known: Vec<(f64, Nearest)>,
    /// Of the losses of the nearest.
    median: f64,
    /// Whether most results are equal to the median, and fewer are worse than better.
    is_plain: bool,
}

impl Ground {
    /// Enters a trial.
    pub(super) fn enter(&mut self, unit: Box<[f64]>, loss: f64) {
        if self.places.len() == 2 * PLACES {
            self.places.pop_front();
        }
        self.places.push_back(Place { unit, loss, nearest: OnceCell::new() });
    }

    /// The estimated chance that a point gives exactly the loss of the trial nearest to it.
    ///
    /// A trial that repeated the loss of its nearest from no smaller a distance speaks for it, and one that did not from no larger a
    /// distance against it. All trials beside the better half of results make a first estimate, `s / (s + a + 1)` of `s` for and `a`
    /// against; those beside the very result that is nearest now correct it. The better half ends with the median, but where most
    /// results are equal to that and fewer are worse than better, as where training diverges, they say nothing of good ones and do not count.
    pub(super) fn repeats(&self, space: &Space, point: &Point) -> f64 {
        self.history(space).map_or(0.0, |history| self.chance(space, &history, point))
    }

    /// The latest trials and their nearest; none if no loss was repeated.
    fn history(&self, space: &Space) -> Option<History> {
        let latest = self.places.len().saturating_sub(PLACES)..self.places.len();
        let known: Vec<(f64, Nearest)> =
            latest.filter_map(|k| Some((self.places[k].loss, self.nearest_of(space, k)?))).collect();
        if known.iter().all(|(loss, nearest)| *loss != nearest.loss) {
            return None;
        }
        let mut losses: Vec<f64> = known.iter().map(|(_, nearest)| nearest.loss).collect();
        let middle = losses.len() / 2;
        let median = *losses.select_nth_unstable_by(middle, f64::total_cmp).1;
        let better = losses.iter().filter(|loss| **loss < median).count();
        let worse = losses.iter().filter(|loss| **loss > median).count();
        let is_plain = 2 * (better + worse) < losses.len() && better > worse;
        Some(History { known, median, is_plain })
    }

    /// What [`Self::repeats`] estimates, from a history that serves for any point.
    fn chance(&self, space: &Space, history: &History, point: &Point) -> f64 {
        let unit = space.to_unit(point);
        let Some(here) = self.nearest(space, &unit, self.places.len()) else { return 0.0 };
        let &History { ref known, median, is_plain } = history;
        // How many speak for a repetition and against it.
        let evidence = |is_beside: &dyn Fn(f64) -> bool| {
            let beside = known.iter().filter(|(_, nearest)| is_beside(nearest.loss));
            beside.fold((0.0, 0.0), |(speak_for, against), (loss, nearest)| match *loss == nearest.loss {
                true if nearest.distance >= here.distance => (speak_for + 1.0, against),
                false if nearest.distance <= here.distance => (speak_for, against + 1.0),
                _ => (speak_for, against),
            })
        };
        let (speak_for, against) = evidence(&|loss| loss < median || loss == median && !is_plain);
        let general = speak_for / (speak_for + against + 1.0);
        let (speak_for, against) = evidence(&|loss| loss == here.loss);
        (GENERAL * general + speak_for) / (GENERAL + speak_for + against)
    }

    /// A point off the level ground that `point` is on, not much farther away than it needs to be; none if none of those tried is.
    ///
    /// Numbers are moved, all at once by normal steps that grow from try to try; choices stay.
    pub(super) fn leave(&self, space: &Space, point: &Point, rng: &mut Rng) -> Option<Point> {
        let unit = space.to_unit(point);
        let history = self.history(space)?;
        let is_choice = |k: usize| space.parameters()[k].distribution.is_categorical();
        (0..STEPS).find_map(|step| {
            let scale = STEP.0 * STEP.1.powi(step as i32);
            let moved = unit.iter().enumerate().map(|(k, &u)| match u.is_nan() {
                // It may become active when a number that it depends on moves.
                true => rng.uniform(),
                false if is_choice(k) => u,
                false => reflected(u + scale * rng.normal()),
            });
            let other = space.from_unit(&moved.collect::<Vec<f64>>());
            (space.allows(&other.0) && self.chance(space, &history, &other) <= UNEVEN).then_some(other)
        })
    }

    /// The one that was nearest to the `k`-th when that came.
    fn nearest_of(&self, space: &Space, k: usize) -> Option<Nearest> {
        *self.places[k].nearest.get_or_init(|| self.nearest(space, &self.places[k].unit, k))
    }

    /// The nearest of the latest before the `k`-th; the earliest of equally near ones.
    fn nearest(&self, space: &Space, unit: &[f64], k: usize) -> Option<Nearest> {
        let before = self.places.range(k.saturating_sub(PLACES)..k);
        let all = before.map(|place| Nearest { distance: apart(space, unit, &place.unit), loss: place.loss });
        all.reduce(|best, other| if other.distance < best.distance { other } else { best })
    }
}

/// The squared distance of two points of the unit cube; another choice, or being active, makes 1.
fn apart(space: &Space, a: &[f64], b: &[f64]) -> f64 {
    let one = |k: usize| match (a[k].is_nan(), b[k].is_nan()) {
        (true, true) => 0.0,
        (false, false) if space.parameters()[k].distribution.is_categorical() => {
            f64::from(u8::from(a[k] != b[k]))
        }
        (false, false) => (a[k] - b[k]).powi(2),
        _ => 1.0,
    };
    (0..space.len()).map(one).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Purpose;

    /// A line and what trials gave along it, in the order of a golden-ratio sequence.
    fn line(count: u32, loss: impl Fn(f64) -> f64) -> (Space, Ground) {
        let space = Space::builder().float("x", 0.0..=1.0).build().unwrap();
        let mut ground = Ground::default();
        for k in 1..=count {
            let x = (f64::from(k) * 0.618_033_988_749_895).fract();
            ground.enter([x].into(), loss(x));
        }
        (space, ground)
    }

    fn at(space: &Space, ground: &Ground, x: f64) -> f64 {
        ground.repeats(space, &space.from_unit(&[x]))
    }

    #[test]
    fn nothing_repeats_where_every_loss_is_new() {
        let (space, ground) = line(50, |x| x * x);
        assert!((0..=100).all(|k| at(&space, &ground, f64::from(k) / 100.0) == 0.0));
        assert_eq!(at(&space, &Ground::default(), 0.5), 0.0);
    }

    #[test]
    fn a_point_next_to_a_result_repeats_it_where_losses_are_steps() {
        // In the middle of a step; then between two results that are far from each other, and between two that are near.
        let (space, mut ground) = line(40, |x| (8.0 * x).floor());
        assert!(at(&space, &ground, 0.188) > 0.75, "{}", at(&space, &ground, 0.188));
        ground = Ground::default();
        for (x, loss) in
            [(0.0, 0.0), (0.01, 0.0), (0.02, 0.0), (0.5, 1.0), (0.52, 1.0), (0.9, 2.0), (0.7, 3.0)]
        {
            ground.enter([x].into(), loss);
        }
        assert!(at(&space, &ground, 0.3) < 0.25, "{}", at(&space, &ground, 0.3));
        assert!(at(&space, &ground, 0.005) > 0.75, "{}", at(&space, &ground, 0.005));
    }

    #[test]
    fn a_wide_plain_of_bad_results_says_nothing_about_the_good_ones() {
        // Everything right of 0.3 has diverged, or nearly everything; left of it every point has a loss of its own.
        for worst in [1.0, 0.98] {
            let (space, ground) = line(60, |x| {
                if x > worst {
                    10.0
                } else if x > 0.3 {
                    9.0
                } else {
                    x
                }
            });
            assert!(at(&space, &ground, 0.65) > 0.75);
            assert!(at(&space, &ground, 0.101) < 0.25);
        }
    }

    #[test]
    fn a_result_in_the_middle_counts_with_the_better_ones() {
        // Five steps of the same width, two trials on each but the first: beside the better half of results there were two repetitions,
        // one of them of the middle one.
        let space = Space::builder().float("x", 0.0..=1.0).build().unwrap();
        let mut ground = Ground::default();
        for x in [0.1, 0.3, 0.35, 0.5, 0.55, 0.7, 0.75, 0.9, 0.95] {
            ground.enter([x].into(), (5.0_f64 * x).floor());
        }
        assert_eq!(at(&space, &ground, 0.12), 2.0 / 3.0);
    }

    #[test]
    fn level_ground_is_left_by_no_more_than_is_needed() {
        // Steps that are known up to 0.4; nothing is known beyond.
        let (space, _) = line(0, |_| 0.0);
        let mut ground = Ground::default();
        for k in 0..20 {
            let x = 0.02 * f64::from(7 * k % 20);
            ground.enter([x].into(), (8.0 * x).floor());
        }
        let mut rng = Rng::stream(3, 0, Purpose::Sampler, 0);
        let mut left: Vec<f64> = (0..51)
            .map(|_| {
                let left = ground.leave(&space, &space.from_unit(&[0.188]), &mut rng).unwrap();
                assert!(left.0[0] > 0.38 && ground.repeats(&space, &left) <= UNEVEN, "{}", left.0[0]);
                left.0[0]
            })
            .collect();
        left.sort_by(f64::total_cmp);
        assert!(left[25] < 0.6, "half of them go no farther than {}", left[25]);
        // Nowhere to go.
        let (space, ground) = line(40, |_| 1.0);
        assert!(ground.leave(&space, &space.from_unit(&[0.5]), &mut rng).is_none());
    }

    #[test]
    fn only_the_latest_are_looked_at_and_a_longer_memory_changes_nothing() {
        let (space, fresh) = line(5_000, |x| (50.0 * x).floor());
        let mut followed = Ground::default();
        for k in 1..=5_000_u32 {
            let x = (f64::from(k) * 0.618_033_988_749_895).fract();
            followed.enter([x].into(), (50.0 * x).floor());
            if k % 700 == 0 {
                at(&space, &followed, 0.4);
            }
        }
        assert_eq!(fresh.places.len(), 2 * PLACES);
        for k in 0..20 {
            let x = f64::from(k) / 20.0;
            assert_eq!(at(&space, &fresh, x), at(&space, &followed, x));
        }
    }
}
