//! `luthier model`: takes a study's best network out, for Luthier and for other programs.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::opening::model_at;

/// Which model, and where to.
#[derive(clap::Args)]
#[command(after_help = "\
The folder gets model.safetensors (weights) and model.json (layers, classes, preprocessing), which `luthier predict` and \
`luthier evaluate` read; with --onnx also model.onnx, which onnxruntime and others run. Its input are rows after \
preprocessing, which its metadata describes; numbers come out in the unit of the target.

Example: luthier model study.toml --out digits-model --onnx")]
pub(crate) struct Arguments {
    /// A study, or a folder with a model
    #[arg(value_name = "MODEL", default_value = "study.toml")]
    model: PathBuf,
    /// The folder to write
    #[arg(long, short, value_name = "FOLDER")]
    out: PathBuf,
    /// Write the network as ONNX too
    #[arg(long)]
    onnx: bool,
}

/// Writes the files and says where they are.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let model = model_at(&arguments.model)?;
    model.save(&arguments.out)?;
    let mut written = vec!["model.safetensors", "model.json"];
    if arguments.onnx {
        model.to_onnx(&arguments.out.join("model.onnx"))?;
        written.push("model.onnx");
    }
    for name in written {
        println!("{}", arguments.out.join(name).display());
    }
    Ok(ExitCode::SUCCESS)
}
