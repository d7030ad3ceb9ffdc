//! `--data`: a study file for networks on a data file, written by the trainer's advice.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use luthier::core::space::file::in_plain_words;
use luthier::study_file::ObjectiveSpec;
use luthier_nn::{DataSpec, Problem, advice};
use serde_json::{Map, Value};

use crate::opening::{folder_of, read_study_file};

/// Trials of a study that was not told how many.
pub(crate) const TRIALS: u64 = 50;

/// Which data.
#[derive(clap::Args, Clone)]
pub(crate) struct OnData {
    /// Tune networks on this data, with a space made for its kind and size
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    /// The column to predict; the last if not given
    #[arg(long, value_name = "COLUMN", requires = "data")]
    target: Option<String>,
    /// How the data are read: any line of `[network.data]`, such as `format=text`, `window=30` or `text.steps=32`;
    /// may be repeated
    #[arg(long, value_name = "KEY=VALUE", requires = "data")]
    read: Vec<String>,
}

impl OnData {
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
        for note in self.write_silently(output, trials)? {
            eprintln!("{note}");
        }
        Ok(())
    }

    /// The same; gives back what was noticed.
    fn write_silently(&self, output: &Path, trials: u64) -> anyhow::Result<Vec<String>> {
        let (text, notes) = self.study_file(output, trials)?;
        let mut file = OpenOptions::new().write(true).create_new(true).open(output).with_context(|| {
            format!("cannot write {} (an existing file is never overwritten)", output.display())
        })?;
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", output.display()))?;
        Ok(notes)
    }

    /// Writes the study file, or finds the one that an earlier run has written for the same data.
    pub(crate) fn write_or_find(&self, output: &Path, trials: u64) -> anyhow::Result<()> {
        match std::fs::metadata(output) {
            Ok(_) => self.check_same(output),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.write_silently(output, trials)?;
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
        let mut table = self.reading()?;
        table.insert("file".into(), serde_json::to_value(file)?);
        let spec: DataSpec = serde_json::from_value(table.into())
            .map_err(|error| anyhow!("--read: {}", in_plain_words(&error.to_string())))?;
        let target = self.target.as_deref().map(Into::into);
        Ok(DataSpec { target: target.or(spec.target), ..spec })
    }

    /// What `--read` says, as the table `[network.data]`.
    fn reading(&self) -> anyhow::Result<Map<String, Value>> {
        let mut table = Value::Object(Map::new());
        for line in &self.read {
            let Some((key, text)) = line.split_once('=') else {
                bail!("--read {line:?} has no value; write KEY=VALUE, such as window=30")
            };
            let mut place = &mut table;
            for part in key.trim().split('.') {
                if place.is_null() {
                    *place = Value::Object(Map::new());
                }
                let Value::Object(map) = place else { bail!("--read: {key:?} is given twice") };
                place = map.entry(part).or_insert(Value::Null);
            }
            if !place.is_null() {
                bail!("--read: {key:?} is given twice");
            }
            // What is no number, list or truth value is a text.
            *place = serde_json::from_str(text).unwrap_or_else(|_| text.into());
        }
        match table {
            Value::Object(map) => Ok(map),
            _ => Err(anyhow!("--read wants KEY=VALUE")),
        }
    }

    /// The study file, and what was noticed about the data.
    fn study_file(&self, output: &Path, trials: u64) -> anyhow::Result<(String, Vec<String>)> {
        let spec = self.spec(output)?;
        let problem = Problem::prepare(&spec, &folder_of(output))?;
        let stem = output.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let command = format!("luthier tune {}", output.display());
        let text = advice::study_file(&spec, &problem, &advice::Request { name: stem, trials, command })?;
        Ok((text, problem.notes().to_vec()))
    }

    /// An existing study file must be about the same data and target.
    fn check_same(&self, output: &Path) -> anyhow::Result<()> {
        let wanted = self.spec(output)?;
        let found = match read_study_file(output)?.objective {
            ObjectiveSpec::Network(table) => table.get("data").cloned().unwrap_or_default(),
            ObjectiveSpec::Command(_) => Value::Null,
        };
        let wanted_table = serde_json::to_value(&wanted)?;
        let is_read_alike = self.reading()?.keys().all(|key| found.get(key) == wanted_table.get(key));
        let same = found["file"].as_str() == wanted.file.to_str()
            && is_read_alike
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
