//! CMA-ES: against the numbers of the package cmaes, against random search, and against itself.

#[path = "support/compared.rs"]
mod compared;
#[path = "support/functions.rs"]
mod functions;
#[path = "support/simulate.rs"]
#[allow(dead_code, reason = "one study in turbulence")]
mod simulate;
#[path = "support/turbulence.rs"]
mod turbulence;

use compared::{SEEDS, WINS, check_against_random, median, wins};
use functions::{
    BRANCHES, BRANIN, Function, HARTMANN6, LEVY, RIGHT, SKEWED, SPHERE, TEN, WRONG, best, expecting, float,
    int, live, run, started, study_of,
};
use luthier_core::engine::{Engine, Next};
use luthier_core::event::{Event, Failure, Origin, Outcome, Work};
use luthier_core::memo::Memo;
use luthier_core::metric::{Direction, Metrics};
use luthier_core::registry::build;
use luthier_core::rng::{Purpose, Rng};
use luthier_core::sampler::SAMPLERS;
use luthier_core::sampler::cma_es::{
    Axis, Choices, CmaEs, Constants, Covariance, Member, Start, Strategy, population, warm_start,
};
use luthier_core::space::{Condition, Constraint, Distribution, Parameter, Scale, Space, Value};
use luthier_core::spec::{Component, PolicySpec, Spec};
use luthier_core::study::Study;
use serde_json::Value as Json;
use turbulence::{Changes, survived};

/// Of the package's numbers, relative to 1 or to the number itself.
const TOLERANCE: f64 = 1e-8;

fn reference() -> Json {
    serde_json::from_str(include_str!("reference/cma_es.json")).unwrap()
}

fn close(found: f64, expected: f64, what: &str) {
    let error = (found - expected).abs() / expected.abs().max(1e-3);
    assert!(error <= TOLERANCE, "{what}: {found} is not {expected}");
}

fn all_close(found: &[f64], expected: &Json, what: &str) {
    let expected = numbers(expected);
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0f64, |most, x| most.max(x.abs())).max(1e-12);
    for (k, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let error = (found - expected).abs() / largest;
        assert!(error <= TOLERANCE, "{what}, {k}: {found} is not {expected}");
    }
}

fn numbers(json: &Json) -> Vec<f64> {
    json.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn start(mean: Vec<f64>, sigma: f64, covariance: Covariance) -> Start {
    Start { mean, sigma, covariance, probabilities: vec![], population: None, lr_adapt: false }
}

fn member(latent: Vec<f64>) -> Member {
    Member { middle: latent.clone(), latent, choices: vec![], injected: false }
}

fn check_normal(strategy: &Strategy, after: &Json, what: &str) {
    all_close(strategy.mean(), &after["mean"], &format!("{what}, mean"));
    close(strategy.sigma(), after["sigma"].as_f64().unwrap(), &format!("{what}, sigma"));
    all_close(strategy.covariance().entries(), &after["covariance"], &format!("{what}, covariance"));
    all_close(strategy.step_path(), &after["step_path"], &format!("{what}, step path"));
    all_close(strategy.path(), &after["path"], &format!("{what}, path"));
}

#[test]
fn constants_are_those_of_cmaes() {
    for case in reference()["constants"].as_array().unwrap() {
        let (n, size) = (case["n"].as_u64().unwrap() as usize, case["population"].as_u64().unwrap() as usize);
        let what = format!("n = {n}, population {size}");
        if case["usual"].as_bool().unwrap() {
            assert_eq!(population(n), size, "{what}");
        }
        let found = Constants::full(n, size);
        all_close(&found.weights, &case["weights"], &what);
        close(found.mu_eff, case["mu_eff"].as_f64().unwrap(), &what);
        let rates =
            [found.rank_one, found.rank_mu, found.step_path, found.damping, found.path, found.expected_norm];
        all_close(&rates, &case["rates"], &what);
    }
}

fn check_plain(case: &Json, separable: bool) {
    let name = case["name"].as_str().unwrap();
    let mean = numbers(&case["start"]["mean"]);
    let sigma = case["start"]["sigma"].as_f64().unwrap();
    let covariance = match &case["start"]["covariance"] {
        Json::Null => Covariance::diagonal(&vec![1.0; mean.len()], separable),
        shape => Covariance::full(mean.len(), numbers(shape)),
    };
    let axes = vec![Axis::Continuous; mean.len()];
    let lr_adapt = name == "learning rates";
    let mut strategy = Strategy::new(axes, Start { lr_adapt, ..start(mean, sigma, covariance) });
    assert_eq!(strategy.population() as u64, case["population"].as_u64().unwrap());
    for (g, generation) in case["generations"].as_array().unwrap().iter().enumerate() {
        let points = generation["points"].as_array().unwrap();
        strategy.learn(points.iter().map(|x| member(numbers(x))).collect());
        let after = &generation["after"];
        if after.is_null() {
            continue;
        }
        let what = format!("{name}, generation {}", g + 1);
        check_normal(&strategy, after, &what);
        if let Some(rates) = strategy.rates() {
            all_close(&[rates.mean(), rates.covariance()], &after["rates"], &what);
        }
    }
}

#[test]
fn thirty_generations_are_those_of_cmaes() {
    for case in reference()["plain"].as_array().unwrap() {
        check_plain(case, false);
    }
}

#[test]
fn thirty_separable_generations_are_those_of_cmaes() {
    check_plain(&reference()["separable"], true);
}

#[test]
fn margins_and_probabilities_are_those_of_cmaes() {
    for case in reference()["mixed"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let counts = |key: &str| -> Vec<i64> {
            case[key].as_array().unwrap().iter().map(|x| x.as_i64().unwrap()).collect()
        };
        let mut axes = vec![Axis::Continuous; case["continuous"].as_u64().unwrap() as usize];
        axes.extend(counts("cells").into_iter().map(|n| Axis::Cells(int(1, n, Scale::Linear))));
        let mean = numbers(&case["mean"]);
        let variance = case["variance"].as_f64().unwrap();
        let covariance = Covariance::diagonal(&vec![variance; mean.len()], false);
        let choices = counts("choices");
        let even = |count: &i64| vec![1.0 / *count as f64; *count as usize];
        let probabilities = choices.iter().map(even).collect();
        let begin = Start { probabilities, ..start(mean, 1.0, covariance) };
        let mut strategy = Strategy::new(axes, begin);
        assert_eq!(strategy.population() as u64, case["population"].as_u64().unwrap(), "{name}");
        for (g, generation) in case["generations"].as_array().unwrap().iter().enumerate() {
            let row = |point: &Json| Member {
                latent: numbers(&point["latent"]),
                middle: numbers(&point["middle"]),
                choices: numbers(&point["choices"]).into_iter().map(|c| Some(c as u32)).collect(),
                injected: false,
            };
            strategy.learn(generation["points"].as_array().unwrap().iter().map(row).collect());
            let after = &generation["after"];
            if after.is_null() {
                continue;
            }
            let what = format!("{name}, generation {}", g + 1);
            if !strategy.mean().is_empty() {
                check_normal(&strategy, after, &what);
                all_close(strategy.stretch(), &after["stretch"], &format!("{what}, stretch"));
            }
            for (found, expected) in strategy
                .choices()
                .probabilities()
                .iter()
                .zip(after["probabilities"].as_array().unwrap_or(&vec![]))
            {
                all_close(found, expected, &format!("{what}, probabilities"));
            }
            if !choices.is_empty() {
                close(strategy.choices().trust(), after["trust"].as_f64().unwrap(), &what);
            }
        }
    }
}

#[test]
fn warm_starts_are_those_of_cmaes() {
    for case in reference()["warm"].as_array().unwrap() {
        let points: Vec<Vec<f64>> = case["points"].as_array().unwrap().iter().map(numbers).collect();
        let (mean, sigma, covariance) = warm_start(&points, &vec![0.5; points[0].len()], false);
        all_close(&mean, &case["mean"], "mean");
        close(sigma, case["sigma"].as_f64().unwrap(), "sigma");
        all_close(covariance.entries(), &case["covariance"], "covariance");
    }
}

#[test]
fn a_root_is_symmetric_and_its_square_is_the_covariance() {
    let entries = vec![2.0, 0.6, -0.3, 0.6, 1.0, 0.2, -0.3, 0.2, 0.5];
    let covariance = Covariance::full(3, entries.clone());
    let unit = |k: usize| (0..3).map(|j| f64::from(u8::from(j == k))).collect::<Vec<f64>>();
    for k in 0..3 {
        let twice = covariance.spread(&covariance.spread(&unit(k)));
        let back = covariance.whiten(&covariance.spread(&unit(k)));
        for j in 0..3 {
            assert!((twice[j] - entries[j * 3 + k]).abs() < 1e-12);
            assert!((back[j] - unit(k)[j]).abs() < 1e-12);
            assert!((covariance.spread(&unit(k))[j] - covariance.spread(&unit(j))[k]).abs() < 1e-12);
        }
    }
    let product: f64 = [2.0, 0.6, -0.3].iter().zip([0.46, -0.36, 0.42]).map(|(a, b)| a * b).sum();
    assert!((covariance.log_determinant() - product.ln()).abs() < 1e-12);
}

fn at_the_middle(n: usize) -> Strategy {
    Strategy::new(
        vec![Axis::Continuous; n],
        start(vec![0.5; n], 0.1, Covariance::diagonal(&vec![1.0; n], false)),
    )
}

#[test]
fn a_coordinate_follows_only_points_in_which_it_was_active() {
    let mut strategy = at_the_middle(3);
    let mut rng = Rng::stream(1, 0, Purpose::Sampler, 0);
    let drawn: Vec<Member> = (0..strategy.population()).map(|_| member(strategy.draw(&mut rng))).collect();
    let inactive = |mut member: Member| {
        member.middle[1] = f64::NAN;
        member
    };
    let mut whole = strategy.clone();
    whole.learn(drawn.clone());
    strategy.learn(drawn.into_iter().map(inactive).collect());
    assert_eq!(strategy.mean()[1], 0.5);
    assert_eq!((strategy.mean()[0], strategy.mean()[2]), (whole.mean()[0], whole.mean()[2]));
    // What was drawn for it counts in the step size, which would shrink without it.
    assert_eq!(strategy.sigma(), whole.sigma());
}

#[test]
fn an_injected_step_is_bounded() {
    let mut rng = Rng::stream(2, 0, Purpose::Sampler, 0);
    let strategy = at_the_middle(4);
    let mut points: Vec<Member> =
        (0..strategy.population()).map(|_| member(strategy.draw(&mut rng))).collect();
    points[0] = Member { injected: true, ..member(vec![1.0; 4]) };
    let mut learnt = strategy.clone();
    learnt.learn(points.clone());
    let most = 4f64.sqrt() + 8.0 / 6.0;
    // The point is 10 deviations away, twice the bound. Along (1, 1, 1, 1) it counts as one at the bound.
    let mut bounded = strategy;
    points[0] = member(vec![0.5 + 0.1 * most / 2.0; 4]);
    bounded.learn(points);
    for (a, b) in learnt.mean().iter().zip(bounded.mean()) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }
}

#[test]
fn an_injected_point_without_a_coordinate_takes_no_step_there() {
    let mut strategy = at_the_middle(2);
    let size = strategy.population();
    let point = Member { injected: true, ..member(vec![0.6, f64::NAN]) };
    strategy.learn(vec![point; size]);
    assert!(strategy.mean()[0] > 0.55 && strategy.mean()[1] == 0.5, "{:?}", strategy.mean());
    assert!(strategy.covariance().entries().iter().all(|c| c.is_finite()));
}

#[test]
fn no_cell_and_no_choice_is_ever_out_of_reach() {
    // The same cell and the same choice are best in each of 300 generations.
    let axes = vec![Axis::Cells(int(1, 9, Scale::Linear)); 2];
    let probabilities = vec![vec![0.25; 4]];
    let begin = Start { probabilities, ..start(vec![0.5; 2], 0.1, Covariance::diagonal(&[1.0; 2], false)) };
    let mut strategy = Strategy::new(axes, begin);
    let middle = |x: f64| ((x.clamp(0.0, 0.999) * 9.0).floor() + 0.5) / 9.0;
    let mut rng = Rng::stream(3, 0, Purpose::Sampler, 0);
    let point = |strategy: &Strategy, rng: &mut Rng| {
        let latent = strategy.draw(rng);
        let choices: Vec<Option<u32>> = strategy.choose(rng).into_iter().map(Some).collect();
        Member { middle: latent.iter().map(|x| middle(*x)).collect(), latent, choices, injected: false }
    };
    let loss = |member: &Member| {
        (member.middle[0] - middle(0.99)).abs()
            + (member.middle[1] - middle(0.4)).abs()
            + f64::from(u8::from(member.choices[0] != Some(2)))
    };
    for _ in 0..300 {
        let mut points: Vec<Member> =
            (0..strategy.population()).map(|_| point(&strategy, &mut rng)).collect();
        points.sort_by(|a, b| loss(a).total_cmp(&loss(b)));
        strategy.learn(points);
    }
    let drawn: Vec<Member> = (0..4_000).map(|_| point(&strategy, &mut rng)).collect();
    let share = |what: &dyn Fn(&Member) -> bool| drawn.iter().filter(|m| what(m)).count() as f64 / 4_000.0;
    // The margin of three discrete parameters is 1 − 0.73^(1/3) = 0.0996; the bounds are ten standard errors away.
    let left = [
        share(&|m| m.middle[0] != middle(0.99)),
        share(&|m| m.middle[1] != middle(0.4)),
        share(&|m| m.choices[0] != Some(2)),
    ];
    assert!(left.iter().all(|share| (0.05..0.3).contains(share)), "{left:?}");
}

#[test]
fn choices_that_are_unknown_everywhere_change_nothing() {
    let mut choices = Choices::new(vec![vec![0.2, 0.3, 0.5], vec![0.5, 0.5]], 2);
    let before = choices.probabilities().to_vec();
    choices.learn(&[(0.7, &[None, None]), (0.3, &[None, None])]);
    assert_eq!(choices.probabilities(), before);
    choices.learn(&[(0.7, &[None, Some(1)]), (0.3, &[None, None])]);
    assert_eq!(choices.probabilities()[0], before[0]);
    assert!(choices.probabilities()[1][1] > 0.5);
}

// ---- as a sampler

fn cma_es() -> Component {
    Component::named("cma_es")
}

fn spec_of(function: &Function, sampler: Component, seed: u64) -> Spec {
    let mut spec = Spec::new(function.name, (function.space)(), Metrics::single("loss", Direction::Minimize));
    (spec.policy.sampler, spec.seed) = (sampler, seed);
    spec
}

#[test]
fn wins_on_sphere() {
    check_against_random(&cma_es(), &SPHERE, 150, 0.2);
}

#[test]
fn wins_on_branin() {
    check_against_random(&cma_es(), &BRANIN, 150, 0.002);
}

#[test]
fn wins_on_hartmann6() {
    check_against_random(&cma_es(), &HARTMANN6, 200, 0.13);
}

#[test]
fn wins_on_levy() {
    check_against_random(&cma_es(), &LEVY, 200, 0.6);
}

#[test]
fn wins_on_a_skewed_quadratic_on_log_scales() {
    check_against_random(&cma_es(), &SKEWED, 100, 0.01);
}

#[test]
fn wins_on_a_conditional_space() {
    check_against_random(&cma_es(), &BRANCHES, 200, 0.03);
}

#[test]
fn wins_on_ten_mixed_parameters() {
    check_against_random(&cma_es(), &TEN, 200, 0.5);
}

/// Runs a study by several workers whose trials end out of order.
fn run_at_once(function: &Function, seed: u64, workers: usize, trials: usize) -> Study {
    let mut study = Study::new(spec_of(function, cma_es(), seed));
    let mut engine = Engine::new(&study).unwrap();
    let mut running = Vec::new();
    while study.finished().len() < trials {
        match engine.next(&study).unwrap() {
            Next::Decide(event) => study.apply(&event).unwrap(),
            Next::Claim(work) => {
                study.apply(&Event::Claimed { work, attempt: 1 }).unwrap();
                running.push(work);
                if running.len() == workers {
                    let one = running.swap_remove(work.trial as usize * 7 % workers);
                    complete(&mut study, function, one);
                }
            }
            other => panic!("{other:?}"),
        }
    }
    study
}

fn complete(study: &mut Study, function: &Function, work: Work) {
    let values = vec![(function.regret)(&study.trials()[work.trial as usize].point.0)];
    end(study, work, Outcome::Completed { values });
}

fn end(study: &mut Study, work: Work, outcome: Outcome) {
    study.apply(&Event::Ended { work, outcome, seconds: 0.0, used: None }).unwrap();
}

#[test]
fn each_trial_of_the_search_is_recognised_whatever_the_order() {
    for function in [&SPHERE, &BRANCHES, &TEN] {
        for workers in [1, 3, 24] {
            let study = run_at_once(function, 3, workers, 150);
            let strategy = CmaEs::default().strategy(&study).unwrap();
            let generations = 150 / strategy.population() as u64;
            assert_eq!(strategy.generation(), generations, "{}, {workers} workers", function.name);
        }
    }
}

#[test]
fn many_workers_waste_few_trials() {
    // 20 at once are four generations in flight. Random search is at 6 after 200 trials.
    let regrets = (0..20).map(|seed| best(&run_at_once(&SPHERE, seed, 20, 200)));
    let regret = median(regrets.collect());
    println!("20 workers: {regret}");
    assert!(regret < 0.5, "{regret}");
}

#[test]
fn a_kept_memo_changes_no_proposal_and_the_log_verifies() {
    for (scheduler, options) in [
        ("run_all", cma_es()),
        ("asha", cma_es().with("lr_adapt", true)),
        ("median", cma_es().with("separable", true)),
    ] {
        survived(options, scheduler, &Changes::Three);
    }
}

/// A study of which others have made the first trials, at random.
fn after_random(function: &Function, seed: u64, random: usize, trials: usize, sampler: Component) -> Study {
    let mut study = study_of(function, Component::named("random"), seed, random);
    let policy = PolicySpec { sampler, ..study.spec().policy.clone() };
    study.apply(&Event::PolicyChanged(policy)).unwrap();
    let mut engine = Engine::new(&study).unwrap();
    while study.finished().len() < random + trials {
        match engine.next(&study).unwrap() {
            Next::Decide(event) => study.apply(&event).unwrap(),
            Next::Claim(work) => {
                study.apply(&Event::Claimed { work, attempt: 1 }).unwrap();
                complete(&mut study, function, work);
            }
            other => panic!("{other:?}"),
        }
    }
    study
}

#[test]
fn it_begins_where_the_best_trials_of_others_are() {
    let study = after_random(&HARTMANN6, 4, 100, 0, cma_es());
    let strategy = CmaEs::default().strategy(&study).unwrap();
    let mut trials: Vec<_> = study.trials().iter().collect();
    let loss = |trial: &&luthier_core::trial::Trial| trial.loss(study.metrics(), 0).unwrap();
    // The last time that there were a tenth more trials than before was at the 97th.
    trials.truncate(97);
    trials.sort_by(|a, b| loss(a).total_cmp(&loss(b)));
    let good: Vec<Vec<f64>> = trials[..9].iter().map(|trial| study.space().to_unit(&trial.point)).collect();
    let (mean, sigma, covariance) = warm_start(&good, &[0.5; 6], false);
    assert_eq!((strategy.mean(), strategy.sigma()), (&*mean, sigma));
    assert_eq!(strategy.covariance().entries(), covariance.entries());
    // The middle, where it begins otherwise, is far from this optimum.
    let far = Function {
        regret: |x| x.iter().zip([4.0, -4.0, 3.5, -3.0, 4.0]).map(|(x, c)| (x - c).powi(2)).sum(),
        ..SPHERE
    };
    let regret =
        |warm: bool, seed| best(&after_random(&far, seed, 100, 40, cma_es().with("warm_start", warm)));
    let wins = (0..SEEDS).filter(|seed| regret(true, *seed) < regret(false, *seed)).count();
    println!("warm start: {wins}");
    assert!(wins >= WINS, "{wins} of {SEEDS}");
}

#[test]
fn good_trials_of_others_are_taken_up() {
    // After 30 trials, three results near the optimum come in. The mean follows them.
    const NEAR: [f64; 5] = [1.4, -2.0, 0.5, 2.9, -0.6];
    let distance = |told: bool, seed: u64| {
        let mut study = study_of(&SPHERE, cma_es(), seed, 30);
        let mut engine = Engine::new(&study).unwrap();
        let mut others = 0;
        while study.finished().len() < 50 {
            if told && others < 3 {
                let params = (0..5).map(|k| Some(Value::Float(NEAR[k] + 0.05 * f64::from(others)))).collect();
                let trial = study.trials().len() as u32;
                study.apply(&started(&study, trial, params, Origin::Enqueued)).unwrap();
                others += 1;
            }
            match engine.next(&study).unwrap() {
                Next::Decide(event) => study.apply(&event).unwrap(),
                Next::Claim(work) => {
                    study.apply(&Event::Claimed { work, attempt: 1 }).unwrap();
                    complete(&mut study, &SPHERE, work);
                }
                other => panic!("{other:?}"),
            }
        }
        let mean = CmaEs::default().strategy(&study).unwrap().mean().to_vec();
        mean.iter().zip(NEAR).map(|(m, x)| (m - (x + 5.0) / 10.0).powi(2)).sum::<f64>()
    };
    let wins = (0..SEEDS).filter(|seed| distance(true, *seed) < distance(false, *seed)).count();
    println!("injected: {wins}");
    assert!(wins >= WINS, "{wins} of {SEEDS}");
}

#[test]
fn a_region_where_trials_fail_is_avoided() {
    let failures = |sampler: &str, seed: u64| {
        let spec = spec_of(&BRANIN, Component::named(sampler), seed);
        let study = live(spec, 150, |point| {
            if point[0] > 0.0 {
                Outcome::Failed { reason: Failure::error("diverged"), detail: "".into() }
            } else {
                Outcome::Completed { values: vec![(BRANIN.regret)(point)] }
            }
        });
        study.tally().failed
    };
    let of_ten = |sampler| (0..10).map(|seed| failures(sampler, seed)).sum::<u64>();
    let (ours, random) = (of_ten("cma_es"), of_ten("random"));
    assert!(ours * 2 < random, "{ours} of 1,500 trials fail, {random} of random ones");
}

#[test]
fn a_search_that_has_converged_is_followed_by_another() {
    for (restart, again) in [("bipop", true), ("ipop", true), ("none", false)] {
        let study = study_of(&BRANIN, cma_es().with("restart", restart), 1, 4_000);
        let (sampler, _) = build("sampler", SAMPLERS, &study.spec().policy.sampler).unwrap();
        let told = sampler.explain(&study, &mut Memo::default()).unwrap();
        assert_eq!(told.contains("restart"), again, "{restart}: {told}");
        // Branin's function has three minima of the same depth. A search finds one of them.
        let minima =
            [[-std::f64::consts::PI, 12.275], [std::f64::consts::PI, 2.275], [9.424_777_960_769_38, 2.475]];
        let found = minima.iter().filter(|minimum| {
            let near = |p: &[f64]| (p[0] - minimum[0]).hypot(p[1] - minimum[1]) < 1e-3;
            study.trials().iter().any(|trial| near(&trial.point.0))
        });
        let found = found.count();
        println!("{restart}: {found} minima, {told}");
        assert!(if again { found >= 2 } else { found == 1 }, "{restart}: {found} minima");
    }
}

#[test]
fn a_space_of_integers_is_searched_to_its_end() {
    let parameters = (0..2).map(|k| Parameter::new(format!("n{k}"), int(0, 14, Scale::Linear))).collect();
    let mut spec =
        Spec::new("s", Space::new(parameters, vec![]).unwrap(), Metrics::single("loss", Direction::Minimize));
    spec.policy.sampler = cma_es();
    let study = run(spec, 1_000, |p| (p[0] - 12.0).powi(2) + (p[1] - 3.0).powi(2));
    assert_eq!(study.finished().len(), 225);
    let at = study.trials().iter().position(|trial| *trial.point.0 == [12.0, 3.0]).unwrap();
    assert!(at < 80, "{at}");
}

#[test]
fn constraints_are_kept_by_drawing_again() {
    let parameters = vec![float("x", 0.0, 1.0, Scale::Linear), float("y", 0.0, 1.0, Scale::Linear)];
    let rule = Constraint::Linear { weights: vec![("x".into(), 1.0), ("y".into(), 1.0)], at_most: 0.6 };
    let space = Space::new(parameters, vec![rule]).unwrap();
    let mut spec = Spec::new("s", space, Metrics::single("loss", Direction::Minimize));
    spec.policy.sampler = cma_es();
    // The best allowed point is (0.3, 0.3), on the constraint.
    let study = run(spec, 300, |p| (p[0] - 1.0).powi(2) + (p[1] - 1.0).powi(2));
    let own = study.trials().iter().filter(|trial| trial.origin == Origin::Sampler).count();
    assert_eq!(own, 300);
    assert!(best(&study) < 0.98 + 1e-3, "{}", best(&study));
}

fn with_prior(center: Option<[f64; 5]>, seed: u64, trials: usize) -> f64 {
    let spec = Spec { space: expecting(center), ..spec_of(&SPHERE, cma_es(), seed) };
    best(&run(spec, trials, SPHERE.regret))
}

#[test]
fn priors_are_followed_and_wrong_ones_outgrown() {
    let regrets =
        |center, trials| (0..SEEDS).map(|seed| with_prior(center, seed, trials)).collect::<Vec<_>>();
    let (with, without) = (regrets(Some(RIGHT), 20), regrets(None, 20));
    let wins = wins(&with, &without);
    let (early, late) = (median(regrets(Some(WRONG), 15)), median(regrets(Some(WRONG), 200)));
    let soon = median(regrets(None, 15));
    println!("{wins} wins; wrong {early}, then {late}; without a prior {soon}");
    assert!(wins >= WINS, "{wins} wins");
    assert!(early > 1.3 * soon, "it did not steer: {early}, without a prior {soon}");
    // Random search reaches 6.2 after 100 trials.
    assert!(late < 2.0, "{early}, then {late}");
}

#[test]
fn the_default_is_where_it_begins() {
    let mut parameters = (SPHERE.space)().parameters().to_vec();
    parameters[0].default = Some(2.0.into());
    let mut spec = spec_of(&SPHERE, cma_es(), 1);
    spec.space = Space::new(parameters, vec![]).unwrap();
    let strategy = CmaEs::default().strategy(&Study::new(spec)).unwrap();
    assert_eq!(strategy.mean(), [0.7, 0.5, 0.5, 0.5, 0.5]);
}

#[test]
fn conditional_parameters_are_found_on_the_branch_that_counts() {
    let on = || Some(Condition::eq("branch", "b"));
    let choices = Distribution::Categorical { choices: ["a", "b"].map(Into::into).into() };
    let parameters = vec![
        Parameter::new("branch", choices),
        float("x", 0.0, 1.0, Scale::Linear),
        Parameter { when: on(), ..float("y", 0.0, 1.0, Scale::Linear) },
    ];
    let mut spec =
        Spec::new("s", Space::new(parameters, vec![]).unwrap(), Metrics::single("loss", Direction::Minimize));
    spec.policy.sampler = cma_es();
    let loss = |p: &[f64]| (p[1] - 0.2).powi(2) + if p[2].is_nan() { 1.0 } else { (p[2] - 0.9).powi(2) };
    let study = run(spec, 250, loss);
    assert!(best(&study) < 1e-5, "{}", best(&study));
}

#[test]
fn a_hundred_and_more_numbers_are_searched_without_correlations() {
    let parameters = (0..120).map(|k| float(&format!("x{k}"), 0.0, 1.0, Scale::Linear)).collect();
    let mut spec =
        Spec::new("s", Space::new(parameters, vec![]).unwrap(), Metrics::single("loss", Direction::Minimize));
    spec.policy.sampler = cma_es();
    let loss = |p: &[f64]| p.iter().map(|x| (x - 0.4).powi(2)).sum();
    let study = run(spec, 1_000, loss);
    let strategy = CmaEs::default().strategy(&study).unwrap();
    assert!(strategy.covariance().is_separable() && best(&study) < 0.8, "{}", best(&study));
}

#[test]
fn wrong_options_are_refused() {
    let refused = |options: Component, word: &str| {
        let Err(error) = build("sampler", SAMPLERS, &options) else { panic!("{options:?} was taken") };
        assert!(error.to_string().contains(word), "{error}");
    };
    refused(cma_es().with("population", 1), "population = 1 must be from 2 to 100000");
    refused(cma_es().with("sigma", 0.0), "(0, 1]");
    refused(cma_es().with("sigma", 1.5), "1.5");
    refused(cma_es().with("restart", "sometimes"), "bipop");
}
