//! Fits the table of `adaptive_tpe` to simulated studies and prints it as the file `src/sampler/adaptive_tpe/table.rs`.
//!
//! `train_adaptive_tpe SEED MINUTES [PYTHON] > rows.txt` simulates and prints one line per branch; several processes with their
//! own seeds may run at once. With a Python that has the benchmark's requirements, studies are of the benchmark's development tasks,
//! evaluated by `train_adaptive_tpe.py`; without, of random problems. `train_adaptive_tpe fit ROWS… > table.rs` fits.
//! `train_adaptive_tpe compare SEED PROBLEMS TRIALS` compares with the plain estimator on problems that no training seed below
//! 1,000,000 makes.
//!
//! # What is simulated
//!
//! A study is begun with random settings or the plain estimator's. At some numbers of trials it goes on in several branches, one as
//! the plain estimator, the others with settings drawn at random, most of them the plain ones, until it has twice as
//! many trials. The branches are ranked by the noise-free value of the best trial, on the way and at last; the rank, from −1 to 1, is
//! what the settings have gained.
//!
//! Random problems have 2 to 16 parameters (floats, grids, choices, some conditional), few or many that matter: bowls, sums
//! of waves, small networks, plateaus, with skewed and noisy losses.
//!
//! # What is fitted
//!
//! Ridge regression of the gain on the features, for each choice of each setting one row; the rows of a setting are taken less
//! their mean, since only differences between choices decide. A choice is kept only if it pays where families of tasks are left
//! out: where weights that were fitted to the other families depart to it, those branches that did must have gained clearly more than
//! those that did not. Else it has the plain choice's row and is never taken.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::time::Instant;

use luthier_core::engine::{Engine, Next};
use luthier_core::event::{Event, Outcome, Work};
use luthier_core::metric::{Direction, Metrics};
use luthier_core::rng::{Purpose, Rng};
use luthier_core::sampler::adaptive_tpe::features::{COUNT, NAMES, features_of};
use luthier_core::sampler::adaptive_tpe::{SETTING_COUNT, SETTINGS, Settings};
use luthier_core::space::file::read_json;
use luthier_core::space::{Condition, Distribution, Parameter, Point, Scale, Space};
use luthier_core::spec::{Component, PolicySpec, Spec};
use luthier_core::study::Study;

/// Branches of one study.
const BRANCHES: usize = 6;
/// How many settings of a branch are the plain estimator's, in the mean, beside those drawn to be.
const PLAIN: f64 = 0.6;
/// The plain estimator's choices.
const PLAINLY: Choices = [0; SETTING_COUNT];
/// Rows of the table.
const ROWS: usize = 24;
/// What the weight of a choice is held back by, in branches, and what that of each feature is.
const RIDGE: f64 = 100.0;
const RIDGE_OF_FEATURES: f64 = 400.0;
/// What a choice must promise beyond the plain one's.
const MARGIN: f64 = 0.02;
/// A choice is kept if it pays on families left out by so many standard errors, in so many branches.
const SURE: f64 = 2.0;
const LEAST: usize = 100;

type Choices = [usize; SETTING_COUNT];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |k: usize| arguments[k].parse::<u64>().expect("a whole number");
    match arguments.first().map(String::as_str) {
        Some("fit") => fit(&arguments[1..]),
        Some("compare") => compare(number(1), number(2), number(3) as usize),
        Some(_) => {
            let minutes = arguments[1].parse().expect("minutes");
            simulate(number(0), minutes, arguments.get(2).map(String::as_str));
        }
        None => eprintln!("see the head of the file"),
    }
}

// ---- problems

/// A random objective.
struct Problem {
    space: Space,
    terms: Vec<Term>,
    kind: u64,
    power: f64,
    skew: u64,
    noise: f64,
    /// The effect of each choice of each parameter, where it has choices.
    choices: Vec<Vec<f64>>,
    weights: Vec<f64>,
    centre: Vec<f64>,
}

/// One wave, or one hidden unit.
struct Term {
    amplitude: f64,
    offset: f64,
    slopes: Vec<f64>,
}

fn between(rng: &mut Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.uniform()
}

impl Problem {
    fn random(seed: u64) -> Self {
        let rng = &mut Rng::stream(seed, 0, Purpose::Objective, 0);
        let count = (2.0 * 8f64.powf(rng.uniform())).round() as usize;
        let mixed = if rng.uniform() < 0.35 { 0.0 } else { between(rng, 0.1, 0.8) };
        let branch = rng.uniform() < 0.2 && count >= 4;
        let mut parameters = Vec::new();
        let mut choices = Vec::new();
        for k in 0..count {
            let is_switch = branch && k == 0;
            let u = if is_switch { 1.0 } else { rng.uniform() / mixed.max(1e-9) };
            let size = 2 + rng.below(6) as i64;
            let distribution = if u < 0.5 {
                let high = [3, 7, 15, 40, 200][rng.below(5) as usize];
                Distribution::Int { low: 0, high, scale: Scale::Linear, step: 1 }
            } else if u <= 1.0 {
                Distribution::Categorical { choices: (0..size).map(Into::into).collect() }
            } else {
                Distribution::Float { low: 0.0, high: 1.0, scale: Scale::Linear, step: None }
            };
            choices.push((0..size).map(|_| rng.uniform()).collect());
            let when = (branch && k > count / 2).then(|| Condition::eq("p0", 1));
            parameters.push(Parameter { when, ..Parameter::new(format!("p{k}"), distribution) });
        }
        let sparse = between(rng, 0.0, 1.8);
        let weights: Vec<f64> = (0..count).map(|_| (sparse * rng.normal()).exp()).collect();
        let total: f64 = weights.iter().sum();
        let weights: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
        let centre = (0..count).map(|_| between(rng, 0.05, 0.95)).collect();
        let kind = rng.below(4);
        let rough = between(rng, 1.0, 9.0);
        let units = if kind == 2 { 8 + rng.below(16) } else { 30 };
        let terms = (0..units).map(|_| Term {
            amplitude: rng.normal(),
            offset: between(rng, 0.0, 6.3),
            slopes: weights
                .iter()
                .map(|weight| rough * rng.normal() * (weight * count as f64).sqrt())
                .collect(),
        });
        let terms = terms.collect();
        let power = [1.0, 2.0, 2.0, 0.5][rng.below(4) as usize];
        let noise = if rng.uniform() < 0.35 { between(rng, 0.01, 0.25) } else { 0.0 };
        let skew = rng.below(4);
        let space = Space::new(parameters, vec![]).expect("the space is valid");
        Self { space, terms, kind, power, skew, noise, choices, weights, centre }
    }

    /// The value without noise.
    fn value(&self, point: &[f64]) -> f64 {
        let coordinate = |k: usize| {
            let distribution = &self.space.parameters()[k].distribution;
            match () {
                () if point[k].is_nan() => self.centre[k],
                () if distribution.is_categorical() => {
                    self.choices[k][distribution.cell_of(point[k]) as usize]
                }
                () => distribution.to_unit(point[k]),
            }
        };
        let x: Vec<f64> = (0..point.len()).map(coordinate).collect();
        let off = |k: usize| (x[k] - self.centre[k]).abs();
        let bowl: f64 = (0..x.len()).map(|k| self.weights[k] * off(k).powf(self.power)).sum();
        let inner = |term: &Term| term.offset + term.slopes.iter().zip(&x).map(|(s, x)| s * x).sum::<f64>();
        let scale = (self.terms.len() as f64).sqrt();
        let raw = match self.kind {
            0 => bowl,
            1 => bowl + 0.5 * self.terms.iter().map(|t| t.amplitude * inner(t).cos()).sum::<f64>() / scale,
            2 => self.terms.iter().map(|t| t.amplitude * (inner(t) - 3.0).tanh()).sum::<f64>() / scale,
            _ => {
                (12.0
                    * (bowl
                        + 0.1 * self.terms.iter().map(|t| t.amplitude * inner(t).cos()).sum::<f64>() / scale))
                    .round()
                    / 12.0
            }
        };
        match self.skew {
            0 => raw,
            1 => (3.0 * raw).exp(),
            2 => (2.0 * raw).tanh(),
            _ => raw + if x[0] > self.centre[0] + 0.2 { 2.0 } else { 0.0 },
        }
    }
}

// ---- recorded tasks

/// What a study's trials are evaluated on.
trait Objective {
    fn space(&self) -> &Space;

    /// The value without noise.
    fn value(&self, point: &Point) -> f64;
}

impl Objective for Problem {
    fn space(&self) -> &Space {
        &self.space
    }

    fn value(&self, point: &Point) -> f64 {
        self.value(&point.0)
    }
}

/// A development task of the benchmark, evaluated by `train_adaptive_tpe.py`.
struct Recorded {
    number: usize,
    name: String,
    family: String,
    space: Space,
    desk: Rc<RefCell<Desk>>,
}

struct Desk {
    _program: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Desk {
    fn open(python: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/train_adaptive_tpe.py");
        let mut program = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        let questions = program.stdin.take().expect("a pipe");
        let answers = BufReader::new(program.stdout.take().expect("a pipe"));
        Self { _program: program, questions, answers }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the tasks answer");
        line
    }
}

impl Objective for Recorded {
    fn space(&self) -> &Space {
        &self.space
    }

    fn value(&self, point: &Point) -> f64 {
        let desk = &mut *self.desk.borrow_mut();
        let question = serde_json::to_string(&(self.number, self.space.decode(point))).expect("params");
        writeln!(desk.questions, "{question}").expect("the tasks listen");
        desk.line().trim().parse().expect("a number")
    }
}

fn recorded_tasks(python: &str) -> Vec<Recorded> {
    let mut desk = Desk::open(python);
    let said = desk.line();
    let tasks: Vec<TaskForm> = serde_json::from_str(&said).expect("a list of tasks");
    let desk = Rc::new(RefCell::new(desk));
    let task = |(number, form): (usize, TaskForm)| {
        let space = serde_json::json!({ "params": form.params }).to_string();
        let space = read_json(&space).expect("a space");
        Recorded { number, name: form.name, family: form.family, space, desk: desk.clone() }
    };
    tasks.into_iter().enumerate().map(task).collect()
}

#[derive(serde::Deserialize)]
struct TaskForm {
    name: String,
    family: String,
    params: serde_json::Value,
}

// ---- studies

struct Run<'a> {
    objective: &'a dyn Objective,
    /// The standard deviation of the noise.
    noise: f64,
    study: Study,
    rng: Rng,
    /// Of the trial that looks best: how it looks, and without noise.
    best: (f64, f64),
    /// The latter after each trial.
    path: Vec<f64>,
}

impl<'a> Run<'a> {
    fn made(problem: &'a Problem, sampler: Component, seed: u64) -> Self {
        let mut rng = Rng::stream(seed, 1, Purpose::Objective, 0);
        let values: Vec<f64> = (0..64)
            .map(|_| problem.value(&problem.space.draw(&rng.uniforms(problem.space.len())).0))
            .collect();
        let mean = values.iter().sum::<f64>() / 64.0;
        let scale = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 63.0).sqrt();
        Self::new(problem, problem.noise * scale, sampler, seed)
    }

    fn new(objective: &'a dyn Objective, noise: f64, sampler: Component, seed: u64) -> Self {
        let mut spec =
            Spec::new("simulated", objective.space().clone(), Metrics::single("loss", Direction::Minimize));
        (spec.seed, spec.policy.sampler) = (seed, sampler);
        let rng = Rng::stream(seed, 2, Purpose::Objective, 0);
        let best = (f64::INFINITY, f64::INFINITY);
        Self { objective, noise, study: Study::new(spec), rng, best, path: Vec::new() }
    }

    fn branch(&self, sampler: Component) -> Self {
        let mut study = self.study.clone();
        let policy = PolicySpec { sampler, ..study.spec().policy.clone() };
        study.apply(&Event::PolicyChanged(policy)).expect("a change of policy follows");
        let rng = Rng::stream(study.spec().seed, 2, Purpose::Objective, study.trials().len() as u64);
        Self { study, rng, path: self.path.clone(), ..*self }
    }

    fn until(&mut self, trials: usize) {
        let mut engine = Engine::new(&self.study).expect("the policy is valid");
        while self.study.finished().len() < trials {
            match engine.next(&self.study).expect("the policy is valid") {
                Next::Decide(event) => self.study.apply(&event).expect("a decision follows"),
                Next::Claim(work) => self.finish(work),
                Next::Wait | Next::Done(_) => break,
            }
        }
    }

    fn finish(&mut self, work: Work) {
        let exact = self.objective.value(&self.study.trials()[work.trial as usize].point);
        let seen = exact + self.noise * self.rng.normal();
        if seen < self.best.0 {
            self.best = (seen, exact);
        }
        self.path.push(self.best.1);
        let outcome = Outcome::Completed { values: vec![seen] };
        let ended = Event::Ended { work, outcome, seconds: 0.0, used: None };
        self.study.apply(&Event::Claimed { work, attempt: 1 }).expect("the work is free");
        self.study.apply(&ended).expect("the work runs");
    }
}

fn sampler_with(choices: Choices) -> Component {
    let settings = Settings::of(choices);
    Component::named("adaptive_tpe")
        .with("gamma", settings.gamma)
        .with("n_candidates", settings.n_candidates)
        .with("width", settings.width)
        .with("bad_width", settings.bad_width)
        .with("prior_weight", settings.prior_weight)
        .with("lock", settings.lock)
        .with("filter", json(settings.filter))
        .with("grouping", json(settings.grouping))
}

fn json(value: impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).expect("a name")
}

/// Most settings are the plain estimator's, so that its neighbourhood is seen most.
fn random_choices(rng: &mut Rng) -> Choices {
    SETTINGS.map(|(_, count)| if rng.uniform() < PLAIN { 0 } else { rng.below(count as u64) as usize })
}

/// Studies of made problems and, where `python` names one with the benchmark's requirements, of its development tasks.
fn simulate(seed: u64, minutes: f64, python: Option<&str>) {
    let tasks = python.map(recorded_tasks).unwrap_or_default();
    let start = Instant::now();
    let mut number = 0;
    while start.elapsed().as_secs_f64() < minutes * 60.0 {
        let seed = seed * 1_000_000 + number + 1;
        let mut rng = Rng::stream(seed, 3, Purpose::Objective, 0);
        let sampler =
            if rng.uniform() < 0.5 { sampler_with(PLAINLY) } else { sampler_with(random_choices(&mut rng)) };
        if let Some(task) = tasks.get(number as usize % tasks.len().max(1)) {
            let trunk = Run::new(task, 0.0, sampler, seed);
            print_branches(&format!("{} {} {seed}", task.family, task.name), trunk, &mut rng);
        } else {
            let problem = Problem::random(seed);
            print_branches(&format!("made made {seed}"), Run::made(&problem, sampler, seed), &mut rng);
        }
        number += 1;
    }
    eprintln!("{number} studies");
}

/// A line per branch of a study: what the study is, the trials at which it branched off, the value of the best trial there, the mean over
/// the branch's trials of that of the best so far, the last one, choices, features.
fn print_branches(name: &str, mut trunk: Run, rng: &mut Rng) {
    for trials in [10, 15, 25, 50] {
        trunk.until(trials);
        if trunk.study.finished().len() < trials {
            break;
        }
        let features = features_of(&trunk.study);
        for draw in 0..BRANCHES {
            let choices = if draw == 0 { PLAINLY } else { random_choices(rng) };
            let mut branch = trunk.branch(sampler_with(choices));
            branch.until((2 * trials).max(trials + 12));
            let added = &branch.path[trials..];
            let mean = added.iter().sum::<f64>() / added.len().max(1) as f64;
            let mut line = format!("{name} {trials} {:.6} {mean:.6} {:.6}", trunk.best.1, branch.best.1);
            for choice in choices {
                write!(line, " {choice}").expect("memory");
            }
            for feature in features {
                write!(line, " {feature:.4}").expect("memory");
            }
            println!("{line}");
        }
    }
}

// ---- fit

/// One branch: what it gained, by which choices, in a history of which kind.
struct Row {
    family: String,
    gain: f64,
    choices: Choices,
    features: Vec<f64>,
}

fn fit(files: &[String]) {
    let rows: Vec<Row> = files.iter().flat_map(|file| rows_of(file)).collect();
    let mut families: Vec<&str> = rows.iter().map(|row| &*row.family).collect();
    families.sort_unstable();
    families.dedup();
    let without: Vec<Vec<f64>> = families
        .iter()
        .map(|left_out| weights_of(&mut rows.iter().filter(|row| row.family != *left_out)))
        .collect();
    let mut weights = weights_of(&mut rows.iter());
    centre(&mut weights);
    let mut row = 0;
    for (setting, (name, size)) in SETTINGS.iter().enumerate() {
        for choice in 1..*size {
            let held = families.iter().zip(&without).flat_map(|(family, weights)| {
                let rows = rows.iter().filter(|row| row.family == **family);
                rows.filter_map(|row| departure(row, weights, setting, choice)).collect::<Vec<_>>()
            });
            let (gain, error) = advantage(&held.collect::<Vec<_>>());
            let pays = gain > SURE * error;
            eprintln!("{name} {choice}: {gain:+.3} ± {error:.3}, {}", if pays { "kept" } else { "left out" });
            if !pays {
                let plain = weights[row * COUNT..(row + 1) * COUNT].to_vec();
                weights[(row + choice) * COUNT..(row + choice + 1) * COUNT].copy_from_slice(&plain);
            }
        }
        row += size;
    }
    print_table(&weights, rows.len(), families.len());
}

/// The branches of a file; the gain is the rank among those of the same study at the same time, from −1 to 1.
fn rows_of(file: &str) -> Vec<Row> {
    let text = std::fs::read_to_string(file).expect("a file of rows");
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    let whole = lines.iter().filter(|words| words.len() == 7 + SETTINGS.len() + COUNT);
    let whole: Vec<&Vec<&str>> = whole.collect();
    let number = |word: &str| word.parse::<f64>().expect("a number");
    // What was found on the way counts as much as what was found at last.
    let loss = |words: &[&str]| number(words[5]) + number(words[6]);
    let mut rows = Vec::new();
    for study in whole.chunk_by(|a, b| a[..4] == b[..4]).filter(|study| study.len() == BRANCHES) {
        for words in study {
            let below = study.iter().filter(|other| loss(other) > loss(words)).count() as f64;
            let above = study.iter().filter(|other| loss(other) < loss(words)).count() as f64;
            rows.push(Row {
                family: words[0].to_owned(),
                gain: (below - above) / (BRANCHES - 1) as f64,
                choices: std::array::from_fn(|k| number(words[7 + k]) as usize),
                features: words[7 + SETTINGS.len()..].iter().map(|word| number(word)).collect(),
            });
        }
    }
    rows
}

/// Where the weights of a row's choices begin.
fn places(choices: &Choices) -> Vec<usize> {
    let starts = SETTINGS.iter().scan(0, |row, (_, size)| {
        *row += size;
        Some(*row - size)
    });
    starts.zip(choices).map(|(start, choice)| (start + choice) * COUNT).collect()
}

/// Ridge regression.
fn weights_of(rows: &mut dyn Iterator<Item = &Row>) -> Vec<f64> {
    let width = ROWS * COUNT;
    let (mut normal, mut right) = (vec![vec![0.0; width]; width], vec![0.0; width]);
    for row in rows {
        let parts = places(&row.choices);
        let parts =
            parts.iter().flat_map(|at| row.features.iter().enumerate().map(move |(k, x)| (at + k, *x)));
        let parts: Vec<(usize, f64)> = parts.collect();
        for (i, a) in &parts {
            right[*i] += a * row.gain;
            for (j, b) in &parts {
                normal[*i][*j] += a * b;
            }
        }
    }
    for (k, row) in normal.iter_mut().enumerate() {
        row[k] += if k % COUNT == 0 { RIDGE } else { RIDGE_OF_FEATURES };
    }
    solve(normal, right)
}

fn dot(weights: &[f64], features: &[f64]) -> f64 {
    weights.iter().zip(features).map(|(weight, feature)| weight * feature).sum()
}

/// Where weights that know nothing of the row's family would depart from the plain choice to this one, and the row has one of both:
/// whether it departed, and what it gained beyond what its other choices explain.
fn departure(row: &Row, weights: &[f64], setting: usize, choice: usize) -> Option<(bool, f64)> {
    let own = row.choices[setting];
    let with = |choice: usize| {
        let mut choices = row.choices;
        choices[setting] = choice;
        let at = places(&choices)[setting];
        dot(&weights[at..at + COUNT], &row.features)
    };
    let expected = with(choice) > with(0) + MARGIN;
    let others = places(&row.choices).into_iter().enumerate().filter(|(k, _)| *k != setting);
    let explained: f64 = others.map(|(_, at)| dot(&weights[at..at + COUNT], &row.features)).sum();
    (expected && (own == choice || own == 0)).then_some((own == choice, row.gain - explained))
}

/// The mean of those that departed less that of the others, and its standard error.
fn advantage(rows: &[(bool, f64)]) -> (f64, f64) {
    if rows.iter().filter(|row| row.0).count() < LEAST {
        return (0.0, f64::INFINITY);
    }
    let part = |departed: bool| {
        let values: Vec<f64> = rows.iter().filter(|row| row.0 == departed).map(|row| row.1).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n * (n - 1.0)))
    };
    let ((one, a), (other, b)) = (part(true), part(false));
    let error = (a + b).sqrt();
    if error.is_finite() { (one - other, error) } else { (0.0, f64::INFINITY) }
}

/// Cholesky's method.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for i in 0..n {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| a[i][k] * a[j][k]).sum();
            a[i][j] = if i == j { (a[i][i] - sum).sqrt() } else { (a[i][j] - sum) / a[j][j] };
        }
    }
    for i in 0..n {
        let sum: f64 = (0..i).map(|k| a[i][k] * b[k]).sum();
        b[i] = (b[i] - sum) / a[i][i];
    }
    for i in (0..n).rev() {
        let sum: f64 = (i + 1..n).map(|k| a[k][i] * b[k]).sum();
        b[i] = (b[i] - sum) / a[i][i];
    }
    b
}

fn centre(weights: &mut [f64]) {
    let mut row = 0;
    for (_, size) in SETTINGS {
        for feature in 0..COUNT {
            let places: Vec<usize> = (row..row + size).map(|row| row * COUNT + feature).collect();
            let mean = places.iter().map(|k| weights[*k]).sum::<f64>() / size as f64;
            for k in places {
                weights[k] -= mean;
            }
        }
        row += size;
    }
}

fn print_table(weights: &[f64], branches: usize, families: usize) {
    println!(
        "//! Written by `examples/train_adaptive_tpe.rs` from {branches} branches of studies of {families} families; do not edit. One row per\n\
         //! choice of each setting, in the order of `SETTINGS`; what the choice gains, in ranks among random settings from −1 to 1,\n\
         //! is the row times the features. A choice with the plain one's row is one that did not pay on families left out:\n//!"
    );
    for (k, name) in NAMES.iter().enumerate() {
        println!("//! {k}. {name}");
    }
    println!("\nuse super::features::COUNT;\n");
    println!(
        "/// What another choice must promise beyond the plain estimator's.\npub(super) const MARGIN: f64 = {MARGIN:?};\n"
    );
    println!("#[rustfmt::skip]\npub(super) const TABLE: [[f64; COUNT]; {ROWS}] = [");
    let mut row = 0;
    for (name, size) in SETTINGS {
        println!("    // {name}");
        for _ in 0..size {
            let numbers = &weights[row * COUNT..(row + 1) * COUNT];
            println!("    [{}],", numbers.iter().map(|w| format!("{w:.4}")).collect::<Vec<_>>().join(", "));
            row += 1;
        }
    }
    println!("];");
}

// ---- compare

fn compare(seed: u64, problems: u64, trials: usize) {
    let names = ["adaptive_tpe", "tpe", "random"];
    let mut wins = [[0u32; 3]; 3];
    for number in 0..problems {
        let seed = (1_000_000 + seed) * 1_000_000 + number;
        let problem = Problem::random(seed);
        let found = names.map(|name| {
            let mut run = Run::made(&problem, Component::named(name), seed);
            run.until(trials);
            run.best.1
        });
        for a in 0..3 {
            for b in 0..3 {
                wins[a][b] += u32::from(found[a] < found[b]);
            }
        }
    }
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        println!("{} beats {}: {} to {}", names[a], names[b], wins[a][b], wins[b][a]);
    }
}
