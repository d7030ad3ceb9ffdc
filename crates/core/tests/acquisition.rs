//! Acquisitions against arithmetic of many digits, and the search against maxima that are known.

use std::convert::Infallible;

use basin::{BoxBounds, ConstraintDescription, ConstraintSet, Constraints};
use basin::{CostFunction, Executor, FirstOrderState, Gradient, Lbfgsb};
use luthier_core::acquisition::confidence_bound::{ConfidenceBound, kappa};
use luthier_core::acquisition::cost::{LogCost, differs};
use luthier_core::acquisition::expected_improvement::{ExpectedImprovement, LogExpectedImprovement};
use luthier_core::acquisition::feasibility::feasibility;
use luthier_core::acquisition::hypervolume::{
    LogHypervolumeImprovement, hypervolume, non_dominated, reference_point,
};
use luthier_core::acquisition::largest::{LogLargestReduction, Quantity};
use luthier_core::acquisition::pareto::ParetoEnsemble;
use luthier_core::acquisition::prior::{BETA, LogPrior};
use luthier_core::acquisition::probability::{ImprovementProbability, LogImprovementProbability};
use luthier_core::acquisition::search::{Effort, Found, Region, Search};
use luthier_core::acquisition::trust_region::TrustRegion;
use luthier_core::acquisition::{Acquisition, Over, Sum, Worth};
use luthier_core::rng::{Purpose, Rng};
use luthier_core::space::{Condition, Constraint, Distribution, Parameter, Point, Prior, Scale, Space};
use luthier_core::surrogate::{Belief, Slope, Surrogate};
use serde_json::Value as Json;

fn reference() -> Json {
    serde_json::from_str(include_str!("reference/acquisition.json")).unwrap()
}

fn number(json: &Json) -> f64 {
    json.as_f64().unwrap()
}

fn numbers(json: &Json) -> Vec<f64> {
    json.as_array().unwrap().iter().map(number).collect()
}

fn close(found: f64, expected: f64, tolerance: f64, what: &str) {
    let error = (found - expected).abs() / expected.abs().max(1.0);
    assert!(error <= tolerance, "{what}: {found} is not {expected}");
}

#[test]
fn logarithms_of_improvements_agree_with_arithmetic_of_many_digits() {
    for case in reference()["improvement"].as_array().unwrap() {
        let belief = Belief { mean: number(&case["mean"]), deviation: number(&case["deviation"]) };
        let best = number(&case["best"]);
        let what = case.to_string();
        let (log_ei, log_pi) = (number(&case["log_ei"]), number(&case["log_pi"]));
        close(LogExpectedImprovement { best }.worth(belief), log_ei, 1e-12, &what);
        close(LogImprovementProbability { target: best }.worth(belief), log_pi, 1e-12, &what);
        close(ExpectedImprovement { best }.worth(belief), log_ei.exp(), 1e-12, &what);
        close(ImprovementProbability { target: best }.worth(belief), log_pi.exp(), 1e-12, &what);
    }
}

#[test]
fn partial_derivatives_are_those_of_the_value() {
    let worths: [(&str, Box<dyn Worth>); 5] = [
        ("ei", Box::new(ExpectedImprovement { best: 0.3 })),
        ("log ei", Box::new(LogExpectedImprovement { best: 0.3 })),
        ("pi", Box::new(ImprovementProbability { target: 0.3 })),
        ("log pi", Box::new(LogImprovementProbability { target: 0.3 })),
        ("bound", Box::new(ConfidenceBound { kappa: 2.0 })),
    ];
    for (name, worth) in worths {
        for mean in [-1.0, 0.29, 0.5, 3.0, 12.0] {
            for deviation in [0.2, 1.0] {
                let at = |mean, deviation| worth.worth(Belief { mean, deviation });
                let found = worth.partials(Belief { mean, deviation });
                let step = 1e-5;
                let by_mean = (at(mean + step, deviation) - at(mean - step, deviation)) / (2.0 * step);
                let by_deviation = (at(mean, deviation + step) - at(mean, deviation - step)) / (2.0 * step);
                let what = format!("{name} at {mean}, {deviation}");
                close(found.value, at(mean, deviation), 1e-12, &what);
                close(found.mean, by_mean, 1e-5, &what);
                close(found.deviation, by_deviation, 1e-5, &what);
            }
        }
    }
}

#[test]
fn the_gain_in_hypervolume_agrees_with_inclusion_and_exclusion() {
    let nobody = Bowl::default();
    for case in reference()["hypervolume"].as_array().unwrap() {
        let rows: Vec<Vec<f64>> = case["front"].as_array().unwrap().iter().map(numbers).collect();
        let pairs = case["beliefs"].as_array().unwrap().iter().map(numbers);
        let beliefs: Vec<Belief> = pairs.map(|p| Belief { mean: p[0], deviation: p[1] }).collect();
        let models = beliefs.iter().map(|_| &nobody as &dyn Surrogate).collect();
        let gain = LogHypervolumeImprovement::new(models, &rows, &numbers(&case["reference"]));
        let expected = number(&case["log"]);
        close(gain.worth(&beliefs), expected, 1e-9, &case.to_string());
        let (value, by) = gain.partials(&beliefs);
        close(value, expected, 1e-9, &case.to_string());
        for (k, by) in by.iter().enumerate() {
            let moved = |mean: f64, deviation: f64| {
                let mut beliefs = beliefs.clone();
                beliefs[k].mean += mean;
                beliefs[k].deviation += deviation;
                gain.worth(&beliefs)
            };
            let step = 1e-6;
            close(by.mean, (moved(step, 0.0) - moved(-step, 0.0)) / (2.0 * step), 1e-4, "by the mean");
            let slope = (moved(0.0, step) - moved(0.0, -step)) / (2.0 * step);
            close(by.deviation, slope, 1e-4, "by the deviation");
        }
    }
}

#[test]
fn the_reduction_of_one_quantity_is_the_improvement_on_it_above_zero() {
    let nobody = Bowl::default();
    let quantity = Quantity { surrogate: &nobody, zero: -0.4, unit: 2.0 };
    for (mean, deviation, most) in [(0.3, 0.5, 0.8), (1.2, 1.0, 0.2), (-2.0, 0.7, 0.5), (5.0, 0.6, 1.0)] {
        let belief = Belief { mean, deviation };
        let improvement = |best| ExpectedImprovement { best }.worth(belief);
        let expected = (improvement(-0.4 + 2.0 * most) - improvement(-0.4)) / 2.0;
        let found = LogLargestReduction::new(vec![quantity], most).worth(&[belief]);
        close(found, expected.ln(), 1e-6, &format!("{mean} ± {deviation} under {most}"));
    }
}

#[test]
fn where_no_reduction_is_thinkable_its_slopes_are_level() {
    let nobody = Bowl::default();
    let reduction =
        LogLargestReduction::new(vec![Quantity { surrogate: &nobody, zero: 0.0, unit: 1.0 }], 1.0);
    let beyond = [Belief { mean: 1e200, deviation: 1e-100 }];
    let (value, by) = reduction.partials(&beyond);
    assert_eq!((value, reduction.worth(&beyond)), (f64::NEG_INFINITY, f64::NEG_INFINITY));
    assert_eq!((by[0].mean, by[0].deviation), (0.0, 0.0));
}

#[test]
fn the_reduction_of_the_largest_of_several_is_that_of_draws_and_slopes_as_its_partials_say() {
    let nobody = Bowl::default();
    let quantities: Vec<Quantity> = [(0.1, 1.0), (-0.3, 2.0)]
        .into_iter()
        .map(|(zero, unit)| Quantity { surrogate: &nobody, zero, unit })
        .collect();
    let beliefs = [Belief { mean: 0.6, deviation: 0.4 }, Belief { mean: 0.9, deviation: 0.8 }];
    let most = 0.9;
    let reduction = LogLargestReduction::new(quantities.clone(), most);
    let mut rng = rng();
    let mut draw = || {
        let over = |(quantity, belief): (&Quantity, &Belief)| {
            (belief.mean + belief.deviation * rng.normal() - quantity.zero) / quantity.unit
        };
        let largest = quantities.iter().zip(&beliefs).map(over).fold(0.0, f64::max);
        (most - largest).max(0.0)
    };
    let draws = 200_000;
    let mean = (0..draws).map(|_| draw()).sum::<f64>() / f64::from(draws);
    // The deviation of one draw is below 0.3, so that of the mean below 0.0007.
    let (value, by) = reduction.partials(&beliefs);
    assert!((value.exp() - mean).abs() < 0.003, "{} is not {mean}", value.exp());
    close(reduction.worth(&beliefs), value, 1e-12, "the value");
    for (k, by) in by.iter().enumerate() {
        let moved = |mean: f64, deviation: f64| {
            let mut beliefs = beliefs;
            beliefs[k].mean += mean;
            beliefs[k].deviation += deviation;
            reduction.worth(&beliefs)
        };
        let step = 1e-6;
        close(by.mean, (moved(step, 0.0) - moved(-step, 0.0)) / (2.0 * step), 1e-5, "by the mean");
        let slope = (moved(0.0, step) - moved(0.0, -step)) / (2.0 * step);
        close(by.deviation, slope, 1e-5, "by the deviation");
    }
}

#[test]
fn hypervolumes_of_small_fronts_are_those_counted_by_hand() {
    let rows = vec![vec![0.0, 2.0], vec![1.0, 1.0], vec![2.0, 0.0], vec![2.0, 2.0], vec![9.0, -9.0]];
    assert_eq!(hypervolume(&rows, &[3.0, 3.0]), 6.0);
    assert_eq!(hypervolume(&[vec![0.0, 0.0, 0.0]], &[1.0, 2.0, 3.0]), 6.0);
    assert_eq!(hypervolume(&[vec![0.0, 1.0, 1.0], vec![1.0, 0.0, 0.0]], &[2.0, 2.0, 2.0]), 5.0);
    assert_eq!(non_dominated(&rows), [0, 1, 2, 4]);
    assert_eq!(reference_point(&[vec![0.0, 10.0], vec![20.0, 0.0], vec![30.0, 30.0]]), [33.0, 33.0]);
}

#[test]
fn a_front_of_hundreds_keeps_its_extremes_and_its_gain_about() {
    let rows: Vec<Vec<f64>> = (0..400)
        .map(|k| f64::from(k) / 400.0 * std::f64::consts::FRAC_PI_2)
        .map(|angle| vec![1.0 - angle.sin(), 1.0 - angle.cos()])
        .collect();
    let nobody = Bowl::default();
    let gain = LogHypervolumeImprovement::new(vec![&nobody, &nobody], &rows, &[1.1, 1.1]);
    let sure = Belief { mean: 0.0, deviation: 1e-6 };
    let expected = 1.1 * 1.1 - hypervolume(&rows, &[1.1, 1.1]);
    close(gain.worth(&[sure, sure]), expected.ln(), 0.02, "a point better than all");
}

// ---- toy models

/// A bowl around `center` with constant doubt; a wrong choice costs 1.
#[derive(Default)]
struct Bowl {
    center: Vec<f64>,
    choices: Vec<usize>,
    rough: bool,
}

impl Surrogate for Bowl {
    fn belief(&self, unit: &[f64]) -> Belief {
        let mut mean = 0.0;
        for (k, c) in self.center.iter().enumerate().filter(|(k, _)| !unit[*k].is_nan()) {
            let wrong = self.choices.contains(&k) && unit[k] != *c;
            mean += if self.choices.contains(&k) { f64::from(wrong) } else { (unit[k] - c).powi(2) };
        }
        Belief { mean, deviation: 0.1 }
    }

    fn slope(&self, unit: &[f64]) -> Option<Slope> {
        if self.rough {
            return None;
        }
        let by = |(k, c): (usize, &f64)| {
            if self.choices.contains(&k) || unit[k].is_nan() { 0.0 } else { 2.0 * (unit[k] - c) }
        };
        let mean = self.center.iter().enumerate().map(by).collect();
        Some(Slope { belief: self.belief(unit), mean, deviation: vec![0.0; unit.len()] })
    }
}

fn float(name: &str) -> Parameter {
    Parameter::new(name, Distribution::Float { low: 0.0, high: 1.0, scale: Scale::Linear, step: None })
}

fn int(name: &str, high: i64) -> Parameter {
    Parameter::new(name, Distribution::Int { low: 1, high, scale: Scale::Linear, step: 1 })
}

fn choice(name: &str, count: i64) -> Parameter {
    Parameter::new(name, Distribution::Categorical { choices: (0..count).map(Into::into).collect() })
}

fn made(parameters: Vec<Parameter>) -> Space {
    Space::new(parameters, vec![]).unwrap()
}

fn rng() -> Rng {
    Rng::stream(7, 0, Purpose::Sampler, 0)
}

fn nothing(_: &Point) -> bool {
    false
}

fn search<'a>(space: &'a Space, centers: &'a [Vec<f64>], is_tried: &'a dyn Fn(&Point) -> bool) -> Search<'a> {
    Search { space, effort: Effort::default(), centers, region: None, is_tried }
}

fn best(search: &Search, bowl: &Bowl) -> Found {
    let worth = Over::new(bowl, LogExpectedImprovement { best: 0.0 });
    search.maximise(&worth, &mut rng()).into_iter().next().unwrap()
}

#[test]
fn a_continuous_maximum_is_found_to_many_digits() {
    let space = made((0..8).map(|k| float(&format!("x{k}"))).collect());
    let bowl = Bowl { center: vec![0.1, 0.9, 0.5, 0.33, 0.0, 1.0, 0.77, 0.2], ..Bowl::default() };
    let found = best(&search(&space, &[], &nothing), &bowl);
    for (x, c) in found.candidate.unit.iter().zip(&bowl.center) {
        assert!((x - c).abs() < 1e-4, "{x} is not {c}");
    }
}

#[test]
fn a_maximum_at_the_corner_of_the_cube_is_reached_exactly() {
    let space = made((0..5).map(|k| float(&format!("x{k}"))).collect());
    let bowl = Bowl { center: vec![-0.5, 1.5, 0.5, -0.1, 1.1], ..Bowl::default() };
    let found = best(&search(&space, &[], &nothing), &bowl);
    let unit = &found.candidate.unit;
    assert_eq!((unit[0], unit[1], unit[3], unit[4]), (0.0, 1.0, 0.0, 1.0));
    assert!((unit[2] - 0.5).abs() < 1e-4);
}

/// Waves across the cube, and the same upside down for `basin`, which goes downwards.
#[derive(Clone)]
struct Waves {
    fronts: Vec<(Vec<f64>, f64)>,
    bounds: (Vec<f64>, Vec<f64>),
}

impl Waves {
    fn new(dimensions: usize, rng: &mut Rng) -> Self {
        let front = |rng: &mut Rng| {
            ((0..dimensions).map(|_| 3.0 * rng.normal()).collect(), std::f64::consts::TAU * rng.uniform())
        };
        let fronts = (0..12).map(|_| front(rng)).collect();
        Self { fronts, bounds: (vec![0.0; dimensions], vec![1.0; dimensions]) }
    }
}

impl Acquisition for Waves {
    fn value(&self, unit: &[f64]) -> f64 {
        self.slope(unit).unwrap().0
    }

    fn slope(&self, unit: &[f64]) -> Option<(f64, Vec<f64>)> {
        let (mut value, mut slope) = (0.0, vec![0.0; unit.len()]);
        for (front, phase) in &self.fronts {
            let angle = phase + front.iter().zip(unit).map(|(w, x)| w * x).sum::<f64>();
            value += angle.sin();
            slope.iter_mut().zip(front).for_each(|(slope, w)| *slope += w * angle.cos());
        }
        Some((value, slope))
    }
}

impl Constraints for Waves {
    type Set = ConstraintSet<BoxBounds<Vec<f64>>>;

    fn constraints(&self) -> <Self::Set as ConstraintDescription>::Borrowed<'_> {
        ConstraintSet::new().with_bounds(BoxBounds::new(Some(&self.bounds.0), Some(&self.bounds.1)))
    }
}

impl CostFunction for Waves {
    type Param = Vec<f64>;
    type Output = f64;
    type Error = Infallible;

    fn cost(&self, unit: &Vec<f64>) -> Result<f64, Infallible> {
        Ok(-self.value(unit))
    }
}

impl Gradient for Waves {
    type Gradient = Vec<f64>;

    fn gradient(&self, unit: &Vec<f64>) -> Result<Vec<f64>, Infallible> {
        Ok(self.slope(unit).unwrap().1.into_iter().map(|slope| -slope).collect())
    }
}

#[test]
fn from_where_the_search_ends_l_bfgs_b_climbs_no_higher() {
    let (mut rng, mut ahead) = (rng(), 0);
    let space = made((0..6).map(|k| float(&format!("x{k}"))).collect());
    for _ in 0..20 {
        let waves = Waves::new(6, &mut rng);
        let climbed = |start: Vec<f64>| {
            let run = Executor::new(waves.clone(), Lbfgsb::new(), FirstOrderState::new(start))
                .max_iter(500)
                .run()
                .unwrap();
            -run.cost()
        };
        let found = search(&space, &[], &nothing).maximise(&waves, &mut rng).into_iter().next().unwrap();
        let further = climbed(found.candidate.unit.clone());
        assert!(further - found.value < 1e-5, "{further} is above {}", found.value);
        // As many climbs of its own, from random places.
        let own = (0..Effort::default().starts).map(|_| climbed(rng.uniforms(6))).fold(f64::MIN, f64::max);
        ahead += usize::from(found.value > own - 1e-5);
    }
    assert!(ahead >= 15, "as high as L-BFGS-B from random places in {ahead} of 20");
}

fn mixed() -> (Space, Bowl) {
    let space =
        made(vec![float("x"), int("n", 40), choice("c", 5), int("m", 1000), choice("d", 3), float("y")]);
    let at = |k: usize, coded: f64| space.parameters()[k].distribution.to_unit(coded);
    let center = vec![0.3, at(1, 29.0), at(2, 3.0), at(3, 123.0), at(4, 2.0), 0.8];
    (space, Bowl { center, choices: vec![2, 4], rough: false })
}

#[test]
fn a_mixed_maximum_is_found_exactly_in_its_discrete_parts() {
    let (space, bowl) = mixed();
    let found = best(&search(&space, &[], &nothing), &bowl);
    let point = &found.candidate.point.0;
    assert_eq!([point[1], point[2], point[3], point[4]], [29.0, 3.0, 123.0, 2.0]);
    assert!((point[0] - 0.3).abs() < 1e-4 && (point[5] - 0.8).abs() < 1e-4);
}

#[test]
fn a_model_without_slopes_is_searched_too() {
    let (space, mut bowl) = mixed();
    bowl.rough = true;
    let effort = Effort { rounds: 12, ..Effort::default() };
    let found = best(&Search { effort, ..search(&space, &[], &nothing) }, &bowl);
    let point = &found.candidate.point.0;
    assert_eq!([point[2], point[4]], [3.0, 2.0]);
    let distance: f64 = bowl.belief(&found.candidate.unit).mean;
    assert!(distance < 1e-3, "{distance}");
}

#[test]
fn tried_points_are_not_returned() {
    let space = made(vec![int("n", 9), choice("c", 3)]);
    let bowl = Bowl {
        center: vec![space.parameters()[0].distribution.to_unit(4.0), 0.5],
        choices: vec![1],
        rough: false,
    };
    let mut tried: Vec<Point> = Vec::new();
    for _ in 0..27 {
        let is_tried = |point: &Point| tried.contains(point);
        let centers: Vec<Vec<f64>> = tried.iter().take(3).map(|point| space.to_unit(point)).collect();
        let found = best(&search(&space, &centers, &is_tried), &bowl);
        assert!(!tried.contains(&found.candidate.point));
        tried.push(found.candidate.point);
    }
    let order: Vec<f64> = tried.iter().take(3).map(|point| point.0[0]).collect();
    assert_eq!(order[0], 4.0);
    assert!(tried[..9].iter().all(|point| point.0[1] == 1.0), "the right choice first");
    let is_tried = |point: &Point| tried.contains(point);
    let worth = Over::new(&bowl, LogExpectedImprovement { best: 0.0 });
    assert!(search(&space, &[], &is_tried).maximise(&worth, &mut rng()).is_empty());
}

#[test]
fn constraints_are_kept_and_their_edge_is_reached() {
    let parameters = vec![float("x"), float("y")];
    let keep = Constraint::Linear { weights: vec![("x".into(), 1.0), ("y".into(), 1.0)], at_most: 0.8 };
    let space = Space::new(parameters, vec![keep]).unwrap();
    let bowl = Bowl { center: vec![0.9, 0.9], ..Bowl::default() };
    let found = best(&search(&space, &[], &nothing), &bowl);
    let unit = &found.candidate.unit;
    assert!(space.allows(&found.candidate.point.0));
    assert!(unit[0] + unit[1] > 0.79, "{unit:?}");
}

#[test]
fn a_branch_is_entered_with_the_values_of_the_best_trial_that_had_it() {
    let child = |name: &str, value: i64| Parameter { when: Some(Condition::eq("c", value)), ..float(name) };
    let space = made(vec![choice("c", 2), child("a", 0), child("b", 1)]);
    let bowl = Bowl { center: vec![0.75, 0.5, 0.4], choices: vec![0], rough: false };
    // The best trials are all on the wrong branch; one on the right branch is last.
    let mut centers: Vec<Vec<f64>> = (0..4).map(|k| vec![0.25, 0.1 * f64::from(k), f64::NAN]).collect();
    centers.push(vec![0.75, f64::NAN, 0.41]);
    let found = best(&search(&space, &centers, &nothing), &bowl);
    let unit = &found.candidate.unit;
    assert!(unit[0] == 0.75 && unit[1].is_nan() && (unit[2] - 0.4).abs() < 1e-4, "{unit:?}");
}

#[test]
fn the_region_is_not_left_by_numbers() {
    let (space, bowl) = mixed();
    let region = Region { low: vec![0.5; 6], high: vec![0.6; 6] };
    let found = best(&Search { region: Some(&region), ..search(&space, &[], &nothing) }, &bowl);
    let (unit, point) = (&found.candidate.unit, &found.candidate.point.0);
    assert_eq!([point[2], point[4]], [3.0, 2.0]);
    assert_eq!((unit[0], unit[5]), (0.5, 0.6));
    assert!((0.45..0.65).contains(&unit[1]) && (0.49..0.61).contains(&unit[3]), "{unit:?}");
}

#[test]
fn five_hundred_parameters_are_searched_around_the_best() {
    let space = made(
        (0..500)
            .map(|k| if k % 2 == 0 { float(&format!("x{k}")) } else { int(&format!("n{k}"), 50) })
            .collect(),
    );
    let bowl = Bowl { center: vec![0.31; 500], ..Bowl::default() };
    let worth = Over::new(&bowl, LogExpectedImprovement { best: 0.0 });
    let centers = vec![vec![0.5; 500]];
    let search = Search { effort: Effort::share(0.25), ..search(&space, &centers, &nothing) };
    let found = search.maximise(&worth, &mut rng()).remove(0);
    let distance = bowl.belief(&found.candidate.unit).mean;
    assert!(distance < 0.6 * bowl.belief(&centers[0]).mean, "{distance}");
}

#[test]
fn an_empty_and_a_fixed_space_have_their_one_point() {
    let fixed = made(vec![choice("c", 1)]);
    for space in [Space::default(), fixed] {
        let bowl = Bowl::default();
        let found = best(&search(&space, &[], &nothing), &bowl);
        assert_eq!(found.candidate.point.0.len(), space.len());
    }
}

#[test]
fn the_same_stream_finds_the_same_point() {
    let (space, bowl) = mixed();
    let one = best(&search(&space, &[], &nothing), &bowl);
    let two = best(&search(&space, &[], &nothing), &bowl);
    assert_eq!((one.candidate.point, one.value.to_bits()), (two.candidate.point, two.value.to_bits()));
}

// ---- what is multiplied in

#[test]
fn a_sum_adds_values_and_slopes() {
    let bowls: Vec<Bowl> =
        [0.2, 0.6].iter().map(|c| Bowl { center: vec![*c, *c], ..Bowl::default() }).collect();
    let parts = [
        Over::new(&bowls[0], ConfidenceBound { kappa: 1.0 }),
        Over::new(&bowls[1], ConfidenceBound { kappa: 1.0 }),
    ];
    let sum = Sum { parts: vec![&parts[0], &parts[1]] };
    let unit = vec![0.3, 0.9];
    let expected = parts[0].value(&unit) + parts[1].value(&unit);
    assert_eq!(sum.value(&unit), expected);
    assert_eq!(sum.values(std::slice::from_ref(&unit)), [expected]);
    let (value, slope) = sum.slope(&unit).unwrap();
    assert_eq!(value, expected);
    close(slope[0], -2.0 * (0.1 - 0.3), 1e-12, "slope");
    close(slope[1], -2.0 * (0.7 + 0.3), 1e-12, "slope");
    let rough = Bowl { center: vec![0.5, 0.5], rough: true, ..Bowl::default() };
    let trees = Over::new(&rough, ConfidenceBound { kappa: 1.0 });
    assert!(Sum { parts: vec![&parts[0], &trees] }.slope(&unit).is_none());
}

#[test]
fn feasibility_is_the_probability_that_all_limits_are_kept() {
    let (one, two) =
        (Bowl { center: vec![0.5], ..Bowl::default() }, Bowl { center: vec![0.6], ..Bowl::default() });
    let feasible = feasibility([(&one as &dyn Surrogate, 0.0), (&two as &dyn Surrogate, 0.01)]);
    close(feasible.value(&[0.5]), 2.0 * 0.5_f64.ln(), 1e-12, "both on the edge");
    assert!(feasible.value(&[0.0]) < feasible.value(&[0.5]));
    assert!(feasible.slope(&[0.3]).unwrap().1[0] > 0.0);
}

#[test]
fn costs_are_modelled_only_where_they_differ() {
    assert!(!differs(&[1.0, 1.1, 1.2, 1.0, 1.3, 1.1]));
    assert!(differs(&[1.0, 5.0, 0.2, 9.0, 1.0, 0.5]));
    assert!(!differs(&[1.0, 50.0]));
    let model = Bowl { center: vec![0.5], ..Bowl::default() };
    let cost = LogCost { surrogate: &model, scale: 2.0, exponent: 0.5 };
    assert_eq!(cost.value(&[0.0]), -0.25);
    assert_eq!(cost.slope(&[0.0]).unwrap(), (-0.25, vec![1.0]));
}

#[test]
fn a_prior_fades_as_trials_come_in() {
    let mut parameter = float("x");
    parameter.prior = Some(Prior::around(0.25));
    let space = made(vec![parameter]);
    let at = |n| LogPrior::new(&space, BETA, n).unwrap();
    assert!(at(1).value(&[0.25]) > at(1).value(&[0.9]) + 5.0);
    close(at(10).value(&[0.25]), at(1).value(&[0.25]) / 10.0, 1e-12, "faded");
    assert!(at(1).slope(&[0.1]).unwrap().1[0] > 0.0);
    assert!(LogPrior::new(&made(vec![float("x")]), BETA, 1).is_none());
}

#[test]
fn kappa_is_that_of_hebo() {
    // HEBO 0.3.6, hebo.py: sqrt(upsi * 2 * ((2 + d / 2) * log(n) + log(3 * pi^2 / (3 * delta)))).
    close(kappa(1, 4), (std::f64::consts::PI.powi(2) / 0.01_f64).ln().sqrt(), 1e-12, "first");
    close(kappa(100, 10), 6.255_463_312_945_216, 1e-12, "later");
}

/// Mean falls and doubt falls from left to right: acquisitions disagree on purpose.
struct Trade;

impl Surrogate for Trade {
    fn belief(&self, unit: &[f64]) -> Belief {
        Belief { mean: 1.0 - unit[0] + (unit[1] - 0.5).powi(2), deviation: 1.05 - unit[0] }
    }
}

#[test]
fn no_compromise_is_beaten_by_another_and_members_extremes_are_near() {
    let space = made(vec![float("x"), float("y")]);
    let search = search(&space, &[], &nothing);
    let ensemble = ParetoEnsemble {
        surrogate: &Trade,
        members: vec![Box::new(ConfidenceBound { kappa: 2.0 }), Box::new(ConfidenceBound { kappa: 0.0 })],
        common: None,
        population: 40,
        generations: 10,
    };
    let front = ensemble.front(&search, &mut rng());
    assert!(front.len() > 20, "{}", front.len());
    for a in &front {
        assert!((a.candidate.unit[1] - 0.5).abs() < 0.1, "{:?}", a.candidate.unit);
        for b in &front {
            assert!(!a.values.iter().zip(&b.values).all(|(x, y)| x > y));
        }
    }
    let span = |m: usize| {
        front.iter().map(|c| c.candidate.unit[0]).fold(m as f64, if m == 0 { f64::max } else { f64::min })
    };
    assert!(span(0) > 0.97 && span(1) < 0.03);
}

#[test]
fn the_trust_region_doubles_on_success_halves_on_failure_and_starts_over() {
    let mut region = TrustRegion::new(20);
    for k in 0..3 {
        region.learn(f64::from(-k));
    }
    assert_eq!(region.length(), 1.6);
    for _ in 0..20 {
        region.learn(f64::NAN);
    }
    assert_eq!(region.length(), 0.8);
    for _ in 0..20 * 7 {
        region.learn(5.0);
    }
    assert_eq!((region.length(), region.restarts()), (0.8, 1));
    let around = region.around(&[0.5, 0.9, f64::NAN], &[1.0, 4.0, 1.0]);
    assert!(around.low[1] < around.low[0] && around.high[1] == 1.0);
    assert_eq!((around.low[2], around.high[2]), (0.0, 1.0));
}
