//! A finished network with all that is needed to use it elsewhere: architecture, weights, preprocessing, classes.
//! Saved as `model.safetensors` and `model.json`; it cannot be trained further (a checkpoint can).

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::{DataError, LabelError, Preprocessing, Problem, TargetEncoding};
use crate::engine::{Engine, Tensor};
use crate::engines::{self, EngineError};
use crate::evaluation::{Evaluation, Evaluator, ROWS_AT_ONCE};
use crate::metrics::predicted_class;
use crate::network::Network;
use crate::parameters::Layout;
use crate::quality::Answers;
use crate::settings::Settings;
use crate::store::{self, StoreError};
use crate::target::{Reading, class_probabilities};

const FORMAT: &str = "luthier-model";
const DESCRIPTION: &str = "model.json";
const WEIGHTS: &str = "model.safetensors";

/// A trained network.
pub struct Model {
    description: Description,
    weights: Vec<Tensor>,
    engine: Box<dyn Engine>,
    evaluator: Evaluator,
}

/// The JSON beside the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Description {
    network: Network,
    preprocessing: Preprocessing,
    settings: Settings,
    epochs: usize,
    data_blake3: String,
    problem: String,
}

/// What goes into the file: the description and the hash of the weights it belongs to.
#[derive(Serialize, Deserialize)]
struct Saved {
    #[serde(flatten)]
    description: Description,
    weights_blake3: String,
}

/// What a model says about one row.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Prediction {
    /// The most probable class.
    Class {
        /// Its name.
        class: String,
        /// The probability of each class, in the order of [`Model::classes`].
        probabilities: Vec<f32>,
    },
    /// A number, in the unit of the target.
    Value {
        /// The number.
        value: f64,
    },
    /// Several numbers, each in the unit of its target.
    Values {
        /// The numbers.
        values: Vec<f64>,
    },
    /// Labels that do not exclude each other.
    Labels {
        /// Names of the labels whose probability is above ½.
        labels: Vec<String>,
        /// The probability of each label, in the order of [`Model::classes`].
        probabilities: Vec<f32>,
    },
}

/// A model that cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The rows cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The held-out rows of these data are not held out for this model.
    #[error(
        "this model was trained on other data, or on another split of them: its held-out rows are not these"
    )]
    OtherProblem,
    /// Nothing was held out.
    #[error("no rows were held out: the data have `test = 0`")]
    NothingHeldOut,
}

impl Model {
    pub(crate) fn new(
        problem: &Problem,
        settings: &Settings,
        network: &Network,
        weights: &[Tensor],
        epochs: usize,
    ) -> Self {
        let description = Description {
            network: network.clone(),
            preprocessing: problem.preprocessing().clone(),
            settings: settings.resolved(),
            epochs,
            data_blake3: problem.data_fingerprint().to_owned(),
            problem: problem.split_fingerprint().to_owned(),
        };
        let mut model = Self::with_zero_weights(description)
            .unwrap_or_else(|error| unreachable!("an engine has trained this network: {error}"));
        model
            .engine
            .load_weights(weights)
            .unwrap_or_else(|error| unreachable!("weights of a run that has not diverged fit: {error}"));
        model.weights = weights.to_vec();
        model
    }

    fn with_zero_weights(description: Description) -> Result<Self, EngineError> {
        let engine = engines::for_inference(&description.network, ROWS_AT_ONCE)?;
        let evaluator = Evaluator::new(description.preprocessing.target(), description.network.loss);
        Ok(Self { description, weights: Vec::new(), engine, evaluator })
    }

    /// Writes `model.safetensors` and `model.json` into `directory`, which is made if need be.
    pub fn save(&self, directory: &Path) -> Result<(), StoreError> {
        store::make_directory(directory)?;
        let weights_blake3 = store::write_tensors(&directory.join(WEIGHTS), &self.weights)?;
        let saved = Saved { description: self.description.clone(), weights_blake3 };
        store::write_json(&directory.join(DESCRIPTION), FORMAT, &saved)
    }

    /// Reads a model back; it predicts exactly what the saved one did.
    pub fn load(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(DESCRIPTION);
        let saved: Saved = store::read_json(&path, FORMAT)?;
        let damaged = |problem: &str| StoreError::Damaged { path: path.clone(), problem: problem.to_owned() };
        let weights_path = directory.join(WEIGHTS);
        let weights = store::read_tensors(&weights_path, &saved.weights_blake3)?;
        if !saved.description.is_consistent(&weights) {
            return Err(damaged("its network does not fit its columns, its target or its weights"));
        }
        let mut model =
            Self::with_zero_weights(saved.description).map_err(|error| damaged(&error.to_string()))?;
        model.engine.load_weights(&weights).map_err(store::unfit(&weights_path))?;
        model.weights = weights;
        Ok(model)
    }

    /// Names of the classes or labels; empty for regression.
    pub fn classes(&self) -> &[String] {
        match self.description.preprocessing.target() {
            TargetEncoding::Classes { names } | TargetEncoding::Labels { names } => names,
            TargetEncoding::Value { .. } | TargetEncoding::Values { .. } => &[],
        }
    }

    /// Its network.
    pub fn network(&self) -> &Network {
        &self.description.network
    }

    /// Settings it was trained with.
    pub fn settings(&self) -> &Settings {
        &self.description.settings
    }

    /// Epochs it was trained for.
    pub fn epochs(&self) -> usize {
        self.description.epochs
    }

    /// Whether it was trained on the problem with this fingerprint.
    pub(crate) fn is_of(&self, fingerprint: &str) -> bool {
        self.description.problem == fingerprint
    }

    /// How columns become its inputs.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.description.preprocessing
    }

    /// Its weights, in the order and with the names of [`Network::parameters`].
    pub fn weights(&self) -> &[Tensor] {
        &self.weights
    }

    /// Predicts every example of a file or folder. A table's columns are found by name if the training table had names,
    /// else by position; the target may be there or not, further columns are ignored.
    pub fn predict_file(&mut self, path: &Path) -> Result<Vec<Prediction>, DataError> {
        let (inputs, rows) = self.description.preprocessing.read_inputs(path)?;
        Ok(self.predict(&inputs, rows))
    }

    /// Predicts rows that are encoded already, such as [`Part::inputs`](crate::Part::inputs).
    pub fn predict(&mut self, inputs: &[f32], rows: usize) -> Vec<Prediction> {
        let mut predictions = Vec::with_capacity(rows);
        let target = self.description.preprocessing.target();
        self.evaluator.each_block(self.engine.as_mut(), inputs, rows, |reading, block| match target {
            TargetEncoding::Classes { names } => {
                let of_row = |row: &[f32]| class_of(class_probabilities(row), names);
                predictions.extend(block.chunks_exact(reading.outputs()).map(of_row));
            }
            TargetEncoding::Value { .. } => {
                let values = reading.predicted_values(block).into_iter();
                predictions.extend(values.map(|value| Prediction::Value { value }));
            }
            TargetEncoding::Values { .. } => {
                let values = reading.predicted_values(block);
                let of_row = |row: &[f64]| Prediction::Values { values: row.to_vec() };
                predictions.extend(values.chunks_exact(reading.outputs()).map(of_row));
            }
            TargetEncoding::Labels { names } => {
                predictions.extend(block.chunks_exact(reading.outputs()).map(|row| labels_of(row, names)));
            }
        });
        predictions
    }

    /// What it says about rows that are encoded already, as [`crate::Quality`] compares replicates by it: class numbers,
    /// whether each label holds, or numbers in the target's unit.
    pub fn answers(&mut self, inputs: &[f32], rows: usize) -> Answers {
        self.evaluator.answers(self.engine.as_mut(), inputs, rows)
    }

    /// Measures it on examples with their answers, which are found as [`Model::predict_file`] finds them. `labels` is a
    /// second file (NumPy or IDX) with the answers, for arrays that have none beside them.
    ///
    /// # Errors
    ///
    /// Examples that cannot be read, lack answers, or have a class that the model has not learned.
    pub fn evaluate_file(&mut self, path: &Path, labels: Option<&Path>) -> Result<Evaluation, LabelError> {
        let preprocessing = &self.description.preprocessing;
        let part = preprocessing.read_labelled(path, labels)?;
        let metrics = Evaluation::final_metrics(self.description.network.loss.target_kind());
        Ok(self.evaluator.evaluate(self.engine.as_mut(), (&part).into(), &metrics))
    }

    /// Measures the held-out rows of the problem it was trained on: to be done once, with the model that is chosen.
    pub fn held_out(&mut self, problem: &Problem) -> Result<Evaluation, ModelError> {
        if problem.split_fingerprint() != self.description.problem {
            return Err(ModelError::OtherProblem);
        }
        if problem.held_out().is_empty() {
            return Err(ModelError::NothingHeldOut);
        }
        let metrics = Evaluation::final_metrics(problem.target_kind());
        Ok(self.evaluator.evaluate(self.engine.as_mut(), problem.held_out().into(), &metrics))
    }
}

impl Description {
    /// Guards against an edited file that would ask for absurd buffers or index out of range.
    fn is_consistent(&self, weights: &[Tensor]) -> bool {
        let stored: usize = weights.iter().map(|tensor| tensor.data.len()).sum();
        let outputs = Reading::new(self.preprocessing.target(), self.network.loss).outputs();
        let Ok(layout) = Layout::new(&self.network) else { return false };
        self.network.inputs() == self.preprocessing.inputs()
            && self.network.outputs() == outputs
            && layout.len() == stored
    }
}

fn class_of(probabilities: Vec<f32>, names: &[String]) -> Prediction {
    Prediction::Class { class: names[predicted_class(&probabilities)].clone(), probabilities }
}

fn labels_of(probabilities: &[f32], names: &[String]) -> Prediction {
    let holds = names.iter().zip(probabilities).filter(|(_, probability)| **probability > 0.5);
    Prediction::Labels {
        labels: holds.map(|(name, _)| name.clone()).collect(),
        probabilities: probabilities.to_vec(),
    }
}
