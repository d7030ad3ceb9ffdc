//! When to stop: the chance that more trials gain more, and studies that end by it.

mod play;

use luthier_core::convergence::{Course, Verdict, advice, verdict};
use luthier_core::engine::{Done, Next, verify};
use luthier_core::event::{Decision, Event, Outcome, SpaceEdit, Work};
use luthier_core::metric::{Direction, Metric};
use luthier_core::rng::{Purpose, Rng};
use luthier_core::spec::{Component, Convergence, Design, Limits, PolicySpec, Spec};
use luthier_core::study::Study;
use luthier_core::trial::Trial;
use play::{Play, completed, failed, float, resolved, space};
use serde::Deserialize;

fn spec() -> Spec {
    play::spec(space(vec![float("x", 0.0, 1.0), float("y", 0.0, 1.0)]), "random")
}

fn until(rule: Convergence) -> Play {
    let mut spec = spec();
    spec.limits.converged = Some(rule);
    Play::new(spec)
}

/// A study whose trials have had these losses; none is a failure.
fn played(losses: &[Option<f64>]) -> Play {
    let mut play = Play::new(spec());
    let outcome = |loss: Option<f64>| loss.map_or_else(failed, completed);
    assert_eq!(play.run(losses.len(), |trial| outcome(losses[trial.number as usize])), None);
    play
}

fn all(losses: impl IntoIterator<Item = f64>) -> Vec<Option<f64>> {
    losses.into_iter().map(Some).collect()
}

fn rule(trials: u64, epsilon: f64) -> Convergence {
    Convergence { epsilon: Some(epsilon), trials, ..Convergence::default() }
}

fn uniform(trial: u64, draw: u64) -> f64 {
    Rng::stream(draw, trial, Purpose::Objective, 0).uniform()
}

#[derive(Deserialize)]
struct Case {
    losses: Vec<Option<f64>>,
    chances: Vec<Row>,
    regret: Option<f64>,
    progress: Option<f64>,
}

#[derive(Deserialize)]
struct Row {
    trials: u64,
    epsilon: f64,
    chance: Option<f64>,
}

#[test]
fn chances_are_those_of_another_implementation() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("reference/convergence.json")).unwrap();
    for (k, case) in cases.iter().enumerate() {
        let study = &played(&case.losses).study;
        for row in &case.chances {
            let found = advice(study, &rule(row.trials, row.epsilon));
            let about = format!("case {k}, {} more, over {}", row.trials, row.epsilon);
            assert_eq!(found.is_some(), row.chance.is_some(), "{about}");
            let (Some(found), Some(chance)) = (found, row.chance) else { continue };
            assert!((found.chance - chance).abs() < 1e-12, "{about}: {} is not {chance}", found.chance);
            assert!((found.regret - case.regret.unwrap()).abs() < 1e-12, "{about}");
            assert_eq!(Some(found.progress), case.progress, "{about}");
        }
    }
}

#[test]
fn a_chance_grows_with_trials_and_falls_with_what_counts_as_a_gain() {
    for seed in 0..20 {
        let study = &played(&all((0..60).map(|k| uniform(k, seed)))).study;
        let chance = |trials, epsilon| advice(study, &rule(trials, epsilon)).unwrap().chance;
        for trials in [1, 5, 25, 125, 625] {
            assert!(chance(trials, 0.01) < chance(2 * trials, 0.01), "seed {seed}, {trials} trials");
        }
        for epsilon in [0.0, 0.001, 0.01, 0.1, 1.0] {
            assert!(chance(50, epsilon) >= chance(50, 2.0 * epsilon), "seed {seed}, over {epsilon}");
        }
    }
}

/// The chance told over many studies by random search is how often it comes true, for losses of several shapes. The draws are fixed. A
/// mean over 300 studies has a standard error of at most 3 %; the bound leaves room for what the model was not fitted on: ends of losses
/// that are sharper or blunter than those of recorded tasks.
#[test]
fn chances_come_true() {
    type Shape = fn(f64) -> f64;
    let shapes: [(&str, Shape); 3] =
        [("even", |u| u), ("blunt", |u| u.sqrt()), ("gaussian", |u| (u / (1.0 - u)).ln())];
    for (name, shape) in shapes {
        let (mut told, mut true_ones) = (0.0, 0.0);
        for seed in 0..300 {
            let losses: Vec<f64> = (0..90).map(|k| shape(uniform(k, 1000 + seed))).collect();
            let before =
                advice(&played(&all(losses[..40].iter().copied())).study, &Convergence::default()).unwrap();
            let best = |losses: &[f64]| losses.iter().copied().fold(f64::INFINITY, f64::min);
            told += before.chance / 300.0;
            true_ones += f64::from(best(&losses[..40]) - best(&losses) > before.epsilon) / 300.0;
        }
        assert!((told - true_ones).abs() < 0.15, "{name}: told {told:.2}, came true {true_ones:.2}");
    }
}

#[test]
fn a_study_ends_when_more_trials_would_hardly_gain_anything() {
    let mut play = until(Convergence::default());
    let done = play.run_out(|trial| completed(trial.point.0[0].powi(2) + trial.point.0[1].powi(2)));
    let Done::Converged(Verdict::Unlikely(advice)) = done else { panic!("ended with {done:?}") };
    assert!(advice.chance < 0.1 && advice.trials == 50, "{advice:?}");
    let trials = play.study.trials().len();
    assert!((20..2000).contains(&trials), "{trials} trials");
    let found = play.verified();
    assert_eq!((found.agreed, found.disagreements), (trials as u64, vec![]));
    // Whoever opens it again finds it converged, and so does whoever remembers nothing.
    assert_eq!(play.reopened().next(), Next::Done(done.clone()));
    play.engine.forget();
    assert_eq!(play.next(), Next::Done(done));
    // It was not converged before its last trial.
    let before: Vec<Event> = play.events[..play.events.len() - 1].to_vec();
    assert_eq!(verdict(&Study::replay(&before).unwrap(), &Convergence::default()), None);
}

#[test]
fn a_trial_that_was_started_after_the_end_is_found() {
    let mut play = until(Convergence::default());
    play.run_out(|trial| completed(trial.point.0[0]));
    let mut goes_on = Play::new(spec());
    goes_on.run(play.study.trials().len() + 1, |trial| completed(trial.point.0[0]));
    let longer = goes_on.events.split_off(play.events.len());
    assert_eq!(verify(play.events.iter().chain(&longer)).unwrap().disagreements.len(), 1);
}

#[test]
fn other_limits_let_it_go_on() {
    let mut play = until(Convergence::default());
    play.run_out(|trial| completed(trial.point.0[0]));
    let trials = play.study.trials().len();
    play.add(Event::LimitsChanged(Limits { trials: Some(trials as u64 + 3), ..Limits::default() }));
    assert_eq!(play.run_out(|trial| completed(trial.point.0[0])), Done::Trials(trials as u64 + 3));
    assert_eq!(play.verified().disagreements, vec![]);
}

#[test]
fn a_limit_of_trials_is_a_bound() {
    let mut play = until(Convergence::default());
    play.add(Event::LimitsChanged(Limits {
        trials: Some(12),
        converged: Some(Convergence::default()),
        ..Limits::default()
    }));
    assert_eq!(play.run_out(|trial| completed(trial.point.0[0])), Done::Trials(12));
}

#[test]
fn a_plateau_ends_a_study_by_patience_alone() {
    let rule = Convergence { chance: 0.0, patience: Some(15), epsilon: Some(0.5), ..Convergence::default() };
    let mut play = until(rule);
    // The best falls by 1 until trial 29, then by too little.
    let loss = |k: u32| if k < 30 { -f64::from(k) } else { -29.0 - 0.4 * f64::from(k - 29) / 100.0 };
    let done = play.run_out(|trial| completed(loss(trial.number)));
    let Done::Converged(Verdict::Plateau(advice)) = done else { panic!("ended with {done:?}") };
    assert_eq!((advice.stalled, advice.stopped), (15, 45));
}

#[test]
fn nothing_ever_gained_ends_a_study_too() {
    for loss in [0.0, 1e300, -1e-300] {
        let done = until(Convergence::default()).run_out(|_| completed(loss));
        let Done::Converged(verdict) = done else { panic!("ended with {done:?}") };
        assert!(verdict.advice().stopped < 1000, "{verdict:?}");
    }
}

#[test]
fn what_keeps_gaining_goes_on() {
    let mut play = until(Convergence::default());
    assert_eq!(play.run(2000, |trial| completed(-f64::from(trial.number))), None);
}

#[test]
fn trials_without_a_value_count_and_gain_nothing() {
    let good: Vec<f64> = (0..40).map(|k| uniform(k, 3)).collect();
    let mut thinned = Vec::new();
    for loss in &good {
        thinned.extend([Some(*loss), None]);
    }
    let [plain, thin] = [all(good.iter().copied()), thinned].map(|losses| played(&losses).study);
    let [a, b] = [&plain, &thin].map(|study| advice(study, &Convergence::default()).unwrap());
    assert_eq!((a.stopped, b.stopped, a.progress), (40, 80, b.progress));
    assert!(b.chance < a.chance, "half as many values in 50 trials: {} against {}", b.chance, a.chance);
    // Pruned ones are like failed ones.
    let mut pruned = Play::new(spec());
    pruned.run(80, |trial| match trial.number % 2 {
        0 => completed(good[trial.number as usize / 2]),
        _ => Outcome::Pruned,
    });
    assert_eq!(advice(&pruned.study, &Convergence::default()), Some(b));
    // Without five values there is nothing to say.
    let mut losses = vec![None; 50];
    losses.extend(all([1.0, 2.0, 3.0, 4.0]));
    assert_eq!(advice(&played(&losses).study, &Convergence::default()), None);
}

#[test]
fn directions_make_no_difference() {
    let losses: Vec<f64> = (0..50).map(|k| uniform(k, 5)).collect();
    let mut up = spec();
    up.metrics.objectives[0].direction = Direction::Maximize;
    let mut play = Play::new(up);
    play.run(50, |trial| completed(-losses[trial.number as usize]));
    let down = played(&all(losses.iter().copied())).study;
    assert_eq!(advice(&play.study, &Convergence::default()), advice(&down, &Convergence::default()));
}

#[test]
fn trials_that_break_constraints_gain_nothing() {
    let mut bounded = spec();
    bounded.metrics.constraints = vec!["size".into()];
    let mut play = Play::new(bounded);
    for k in 0..60_u32 {
        let work = play.claim().unwrap();
        // Every third one is too large, and the best of all.
        let size = if k % 3 == 2 { 1.0 } else { -1.0 };
        play.add(Event::Reported { work, step: 1, values: vec![("size".into(), size)], seconds: 1.0 });
        let loss = if k % 3 == 2 { -10.0 - f64::from(k) } else { uniform(k.into(), 8) };
        play.end(work, completed(loss));
    }
    let same: Vec<Option<f64>> = (0..60).map(|k| (k % 3 != 2).then(|| uniform(k, 8))).collect();
    assert_eq!(
        advice(&play.study, &Convergence::default()),
        advice(&played(&same).study, &Convergence::default())
    );
}

#[test]
fn gains_below_the_noise_of_the_best_trial_are_none() {
    let noisy = |size: f64| {
        let mut play = Play::new(spec().with_design(Design { folds: 5, seeds: 1, confirm: 0 }));
        for _ in 0..200 {
            let work @ Work { trial, replicate } = play.claim().unwrap();
            let noise = uniform(u64::from(trial) * 5 + u64::from(replicate), 77) - 0.5;
            play.end(work, completed(play.study.trials()[trial as usize].point.0[0] + size * noise));
        }
        advice(&play.study, &Convergence::default()).unwrap()
    };
    let (quiet, loud) = (noisy(1e-6), noisy(0.3));
    assert_eq!(quiet.noise, None);
    // The standard error of a mean of five evenly spread over 0.3: 0.039, but for its own chance.
    let error = loud.noise.unwrap();
    assert!((0.02..0.06).contains(&error) && loud.epsilon == error, "{loud:?}");
    assert!(loud.chance < quiet.chance, "{} against {}", loud.chance, quiet.chance);
}

fn two_objectives() -> Spec {
    let mut spec = spec();
    spec.metrics.objectives.push(Metric { name: "size".into(), direction: Direction::Maximize });
    resolved(spec)
}

#[test]
fn with_several_objectives_hypervolume_is_gained() {
    let both = |a: f64, b: f64| Outcome::Completed { values: vec![a, -b] };
    let front = |x: f64, y: f64| (x, (1.0 - x).powi(2) + 0.2 * y);
    let mut play = Play::new(two_objectives());
    play.run(19, |trial| {
        let (a, b) = front(trial.point.0[0], trial.point.0[1]);
        both(a, b)
    });
    assert_eq!(advice(&play.study, &Convergence::default()), None, "twenty values make the box");
    play.run(100, |trial| {
        let (a, b) = front(trial.point.0[0], trial.point.0[1]);
        both(a, b)
    });
    let busy = advice(&play.study, &Convergence::default()).unwrap();
    assert!(busy.stalled < 60 && busy.progress > 0.0 && busy.progress < 1.1 * 1.1, "{busy:?}");
    // Units do not matter.
    let mut scaled = Play::new(two_objectives());
    scaled.run(119, |trial| {
        let (a, b) = front(trial.point.0[0], trial.point.0[1]);
        both(1e6 * a - 5.0, 1e-6 * b + 3.0)
    });
    let other = advice(&scaled.study, &Convergence::default()).unwrap();
    assert!((other.chance - busy.chance).abs() < 1e-6, "{other:?} is not {busy:?}");
    // Dominated trials bring it to an end.
    play.add(Event::LimitsChanged(Limits { converged: Some(Convergence::default()), ..Limits::default() }));
    let done = play.run_out(|_| both(1.0, 2.0));
    assert!(matches!(done, Done::Converged(_)), "{done:?}");
}

/// Many objectives: volumes are counted, gains are seen, and studies end.
#[test]
fn with_many_objectives_places_are_counted() {
    let mut many = spec();
    for name in ["b", "c", "d", "e"] {
        many.metrics.objectives.push(Metric { name: name.into(), direction: Direction::Minimize });
    }
    let values = |trial: &luthier_core::trial::Trial, scale: f64| {
        let [x, y] = [trial.point.0[0], trial.point.0[1]];
        let values = [x, y, 1.0 - x, 1.0 - y, (x - y).abs()]
            .map(|v| scale * (v + 0.3 * uniform(trial.number.into(), 9)));
        Outcome::Completed { values: values.to_vec() }
    };
    let mut play = Play::new(resolved(many));
    play.run(60, |trial| values(trial, 1.0));
    let before = advice(&play.study, &Convergence::default()).unwrap();
    assert!(before.progress > 0.0 && before.chance > 0.2, "{before:?}");
    // What is better in all gains, and what is worse does not.
    play.run(1, |trial| values(trial, 0.5));
    let after = advice(&play.study, &Convergence::default()).unwrap();
    assert!(after.progress > before.progress && after.stalled == 0, "{after:?}");
    play.add(Event::LimitsChanged(Limits { converged: Some(Convergence::default()), ..Limits::default() }));
    let done = play.run_out(|trial| values(trial, 3.0));
    assert!(matches!(done, Done::Converged(_)), "{done:?}");
}

#[test]
fn a_course_kept_up_to_date_is_the_course_of_the_study() {
    for several in [false, true] {
        let mut play = Play::new(if several { two_objectives() } else { spec() });
        let (mut kept, rule) = (Course::default(), Convergence::default());
        for _ in 0..60 {
            play.run(1, |trial| {
                let [x, y] = [trial.point.0[0], trial.point.0[1]];
                match trial.number % 7 {
                    3 => failed(),
                    _ => Outcome::Completed { values: if several { vec![x, y] } else { vec![x] } },
                }
            });
            kept.advance(&play.study);
            assert_eq!(kept.advice(&play.study, &rule), advice(&play.study, &rule));
        }
        // A study that is behind it begins it anew.
        let fresh = Play::new(if several { two_objectives() } else { spec() });
        kept.advance(&fresh.study);
        assert_eq!(kept.advice(&fresh.study, &rule), None);
    }
}

/// Plays one piece of work at a time until nothing more is started, or so many have been started; it reports at each step up to its budget
/// and pauses there, or completes at the last. What `loss` says of (trial, replicate, step) is reported.
fn by_steps(play: &mut Play, last: u64, most: usize, loss: impl Fn(&Trial, u16, u64) -> f64) -> Option<Next> {
    'work: for _ in 0..most {
        let work = match play.claim() {
            Ok(work) => work,
            Err(next) => return Some(next),
        };
        let piece = play.study.piece(work).unwrap();
        let (from, until) = (piece.step(), piece.budget.unwrap_or(last).min(last));
        for step in from + 1..=until {
            let loss = loss(&play.study.trials()[work.trial as usize], work.replicate, step);
            play.report(work, step, loss);
            if let Some(verdict) = play.engine.judge(&play.study, work).unwrap() {
                let Event::Judged { decision, .. } = &verdict else { panic!("no verdict: {verdict:?}") };
                let stops = *decision == Decision::Stop;
                play.add(verdict);
                if stops {
                    play.end(work, Outcome::Pruned);
                } else {
                    play.add(Event::Paused { work, step, seconds: 1.0 });
                }
                continue 'work;
            }
        }
        if until < last {
            play.add(Event::Paused { work, step: until, seconds: 1.0 });
        } else {
            let reached = loss(&play.study.trials()[work.trial as usize], work.replicate, last);
            let objectives = play.study.metrics().objectives.len();
            play.end(work, Outcome::Completed { values: vec![reached; objectives] });
        }
    }
    None
}

fn by_rungs(mode: &str, last: u64, converged: Option<Convergence>) -> Spec {
    let mut spec = spec();
    spec.max_budget = Some(last);
    spec.policy.scheduler = Component::named("asha").with("mode", mode);
    spec.limits.converged = converged;
    resolved(spec)
}

/// A trial that is paused has had its chance. Where nothing is ever gained, promoting ends a study after about as many trials as stopping does.
#[test]
fn trials_that_pause_count() {
    let trials = |mode: &str| {
        let mut play = Play::new(by_rungs(mode, 27, Some(Convergence::default())));
        let done = by_steps(&mut play, 27, 3000, |_, _, _| 1.0);
        let Some(Next::Done(Done::Converged(verdict))) = done else { panic!("{mode} ended with {done:?}") };
        let trials = play.study.trials().len() as u64;
        assert_eq!(verdict.advice().stopped, trials, "{mode}");
        let found = play.verified();
        assert!(found.disagreements.is_empty(), "{mode}: {:?}", found.disagreements);
        assert_eq!(play.reopened().next(), play.next(), "{mode}");
        play.engine.forget();
        assert!(matches!(play.next(), Next::Done(Done::Converged(_))), "{mode}");
        trials
    };
    let (stop, promote) = (trials("stop"), trials("promote"));
    assert!((20..60).contains(&stop) && (20..60).contains(&promote), "{promote} trials, {stop} with stops");
}

/// Later steps may be harder, as folds are: then what trials reach on the way says nothing about what a best one has gained.
#[test]
fn where_losses_rise_with_the_step_nothing_is_told_until_enough_have_completed() {
    let mut play = Play::new(by_rungs("promote", 27, None));
    let loss = |trial: &Trial, _: u16, step: u64| trial.point.0[0] + step as f64;
    let done = by_steps(&mut play, 27, 60, loss);
    assert_eq!(done, None);
    let completed = play.study.tally().completed;
    assert!((1..5).contains(&completed), "{completed}");
    assert_eq!(luthier_core::convergence::advice(&play.study, &Convergence::default()), None);
}

/// A trial is counted at its first pause, and gains when it completes.
#[test]
fn a_paused_trial_counts_once_and_gains_when_it_completes() {
    let mut play = Play::new(by_rungs("promote", 9, None));
    let loss = |trial: &Trial, _: u16, step: u64| trial.point.0[0] + 1.0 / step as f64;
    let (mut kept, rule, mut told) = (Course::default(), Convergence::default(), 0);
    for _ in 0..300 {
        let best = play.study.incumbent().map(|best| best.number);
        assert_eq!(by_steps(&mut play, 9, 1, loss), None);
        kept.advance(&play.study);
        let found = kept.advice(&play.study, &rule);
        assert_eq!(found, advice(&play.study, &rule));
        let Some(found) = found else { continue };
        told += 1;
        let trials = play.study.trials();
        let stopped = trials.iter().filter(|trial| trial.has_stopped()).count() as u64;
        assert_eq!(found.stopped, stopped);
        if play.study.incumbent().map(|best| best.number) != best {
            assert_eq!(kept.advice(&play.study, &self::rule(50, 0.0)).unwrap().stalled, 0);
        }
        // As long as fewer than five have completed, the first values are what others had reached when they paused.
        if play.study.tally().completed < 5 {
            let best = play.study.incumbent().unwrap().values().unwrap()[0];
            let reached =
                |trial: &&Trial| trial.point.0[0] + 1.0 / *trial.pauses().last().unwrap_or(&9) as f64;
            let mut first: Vec<f64> = trials
                .iter()
                .filter(|t| t.has_stopped())
                .take(20)
                .map(|t| match t.values() {
                    Some(values) => values[0],
                    None => reached(&t),
                })
                .collect();
            first.sort_by(f64::total_cmp);
            let n = first.len();
            let median = f64::midpoint(first[(n - 1) / 2], first[n / 2]);
            assert!((found.progress - (median - best)).abs() < 1e-12, "{found:?}");
        }
    }
    assert!(told > 250 && play.study.tally().completed > 5, "told {told} times");
}

/// With several objectives, too, a study whose trials pause is told about long before twenty have completed.
#[test]
fn trials_that_pause_count_with_several_objectives() {
    let mut spec = by_rungs("promote", 27, None);
    spec.metrics.objectives.push(Metric { name: "size".into(), direction: Direction::Minimize });
    let mut play = Play::new(resolved(spec));
    let rule = Convergence::default();
    let mut kept = Course::default();
    for _ in 0..200 {
        let Ok(work) = play.claim() else { panic!("nothing to run") };
        let budget = play.study.piece(work).unwrap().budget.unwrap_or(27);
        let [x, y] = [0, 1].map(|k| play.study.trials()[work.trial as usize].point.0[k]);
        let values = [("loss".into(), x + 1.0 / budget as f64), ("size".into(), y)];
        play.add(Event::Reported { work, step: budget, values: values.to_vec(), seconds: 1.0 });
        if budget < 27 {
            play.add(Event::Paused { work, step: budget, seconds: 1.0 });
        } else {
            play.end(work, Outcome::Completed { values: values.iter().map(|(_, value)| *value).collect() });
        }
        kept.advance(&play.study);
        assert_eq!(kept.advice(&play.study, &rule), advice(&play.study, &rule));
    }
    let found = advice(&play.study, &rule).unwrap();
    assert_eq!(found.stopped, play.study.trials().len() as u64);
    assert!(play.study.tally().completed < 20 && found.progress > 0.0, "{found:?}");
    play.add(Event::LimitsChanged(Limits { converged: Some(rule), ..Limits::default() }));
    let done = by_steps(&mut play, 27, 3000, |_, _, _| 2.0);
    assert!(matches!(done, Some(Next::Done(Done::Converged(_)))), "{done:?}");
}

/// Trials that a pruner stops take no part in the front, however good what they had reached was.
#[test]
fn stopped_trials_hide_no_progress_of_several_objectives() {
    let mut spec = by_rungs("stop", 27, None);
    spec.metrics.objectives.push(Metric { name: "size".into(), direction: Direction::Minimize });
    spec.policy.scheduler = Component::named("run_all");
    let mut play = Play::new(resolved(spec));
    let rule = Convergence { share: 0.01, ..Convergence::default() };
    for k in 0..100 {
        let work = play.claim().unwrap();
        let [x, y] = [0, 1].map(|k| play.study.trials()[work.trial as usize].point.0[k]);
        let is_over = k % 4 == 3;
        // Nothing that completes is as good as what is stopped.
        let values = if is_over { vec![1.0 + x, 1.0 + y] } else { vec![x, y] };
        let named = [("loss".into(), values[0]), ("size".into(), values[1])].to_vec();
        play.add(Event::Reported { work, step: 1, values: named, seconds: 1.0 });
        play.end(work, if is_over { Outcome::Completed { values } } else { Outcome::Pruned });
    }
    let found = advice(&play.study, &rule).unwrap();
    assert!(found.progress > 0.1 && found.epsilon > 0.001, "{found:?}");
    assert!(found.chance > 0.0 && found.regret > 0.0, "{found:?}");
}

/// One completed trial does not tell hard folds from noise; those that were stopped after two folds do.
#[test]
fn hard_folds_are_no_noise_while_one_trial_has_completed() {
    let mut spec = spec().with_design(Design { folds: 4, seeds: 1, confirm: 1 });
    spec.policy.scheduler = Component::named("race");
    spec.limits.trials = Some(30);
    let mut play = Play::new(resolved(spec));
    let loss = |trial: &Trial, replicate: u16, _: u64| {
        let own = if trial.number == 0 { 0.0 } else { 0.1 + 0.01 * trial.point.0[0] };
        let noise = 0.003 * uniform(u64::from(trial.number) * 4 + u64::from(replicate), 4);
        own + f64::from(replicate % 4) + noise
    };
    by_steps(&mut play, 1, 5000, loss);
    assert_eq!(play.study.tally().completed, 1);
    let best = play.study.incumbent().unwrap();
    assert!(best.standard_error(0).unwrap() < 0.003, "{:?}", best.standard_error(0));
    let (variance, _) = play.study.residual_variance(best, 0).unwrap();
    assert!(variance.sqrt() < 0.003, "{variance}");
    let again = play.study.measured_again(best, 0).unwrap();
    assert!(again.error < 0.003, "{again:?}");
    // Every other trial is worse by a tenth, and so it is told, whichever folds it has seen.
    for trial in &play.study.trials()[1..] {
        let told = play.study.estimates(trial)[0];
        assert!((told.mean - 1.6).abs() < 0.02, "{}: {told:?}", trial.number);
    }
    let noise =
        advice(&play.study, &Convergence { epsilon: Some(1e-9), ..Convergence::default() }).unwrap().noise;
    assert!(noise.unwrap() < 0.003, "{noise:?}");
}

/// Good defaults: nothing after the first trial wins a race to its end. What the others said before they were stopped tells what is typical.
#[test]
fn a_race_that_only_the_first_trial_completes_ends_too() {
    let mut spec = spec().with_design(Design { folds: 5, seeds: 1, confirm: 1 });
    spec.policy.scheduler = Component::named("race");
    spec.limits.converged = Some(Convergence::default());
    let mut play = Play::new(resolved(spec));
    let loss = |trial: &Trial, replicate: u16, _: u64| {
        let own = if trial.number == 0 { 0.0 } else { 1.0 + trial.point.0[0] };
        own + 0.01 * uniform(u64::from(trial.number) * 5 + u64::from(replicate), 4)
    };
    let done = by_steps(&mut play, 1, 5000, loss);
    let Some(Next::Done(Done::Converged(verdict))) = done else { panic!("ended with {done:?}") };
    let (found, completed) = (verdict.advice(), play.study.tally().completed);
    assert!(completed < 5, "{completed} completed");
    assert!((20..300).contains(&found.stopped), "{found:?}");
    // Typical is 1.5, the best 0.
    assert!((found.progress - 1.5).abs() < 0.2, "{found:?}");
    assert!(play.study.incumbent().unwrap().is_confirmed(), "the best is measured again before it ends");
    assert!(play.verified().disagreements.is_empty());
}

/// Members of a population pause and take each other's places; what counts is how many were started afresh.
#[test]
fn a_trial_in_the_place_of_another_is_none_of_its_own() {
    let mut spec = spec();
    spec.max_budget = Some(20);
    spec.limits.trials = Some(8);
    spec.policy.scheduler = Component::named("pbt").with("population", 8).with("interval", 2);
    let mut play = Play::new(resolved(spec));
    let done = by_steps(&mut play, 20, 5000, |trial, _, step| trial.point.0[0] / step as f64);
    assert_eq!(done, Some(Next::Done(Done::Trials(8))));
    assert!(play.study.trials().len() > 8, "nobody made way");
    assert_eq!(advice(&play.study, &Convergence::default()).unwrap().stopped, 8);
}

#[test]
fn a_wider_space_or_another_sampler_is_given_a_chance() {
    let changes = [
        Event::SpaceChanged(SpaceEdit::Change(float("x", -1.0, 1.0))),
        Event::PolicyChanged(PolicySpec { sampler: Component::named("halton"), ..spec().policy }),
    ];
    for change in changes {
        let mut play = until(Convergence::default());
        play.run_out(|trial| completed(trial.point.0[0]));
        let trials = play.study.trials().len();
        play.add(change);
        let done = play.run_out(|_| completed(0.9));
        assert!(matches!(done, Done::Converged(_)), "{done:?}");
        assert_eq!(play.study.trials().len(), trials + 20);
        assert_eq!(play.verified().disagreements, vec![]);
    }
}

#[test]
fn rules_are_read_and_checked() {
    let read = |text: &str| serde_json::from_str::<Limits>(text).map(|limits| limits.converged);
    assert_eq!(read("{}").unwrap(), None);
    assert_eq!(read(r#"{"converged": false}"#).unwrap(), None);
    assert_eq!(read(r#"{"converged": true}"#).unwrap(), Some(Convergence::default()));
    let table = read(r#"{"converged": {"epsilon": 0.5, "patience": 9}}"#).unwrap().unwrap();
    assert_eq!((table.epsilon, table.patience, table.chance), (Some(0.5), Some(9), 0.1));
    let limits = Limits { converged: Some(table), ..Limits::default() };
    assert_eq!(read(&serde_json::to_string(&limits).unwrap()).unwrap(), Some(table));
    assert!(read(r#"{"converged": {"epsilom": 0.5}}"#).unwrap_err().to_string().contains("min_trials"));
    let usual = Convergence::default();
    let wrong = [
        (Convergence { chance: 1.0, ..usual }, "chance"),
        (Convergence { chance: 0.0, ..usual }, "patience"),
        (Convergence { share: 0.0, ..usual }, "share"),
        (Convergence { epsilon: Some(-1.0), ..usual }, "epsilon"),
        (Convergence { epsilon: Some(f64::NAN), ..usual }, "epsilon"),
        (Convergence { trials: 0, ..usual }, "trials"),
        (Convergence { patience: Some(0), ..usual }, "patience"),
    ];
    for (rule, what) in wrong {
        assert!(rule.check().unwrap_err().contains(what), "{rule:?}");
    }
}

#[test]
fn advice_reads_well() {
    let study = &played(&all((0..40).map(|k| uniform(k, 1)))).study;
    let text = advice(study, &Convergence::default()).unwrap().to_string();
    assert!(text.starts_with("another 50 trials: ") && text.ends_with("(1 % of the gain so far)"), "{text}");
    let rule = Convergence { epsilon: Some(0.25), trials: 7, ..Convergence::default() };
    let text = advice(study, &rule).unwrap().to_string();
    assert!(text.starts_with("another 7 trials: ") && text.contains("chance to gain over 0.25 ("), "{text}");
}
