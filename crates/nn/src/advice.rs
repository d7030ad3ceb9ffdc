//! The default space: a commented study file for data, by their kind and size. The usual advice is written down as
//! ranges, priors and defaults; where few trials are allowed only the parameters that matter most are opened, the
//! others stay at their defaults. Text comes out, to be read and edited; nothing is run here.

use std::collections::BTreeMap;

use crate::data::{DataSpec, Problem, Task};
use crate::settings::{Architecture, Settings};

/// What a study file is wanted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The study's name.
    pub name: String,
    /// Trials that are allowed.
    pub trials: u64,
    /// How the user will run it, for the first line.
    pub command: String,
}

/// A study file in TOML for the data of `spec`, which were read into `problem`.
///
/// # Errors
///
/// A path that is not UTF-8 text cannot be written down.
pub fn study_file(spec: &DataSpec, problem: &Problem, request: &Request) -> Result<String, toml::ser::Error> {
    let size = Size::of(problem);
    let knobs = knobs(&size);
    let opened = opened(request.trials);
    let (open, held): (Vec<&Knob>, Vec<&Knob>) = knobs.iter().partition(|knob| knob.rank <= opened);
    // With the whole path, so that tables inside (`text`, `columns`) have headers of their own.
    let data = toml::to_string(&BTreeMap::from([("network", BTreeMap::from([("data", spec)]))]))?;
    let (metric, direction) = match problem.task() {
        Task::Regression => ("val_rmse", "minimize"),
        Task::Classification | Task::MultiLabel => ("val_accuracy", "maximize"),
    };
    let mut text = format!(
        "# A Luthier study of networks on {}: {}.\n# Run it with `{}`; the same command continues it.\n\n",
        spec.file.display(),
        size.words(),
        request.command
    );
    text += &format!(
        "name = {}\ntrials = {}                  # finished trials in all; more trials open more parameters\nseed = 0\n\n",
        toml::Value::from(request.name.as_str()),
        request.trials
    );
    text += &format!(
        "[metric]\nname = \"{metric}\"\ndirection = \"{direction}\"\ncurve = \"last\"               # a trial counts with its last epoch; \"best\": with its best, which is more often a lucky one\n\n"
    );
    text += "[network]\nretrain = true               # at the end the winner is trained anew on training and validation rows together\n\n";
    text += &format!("{data}\n[network.settings]\n");
    text += &format!(
        "epochs = {}                  # a maximum: trials that fall behind are stopped\n",
        size.epochs()
    );
    for knob in &held {
        if let Some(default) = &knob.held {
            text += &format!("{} = {default}\n", knob.name);
        }
    }
    for knob in &open {
        text += &format!("\n[params.{}] # {}\n{}\n", knob.name, knob.why, knob.body);
    }
    if open.iter().any(|knob| knob.name == "dropout") && open.iter().any(|knob| knob.name == "units") {
        text += &format!(
            "\n[[constraints]] # wide layers want dropout\nforbid = {{ all = [{{ param = \"units[k]\", gt = {} }}, {{ param = \"dropout\", lt = 0.2 }}] }}\n",
            size.widest() / 2
        );
    }
    if !held.is_empty() {
        let names: Vec<&str> = held.iter().map(|knob| knob.name).collect();
        text += &format!(
            "\n# Not opened with {} trials, in the order in which more trials would open them: {}.\n",
            request.trials,
            names.join(", ")
        );
    }
    Ok(text)
}

/// How many parameters a number of trials opens: one for each five trials, at least two.
fn opened(trials: u64) -> usize {
    usize::try_from(trials / 5).unwrap_or(usize::MAX).max(2)
}

/// What the space depends on.
struct Size {
    rows: usize,
    inputs: usize,
    shape: Vec<usize>,
    classes: usize,
    architecture: Architecture,
}

impl Size {
    fn of(problem: &Problem) -> Self {
        let signature = problem.signature(&Settings::default());
        Self {
            rows: problem.train().len(),
            inputs: problem.inputs(),
            classes: problem.classes().len(),
            architecture: signature.usual_architecture(),
            shape: signature.input,
        }
    }

    fn words(&self) -> String {
        let target = match self.classes {
            0 => "a number to predict".to_owned(),
            classes => format!("{classes} classes"),
        };
        let each = match self.shape[..] {
            [channels, height, width] => format!("images of {width} × {height} × {channels}"),
            [steps, features] => format!("sequences of {steps} × {features}"),
            _ if self.architecture == Architecture::Recurrent => {
                format!("sequences of {} tokens", self.inputs)
            }
            _ => format!("rows of {} inputs", self.inputs),
        };
        format!("{} {each} to train on, {target}", self.rows)
    }

    /// Enough epochs for about 30,000 steps of 32 rows, within what is usual.
    fn epochs(&self) -> usize {
        let usual = if self.architecture == Architecture::Dense { 20..=100 } else { 5..=30 };
        (1_000_000 / self.rows.max(1)).clamp(*usual.start(), *usual.end())
    }

    /// The widest hidden layer that is offered.
    fn widest(&self) -> usize {
        match self.rows {
            0..1_000 => 128,
            1_000..20_000 => 256,
            _ => 512,
        }
    }

    /// The width that dense layers begin with: 128 was a little better than 64 on two tables of some thousand rows, in
    /// validation; on five others it made no clear difference.
    fn usual_width(&self) -> usize {
        (self.widest() / 2).min(128)
    }
}

/// A parameter that may be opened.
struct Knob {
    /// 1 matters most.
    rank: usize,
    name: &'static str,
    why: &'static str,
    body: String,
    /// What it is held at if not opened, where that differs from the setting's own default.
    held: Option<String>,
}

/// All parameters, the most important first: learning rate, momentum, layers, units, batch size, then the rest.
fn knobs(size: &Size) -> Vec<Knob> {
    let mut list = vec![
        knob(
            1,
            "learning_rate",
            "matters most; equal ratios count equally",
            float(1e-4, 1e-1, "log", 1e-3, 0.2),
        ),
        Knob {
            held: None,
            ..knob(2, "beta1", "adam's momentum, even on the scale of 1 - x", {
                float(0.5, 0.99, "log1m", 0.9, 0.25)
            })
        },
    ];
    list.extend(shape_knobs(size));
    list.extend([
        knob(5, "batch_size", "around 32", "type = \"ordinal\"\nlevels = [32, 64, 128, 256]\ndefault = 32\nprior = { center = 32, spread = 0.5 }".into()),
        Knob {
            held: Some("0.2".into()),
            ..knob(6, "dropout", "the fraction dropped; 0 is off", "type = \"ordinal\"\nlevels = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]\ndefault = 0.2\nprior = { center = 0.2, spread = 0.3 }".into())
        },
        knob(7, "l2", "λ, by half decades; 0 is off", "type = \"ordinal\"\nlevels = [0.0, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2]\ndefault = 0.0".into()),
        Knob {
            held: Some("\"cosine\"".into()),
            ..knob(8, "schedule", "how the learning rate falls", "type = \"categorical\"\nchoices = [\"cosine\", \"exponential\", \"constant\"]\ndefault = \"cosine\"\nprior = { weights = [3, 2, 1] }".into())
        },
        knob(9, "activation", "relu first", "type = \"categorical\"\nchoices = [\"relu\", \"gelu\", \"elu\", \"tanh\"]\ndefault = \"relu\"\nprior = { weights = [3, 1, 1, 1] }".into()),
        knob(10, "normalization", "of each hidden layer's sums", "type = \"categorical\"\nchoices = [\"none\", \"batch\"]\ndefault = \"none\"".into()),
        knob(11, "optimizer", "the update rule", "type = \"categorical\"\nchoices = [\"adam\", \"nesterov\"]\ndefault = \"adam\"\nprior = { weights = [2, 1] }".into()),
        knob(11, "momentum", "even on the scale of 1 - x", format!("{}\nwhen = {{ param = \"optimizer\", eq = \"nesterov\" }}", float(0.5, 0.99, "log1m", 0.9, 0.25))),
        knob(12, "beta2", "even on the scale of 1 - x", format!("{}\nwhen = {{ param = \"optimizer\", eq = \"adam\" }}", float(0.9, 0.9999, "log1m", 0.999, 0.25))),
    ]);
    list
}

/// Layers and units, which each architecture has its own names for.
fn shape_knobs(size: &Size) -> Vec<Knob> {
    let (least, most) = (16, size.widest());
    let units = |default: usize, repeat: &str| {
        format!(
            "type = \"int\"\nlow = {least}\nhigh = {most}\nscale = \"log\"\ndefault = {default}\nrepeat = \"{repeat}\""
        )
    };
    let count =
        |high: usize, default: usize| format!("type = \"int\"\nlow = 1\nhigh = {high}\ndefault = {default}");
    match size.architecture {
        Architecture::Dense => vec![
            Knob { held: Some("2".into()), ..knob(3, "layers", "hidden layers", count(4, 2)) },
            Knob {
                held: Some(size.usual_width().to_string()),
                ..knob(
                    4,
                    "units",
                    "of each hidden layer: units[1] ... units[layers]",
                    units(size.usual_width(), "layers"),
                )
            },
        ],
        Architecture::Convolutional => vec![
            knob(3, "conv_layers", "blocks of convolution and pooling", count(4, 2)),
            knob(4, "filters", "of each convolution: filters[1] ...", {
                "type = \"int\"\nlow = 8\nhigh = 128\nscale = \"log\"\ndefault = 32\nrepeat = \"conv_layers\""
                    .into()
            }),
        ],
        Architecture::Recurrent => vec![
            knob(3, "recurrent_layers", "one above the other", count(2, 1)),
            knob(4, "recurrent_units", "width of each layer's state", units(64, "recurrent_layers")),
        ],
    }
}

fn knob(rank: usize, name: &'static str, why: &'static str, body: String) -> Knob {
    Knob { rank, name, why, body, held: None }
}

fn float(low: f64, high: f64, scale: &str, center: f64, spread: f64) -> String {
    format!(
        "type = \"float\"\nlow = {low}\nhigh = {high}\nscale = \"{scale}\"\ndefault = {center}\nprior = {{ center = {center}, spread = {spread} }}"
    )
}
