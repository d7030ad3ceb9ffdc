//! Grid search: every combination of a few values per parameter, once, in the order of an odometer.
//!
//! The order is that of [`Space::visit_grid`](crate::space::Space::visit_grid): parameters as declared (a parent
//! before its children), the last one turns fastest, values ascend or follow the list given; an inactive parameter
//! does not turn, and combinations that break a constraint are passed over. The next trial is the first combination
//! that no trial has had. So an interrupted grid goes on where it was, trials that failed are not
//! repeated, and an enqueued trial that happens to lie on the grid counts as its combination. The study ends
//! when every combination has been tried. Priors and defaults are not looked at.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Proposal, Request, Sampler};
use crate::coverage::Coverage;
use crate::memo::Memo;
use crate::registry::{Entry, OptionDoc, check_count, configure};
use crate::rng::Rng;
use crate::space::{Distribution, Point, Space, Value};
use crate::spec::Spec;
use crate::study::Study;

pub(super) const ENTRY: Entry<dyn Sampler> = Entry {
    name: "grid",
    summary: "every combination of a few values per parameter, once",
    options: &[
        OptionDoc {
            name: "points",
            doc: "values per number, evenly spaced on its scale from end to end: one count for all (1 to 1,000,000, default 5) or a \
                  table by parameter, in which \"*\" stands for the rest; integers and stepped numbers with fewer \
                  values, choices and levels are visited whole",
        },
        OptionDoc { name: "values", doc: "table of parameter to list: exactly these values, in this order" },
    ],
    build: |options| configure::<Grid>(options).map(|(grid, complete)| (Box::new(grid) as _, complete)),
};

const POINTS: u32 = 5;

/// Values of one number at most.
const MOST_POINTS: usize = 1_000_000;

const REST: &str = "*";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grid {
    #[serde(default)]
    points: Points,
    #[serde(default)]
    values: BTreeMap<String, Vec<Value>>,
}

/// How many values by parameter, and for the rest.
#[derive(Serialize, Deserialize)]
#[serde(try_from = "PointsGiven")]
struct Points(BTreeMap<String, u32>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "points is a whole number, or a table of parameter to whole number")]
enum PointsGiven {
    All(u32),
    Each(BTreeMap<String, u32>),
}

impl Default for Points {
    fn default() -> Self {
        Self(BTreeMap::from([(REST.to_owned(), POINTS)]))
    }
}

impl TryFrom<PointsGiven> for Points {
    type Error = String;
    fn try_from(given: PointsGiven) -> Result<Self, String> {
        let mut each = match given {
            PointsGiven::All(count) => BTreeMap::from([(REST.to_owned(), count)]),
            PointsGiven::Each(each) => each,
        };
        each.entry(REST.to_owned()).or_insert(POINTS);
        for (name, count) in &each {
            check_count(&format!("points for {name:?}"), *count as usize, 1..=MOST_POINTS)?;
        }
        Ok(Self(each))
    }
}

impl Sampler for Grid {
    fn propose(&self, study: &Study, _: &Request, memo: &mut Memo, _: &mut Rng) -> Proposal {
        let progress = memo.get::<Progress>();
        progress.advance(self, study);
        match progress.first_open(study.space()) {
            Some(point) => Proposal::Point(Point(point.into())),
            None => Proposal::Exhausted,
        }
    }

    fn check(&self, spec: &Spec) -> Result<(), String> {
        let space = &spec.space;
        for (name, values) in &self.values {
            let Some(k) = known(space, name)? else { continue };
            if values.is_empty() {
                return Err(format!("values for {name:?} is an empty list; give at least one value"));
            }
            for value in values {
                space.encode_one(k, value).map_err(|problem| format!("values for {problem}"))?;
            }
        }
        for name in self.points.0.keys().filter(|name| *name != REST) {
            if let Some(k) = known(space, name)?
                && space.parameters()[k].distribution.values().is_some()
            {
                return Err(format!(
                    "points for {name:?}: a list is visited whole; give values to visit less"
                ));
            }
        }
        Ok(())
    }

    fn caution(&self, spec: &Spec) -> Option<String> {
        let (space, trials) = (&spec.space, spec.limits.trials?);
        let counts = (0..space.len()).map(|k| self.wheel(space, k).count());
        let points = counts.fold(1_u64, u64::saturating_mul);
        // How many points of a space with conditions or constraints there are takes a visit to each.
        let is_plain = space.parameters().iter().all(|parameter| parameter.when.is_none())
            && space.constraints().is_empty();
        (is_plain && !space.is_empty() && points > trials).then(|| {
            format!(
                "the grid has {points} points, of which the first {trials} are tried: the last parameter turns fastest, and {} hardly moves; take fewer points, more trials, or another sampler",
                space.parameters()[0].name
            )
        })
    }

    fn starts_with_defaults(&self) -> bool {
        false
    }

    fn avoids_repeats(&self) -> bool {
        false
    }
}

/// The index of a parameter named in an option. A space without parameters is to be traced: any name may come yet.
fn known(space: &Space, name: &str) -> Result<Option<usize>, String> {
    match space.find(name) {
        None if !space.is_empty() => Err(format!("the space has no parameter {name:?}")),
        found => Ok(found),
    }
}

impl Grid {
    fn wheel(&self, space: &Space, index: usize) -> Wheel {
        let parameter = &space.parameters()[index];
        let distribution = &parameter.distribution;
        // Values that a later edit of the space has taken away are left out.
        let listed = self.values.get(&*parameter.name).into_iter().flatten();
        let listed: Vec<f64> = listed.filter_map(|value| space.encode_one(index, value).ok()).collect();
        let count = self.points.0.get(&*parameter.name).or(self.points.0.get(REST));
        let count = count.map_or(u64::from(POINTS), |count| u64::from(*count));
        match distribution.cells() {
            _ if !listed.is_empty() => Wheel::values(listed),
            Some(cells) if cells <= count || distribution.values().is_some() => Wheel::Cells(cells),
            _ => Wheel::values(evenly(distribution, count)),
        }
    }
}

/// `count` values evenly spaced on the distribution's scale, both ends included; a single one lies in the middle.
fn evenly(distribution: &Distribution, count: u64) -> Vec<f64> {
    let (low, high) = match distribution.cells() {
        Some(cells) => (distribution.cell(0), distribution.cell(cells - 1)),
        None => distribution.range().unwrap_or((0.0, 0.0)),
    };
    let (from, to) = (distribution.to_unit(low), distribution.to_unit(high));
    let at = |i: u64| match i {
        _ if count == 1 => distribution.from_unit(f64::midpoint(from, to)),
        0 => low,
        i if i + 1 == count => high,
        i => distribution.from_unit(from + (to - from) * i as f64 / (count - 1) as f64),
    };
    (0..count).map(at).collect()
}

/// The values that one parameter takes in turn.
enum Wheel {
    /// All cells of its distribution.
    Cells(u64),
    /// These.
    Values(Vec<f64>),
}

impl Wheel {
    /// Values that round to the same one are visited once.
    fn values(mut values: Vec<f64>) -> Self {
        let mut seen = std::collections::HashSet::new();
        values.retain(|value| seen.insert(value.to_bits()));
        Self::Values(values)
    }

    fn count(&self) -> u64 {
        match self {
            Self::Cells(cells) => *cells,
            Self::Values(values) => values.len() as u64,
        }
    }

    fn value(&self, turn: u64, distribution: &Distribution) -> f64 {
        match self {
            Self::Cells(_) => distribution.cell(turn),
            Self::Values(values) => values[turn as usize],
        }
    }
}

/// The memo: how far the grid is.
#[derive(Default)]
struct Progress {
    coverage: Coverage,
    wheels: Vec<Wheel>,
    /// At the first combination that trials do not cover for good.
    odometer: Option<Odometer>,
}

impl Progress {
    fn advance(&mut self, grid: &Grid, study: &Study) {
        let space = study.space();
        if self.coverage.advance(study) {
            self.wheels = (0..space.len()).map(|k| grid.wheel(space, k)).collect();
            self.odometer = Odometer::first(space, &self.wheels);
        }
        let (coverage, wheels) = (&self.coverage, &self.wheels);
        self.odometer = self
            .odometer
            .take()
            .and_then(|at| at.first_where(space, wheels, |point| !coverage.contains_for_good(point)));
    }

    /// The first combination that no trial has had or is having.
    fn first_open(&self, space: &Space) -> Option<Vec<f64>> {
        let open = |point: &[f64]| !self.coverage.contains(point);
        Some(self.odometer.clone()?.first_where(space, &self.wheels, open)?.point)
    }
}

/// A combination of the grid. It walks like `Space::visit_grid`, but can stop and go on.
#[derive(Clone)]
struct Odometer {
    /// By place in `Space::order`.
    turns: Vec<u64>,
    point: Vec<f64>,
}

impl Odometer {
    /// The first combination that keeps the constraints.
    fn first(space: &Space, wheels: &[Wheel]) -> Option<Self> {
        let mut odometer = Self { turns: vec![0; space.len()], point: vec![f64::NAN; space.len()] };
        odometer.fill(space, wheels, 0);
        odometer.first_where(space, wheels, |_| true)
    }

    /// This combination or the next one that keeps the constraints and is `wanted`.
    fn first_where(
        mut self,
        space: &Space,
        wheels: &[Wheel],
        wanted: impl Fn(&[f64]) -> bool,
    ) -> Option<Self> {
        while !(space.allows(&self.point) && wanted(&self.point)) {
            self.turn(space, wheels)?;
        }
        Some(self)
    }

    /// Turns the last wheel that can, and sets those after it to their start.
    fn turn(&mut self, space: &Space, wheels: &[Wheel]) -> Option<()> {
        let can_turn = |place: &usize| {
            let k = space.order()[*place];
            !self.point[k].is_nan() && self.turns[*place] + 1 < wheels[k].count()
        };
        let place = (0..self.turns.len()).rev().find(can_turn)?;
        self.turns[place] += 1;
        self.turns[place + 1..].fill(0);
        self.fill(space, wheels, place);
        Some(())
    }

    /// Sets the point from the wheel at `place` on.
    fn fill(&mut self, space: &Space, wheels: &[Wheel], place: usize) {
        for &k in &space.order()[place..] {
            self.point[k] = f64::NAN;
        }
        for at in place..self.turns.len() {
            let k = space.order()[at];
            if space.is_active(k, &self.point) {
                let distribution = &space.parameters()[k].distribution;
                self.point[k] = wheels[k].value(self.turns[at], distribution);
            }
        }
    }
}
