//! Racing folds beside full cross-validation on recorded results: `cargo run --example racing -- benchmarks/race/tables.json
//! [seeds] [scheduler as JSON]`. Prints how many fits each way takes and the test loss of the configuration it chooses.

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
    tables: std::collections::BTreeMap<String, Table>,
}

#[derive(Deserialize)]
struct Grid {
    max_depth: i64,
    min_samples_leaf: i64,
    max_features: i64,
}

#[derive(Deserialize)]
struct Table {
    /// By configuration, seed and fold.
    folds: Vec<[[f64; FOLDS as usize]; 2]>,
    test: Vec<f64>,
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
    let recorded: Recorded = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    println!(
        "| table | full: test loss | fits | race: test loss | fits | share of fits | race minus full, of the spread of the test losses |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, table) in &recorded.tables {
        let ways = [(Component::named("run_all"), 0), (race.clone(), 1)];
        let outcomes: Vec<Vec<Outcome>> = ways
            .iter()
            .map(|(scheduler, confirm)| {
                (0..seeds).map(|seed| tuned(&recorded.grid, table, scheduler, *confirm, seed)).collect()
            })
            .collect::<Result<_, _>>()?;
        let n = seeds as f64;
        let mean = |of: &dyn Fn(&Outcome) -> f64, k: usize| outcomes[k].iter().map(of).sum::<f64>() / n;
        let (full, raced) = (mean(&|o| o.test, 0), mean(&|o| o.test, 1));
        let (fits, fewer) = (mean(&|o| o.fits as f64, 0), mean(&|o| o.fits as f64, 1));
        let gaps: Vec<f64> = outcomes[1].iter().zip(&outcomes[0]).map(|(a, b)| a.test - b.test).collect();
        let gap = gaps.iter().sum::<f64>() / n;
        let error = (gaps.iter().map(|x| (x - gap).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt();
        let centre = table.test.iter().sum::<f64>() / table.test.len() as f64;
        let spread =
            (table.test.iter().map(|x| (x - centre).powi(2)).sum::<f64>() / table.test.len() as f64).sqrt();
        let mark = if CHOSEN_ON.contains(&name.as_str()) { " (chosen on)" } else { "" };
        println!(
            "| {name}{mark} | {full:.4} | {fits:.0} | {raced:.4} | {fewer:.0} | {:.0} % | {:+.3} ± {:.3} |",
            100.0 * fewer / fits,
            gap / spread,
            error / spread
        );
    }
    Ok(())
}

/// One study, and the test loss of the configuration it says is the best.
fn tuned(
    grid: &Grid,
    table: &Table,
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
        Ok(table.folds[row][usize::from(running.replicate() / FOLDS)][usize::from(running.fold())])
    });
    run(&mut session, &objective, &Options::new(std::env::temp_dir().join("racing.trials")), &mut |_, _| {})?;
    let study = session.study();
    let best = study.incumbent().ok_or("no trial has completed")?;
    let value =
        |name: &str| study.params(best).get(name).and_then(luthier::core::space::Value::as_i64).unwrap_or(0);
    let row = place(value("max_depth"), value("min_samples_leaf"), value("max_features"));
    Ok(Outcome { fits: fits(study), test: table.test[row] })
}

fn fits(study: &Study) -> usize {
    study.trials().iter().flat_map(Trial::pieces).filter(|(_, piece)| piece.attempt > 0).count()
}
