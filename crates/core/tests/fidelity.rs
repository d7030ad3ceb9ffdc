//! Samplers that know how far trials have come (BOHB, DEHB, PriorBand): their rules, spelled out slowly, and random search with
//! the same scheduler at equal cost.

#[path = "support/functions.rs"]
mod functions;
#[path = "support/simulate.rs"]
#[allow(dead_code, reason = "each test binary uses some of it")]
mod simulate;

use functions::{BRANCHES, Function, HARTMANN6, SKEWED, SPHERE, TEN};
use luthier_core::engine::{resolve, verify};
use luthier_core::event::{Event, Outcome};
use luthier_core::metric::{Direction, Metric, Metrics};
use luthier_core::sampler::bohb::Bohb;
use luthier_core::sampler::priorband::PriorBand;
use luthier_core::space::{Distribution, Parameter, Prior, Scale, Space};
use luthier_core::spec::{Component, Spec};
use luthier_core::study::Study;
use luthier_core::trial::Trial;
use simulate::{Mishap, Moment, Run, World, simulate};

const LAST: u64 = 27;

fn named(name: &str) -> Component {
    Component::named(name)
}

fn hyperband(mode: &str) -> Component {
    named("hyperband").with("mode", mode)
}

/// A curve that falls to the function's regret, the slower the larger that is.
fn curve(function: &Function, params: &[f64], step: u64) -> f64 {
    let level = (function.regret)(params);
    level + (3.0 + level) * (-(step as f64) / (4.0 + level.min(6.0))).exp()
}

fn study(space: Space, sampler: Component, scheduler: Component, seed: u64) -> Spec {
    let mut spec = Spec::new("fidelity", space, Metrics::single("loss", Direction::Minimize));
    spec.policy.sampler = sampler;
    spec.policy.scheduler = scheduler;
    spec.max_budget = Some(LAST);
    spec.seed = seed;
    spec
}

/// A study until as many steps are spent as so many whole trials take.
fn play(function: &Function, spec: Spec, whole: u64, workers: usize) -> Run {
    let value = |params: &[f64], moment: Moment| curve(function, params, moment.step);
    simulate(spec, World { workers, steps: whole * LAST, compare: false, ..World::new(LAST, &value) })
}

fn best(run: &Run) -> f64 {
    run.study.incumbent().map_or(f64::INFINITY, |best| best.values().unwrap()[0])
}

/// Seeds of 20 on which a sampler finds a better trial than random search with the same scheduler. If it were no better, 16
/// or more would have probability 0.006.
fn wins(function: &Function, space: fn() -> Space, sampler: &Component, scheduler: &Component) -> usize {
    let found = |sampler: Component, seed| {
        best(&play(function, study(space(), sampler, scheduler.clone(), seed), 60, 1))
    };
    (0..20).filter(|&seed| found(sampler.clone(), seed) < found(named("random"), seed)).count()
}

/// Pairs that win less than 16 of 20 on one of the functions.
fn weak(
    functions: &[&Function],
    pairs: &[(&'static str, &'static str)],
) -> Vec<(&'static str, &'static str, &'static str, usize)> {
    let mut weak = Vec::new();
    for function in functions {
        for &(sampler, mode) in pairs {
            let wins = wins(function, function.space, &named(sampler), &hyperband(mode));
            println!("{:32} {sampler} {mode}: {wins} of 20", function.name);
            if wins < 16 {
                weak.push((function.name, sampler, mode, wins));
            }
        }
    }
    weak
}

#[test]
fn bohb_and_dehb_beat_random_search_with_the_same_scheduler() {
    let pairs = [("bohb", "promote"), ("bohb", "wait"), ("dehb", "fresh")];
    assert_eq!(weak(&[&SKEWED, &HARTMANN6, &BRANCHES, &TEN], &pairs), []);
}

#[test]
fn bohb_beats_random_search_where_trials_are_stopped_for_good() {
    assert_eq!(weak(&[&SKEWED, &HARTMANN6, &TEN], &[("bohb", "stop")]), []);
}

#[test]
#[ignore = "open: 15 of 20; its few good trials are near relatives early, and most of what they propose runs to the end"]
fn bohb_beats_random_search_in_a_conditional_space_where_trials_are_stopped_for_good() {
    assert_eq!(weak(&[&BRANCHES], &[("bohb", "stop")]), []);
}

#[test]
fn a_simplex_beats_random_search_where_trials_pause() {
    let pairs = [("nelder_mead", "promote"), ("nelder_mead", "wait"), ("nelder_mead", "stop")];
    assert_eq!(weak(&[&SKEWED, &HARTMANN6, &SPHERE], &pairs), []);
}

/// Priors at a place, with a share of the range as spread.
fn with_priors(mut space: Space, centre: impl Fn(&Parameter) -> Option<f64>) -> Space {
    let mut parameters = space.parameters().to_vec();
    for parameter in &mut parameters {
        parameter.prior =
            centre(parameter).map(|centre| Prior::Center { center: centre.into(), spread: 0.15 });
    }
    space = Space::new(parameters, space.constraints().to_vec()).unwrap();
    space
}

/// Losses of 60 trials that all pause at their first step and never go on.
fn paused_losses(sampler: &str, seed: u64) -> Vec<f64> {
    let scheduler = named("asha").with("mode", "promote").with("eta", 1000);
    let value = |params: &[f64], _: Moment| (SKEWED.regret)(params);
    let spec = study((SKEWED.space)(), named(sampler), scheduler, seed);
    let run = simulate(spec, World { workers: 1, steps: 60, compare: false, ..World::new(LAST, &value) });
    assert_eq!(run.study.paused().len(), 60, "{sampler}");
    run.study.trials().iter().map(|trial| trial.curve()[0].loss).collect()
}

#[test]
fn samplers_learn_from_trials_that_only_pause() {
    // The median of the last 20 of 60, over 3 seeds.
    let late = |sampler: &str| {
        let mut late: Vec<f64> =
            (0..3).flat_map(|seed| paused_losses(sampler, seed)[40..].to_vec()).collect();
        late.sort_by(f64::total_cmp);
        late[late.len() / 2]
    };
    let random = late("random");
    let models = ["gp", "forest", "tpe", "adaptive_tpe", "auto"];
    let others =
        ["cma_es", "nelder_mead", "coarse_to_fine", "differential_evolution", "regularized_evolution"];
    for sampler in models.into_iter().chain(others) {
        let late = late(sampler);
        assert!(late < random / 2.0, "{sampler}: {late} against {random}");
    }
}

/// By how much y misses 0.2, where both objectives are best wherever x is, in the later half of the trials; these pause at rungs, or are stopped there.
fn late_misses(sampler: &str, mode: &str, seed: u64) -> Vec<f64> {
    let range = || Distribution::Float { low: 0.0, high: 1.0, scale: Scale::Linear, step: None };
    let parameters = ["x", "y"].map(|name| Parameter::new(name, range())).to_vec();
    let space = Space::new(parameters, Vec::new()).unwrap();
    let scheduler = named("asha").with("mode", mode).with("min_budget", 1);
    let mut spec = study(space, named(sampler), scheduler, seed);
    spec.metrics.objectives.push(Metric { name: "other".into(), direction: Direction::Minimize });
    let off = |params: &[f64], moment: Moment| 3.0 * (params[1] - 0.2).powi(2) + 0.1 / moment.step as f64;
    let value = |params: &[f64], moment: Moment| params[0] + off(params, moment);
    let further = |params: &[f64], moment: Moment| vec![1.0 - params[0] + off(params, moment)];
    let run =
        simulate(spec, World { steps: 500, compare: false, further: &further, ..World::new(LAST, &value) });
    let late = run.study.trials().iter().skip(run.study.trials().len() / 2);
    late.map(|trial| (run.study.space().to_unit(&trial.point)[1] - 0.2).abs()).collect()
}

#[test]
fn samplers_learn_several_objectives_from_trials_that_pause_or_are_stopped() {
    for mode in ["promote", "stop"] {
        let late = |sampler: &str| {
            let mut late: Vec<f64> = (0..3).flat_map(|seed| late_misses(sampler, mode, seed)).collect();
            late.sort_by(f64::total_cmp);
            late[late.len() / 2]
        };
        let random = late("random");
        for sampler in
            ["gp", "forest", "tpe", "auto", "nsga2", "nsga3", "regularized_evolution", "nelder_mead"]
        {
            let late = late(sampler);
            println!("{mode} {sampler}: {late:.3} against {random:.3}");
            assert!(late < random / 2.0, "{mode} {sampler}: {late} against {random}");
        }
    }
}

/// Curves that cross: how high one begins and how fast it falls say little of where it ends.
fn crossing(params: &[f64], trial: u32, step: u64) -> f64 {
    let chance = |salt: f64| ((f64::from(trial) * 12.9898 + salt).sin() * 43_758.545_3).fract().abs();
    let (above, pace) = (1.0 + 3.0 * chance(1.0), 2.0 + 8.0 * chance(2.0));
    (SKEWED.regret)(params) + above * (-(step as f64) / pace).exp()
}

#[test]
fn of_the_trials_that_a_forecast_stops_few_would_have_become_the_best() {
    let (mut stopped, mut wrongly, mut all) = (0, 0, 0);
    for seed in 0..8 {
        let scheduler = named("forecast").with("chance", 0.1);
        let value = |params: &[f64], moment: Moment| crossing(params, moment.work.trial, moment.step);
        let spec = study((SKEWED.space)(), named("random"), scheduler, seed);
        let run = simulate(
            spec,
            World { workers: 2, steps: 60 * LAST, compare: false, ..World::new(LAST, &value) },
        );
        let mut then = Study::new(run.study.spec().clone());
        all += run.study.trials().len();
        for event in &run.events[1..] {
            if let Event::Judged { work, why, .. } = event
                && why.contains("its chance to become the best")
            {
                let best = then.incumbent().unwrap().values().unwrap()[0];
                let trial = &then.trials()[work.trial as usize];
                let params: Vec<f64> = then.params(trial).iter().map(|(_, v)| v.as_f64().unwrap()).collect();
                let end = crossing(&params, work.trial, LAST);
                stopped += 1;
                wrongly += usize::from(end < best);
            }
            then.apply(event).unwrap();
        }
    }
    println!("{stopped} of {all} trials stopped, {wrongly} of them wrongly");
    assert!(stopped * 2 > all, "{stopped} of {all}");
    assert!(wrongly * 10 <= stopped, "{wrongly} of {stopped}");
}

#[test]
fn what_was_remembered_changes_no_proposal_where_trials_pause_and_go_on() {
    for sampler in ["gp", "forest", "auto", "cma_es", "nelder_mead", "differential_evolution"] {
        let scheduler = named("asha").with("mode", "promote").with("brackets", 2);
        let value = |params: &[f64], moment: Moment| curve(&SKEWED, params, moment.step);
        let spec = study((SKEWED.space)(), named(sampler), scheduler, 1);
        let run = simulate(spec, World { workers: 3, steps: 150, compare: true, ..World::new(LAST, &value) });
        let went_on = run.study.trials().iter().filter(|trial| trial.pauses().len() > 1).count();
        assert!(went_on >= 5, "{sampler}: {went_on} trials went on");
        verify(&run.events).unwrap();
    }
}

/// Near the best of [`SKEWED`].
fn good_priors() -> Space {
    with_priors((SKEWED.space)(), |p| {
        Some(match &*p.name {
            "rate" => 3e-3,
            "decay" => 3e-5,
            _ => 0.95,
        })
    })
}

/// Far from it.
fn bad_priors() -> Space {
    with_priors((SKEWED.space)(), |p| {
        Some(match &*p.name {
            "rate" => 0.5,
            "decay" => 0.05,
            _ => 0.1,
        })
    })
}

#[test]
fn priorband_gains_by_good_priors_and_recovers_from_bad_ones() {
    let run = |space: fn() -> Space, sampler: &str, seed| {
        best(&play(&SKEWED, study(space(), named(sampler), hyperband("promote"), seed), 60, 1))
    };
    let count = |better: &dyn Fn(u64) -> bool| (0..20).filter(|&seed| better(seed)).count();
    let plain = |seed| run(SKEWED.space, "random", seed);
    let good = count(&|seed| run(good_priors, "priorband", seed) < plain(seed));
    assert!(good >= 16, "{good} of 20 with good priors");
    // Draws from a bad prior alone never come near; a third of random draws and the local search do.
    let bad = count(&|seed| run(bad_priors, "priorband", seed) < run(bad_priors, "random", seed));
    assert!(bad >= 16, "{bad} of 20 with bad priors, against draws from these");
}

#[test]
fn bohb_splits_where_enough_trials_have_come_furthest() {
    let bohb = Bohb { min_points: Some(3), ..Bohb::default() };
    // Where nobody goes on after a stop there are fewer of them.
    for (mode, whole) in [("promote", 30), ("stop", 90)] {
        check_split(&bohb, mode, whole);
    }
}

fn check_split(bohb: &Bohb, mode: &str, whole: u64) {
    let run = play(&SKEWED, study((SKEWED.space)(), named("bohb"), hyperband(mode), 3), whole, 4);
    let Event::Created(spec) = &run.events[0] else { panic!("a log begins with its spec") };
    let mut study = Study::new((**spec).clone());
    let (mut depths, mut splits) = (std::collections::BTreeSet::new(), 0);
    for event in &run.events[1..] {
        study.apply(event).unwrap();
        if !matches!(event, Event::Paused { .. } | Event::Ended { .. }) {
            continue;
        }
        let at =
            |trial: &Trial, step: u64| trial.curve().iter().find(|point| point.step >= step).map(|p| p.loss);
        let idle = |trial: &&Trial| !study.running().iter().any(|work| work.trial == trial.number);
        let stopped = |step: u64| study.trials().iter().filter(idle).filter(|t| t.step() >= step).count();
        let Some(step) = [27, 9, 3, 1].into_iter().find(|step| stopped(*step) >= 5) else {
            assert_eq!(bohb.split(&study), None);
            continue;
        };
        let mut there: Vec<(f64, u32)> =
            study.trials().iter().filter_map(|t| Some((at(t, step)?, t.number))).collect();
        there.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let n = there.len();
        let good = ((0.15 * n as f64) as usize).max(3);
        let numbers = |part: &[(f64, u32)]| {
            let mut all: Vec<u32> = part.iter().map(|entry| entry.1).collect();
            all.sort_unstable();
            all
        };
        // Who was stopped for good before that step is bad.
        let stopped = |t: &&Trial| matches!(t.outcome(), Some(Outcome::Pruned)) && t.step() < step;
        let mut bad = numbers(&there[n - (n - good).max(3)..]);
        bad.extend(study.trials().iter().filter(stopped).map(|t| t.number));
        bad.sort_unstable();
        assert_eq!(bohb.split(&study), Some((numbers(&there[..good]), bad)), "{mode}");
        depths.insert(step);
        splits += 1;
    }
    assert!(splits > 100 && depths.len() >= 3, "{mode}: {splits} splits at {depths:?}");
}

#[test]
fn priorband_mixes_by_rung_and_by_what_each_source_has_proved() {
    let priorband = PriorBand::default();
    let empty = Study::new(study(good_priors(), named("priorband"), hyperband("promote"), 0));
    let shares = priorband.shares(&empty, Some(1));
    assert_eq!((shares.random, shares.prior, shares.best), (0.5, 0.5, 0.0), "at the lowest rung, at first");

    for (space, favours_prior) in [(good_priors as fn() -> Space, true), (bad_priors, false)] {
        let run = play(&SKEWED, study(space(), named("priorband"), hyperband("promote"), 1), 60, 1);
        let low = priorband.shares(&run.study, Some(1));
        let third = priorband.shares(&run.study, Some(9));
        assert!((low.random - 0.5).abs() < 1e-12 && (third.random - 0.1).abs() < 1e-12, "1 / (1 + 3^r)");
        assert!((third.random + third.prior + third.best - 1.0).abs() < 1e-12);
        assert!((low.prior / low.best - third.prior / third.best).abs() < 1e-9 * (low.prior / low.best));
        assert_eq!(low.prior > 0.02, favours_prior, "{low:?}");
        assert!(low.best > 0.1, "{low:?}");
    }
}

#[test]
fn the_first_bracket_of_dehb_promotes_the_best_as_they_are() {
    let mut spec = study((SKEWED.space)(), named("dehb"), hyperband("fresh"), 0);
    spec.limits.trials = Some(40);
    let value = |params: &[f64], moment: Moment| curve(&SKEWED, params, moment.step);
    let run = simulate(spec, World { workers: 1, ..World::new(LAST, &value) });
    let trials = run.study.trials();
    let rungs = [0..27, 27..36, 36..39, 39..40];
    for (pair, step) in rungs.windows(2).zip([1, 3, 9]) {
        let loss = |k: &usize| {
            let curve = &trials[*k].piece(0).unwrap().curve;
            curve.iter().find(|point| point.step == step).unwrap().loss
        };
        let mut below: Vec<usize> = pair[0].clone().collect();
        below.sort_by(|a, b| loss(a).total_cmp(&loss(b)));
        for (from, to) in below.into_iter().zip(pair[1].clone()) {
            assert_eq!(trials[from].point, trials[to].point, "{from} goes on as {to}");
        }
    }
}

#[test]
fn fresh_brackets_begin_trials_at_every_rung_and_resume_none_before_the_end() {
    let mut spec = study((SKEWED.space)(), named("dehb"), hyperband("fresh"), 0);
    spec.limits.trials = Some(120);
    let value = |params: &[f64], moment: Moment| curve(&SKEWED, params, moment.step);
    let run = simulate(spec, World { workers: 3, ..World::new(LAST, &value) });
    let budgets: Vec<u64> = run
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Started { budget, .. } => Some(budget.unwrap_or(LAST)),
            _ => None,
        })
        .collect();
    // The brackets of the paper with R = 27: (27, 9, 3, 1), (12, 4, 1), (6, 2), (4) trials at the rungs.
    let expected =
        [(27, 1), (9, 3), (3, 9), (1, 27), (12, 3), (4, 9), (1, 27), (6, 9), (2, 27), (4, 27), (27, 1)];
    let expected: Vec<u64> = expected.iter().flat_map(|&(count, step)| vec![step; count]).collect();
    assert_eq!(budgets[..expected.len()], expected);
    // Only when all have begun do the best of those that stopped early go on to the end.
    let last = run.events.iter().rposition(|event| matches!(event, Event::Started { .. })).unwrap();
    let resumed = |event: &Event| match event {
        Event::Resumed { work, .. } => Some(work.trial),
        _ => None,
    };
    assert_eq!(run.events[..last].iter().find_map(resumed), None);
    let resumed: Vec<u32> = run.events.iter().filter_map(resumed).collect();
    let mut never = run.study.trials().iter().filter(|trial| !resumed.contains(&trial.number));
    assert!(never.all(|trial| trial.step() == budgets[trial.number as usize]));
    assert_eq!(verify(&run.events).unwrap().disagreements, vec![]);
}

#[test]
fn mishaps_change_no_answer() {
    for (sampler, mode) in [("bohb", "promote"), ("dehb", "fresh"), ("dehb", "stop"), ("priorband", "wait")] {
        let mut spec = study((BRANCHES.space)(), named(sampler), hyperband(mode), 2);
        spec.limits.trials = Some(45);
        let value = |params: &[f64], moment: Moment| curve(&BRANCHES, params, moment.step);
        let mishap = |moment: Moment| match (moment.work.trial * 7 + moment.step as u32) % 61 {
            0 => Some(Mishap::Fails),
            1 | 2 if moment.attempt == 1 => Some(Mishap::Vanishes),
            3 => Some(Mishap::Silence),
            _ => None,
        };
        // Every answer is compared with that of an engine without memos.
        let run =
            simulate(spec, World { workers: 4, mishap: &mishap, engines: 2, ..World::new(LAST, &value) });
        assert_eq!(run.study.trials().len(), 45, "{sampler}");
        assert_eq!(verify(&run.events).unwrap().disagreements, vec![], "{sampler}");
    }
}

#[test]
fn options_without_sense_are_refused() {
    for (sampler, option, value) in [
        ("bohb", "random_share", 1.5_f64),
        ("bohb", "good_share", 0.0),
        ("bohb", "n_candidates", 0.0),
        ("bohb", "min_points", 1.0),
        ("dehb", "population", 3.0),
        ("dehb", "scale", 0.0),
        ("dehb", "crossover_rate", -0.1),
        ("priorband", "eta", 1.0),
        ("priorband", "mutation_rate", 0.0),
        ("priorband", "deviation", -1.0),
    ] {
        let value: serde_json::Value =
            if value.fract() == 0.0 && value >= 0.0 { (value as u64).into() } else { value.into() };
        let spec = study((SKEWED.space)(), named(sampler).with(option, value), named("run_all"), 0);
        let problem = resolve(&spec).unwrap_err().to_string();
        assert!(problem.contains(option), "{problem}");
    }
}
