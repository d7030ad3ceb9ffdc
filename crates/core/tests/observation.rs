//! What a study says to a model of trials that pause and go on: as they were at each stop, whatever came later.

mod play;

use luthier_core::engine::verify;
use luthier_core::event::{Event, SpaceEdit};
use luthier_core::observation::{FirstStops, Observation, Observations, Standing};
use luthier_core::study::{Stop, Study};
use play::{Play, completed, float, space, spec};

/// Two trials: number 0 pauses at step 1, goes on, pauses at 2; number 1 pauses at 1 in between.
fn stopping() -> Play {
    let mut spec = spec(space(vec![float("x", 0.0, 1.0)]), "random");
    spec.max_budget = Some(9);
    spec.policy.scheduler =
        luthier_core::spec::Component::named("asha").with("mode", "promote").with("eta", 2);
    let mut play = Play::new(play::resolved(spec));
    for (trial, losses) in [(0, vec![(1, 0.5)]), (1, vec![(1, 0.7)]), (0, vec![(2, 0.6)])] {
        let work = play.claim().unwrap();
        assert_eq!(work.trial, trial);
        for (step, loss) in &losses {
            play.report(work, *step, *loss);
        }
        play.add(Event::Paused { work, step: losses[losses.len() - 1].0, seconds: 2.0 });
    }
    play
}

fn rows(study: &Study) -> Vec<(u32, Standing, f64, u64)> {
    let mut all = Observations::default();
    all.advance(study);
    all.stopped().iter().map(|row| (row.trial, row.standing, row.losses[0], row.step)).collect()
}

#[test]
fn a_trial_that_pauses_is_a_row_that_follows_it() {
    let play = stopping();
    let stop = |trial, is_first, paused_at| Stop { trial, is_first, paused_at };
    let stops = [stop(0, true, Some(1)), stop(1, true, Some(1)), stop(0, false, Some(2))];
    assert_eq!((play.study.stops(), play.study.stopped()), (&stops[..], 2));
    assert_eq!(rows(&play.study), [(0, Standing::Partial, 0.6, 2), (1, Standing::Partial, 0.7, 1)]);
    let earlier = Observations::after(&play.study, 2);
    let earlier: Vec<_> = earlier.iter().map(|row| (row.trial, row.losses[0], row.step)).collect();
    assert_eq!(earlier, [(0, 0.5, 1), (1, 0.7, 1)], "what came later is not known");
    let (_, first) = FirstStops::default().advance(&play.study);
    let first: Vec<_> = first.iter().map(|row| (row.trial, row.losses[0], row.step)).collect();
    assert_eq!(first, [(0, 0.5, 1), (1, 0.7, 1)]);
    assert_eq!(Observation::at(&play.study, &stops[2]).unwrap().losses[0], 0.6);
}

#[test]
fn an_end_is_the_last_stop_and_a_trial_that_never_stopped_is_open() {
    let mut play = stopping();
    let mut kept = Observations::default();
    kept.advance(&play.study);
    let work = play.claim().unwrap();
    play.report(work, 1, 0.9);
    assert!(kept.advance(&play.study), "rows are only added");
    assert_eq!(kept.open().iter().map(|row| row.trial).collect::<Vec<_>>(), [work.trial]);
    play.end(work, completed(0.3));
    assert!(kept.advance(&play.study));
    assert!(kept.open().is_empty());
    let last = kept.stopped().last().unwrap();
    assert_eq!((last.trial, last.standing, last.losses[0]), (work.trial, Standing::Completed, 0.3));
    assert_eq!(
        play.study.stops().last().unwrap(),
        &Stop { trial: work.trial, is_first: true, paused_at: None }
    );
}

#[test]
fn a_report_behind_a_pause_rewrites_what_was_said() {
    let mut play = stopping();
    let mut kept = Observations::default();
    let mut first = FirstStops::default();
    kept.advance(&play.study);
    first.advance(&play.study);
    // Trial 0 had no checkpoint after all: its program begins at step 1 again.
    for _ in 0..20 {
        let work = play.claim().unwrap();
        if work.trial == 0 {
            break;
        }
        let budget = play.study.piece(work).unwrap().budget.unwrap();
        play.report(work, budget, 0.8);
        play.add(Event::Paused { work, step: budget, seconds: 1.0 });
    }
    assert!(kept.advance(&play.study));
    play.report(luthier_core::event::Work::of(0), 1, 0.55);
    assert_eq!(play.study.rewritten(), 1);
    assert!(!kept.advance(&play.study), "rows made before do not hold");
    let (holds, again) = first.advance(&play.study);
    assert!(!holds);
    assert_eq!(again[0].losses[0], 0.55);
}

#[test]
fn every_sampler_goes_on_when_the_space_changes_under_it() {
    for sampler in
        ["auto", "gp", "forest", "tpe", "cma_es", "differential_evolution", "nsga2", "coarse_to_fine"]
    {
        let mut play = Play::new(spec(space(vec![float("x", 0.0, 1.0)]), sampler));
        let trial = |play: &mut Play| {
            let work = play.claim().unwrap();
            let x = play.study.space().to_unit(&play.study.trials()[work.trial as usize].point)[0];
            play.end(work, completed((x - 0.3).powi(2)));
        };
        for _ in 0..15 {
            trial(&mut play);
        }
        play.add(Event::SpaceChanged(SpaceEdit::Add(float("y", 0.0, 1.0))));
        for _ in 0..5 {
            trial(&mut play);
        }
        play.add(Event::SpaceChanged(SpaceEdit::Change(float("x", 0.2, 0.6))));
        for _ in 0..5 {
            trial(&mut play);
        }
        verify(&play.events).unwrap_or_else(|error| panic!("{sampler}: {error:?}"));
    }
}
