//! Racing folds beside full cross-validation on recorded results: `cargo run --example racing -- benchmarks/race/tables.json
//! [seeds] [scheduler as JSON] [first seed]`. Prints how many fits each way takes and the test loss of the configuration it chooses; means over
//! seeds and over the splits of a table into rows to tune on and rows to test on.

use std::collections::BTreeMap;
use std::error::Error;

use luthier::core::metric::{Direction, Metrics};
use luthier::core::space::Space;
use luthier::core::spec::{Component, Design, Spec};
use luthier::core::study::Study;
use luthier::core::trial::Trial;
use luthier::executor::{Options, run};
use luthier::log::MemoryLog;
use luthier::objective::closure;
use luthier::session::Session;
use serde::Deserialize;

const FOLDS: u16 = 5;
const TRIALS: u64 = 40;
/// Tables on which defaults were chosen; the others count.
const CHOSEN_ON: [&str; 3] = ["energy", "wine", "spambase"];

#[derive(Deserialize)]
struct Recorded {
    grid: Grid,
    /// What one whole number of a loss stands for.
    unit: f64,
    /// By name, and each by the split into rows to tune on and rows to test on.
    tables: BTreeMap<String, BTreeMap<u8, Split>>,
}

#[derive(Deserialize)]
struct Grid {
    max_depth: i64,
    min_samples_leaf: i64,
    max_features: i64,
}

/// What is recorded with one fifth of the rows held out, in units.
#[derive(Deserialize)]
struct Split {
    /// By configuration, seed and fold.
    folds: Vec<[[u32; FOLDS as usize]; 2]>,
    test: Vec<u32>,
}

/// What one study came to.
struct Outcome {
    fits: usize,
    test: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let path = arguments.get(1).ok_or("which tables? give benchmarks/race/tables.json")?;
    let seeds: u64 = arguments.get(2).map_or(Ok(20), |text| text.parse())?;
    let race: Component = match arguments.get(3) {
        Some(text) => serde_json::from_str(text)?,
        None => Component::named("race"),
    };
    let first: u64 = arguments.get(4).map_or(Ok(0), |text| text.parse())?;
    let recorded: Recorded = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    println!(
        "| table | full: test loss | fits | race: test loss | fits | share of fits | race minus full, of the spread of the test losses | no worse |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (name, splits) in &recorded.tables {
        let ways = [(Component::named("run_all"), 0), (race.clone(), 1)];
        let (mut outcomes, mut gaps) = ([Vec::new(), Vec::new()], Vec::new());
        for split in splits.values() {
            let before = outcomes[0].len();
            for ((scheduler, confirm), outcomes) in ways.iter().zip(&mut outcomes) {
                for seed in first..first + seeds {
                    outcomes.push(tuned(&recorded, split, scheduler, *confirm, seed)?);
                }
            }
            let tests: Vec<f64> = split.test.iter().map(|loss| f64::from(*loss)).collect();
            let spread = recorded.unit * deviation(&tests, 0.0);
            gaps.push(
                outcomes[1][before..]
                    .iter()
                    .zip(&outcomes[0][before..])
                    .map(|(race, full)| (race.test - full.test) / spread)
                    .collect::<Vec<_>>(),
            );
        }
        let of = |get: &dyn Fn(&Outcome) -> f64, way: usize| {
            mean(&outcomes[way].iter().map(get).collect::<Vec<_>>())
        };
        let (fits, fewer) = (of(&|o| o.fits as f64, 0), of(&|o| o.fits as f64, 1));
        // Studies with the same rows held out share what chance had in store for these.
        let by_split: Vec<f64> = gaps.iter().map(|gaps| mean(gaps)).collect();
        let units = if by_split.len() > 1 { &by_split } else { &gaps[0] };
        let mark = if CHOSEN_ON.contains(&name.as_str()) { " (chosen on)" } else { "" };
        println!(
            "| {name}{mark} | {:.4} | {fits:.0} | {:.4} | {fewer:.0} | {:.0} % | {:+.3} ± {:.3} | {} of {} |",
            of(&|o| o.test, 0),
            of(&|o| o.test, 1),
            100.0 * fewer / fits,
            mean(units),
            deviation(units, 1.0) / (units.len() as f64).sqrt(),
            by_split.iter().filter(|gap| **gap <= 0.0).count(),
            by_split.len(),
        );
    }
    Ok(())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The standard deviation, by the number of values less `lost`.
fn deviation(values: &[f64], lost: f64) -> f64 {
    let centre = mean(values);
    (values.iter().map(|x| (x - centre).powi(2)).sum::<f64>() / (values.len() as f64 - lost)).sqrt()
}

/// One study, and the test loss of the configuration it says is the best.
fn tuned(
    Recorded { grid, unit, .. }: &Recorded,
    split: &Split,
    scheduler: &Component,
    confirm: u16,
    seed: u64,
) -> Result<Outcome, Box<dyn Error>> {
    let space = Space::builder()
        .int("max_depth", 0..=grid.max_depth - 1)
        .int("min_samples_leaf", 0..=grid.min_samples_leaf - 1)
        .int("max_features", 0..=grid.max_features - 1)
        .build()?;
    let design = Design { folds: FOLDS, seeds: 1, confirm };
    let metrics = Metrics::single("loss", Direction::Minimize);
    let mut spec = Spec::new("race", space, metrics).with_design(design);
    spec.policy.sampler = Component::named("tpe");
    spec.policy.scheduler = scheduler.clone();
    spec.limits.trials = Some(TRIALS);
    spec.seed = seed;
    let mut session = Session::create(Box::new(MemoryLog::new()), spec)?;
    let place = |depth: i64, leaf: i64, features: i64| {
        ((depth * grid.min_samples_leaf + leaf) * grid.max_features + features) as usize
    };
    let objective = closure("loss", |running| {
        let row =
            place(running.int("max_depth")?, running.int("min_samples_leaf")?, running.int("max_features")?);
        let seed = usize::from(running.replicate() / FOLDS);
        Ok(unit * f64::from(split.folds[row][seed][usize::from(running.fold())]))
    });
    run(&mut session, &objective, &Options::new(std::env::temp_dir().join("racing.trials")), &mut |_, _| {})?;
    let study = session.study();
    let best = study.incumbent().ok_or("no trial has completed")?;
    let value =
        |name: &str| study.params(best).get(name).and_then(luthier::core::space::Value::as_i64).unwrap_or(0);
    let row = place(value("max_depth"), value("min_samples_leaf"), value("max_features"));
    Ok(Outcome { fits: fits(study), test: unit * f64::from(split.test[row]) })
}

fn fits(study: &Study) -> usize {
    study.trials().iter().flat_map(Trial::pieces).filter(|(_, piece)| piece.attempt > 0).count()
}
