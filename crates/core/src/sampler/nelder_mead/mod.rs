//! Nelder–Mead refinement: a simplex walks down from the best trial so far (Nelder and Mead 1965; bounded, with the
//! adaptive coefficients of Gao and Han 2012).
//!
//! The method is that of the crate `basin`. It is replayed over what the study knows: a point that a trial has had
//! costs what that trial says, and the first point that none has had is the next trial. So a run of the method is a function
//! of the study, whoever proposed the trials.
//!
//! * **Start**: after some scrambled Sobol points, at the best trial; a right-angled simplex of side `size` in the
//!   unit cube, pointing inwards.
//! * **Parameters**: numbers, integers and levels move, the latter two snapped to their values. Choices, and parameters inactive
//!   at the start, stay as they are there.
//! * **Trials that pause or are stopped on the way** tell at once what they came to: they are compared at their own steps with those that went
//!   further, and again when they have gone further themselves. See `merit`.
//! * **Collapse**: once the simplex is smaller than `tolerance`, or stands for one point only, another starts at the next best
//!   trial that no simplex has used and that is at least `size` from where one has ended. Where there is none, a Sobol point is
//!   the next start.
//! * **Parallel workers**: while the next point is being evaluated, the others that may be needed after it are proposed:
//!   the rest of a new simplex; expansions, contractions and later reflections, as if the running trial turned out bad,
//!   excellent, poor or fair. What is left over goes to Sobol points.
//! * **Order**: completed trials and those that stopped on the way by loss; those that stopped without one, by how far they came; those that
//!   break a constraint of the metrics, by how much; failed ones. Points that the constraints of the space forbid are worst and are
//!   never run.
//!
//! # Several metrics
//!
//! Each simplex has a direction of its own, spread evenly over the metrics, and walks down Tchebycheff's augmented norm in that direction
//! (Knowles 2006, "`ParEGO`", equation 2), in units of the range that the first front has when the simplex starts. Its vertices are trials that
//! there are: the best in its direction, and the next best of which each is far, by half of the range, from the space that those before it span.
//! So it costs few trials to set up, it is wide enough to go far, and what other simplexes have found is not looked for again (Zapotecas-Martínez
//! and Coello Coello 2016, "`MONSS`"). Where there are not enough such trials, sides of a right-angled simplex stand in, first those of the parameters
//! in which the front's trials differ, for they lead along it. After half as many further trials as it has vertices the next direction has its turn.

mod merit;
mod simplex;

use std::collections::{HashMap, HashSet, VecDeque};

use merit::{Aim, Merits, Row};
use serde::{Deserialize, Serialize};
use simplex::{GUESSES, Guess, Knowledge, Simplex, Walk, side};

use super::{Proposal, Request, SAMPLERS, Sampler};
use crate::memo::Memo;
use crate::observation::{Era, Observation};
use crate::pareto::front;
use crate::registry::{self, Entry, OptionDoc, configure};
use crate::rng::Rng;
use crate::space::Point;
use crate::spec::Component;
use crate::study::{Stop, Study};

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "nelder_mead",
    summary: "refines the best trials by a simplex; for few parameters with a smooth loss",
    options: &[
        OptionDoc {
            name: "n_startup",
            doc: "trials that have stopped, for now or for good, before the first simplex, from 1",
        },
        OptionDoc { name: "size", doc: "side of a new simplex, as a share of each range, in (0, 0.5]" },
        OptionDoc {
            name: "tolerance",
            doc: "side below which a simplex has collapsed, as a share of each range, in (0, size)",
        },
    ],
    build: |options| {
        let (config, complete) = configure::<Options>(options)?;
        Ok((Box::new(NelderMead::new(config)?) as _, complete))
    },
};

/// The sampler's options.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Trials that have stopped before the first simplex.
    pub n_startup: usize,
    /// Side of a new simplex, as a share of each range.
    pub size: f64,
    /// Side below which a simplex has collapsed.
    pub tolerance: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { n_startup: 10, size: 0.2, tolerance: 1e-5 }
    }
}

/// Steps of the method without a new trial after which a simplex is given up: beside others a vertex may be worth another rank, so a simplex
/// might come back to where it was.
const STEPS: usize = 1_000;

/// With several metrics, how far a vertex is at least from the space that those before it span.
const WIDE: f64 = 0.5;

/// Replays of the method that look for something to do beside running trials.
const REPLAYS: usize = 64;

struct NelderMead {
    options: Options,
    cover: Box<dyn Sampler>,
}

impl NelderMead {
    fn new(options: Options) -> Result<Self, String> {
        if options.n_startup == 0 {
            return Err("n_startup must be at least 1: the first simplex needs a trial to start from".into());
        }
        if !(options.size > 0.0 && options.size <= 0.5) {
            return Err(format!("size is a share of each range in (0, 0.5], not {}", options.size));
        }
        if !(options.tolerance > 0.0 && options.tolerance < options.size) {
            return Err(format!("tolerance must be above 0 and below size, not {}", options.tolerance));
        }
        let (cover, _) =
            registry::build("sampler", SAMPLERS, &Component::named("sobol")).map_err(|e| e.to_string())?;
        Ok(Self { options, cover })
    }
}

impl Sampler for NelderMead {
    fn propose(&self, study: &Study, request: &Request, memo: &mut Memo, rng: &mut Rng) -> Proposal {
        let history: &mut History = memo.get();
        history.advance(study, &self.options);
        // A point asked for again was tried or refused: then anything new is welcome.
        let wanted = if request.draw == 0 { history.wanted(study) } else { None };
        match wanted {
            Some(point) => Proposal::Point(point),
            None => self.cover.propose(study, request, &mut history.cover, rng),
        }
    }

    fn explain(&self, study: &Study, memo: &mut Memo) -> Option<String> {
        let history: &mut History = memo.get();
        history.advance(study, &self.options);
        Some(match &history.simplex {
            None => "covering the space evenly until there is a trial to refine".into(),
            Some(simplex) => {
                format!("simplex {} of side {:.1e}", history.ends.len() + 1, side(&simplex.vertices))
            }
        })
    }
}

/// The memo: a fold of the study, one stop of a trial after the other.
#[derive(Default)]
struct History {
    era: Era,
    /// Stops taken in, and how many of them were a trial's first.
    seen: usize,
    stopped: usize,
    rows: Vec<Row>,
    /// Where in `rows` a trial is.
    places: HashMap<u32, usize>,
    /// The row of each point. A point that is tried again keeps its first.
    known: HashMap<Point, usize>,
    aim: Aim,
    simplex: Option<Simplex>,
    /// Points whose costs some simplex has used.
    visited: HashSet<Point>,
    /// Where simplexes have ended.
    ends: Vec<Vec<f64>>,
    /// How many trials must have stopped before the next simplex.
    due: usize,
    cover: Memo,
}

impl History {
    fn advance(&mut self, study: &Study, options: &Options) {
        let is_new = self.seen == 0;
        if is_new || self.era != Era::of(study) || self.seen > study.stops().len() {
            let cover = std::mem::take(&mut self.cover);
            *self = Self { era: Era::of(study), due: options.n_startup, cover, ..Self::default() };
        }
        while self.seen < study.stops().len() {
            self.take(study, &study.stops()[self.seen]);
            self.seen += 1;
            self.walk(study, options);
        }
    }

    /// Notes what a trial says that has just stopped.
    fn take(&mut self, study: &Study, stop: &Stop) {
        self.stopped += usize::from(stop.is_first);
        let trial = &study.trials()[stop.trial as usize];
        if trial.outside {
            return;
        }
        let observation = Observation::at(study, stop);
        if let Some(&row) = self.places.get(&stop.trial) {
            self.rows[row].observation = observation;
            return;
        }
        let row = self.rows.len();
        self.rows.push(Row { trial: stop.trial, point: trial.point.clone(), observation });
        self.places.insert(stop.trial, row);
        self.known.entry(trial.point.clone()).or_insert(row);
    }

    fn merits<'a>(&'a self, study: &'a Study) -> Merits<'a> {
        Merits { study, rows: &self.rows, aim: &self.aim }
    }

    fn knowledge<'a>(&'a self, study: &'a Study, pending: &'a HashSet<Point>) -> Knowledge<'a> {
        Knowledge { space: study.space(), merits: self.merits(study), known: &self.known, pending }
    }

    /// Lets the simplex walk as far as costs are known, and starts others where it has collapsed.
    fn walk(&mut self, study: &Study, options: &Options) {
        let mut steps = 0;
        while self.simplex.is_some() || self.start(study, options) {
            let Some(simplex) = &self.simplex else { return };
            let nothing = HashSet::new();
            let walk = Walk::new(self.knowledge(study, &nothing), simplex, &[]);
            let Some(vertices) = walk.steps(simplex.vertices.clone(), 1) else { return };
            let looked_up = walk.looked_up.take();
            self.visited.extend(looked_up);
            steps += 1;
            if let Some(simplex) = &mut self.simplex {
                simplex.vertices = vertices;
                let is_late = study.metrics().objectives.len() > 1 && self.stopped >= simplex.until;
                if is_late || steps > STEPS || simplex.has_collapsed(study.space(), options.tolerance) {
                    self.end();
                }
            }
        }
    }

    /// Starts a simplex at the best trial left; whether there is one.
    fn start(&mut self, study: &Study, options: &Options) -> bool {
        if self.stopped < self.due {
            return false;
        }
        let objectives = study.metrics().objectives.len();
        self.aim = Aim::of(&self.rows, objectives, self.ends.len());
        let far = |row: &Row| {
            let distance = |end: &Vec<f64>| {
                let apart = end.iter().zip(row.unit()).map(|(a, b)| (a - b).abs());
                apart.filter(|d| !d.is_nan()).fold(0.0, f64::max)
            };
            self.ends.iter().all(|end| distance(end) >= options.size)
        };
        let is_new = |row: &Row| objectives > 1 || (!self.visited.contains(&row.point) && far(row));
        let left = (0..self.rows.len()).filter(|row| is_new(&self.rows[*row]));
        let ranked = self.merits(study).ranked(left);
        self.due = self.stopped + 1;
        let space = study.space();
        let Some((&best, others)) = ranked.split_first() else { return false };
        let Some(mut simplex) = Simplex::at(space, &self.rows[best], options.size, self.stopped) else {
            return false;
        };
        let mut vertices = vec![(0, best)];
        if objectives > 1 {
            let rows =
                |places: &[usize]| -> Vec<&Row> { places.iter().map(|row| &self.rows[*row]).collect() };
            let losses: Vec<&[f64]> =
                rows(&ranked).iter().filter_map(|row| Some(&*row.observation.as_ref()?.losses)).collect();
            let front: Vec<usize> = front(&losses).into_iter().map(|k| ranked[k]).collect();
            let found = simplex.across(space, &rows(others), &rows(&front), WIDE);
            vertices.extend(found.into_iter().map(|(vertex, place)| (vertex, others[place])));
        }
        for (vertex, row) in vertices {
            // Its coordinates may lead back to a neighbouring float.
            self.known.entry(simplex.point(space, &simplex.vertices[vertex])).or_insert(row);
        }
        self.simplex = Some(simplex);
        true
    }

    /// Notes where the simplex has ended. The next may start at once if this one has had trials of its own; else starts
    /// could follow one another for ever.
    fn end(&mut self) {
        let Some(simplex) = self.simplex.take() else { return };
        self.due = if simplex.begun < self.stopped { self.stopped } else { self.stopped + 1 };
        self.ends.push(simplex.cube(&simplex.vertices[0]));
    }

    /// The point that the simplex needs next, or may need once running trials have ended.
    fn wanted(&self, study: &Study) -> Option<Point> {
        let simplex = self.simplex.as_ref()?;
        let works = study.waiting().iter().chain(study.running()).chain(study.paused());
        let trials = works.map(|work| &study.trials()[work.trial as usize]);
        let pending: HashSet<Point> =
            trials.filter(|trial| !trial.has_stopped()).map(|trial| trial.point.clone()).collect();
        let knowledge = self.knowledge(study, &pending);
        let mut guesses = VecDeque::from([Vec::new()]);
        for _ in 0..REPLAYS {
            let guess: Vec<Guess> = guesses.pop_front()?;
            let walk = Walk::new(knowledge, simplex, &guess);
            // Each guess allows for at most one more iteration, and the first iteration needs none.
            walk.steps(simplex.vertices.clone(), guess.len() + 1);
            match walk.stop.take() {
                Some(simplex::Stop::Unknown(point)) => return Some(point),
                Some(simplex::Stop::Pending) => {
                    let longer = |next: &Guess| guess.iter().copied().chain([*next]).collect();
                    guesses.extend(GUESSES.iter().map(longer));
                }
                None => {}
            }
        }
        None
    }
}
