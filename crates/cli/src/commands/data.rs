//! `--data`: a study file for networks on a data file, written by the trainer's advice.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use luthier::study_file::ObjectiveSpec;
use luthier_nn::{DataSpec, Problem, advice};

use crate::opening::{folder_of, read_study_file};

/// Trials of a study that was not told how many.
pub(crate) const TRIALS: u64 = 50;

/// Which data.
#[derive(clap::Args, Clone)]
pub(crate) struct Data {
    /// Tune networks on this data, with a space made for its kind and size
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    /// The column to predict; the last if not given
    #[arg(long, value_name = "COLUMN", requires = "data")]
    target: Option<String>,
}

impl Data {
    /// The data file, if one was given.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// `adult.csv.gz` becomes `adult.toml` in this folder.
    pub(crate) fn usual_output(&self) -> Option<PathBuf> {
        let name = self.data.as_ref()?.file_name()?.to_string_lossy().into_owned();
        let stem = name.trim_start_matches('.').split('.').next().filter(|stem| !stem.is_empty())?;
        Some(PathBuf::from(format!("{stem}.toml")))
    }

    /// Writes the study file, never over another; what was noticed about the data goes to standard error.
    pub(crate) fn write(&self, output: &Path, trials: u64) -> anyhow::Result<()> {
        let text = self.study_file(output, trials)?;
        let mut file = OpenOptions::new().write(true).create_new(true).open(output).with_context(|| {
            format!("cannot write {} (an existing file is never overwritten)", output.display())
        })?;
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", output.display()))
    }

    /// Writes the study file, or finds the one that an earlier run has written for the same data.
    pub(crate) fn write_or_find(&self, output: &Path, trials: u64) -> anyhow::Result<()> {
        match std::fs::metadata(output) {
            Ok(_) => self.check_same(output),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.write(output, trials)?;
                let shown = output.display();
                eprintln!(
                    "wrote {shown}: every range is there to be edited; `luthier tune {shown}` continues"
                );
                Ok(())
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", output.display())),
        }
    }

    fn spec(&self, output: &Path) -> anyhow::Result<DataSpec> {
        let Some(data) = &self.data else { bail!("no data were given; name a file with --data") };
        let beside = folder_of(output);
        let is_here = beside.as_os_str().is_empty() || beside == Path::new(".");
        let file = if is_here {
            data.clone()
        } else {
            std::fs::canonicalize(data).with_context(|| format!("cannot read {}", data.display()))?
        };
        Ok(DataSpec { target: self.target.as_deref().map(Into::into), ..DataSpec::new(file) })
    }

    fn study_file(&self, output: &Path, trials: u64) -> anyhow::Result<String> {
        let spec = self.spec(output)?;
        let problem = Problem::prepare(&spec, &folder_of(output))?;
        for note in problem.notes() {
            eprintln!("{note}");
        }
        let stem = output.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let command = format!("luthier tune {}", output.display());
        Ok(advice::study_file(&spec, &problem, &advice::Request { name: stem, trials, command })?)
    }

    /// An existing study file must be about the same data and target.
    fn check_same(&self, output: &Path) -> anyhow::Result<()> {
        let wanted = self.spec(output)?;
        let found = match read_study_file(output)?.objective {
            ObjectiveSpec::Network(table) => table.get("data").cloned().unwrap_or_default(),
            ObjectiveSpec::Command(_) => serde_json::Value::Null,
        };
        let same = found["file"].as_str() == wanted.file.to_str()
            && (wanted.target.is_none()
                || found.get("target") == Some(&serde_json::to_value(&wanted.target)?));
        if !same {
            let shown = output.display();
            bail!(
                "{shown} is there already and is about something else; `luthier init --data` with --output writes another"
            );
        }
        Ok(())
    }
}
