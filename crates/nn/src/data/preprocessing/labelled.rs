//! Examples with their answers, for a model that is there already: encoded as the model learned, not anew.

use std::collections::HashMap;
use std::path::Path;

use super::super::error::shown;
use super::super::formats::{Decoded, Purpose, Source};
use super::super::order::{put_in_order, windows};
use super::super::text::RunningText;
use super::super::{ColumnRef, DataError, Part, PartTargets, Place, Table};
use super::columns::Columns;
use super::tokens::Vocabulary;
use super::{Features, Preprocessing, TargetEncoding, joined};

/// Examples that a model cannot be measured on.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// The examples cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The right answers are not there.
    #[error(
        "there is no column `{0}`, which the model predicts: to measure it the right answers must be there (`luthier predict` needs none)"
    )]
    NoTarget(String),
    /// The right answers are not beside the examples.
    #[error("the right answers are not there: name the file that holds them as labels")]
    NoLabels,
    /// A class that the model has not learned.
    #[error("{at}: the model does not know the class `{class}`; it knows {known}")]
    UnknownClass {
        /// Where.
        at: Place,
        /// What is there.
        class: String,
        /// What there may be.
        known: String,
    },
}

impl Preprocessing {
    /// Reads a file of examples with their targets, as [`Preprocessing::read_inputs`] reads one without. A time series
    /// gives an example for each window whose target is there, a running text for each that a token follows.
    ///
    /// # Errors
    ///
    /// Examples that cannot be read, lack answers, or have a class that was not learned.
    pub(crate) fn read_labelled(&self, path: &Path, labels: Option<&Path>) -> Result<Part, LabelError> {
        let source = Source {
            path: path.to_owned(),
            labels: labels.map(Path::to_owned),
            spec: &self.reading,
            purpose: Purpose::Predict,
            hashes: &mut Vec::new(),
        };
        let (inputs, targets, rows) = match (&self.features, source.decode()?) {
            (Features::Series { columns, window }, Decoded::Table(table)) => {
                self.series(columns, *window, table)?
            }
            (Features::Running { vocabulary, stride }, Decoded::Text(texts)) => {
                self.running(vocabulary, *stride, &texts)?
            }
            (features, decoded) => {
                let targets = self.beside(&decoded)?;
                let inputs = features.encode_other(decoded, &self.reading, path)?;
                let rows = inputs.len() / self.inputs();
                (inputs, targets, rows)
            }
        };
        Ok(Part::new(inputs, targets, rows))
    }

    /// The targets of examples of which each is a row or has a row of labels.
    fn beside(&self, decoded: &Decoded) -> Result<PartTargets, LabelError> {
        let (table, places) = match decoded {
            Decoded::Table(table) => (table, self.places(table)?),
            Decoded::Array { labels: Some(labels), .. } => (labels, (0..labels.width()).collect()),
            Decoded::Array { labels: None, .. } | Decoded::Text(_) => return Err(LabelError::NoLabels),
        };
        self.encoded(table, &places, 0..table.len())
    }

    fn series(&self, columns: &Columns, window: usize, mut table: Table) -> Result<Encoded, LabelError> {
        let horizon = self.reading.horizon.unwrap_or(1);
        let own = table.len();
        let groups = put_in_order(&mut table, own, &self.reading)?;
        let places = self.places(&table)?;
        let answer = |start: u32| start as usize + window - 1 + horizon;
        let mut starts = windows(&[own], window, horizon, 1);
        starts.retain(|&start| {
            groups.as_ref().is_none_or(|groups| groups[start as usize] == groups[answer(start)])
                && places.iter().all(|&place| table.cell(answer(start), place).is_some())
        });
        if starts.is_empty() {
            return Err(DataError::TooShort { rows: own, window, horizon }.into());
        }
        let targets = self.encoded(&table, &places, starts.iter().map(|&start| answer(start)))?;
        let cells = columns.encode_other(&table)?;
        let rows = starts.len();
        Ok((joined(&cells, columns.inputs(), window, starts.into_iter()), targets, rows))
    }

    fn running(
        &self,
        vocabulary: &Vocabulary,
        stride: usize,
        texts: &[String],
    ) -> Result<Encoded, LabelError> {
        let TargetEncoding::Classes { names } = &self.target else {
            unreachable!("what follows in a text is a token of a vocabulary")
        };
        let text = RunningText::new(self.reading.text.tokens, texts);
        let starts = windows(&text.ends, vocabulary.steps, 1, stride);
        if starts.is_empty() {
            let (rows, window) = (text.tokens.len(), vocabulary.steps);
            return Err(DataError::TooShort { rows, window, horizon: 1 }.into());
        }
        // Tokens that are not among the names share the last.
        let classes: HashMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
        let class = |symbol: &str| classes.get(symbol).copied().unwrap_or(names.len() as u32 - 1);
        let following = starts.iter().map(|&start| text.tokens[start as usize + vocabulary.steps] as usize);
        let targets = PartTargets::Classes(following.map(|token| class(&text.symbols[token])).collect());
        let rows = starts.len();
        let inputs = vocabulary.encode_windows(&text, starts.into_iter().map(|start| start as usize));
        Ok((inputs, targets, rows))
    }

    /// Where a table has the targets: by name if the first table had names, else where that had them.
    fn places(&self, table: &Table) -> Result<Vec<usize>, LabelError> {
        let missing = |name: &str| LabelError::NoTarget(name.to_owned());
        if self.reading.header == Some(true) {
            let names = match &self.target {
                TargetEncoding::Values { names, .. } | TargetEncoding::Labels { names } => names.as_slice(),
                TargetEncoding::Classes { .. } | TargetEncoding::Value { .. } => {
                    std::slice::from_ref(&self.target_name)
                }
            };
            let place =
                |name: &String| table.names().iter().position(|n| n == name).ok_or_else(|| missing(name));
            return names.iter().map(place).collect();
        }
        let may_have = match &self.features {
            Features::Columns(columns) | Features::Series { columns, .. } => {
                columns.places.has_targets(table)
            }
            Features::Lines { places, .. } => places.has_targets(table),
            Features::Array(_) | Features::Running { .. } => false,
        };
        if !may_have {
            return Err(missing(&self.target_name));
        }
        match self.reading.targets() {
            None => Ok(vec![table.width() - 1]),
            Some(columns) => {
                let place = |column: &ColumnRef| table.column(column);
                Ok(columns.iter().map(place).collect::<Result<_, _>>()?)
            }
        }
    }

    /// The targets in some rows, as a network sees them.
    fn encoded(
        &self,
        table: &Table,
        places: &[usize],
        rows: impl Iterator<Item = usize>,
    ) -> Result<PartTargets, LabelError> {
        if let TargetEncoding::Classes { names } = &self.target {
            let classes = rows.map(|row| class(table, row, places[0], names));
            return Ok(PartTargets::Classes(classes.collect::<Result<_, _>>()?));
        }
        let scales = self.target.scales();
        let mut values = Vec::new();
        for row in rows {
            for (index, &place) in places.iter().enumerate() {
                values.push(match scales.get(index) {
                    None => flag(table, row, place)?,
                    Some((mean, deviation)) => {
                        let number = table.number(row, place)?.ok_or_else(|| missing(table, row, place))?;
                        ((number - mean) / deviation) as f32
                    }
                });
            }
        }
        Ok(PartTargets::Values(values))
    }
}

/// Inputs, targets, and how many examples there are.
type Encoded = (Vec<f32>, PartTargets, usize);

fn class(table: &Table, row: usize, place: usize, names: &[String]) -> Result<u32, LabelError> {
    let cell = table.cell(row, place).ok_or_else(|| missing(table, row, place))?;
    let number = |text: &str| text.parse::<f64>().ok();
    // Numbers that are equal are one class however they are written (`1` and `1.0`).
    let is_meant = |name: &String| *name == *cell || number(name).is_some_and(|x| number(&cell) == Some(x));
    names.iter().position(is_meant).map(|class| class as u32).ok_or_else(|| LabelError::UnknownClass {
        at: table.place(row),
        class: cell.to_string(),
        known: shown(names),
    })
}

fn flag(table: &Table, row: usize, place: usize) -> Result<f32, LabelError> {
    let cell = table.cell(row, place).ok_or_else(|| missing(table, row, place))?;
    match &*cell {
        "1" | "1.0" | "true" | "True" => Ok(1.0),
        "0" | "0.0" | "false" | "False" => Ok(0.0),
        _ => {
            let (at, column) = (table.place(row), table.names()[place].clone());
            Err(DataError::NotALabel { at, column, value: cell.to_string() }.into())
        }
    }
}

fn missing(table: &Table, row: usize, place: usize) -> DataError {
    DataError::MissingTarget { at: table.place(row), column: table.names()[place].clone() }
}

#[cfg(test)]
mod tests {
    use super::super::super::{DataSpec, Problem};
    use super::*;
    use crate::engine::Targets;

    /// What a file says to a model is what it said when it was trained on, example by example.
    fn check(file: &str, text: &str, spec: &str) {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let path = folder.path().join(file);
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{error}"));
        let spec: DataSpec =
            toml::from_str(&format!("file = \"{file}\"\n{spec}")).unwrap_or_else(|error| panic!("{error}"));
        let problem =
            Problem::prepare(&spec, folder.path()).unwrap_or_else(|error| panic!("{spec:?}: {error}"));
        let preprocessing = problem.preprocessing();
        let read =
            preprocessing.read_labelled(&path, None).unwrap_or_else(|error| panic!("{spec:?}: {error}"));
        let (inputs, mut seen) = (problem.inputs(), 0);
        for part in [problem.train(), problem.validation(), problem.held_out()] {
            seen += part.len();
            for (place, &row) in part.rows().iter().enumerate() {
                let row = row as usize;
                let of =
                    |part: &Part, place: usize| part.inputs()[place * inputs..(place + 1) * inputs].to_vec();
                assert_eq!(of(&read, row), of(part, place), "{spec:?}");
                assert_eq!(target(&read, row), target(part, place), "{spec:?}");
            }
        }
        assert_eq!(seen, read.len(), "{spec:?}");
    }

    fn target(part: &Part, place: usize) -> Vec<f32> {
        match part.targets() {
            Targets::Classes(classes) => vec![classes[place] as f32],
            Targets::Values(values) => {
                let width = values.len() / part.len();
                values[place * width..(place + 1) * width].to_vec()
            }
        }
    }

    fn table(header: bool) -> String {
        let row = |i: usize| {
            let class = ["no", "yes"][i * 7 / 5 % 2];
            format!("{i},{},{},{},{class}\n", i * i % 17, i % 2, usize::from(i.is_multiple_of(3)))
        };
        let names = if header { "a,b,c,d,e\n" } else { "" };
        std::iter::once(names.to_owned()).chain((0..60).map(row)).collect()
    }

    #[test]
    fn tables_mean_what_they_meant_in_training() {
        for (header, targets) in [(true, ["e", "b", "c"]), (false, ["4", "1", "2"])] {
            let [class, number, whole] =
                targets.map(|name| name.parse().map_or(format!("\"{name}\""), |n: u8| n.to_string()));
            check("table.csv", &table(header), "");
            check("table.csv", &table(header), &format!("target = {class}"));
            check("table.csv", &table(header), &format!("target = {whole}"));
            check("table.csv", &table(header), &format!("target = {number}\ntask = \"regression\""));
        }
        check("table.csv", &table(true), "target = [\"a\", \"b\"]");
        check("table.csv", &table(true), "target = [\"c\", \"d\"]");
    }

    #[test]
    fn series_and_texts_mean_what_they_meant_in_training() {
        check("table.csv", &table(true), "target = \"b\"\nwindow = 4\nhorizon = 2\ntask = \"regression\"");
        check(
            "table.csv",
            &table(true),
            "target = \"b\"\nwindow = 3\ntime = \"a\"\ngroup = \"c\"\ntask = \"regression\"\nsplit = \"time\"",
        );
        let text = "the quick brown fox jumps over the lazy dog. ".repeat(8);
        check(
            "text.txt",
            &text,
            "format = \"text\"\ntext = { tokens = \"character\", steps = 5, stride = 1, vocabulary = 8 }",
        );
    }

    #[test]
    fn images_have_their_answers_in_a_second_file() {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let write = |name: &str, sizes: &[u8], values: Vec<u8>| {
            let mut bytes = vec![0, 0, 8, sizes.len() as u8];
            bytes.extend(sizes.iter().flat_map(|&size| [0, 0, 0, size]));
            bytes.extend(values);
            std::fs::write(folder.path().join(name), bytes).unwrap_or_else(|error| panic!("{error}"));
        };
        write("images", &[40, 3, 4], (0..40 * 12).map(|i| (i * 7 % 251) as u8).collect());
        write("labels", &[40], (0..40).map(|i| i % 3 + 4).collect());
        let spec = DataSpec { labels: Some("labels".into()), ..DataSpec::new("images") };
        let problem = Problem::prepare(&spec, folder.path()).unwrap_or_else(|error| panic!("{error}"));
        let preprocessing = problem.preprocessing();
        let (images, labels) = (folder.path().join("images"), folder.path().join("labels"));
        let read =
            preprocessing.read_labelled(&images, Some(&labels)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((read.len(), read.inputs().len()), (40, 480));
        for (place, &row) in problem.train().rows().iter().enumerate() {
            assert_eq!(target(&read, row as usize), target(problem.train(), place));
        }
        let error =
            preprocessing.read_labelled(&images, None).map_or_else(|e| e.to_string(), |_| String::new());
        assert_eq!(error, "the right answers are not there: name the file that holds them as labels");
    }

    #[test]
    fn what_has_no_answers_is_refused() {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let write = |text: &str| std::fs::write(folder.path().join("table.csv"), text);
        let refusal = |learned: &str, rows: &str| {
            write(learned).unwrap_or_else(|error| panic!("{error}"));
            let problem = Problem::prepare(&DataSpec::new("table.csv"), folder.path());
            let problem = problem.unwrap_or_else(|error| panic!("{error}"));
            write(rows).unwrap_or_else(|error| panic!("{error}"));
            let read = problem.preprocessing().read_labelled(&folder.path().join("table.csv"), None);
            read.map_or_else(|error| error.to_string(), |_| String::new())
        };
        let error = refusal(&table(true), "a,b,c,d\n1,2,1,0\n");
        assert!(error.starts_with("there is no column `e`, which the model predicts"), "{error}");
        let error = refusal(&table(false), "1,2,1,0\n");
        assert!(error.contains("which the model predicts"), "{error}");
        let error = refusal(&table(true), "a,b,c,d,e\n1,2,1,0,maybe\n");
        let file = folder.path().join("table.csv");
        let error = error.replace(&file.display().to_string(), "FILE");
        assert_eq!(
            error,
            "FILE, row 1 (line 2): the model does not know the class `maybe`; it knows `no`, `yes`"
        );
    }
}
