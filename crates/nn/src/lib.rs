//! Neural networks made to be tuned: every setting is a number or a name that can be replaced by name, each epoch is a
//! report, each state a checkpoint. Useful alone; only [`objective`] has heard of studies.
//!
//! The story of a run:
//!
//! 1. [`Problem`] reads data, splits them, and turns them into numbers, once for all trials ([`DataSpec`] says how). It
//!    knows nothing of training.
//! 2. [`Settings`] are the hyperparameters. Tuned values are laid over them by name with [`Settings::set`]. Problem
//!    and settings together give a [`Network`]: its shape, no weights. A network can also be written down layer by
//!    layer ([`Network::sequential`]), compiled and fitted as in Keras ([`Compiled::fit`]).
//! 3. [`Trainer`] makes batches, shuffles, augments, counts epochs, stops early, reports and saves. All randomness comes
//!    from its seed, one [`Stream`] per purpose and epoch, so an interrupted run continues with the same bits.
//! 4. An [`Engine`] holds weights and does the arithmetic. [`DenseEngine`] is fused and single-threaded: small
//!    networks gain nothing from threads, trials do.
//! 5. [`Model`] is what remains: weights, architecture and preprocessing, to predict with and to be measured, once,
//!    on the rows that no trial has seen.
//!
//! ```
//! use std::{path::Path, sync::Arc};
//! use luthier_nn::{DataSpec, Problem, Settings, Trainer};
//!
//! let data = DataSpec { target: Some("digit".into()), ..DataSpec::new("../../examples/digits/digits.csv") };
//! let problem = Arc::new(Problem::prepare(&data, Path::new("."))?);
//! let settings = Settings::default().with_param("units", 32i64)?.with_param("lr", 0.01)?.with_param("epochs", 5i64)?;
//! let mut trainer = Trainer::new(&problem, settings, [1; 32])?;
//! while !trainer.is_done() {
//!     let report = trainer.epoch()?;
//!     println!("epoch {}: {:?}", report.epoch, report.values());
//! }
//! let test = trainer.model().held_out(&problem)?;
//! assert!(test.values().contains(&("loss", test.loss)) && test.loss < 0.5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activation;
pub mod advice;
mod architecture;
mod augmentation;
#[cfg(feature = "burn")]
mod burn;
mod bytes;
mod checkpoint;
mod data;
mod dense;
mod diagnosis;
mod elementary;
mod engine;
mod engines;
mod evaluation;
mod export;
mod fit;
mod hypermodel;
mod initializer;
mod kernels;
mod limits;
mod loss;
mod matmul;
mod metrics;
mod model;
mod naming;
mod network;
pub mod objective;
mod optimizer;
mod parameters;
#[cfg(feature = "burn")]
mod population;
mod quality;
mod replicates;
mod rng;
mod schedule;
mod sequential;
mod settings;
mod store;
mod summary;
mod target;
mod trainer;
mod update;
mod winner;

#[cfg(feature = "burn")]
pub use self::burn::{BurnEngine, Compute};
pub use activation::Activation;
pub use architecture::Signature;
pub use bytes::Bytes;
pub use checkpoint::Checkpoint;
pub use data::{
    BudgetUnit, Categories, Channels, ColumnRef, ColumnType, DataError, DataSpec, EmbeddedColumn,
    ExampleKind, Fill, Fold, Format, KnownTargets, LabelError, MissingCategory, NetworkSpec, OuterFold, Part,
    Place, Preprocessing, Problem, SplitKind, TargetColumns, TargetEncoding, Task, TextSpec, TogetherChoice,
    TogetherSpec, Tokens,
};
pub use dense::DenseEngine;
pub use diagnosis::{Diagnosis, Verdict, diagnose};
pub use engine::{Batch, Engine, OptimizerMemory, StateError, Targets, Tensor};
pub use engines::{EngineError, for_inference, for_training};
pub use evaluation::Evaluation;
pub use export::{ExportError, Outputs, onnx};
pub use fit::{Compile, Compiled, Fit, History};
pub use initializer::{Initializer, InitializerKind};
pub use limits::{LimitError, Limits};
pub use loss::{Link, Loss, LossError, LossKind, total_weight};
pub use metrics::{Measured, Metric, Predicted, TargetKind, compute, predicted_class};
pub use model::{Model, ModelError, Prediction};
pub use network::{
    Cell, Conv, Dense, EmbedColumn, Layer, Network, Padding, Penalty, Pool, Pooling, Recurrent, ShapeError,
    WeightSettings,
};
pub use optimizer::{Optimizer, OptimizerKind};
pub use parameters::{Layout, Parameter, Role, Start};
#[cfg(feature = "burn")]
pub use population::{BranchError, Member, Misfit, Population, Shape};
/// The instruction set of the machine, found at run time.
pub use pulp::Arch;
pub use quality::{
    Answers, Consistency, Design, ExampleHits, ExampleSpread, MetricQuality, MetricSpread, Quality, Replicate,
};
pub use replicates::{
    MeasuredReplicates, QualityError, QualityObjective, QualitySpec, ReplicateError, Replicates,
    ReplicatesReport, ReplicatesResumeError, Replication, replicate_seed,
};
pub use rng::{Purpose, Stream, seed_from_u64};
pub use schedule::{LearningRate, Plateau, PlateauSettings, Schedule};
pub use sequential::Sequential;
pub use settings::{
    Architecture, ClassWeights, Gathering, Normalization, ParamValue, PerLayer, Settings, SettingsError,
};
pub use store::StoreError;
pub use summary::{LayerSummary, Memory, Summary};
pub use target::TargetError;
pub use trainer::{EpochReport, ResumeError, TrainError, Trainer};
pub use update::{MaxNorm, Segment, UnitAxis, UpdateSettings, Updater};
pub use winner::{AnewError, TrainedAnew, WinnerReport, train_along, train_anew};
