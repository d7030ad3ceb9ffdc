//! Files of each format: read as NumPy, Pillow and pandas read them (`reference/formats.py` makes files and numbers), and
//! the sentence that each kind of damage gets, word for word.

use std::path::{Path, PathBuf};

use luthier_nn::{
    Categories, Channels, ColumnType, DataSpec, ExampleKind, Format, Part, Problem, SplitKind, TargetColumns,
    Targets, Task, Tokens,
};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/formats")
}

fn expected(key: &str) -> Vec<f32> {
    fn flatten(value: &Value, numbers: &mut Vec<f32>) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| flatten(value, numbers)),
            value => numbers.push(value.as_f64().unwrap() as f32),
        }
    }
    let text = std::fs::read_to_string(folder().with_extension("json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let mut numbers = Vec::new();
    flatten(&all[key], &mut numbers);
    numbers
}

/// Raw numbers, all but the test file's in the training and validation parts.
fn raw(file: &str, change: impl FnOnce(&mut DataSpec)) -> Problem {
    let mut spec = DataSpec { standardize: false, test: 0.0, ..DataSpec::new(file) };
    change(&mut spec);
    Problem::prepare(&spec, &folder()).unwrap()
}

/// Each example of a part against those of the whole file.
fn compare(part: &Part, width: usize, all: &[f32], tolerance: f32) {
    assert!(!part.is_empty());
    for (place, &row) in part.rows().iter().enumerate() {
        let found = &part.inputs()[place * width..(place + 1) * width];
        let wanted = &all[row as usize * width..(row as usize + 1) * width];
        assert!(
            found.iter().zip(wanted).all(|(a, b)| (a - b).abs() <= tolerance),
            "{row}: {found:?} {wanted:?}"
        );
    }
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// The message without the folder's name.
fn refused(directory: &Path, spec: &DataSpec) -> String {
    let message = Problem::prepare(spec, directory).expect_err("these data are bad").to_string();
    assert!(!message.contains('\n'), "one sentence: {message:?}");
    message
        .replace(&format!("{}/", directory.display()), "")
        .replace(&directory.display().to_string(), "FOLDER")
}

fn idx(kind: u8, shape: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, kind, shape.len() as u8];
    bytes.extend(shape.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(data);
    bytes
}

#[test]
fn numpy_arrays_of_every_type_hold_what_numpy_says() {
    let features = expected("features");
    let table = raw("table.npy", |_| ());
    assert_eq!((table.shape(), table.task(), table.classes().len()), (&[3][..], Task::Classification, 2));
    compare(table.train(), 3, &features, 1e-7);
    for (file, tolerance) in [
        ("features_f4.npy", 1e-7),
        ("features_big.npy", 1e-7),
        ("features_fortran.npy", 1e-7),
        ("features_half.npy", 1e-3),
    ] {
        let problem = raw(file, |spec| spec.labels = Some("names.npy".into()));
        assert_eq!(problem.classes(), ["no", "yes"]);
        compare(problem.train(), 3, &features, tolerance);
        compare(problem.validation(), 3, &features, tolerance);
        let problem = raw(file, |spec| spec.labels = Some("y.npy".into()));
        assert_eq!(problem.classes(), ["0", "1"]);
    }
}

#[test]
fn numpy_archives_have_sequences_pictures_and_tokens() {
    let sequence = raw("sequence.npz", |_| ());
    assert_eq!((sequence.shape(), sequence.task()), (&[5, 2][..], Task::Regression));
    compare(sequence.train(), 10, &expected("sequence"), 1e-7);
    let colour = raw("colour.npz", |_| ());
    assert_eq!((colour.shape(), colour.held_out_rows(), colour.classes().len()), (&[3, 4, 6][..], 8, 2));
    let last = expected("colour");
    let first: Vec<f32> = (0..24 * 72)
        .map(|i| (i / 72, i / 24 % 3, i % 24))
        .map(|(picture, channel, pixel)| last[picture * 72 + pixel * 3 + channel] / 255.0)
        .collect();
    compare(colour.train(), 72, &first, 1e-6);
    let kept = raw("colour.npz", |spec| spec.channels = Some(Channels::First));
    assert_eq!(kept.shape(), [4, 6, 3]);
    let tokens = raw("tokens.npz", |spec| {
        (spec.array, spec.kind) = (Some("ids".into()), Some(ExampleKind::Tokens));
    });
    assert_eq!((tokens.shape(), tokens.vocabulary()), (&[7][..], Some(9)));
}

#[test]
fn features_of_an_array_are_columns_of_a_table() {
    let problem =
        raw("features_f4.npy", |spec| (spec.labels, spec.standardize) = (Some("y.npy".into()), true));
    for column in 0..3 {
        let cells: Vec<f32> = problem.train().inputs().chunks(3).map(|row| row[column]).collect();
        let mean: f32 = cells.iter().sum::<f32>() / cells.len() as f32;
        let variance = cells.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / cells.len() as f32;
        assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-4);
    }
}

#[test]
fn pictures_are_read_in_colour_or_grey_and_resized_as_pillow_does() {
    let pictures = |change: &dyn Fn(&mut DataSpec)| raw("pictures", |spec| change(spec));
    let colour = pictures(&|_| ());
    assert_eq!(
        (colour.shape(), colour.classes()),
        (&[3, 8, 12][..], &["cat".to_owned(), "dog".to_owned()][..])
    );
    let cat = |problem: &Problem, key: &str, channels: usize, tolerance: f32| {
        let size: usize = problem.shape()[1..].iter().product();
        let wanted = expected(key);
        for part in [problem.train(), problem.validation()] {
            let Some(place) = part.rows().iter().position(|&row| row == 0) else { continue };
            let found = &part.inputs()[place * size * channels..(place + 1) * size * channels];
            for (i, value) in found.iter().enumerate() {
                let other = wanted[i % size * channels + i / size] / 255.0;
                assert!((value - other).abs() <= tolerance / 255.0, "{i}: {value} {other}");
            }
            return;
        }
        panic!("the first picture is in some part");
    };
    cat(&colour, "picture", 3, 0.01);
    cat(&pictures(&|spec| spec.colour = Some(false)), "grey", 1, 1.01);
    cat(&pictures(&|spec| spec.resize = Some([3, 5])), "small", 3, 1.01);
    cat(&pictures(&|spec| spec.resize = Some([20, 18])), "large", 3, 1.01);
    let rows: Vec<u32> = colour.train().rows().iter().copied().filter(|&row| row >= 6).collect();
    for row in rows {
        let place = colour.train().rows().iter().position(|&other| other == row).unwrap();
        let pixel = colour.train().inputs()[place * 288 + 50];
        assert!((pixel - 40.0 * (row - 6) as f32 / 255.0).abs() < 2.0 / 255.0, "a flat JPEG stays flat");
    }
    let scaled = pictures(&|spec| spec.standardize = true);
    for channel in 0..3 {
        let plane = |picture: &[f32]| picture[channel * 96..(channel + 1) * 96].to_vec();
        let values: Vec<f32> = scaled.train().inputs().chunks(288).flat_map(plane).collect();
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 1e-4 && (variance - 1.0).abs() < 1e-3, "{mean} {variance}");
    }
}

#[test]
fn idx_files_hold_pictures_and_labels_and_may_have_a_test_pair() {
    let directory = tempfile::tempdir().unwrap();
    let pixels: Vec<u8> = (0..40 * 6).map(|i| (i % 251) as u8).collect();
    let labels: Vec<u8> = (0..40).map(|i| i % 4).collect();
    write(directory.path(), "images", &idx(8, &[40, 2, 3], &pixels));
    write(directory.path(), "labels", &idx(8, &[40], &labels));
    let mut spec = DataSpec { labels: Some("labels".into()), standardize: false, ..DataSpec::new("images") };
    let problem = Problem::prepare(&spec, directory.path()).unwrap();
    assert_eq!((problem.shape(), problem.classes().len(), problem.held_out_rows()), (&[1, 2, 3][..], 4, 8));
    let all: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
    compare(problem.train(), 6, &all, 1e-7);
    (spec.test_file, spec.test_labels) = (Some("images".into()), Some("labels".into()));
    let problem = Problem::prepare(&spec, directory.path()).unwrap();
    assert_eq!((problem.train().len(), problem.validation().len(), problem.held_out_rows()), (32, 8, 40));
    let floats: Vec<u8> = (0..12u8).flat_map(|i| f32::from(i).to_be_bytes()).collect();
    write(directory.path(), "floats", &idx(13, &[6, 2], &floats));
    write(directory.path(), "halves", &idx(8, &[6], &[0, 1, 0, 1, 0, 1]));
    let spec =
        DataSpec { labels: Some("halves".into()), test: 0.0, standardize: false, ..DataSpec::new("floats") };
    let problem = Problem::prepare(&spec, directory.path()).unwrap();
    compare(problem.train(), 2, &(0..12u8).map(f32::from).collect::<Vec<_>>(), 0.0);
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_tables_are_read_whatever_packs_them() {
    let snappy = raw("table_snappy.parquet", |_| ());
    assert_eq!((snappy.shape(), snappy.task()), (&[5][..], Task::Regression));
    let notes = snappy.notes().join("\n");
    assert!(notes.contains("`size`") && notes.contains("`kind`"), "{notes}");
    for (place, &row) in snappy.train().rows().iter().enumerate() {
        let inputs = &snappy.train().inputs()[place * 5..(place + 1) * 5];
        assert_eq!(inputs[1], (row / 3) as f32);
        assert_eq!(inputs[2..], [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]][row as usize % 3]);
        if row % 5 != 0 {
            assert_eq!(inputs[0], row as f32 / 2.0);
        }
    }
    for packed in ["table_zstd.parquet", "table_gzip.parquet"] {
        assert_eq!(raw(packed, |_| ()).train(), snappy.train());
    }
}

#[cfg(not(feature = "parquet"))]
#[test]
fn without_the_feature_a_parquet_file_says_which_one_it_needs() {
    assert_eq!(
        refused(&folder(), &DataSpec::new("table_snappy.parquet")),
        "table_snappy.parquet is a Parquet file, which this build cannot read: build luthier-nn with the feature `parquet`, or save the table as CSV"
    );
}

#[test]
fn labelled_lines_become_rows_of_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let lines: String =
        (0..40).map(|i| format!("{}\t{}\n", ["ab", "abc"][i % 2], ["no", "yes"][i % 2])).collect();
    write(directory.path(), "lines.tsv", format!("text\tmood\n{lines}").as_bytes());
    let mut spec = DataSpec { format: Some(Format::Text), ..DataSpec::new("lines.tsv") };
    let problem = Problem::prepare(&spec, directory.path()).unwrap();
    assert_eq!((problem.shape(), problem.vocabulary(), problem.classes().len()), (&[3][..], Some(5), 2));
    for (row, inputs) in problem.train().rows().iter().zip(problem.train().inputs().chunks(3)) {
        assert_eq!(inputs, if row % 2 == 0 { [0.0, 2.0, 3.0] } else { [2.0, 3.0, 4.0] });
    }
    let new = write(directory.path(), "new.tsv", "text\nzab\nabcab\nc\n".as_bytes());
    let (inputs, rows) = problem.preprocessing().read_inputs(&new).unwrap();
    assert_eq!((inputs, rows), (vec![1.0, 2.0, 3.0, 4.0, 2.0, 3.0, 0.0, 0.0, 4.0], 3));
    (spec.text.tokens, spec.text.vocabulary) = (Tokens::Word, 1);
    let problem = Problem::prepare(&spec, directory.path()).unwrap();
    assert_eq!((problem.shape(), problem.vocabulary()), (&[1][..], Some(3)));
}

#[test]
fn a_running_text_predicts_its_next_character() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "text.txt", "abcd".repeat(30).as_bytes());
    let mut spec = DataSpec { format: Some(Format::Text), ..DataSpec::new("text.txt") };
    spec.text.steps = Some(6);
    let problem = Problem::prepare(&spec, directory.path()).unwrap();
    assert_eq!((problem.shape(), problem.vocabulary()), (&[6][..], Some(6)));
    assert_eq!(problem.classes(), ["a", "b", "c", "d"]);
    assert_eq!(problem.train().inputs()[..6], [2.0, 3.0, 4.0, 5.0, 2.0, 3.0]);
    let Targets::Classes(classes) = problem.train().targets() else { panic!("classes expected") };
    assert_eq!(classes[..3], [2, 3, 0]);
    let rows = |part: &Part| (*part.rows().first().unwrap(), *part.rows().last().unwrap());
    assert!(rows(problem.train()).1 < rows(problem.validation()).0, "the order of the text is kept");
    assert_eq!(problem.train().len() + problem.validation().len() + problem.held_out_rows(), 114);
    let short = write(directory.path(), "short.txt", b"dz");
    let (inputs, rows) = problem.preprocessing().read_inputs(&short).unwrap();
    assert_eq!((inputs, rows), (vec![0.0, 0.0, 0.0, 0.0, 5.0, 1.0], 1));
}

#[test]
fn a_time_series_predicts_what_comes_after_its_window() {
    let directory = tempfile::tempdir().unwrap();
    let rows: String =
        (0..60).map(|i| format!("2020-{:02}-{:02},{i},{}\n", i / 28 + 1, i % 28 + 1, 1000 + i)).collect();
    write(directory.path(), "series.csv", format!("day,x,y\n{rows}").as_bytes());
    let mut spec =
        DataSpec { window: Some(4), horizon: Some(3), standardize: false, ..DataSpec::new("series.csv") };
    spec.task = Some(Task::Regression);
    let problem = Problem::prepare(&spec, directory.path()).unwrap();
    assert_eq!(problem.shape(), [4, 2]);
    assert_eq!(problem.train().inputs()[..8], [0.0, 1000.0, 1.0, 1001.0, 2.0, 1002.0, 3.0, 1003.0]);
    assert_eq!(problem.train().len() + problem.validation().len() + problem.held_out_rows(), 60 - 6);
    let Targets::Values(values) = problem.train().targets() else { panic!("numbers expected") };
    let luthier_nn::TargetEncoding::Value { mean, deviation } = problem.preprocessing().target() else {
        panic!("one number expected")
    };
    assert!((f64::from(values[0]) * deviation + mean - 1006.0).abs() < 1e-3);
    assert!(problem.notes()[0].contains("`day` is text that differs in every row"));
    let (inputs, windows) =
        problem.preprocessing().read_inputs(&directory.path().join("series.csv")).unwrap();
    assert_eq!((windows, inputs[inputs.len() - 1]), (57, 1059.0));
    let backwards: String = (0..60).rev().map(|i| format!("{i:02},{i},{}\n", 1000 + i)).collect();
    write(directory.path(), "backwards.csv", format!("day,x,y\n{backwards}").as_bytes());
    spec.file = "backwards.csv".into();
    spec.time = Some("day".into());
    let sorted = Problem::prepare(&spec, directory.path()).unwrap();
    assert_eq!(sorted.train().inputs(), problem.train().inputs());
}

#[test]
fn columns_are_what_they_are_said_to_be() {
    let directory = tempfile::tempdir().unwrap();
    let row = |i: usize| {
        let size = ["S", "M", "L", ""][i % 4];
        format!("{i},{:05},{size},{},{}\n", i % 3, ["x", "y", "z"][i % 3], i % 2)
    };
    write(
        directory.path(),
        "t.csv",
        ("id,zip,size,kind,y\n".to_owned() + &(0..60).map(row).collect::<String>()).as_bytes(),
    );
    let spec: DataSpec = toml::from_str(
        r#"file = "t.csv"
           columns = { id = "ignore", zip = "embed", size = { ordinal = ["S", "M", "L"] } }
           standardize = false"#,
    )
    .unwrap();
    let problem = Problem::prepare(&spec, directory.path()).unwrap();
    assert_eq!(problem.shape(), [5]);
    let embedded: Vec<_> =
        problem.embedded().iter().map(|column| (column.input, column.cardinality)).collect();
    assert_eq!(embedded, [(0, 4)]);
    for (&row, inputs) in problem.train().rows().iter().zip(problem.train().inputs().chunks(5)) {
        assert_eq!(inputs[0], (row % 3 + 1) as f32);
        assert_eq!(inputs[1], [0.0, 1.0, 2.0, 1.0][row as usize % 4], "a missing rank is the median");
    }
    let all = DataSpec { categories: Categories::Embed, ..spec.clone() };
    let problem = Problem::prepare(&all, directory.path()).unwrap();
    assert_eq!((problem.shape(), problem.embedded().len()), (&[3][..], 2));
    let new = write(directory.path(), "new.csv", b"kind,size,zip\nw,,00002\n");
    let (inputs, _) = problem.preprocessing().read_inputs(&new).unwrap();
    assert_eq!(inputs, [3.0, 1.0, 0.0], "an unknown category is number 0");
    let mut short = spec.clone();
    short.columns.insert("size".into(), ColumnType::Ordinal(vec!["S".into(), "M".into()]));
    assert_eq!(
        refused(directory.path(), &short),
        "t.csv, row 3 (line 4), column `size`: `L` is none of its levels, `S`, `M`"
    );
}

#[test]
fn several_targets_are_labels_or_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let row = |i: usize| format!("{i},{},{},{}.5\n", i % 2, usize::from(i.is_multiple_of(3)), i * 7 % 11);
    write(
        directory.path(),
        "t.csv",
        ("x,a,b,c\n".to_owned() + &(0..40).map(row).collect::<String>()).as_bytes(),
    );
    let several =
        |names: &[&str]| Some(TargetColumns::Several(names.iter().map(|&name| name.into()).collect()));
    let mut spec =
        DataSpec { target: several(&["a", "b"]), ignore: vec!["c".into()], ..DataSpec::new("t.csv") };
    let labels = Problem::prepare(&spec, directory.path()).unwrap();
    assert_eq!(
        (labels.task(), labels.classes(), labels.inputs()),
        (Task::MultiLabel, &["a".to_owned(), "b".to_owned()][..], 1)
    );
    let Targets::Values(flags) = labels.train().targets() else { panic!("flags expected") };
    for (&row, flags) in labels.train().rows().iter().zip(flags.chunks(2)) {
        assert_eq!(flags, [(row % 2) as f32, f32::from(u8::from(row % 3 == 0))]);
    }
    spec.target = several(&["x", "c"]);
    spec.ignore.clear();
    let numbers = Problem::prepare(&spec, directory.path()).unwrap();
    assert_eq!((numbers.task(), numbers.preprocessing().target().width()), (Task::Regression, 2));
    spec.task = Some(Task::MultiLabel);
    assert_eq!(
        refused(directory.path(), &spec),
        "t.csv, row 1 (line 2): the label `c` is `0.5`, but must be 0 or 1"
    );
    spec.task = Some(Task::Classification);
    assert_eq!(
        refused(directory.path(), &spec),
        "2 columns are to be predicted, but `task = \"classification\"` takes one; use `multi_label` for labels that do not exclude each other"
    );
}

#[test]
fn a_test_file_is_the_test_part() {
    let directory = tempfile::tempdir().unwrap();
    let rows =
        |mark: &str| (0..20).map(|i| format!("{i},{}{mark}\n", ["<=50K", ">50K"][i % 2])).collect::<String>();
    write(directory.path(), "train.csv", rows("").as_bytes());
    write(directory.path(), "test.csv", rows(".").as_bytes());
    write(directory.path(), "other.csv", rows("!").as_bytes());
    let mut spec = DataSpec { test_file: Some("test.csv".into()), ..DataSpec::new("train.csv") };
    let problem = Problem::prepare(&spec, directory.path()).unwrap();
    assert_eq!((problem.train().len(), problem.validation().len(), problem.held_out_rows()), (16, 4, 20));
    assert_eq!(problem.classes(), ["<=50K", ">50K"]);
    let alone = Problem::prepare(&DataSpec::new("train.csv"), directory.path()).unwrap();
    assert_ne!(alone.data_fingerprint(), problem.data_fingerprint());
    spec.test_file = Some("other.csv".into());
    assert_eq!(
        refused(directory.path(), &spec),
        "the test file has the class `<=50K!`, which the first file does not have"
    );
}

#[test]
fn groups_and_times_divide_rows() {
    let directory = tempfile::tempdir().unwrap();
    let row = |i: usize| format!("{},{},{}\n", i % 10, 99 - i, i % 2);
    write(
        directory.path(),
        "t.csv",
        ("patient,at,y\n".to_owned() + &(0..100).map(row).collect::<String>()).as_bytes(),
    );
    let mut spec = DataSpec { group: Some("patient".into()), ..DataSpec::new("t.csv") };
    let problem = Problem::prepare(&spec, directory.path()).unwrap();
    assert_eq!(problem.inputs(), 1, "the group is no input");
    let patients = |rows: &[u32]| rows.iter().map(|row| row % 10).collect::<std::collections::BTreeSet<_>>();
    assert!(patients(problem.train().rows()).is_disjoint(&patients(problem.validation().rows())));
    for fold in problem.folds(4, 2, 0).unwrap() {
        assert!(patients(&fold.train).is_disjoint(&patients(&fold.validation)));
    }
    (spec.group, spec.time) = (None, Some("at".into()));
    spec.ignore.clear();
    let mut timed = spec.clone();
    timed.time = Some("at".into());
    let problem = Problem::prepare(&timed, directory.path()).unwrap();
    assert_eq!(
        problem.train().rows(),
        (40..100).collect::<Vec<u32>>(),
        "the latest rows are the first of the file"
    );
    timed.split = Some(SplitKind::Group);
    assert_eq!(
        refused(directory.path(), &timed),
        "`split = \"group\"` needs `group`, the column whose equal cells stay in one part"
    );
}

#[test]
fn damaged_files_get_one_clear_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let is = |file: &str, labels: Option<&str>, sentence: &str| {
        let spec = DataSpec { labels: labels.map(Into::into), ..DataSpec::new(file) };
        assert_eq!(refused(at, &spec), sentence);
    };
    write(at, "labels", &idx(8, &[5], &[0, 1, 0, 1, 0]));
    write(at, "short", &idx(8, &[6, 2, 2], &[0; 20]));
    is(
        "short",
        Some("labels"),
        "short is cut short: it should go on for 24 bytes after its header, but only 20 are there",
    );
    write(at, "six", &idx(8, &[6, 2, 2], &[0; 24]));
    is("six", Some("labels"), "labels has 5 targets, but six has 6 examples");
    is("six", None, "six has no targets: give the file of the labels as `labels`");
    is("labels", None, "labels is not an IDX file: it has one axis: these are labels, not examples");
    let npy = std::fs::read(folder().join("features_f4.npy")).unwrap();
    write(at, "cut.npy", &npy[..npy.len() - 8]);
    is(
        "cut.npy",
        None,
        "cut.npy is cut short: it should go on for 288 bytes after its header, but only 280 are there",
    );
    write(at, "head.npy", &npy[..40]);
    is("head.npy", None, "head.npy is not a NumPy array: its header is incomplete");
    let objects = String::from_utf8_lossy(&npy[..128]).replace("'<f4'", "'|O' ");
    write(
        at,
        "objects.npy",
        &[b"\x93NUMPY\x01\x00", &npy[8..10], objects.as_bytes()[objects.len() - 118..].as_ref()].concat(),
    );
    is(
        "objects.npy",
        None,
        "objects.npy is not a NumPy array: its elements are of type `|O`; numbers, booleans and fixed-length text can be read",
    );
    write(at, "cut.npz", &std::fs::read(folder().join("colour.npz")).unwrap()[..900]);
    let message = refused(at, &DataSpec::new("cut.npz"));
    assert!(message.starts_with("cut.npz is not a NumPy archive: "), "{message}");
    let wrong = DataSpec { array: Some("idz".into()), ..DataSpec::new("tokens.npz") };
    let message = Problem::prepare(&wrong, &folder()).unwrap_err().to_string();
    assert!(
        message.ends_with("tokens.npz (did you mean `ids`?); its arrays are `ids`, `target`"),
        "{message}"
    );
    std::fs::create_dir(at.join("empty")).unwrap();
    is("empty", None, "empty has no PNG or JPEG files in folders, one folder for each class");
    write(at, "p/cat/0.png", &std::fs::read(folder().join("pictures/cat/0.png")).unwrap());
    write(at, "p/dog/1.png", b"GIF89a");
    is("p", None, "p/dog/1.png is not a PNG or JPEG picture: its first bytes say otherwise");
    let png = std::fs::read(folder().join("pictures/cat/1.png")).unwrap();
    write(at, "p/dog/1.png", &png[..png.len() / 2]);
    let message = refused(at, &DataSpec::new("p"));
    assert!(message.starts_with("p/dog/1.png is not a PNG picture: "), "{message}");
}

#[test]
fn a_picture_of_another_size_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let cat = std::fs::read(folder().join("pictures/cat/0.png")).unwrap();
    write(directory.path(), "p/cat/0.png", &cat);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 3, 2);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(&[0; 6]).unwrap();
    write(directory.path(), "p/dog/9.png", &bytes);
    assert_eq!(
        refused(directory.path(), &DataSpec::new("p")),
        "p holds 8 × 12 images, but its picture p/dog/9.png is 2 × 3; set `resize = [height, width]`"
    );
}

#[test]
fn bad_tables_get_one_clear_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let table = |header: &str, row: &dyn Fn(usize) -> String| {
        let rows: String = (0..20).map(|i| row(i) + "\n").collect();
        write(directory.path(), "t.csv", format!("{header}\n{rows}").as_bytes());
    };
    let spec = DataSpec::new("t.csv");
    table("x,y", &|i| format!("{i},yes"));
    assert_eq!(
        refused(directory.path(), &spec),
        "the target `y` is always `yes`: a classifier needs at least two classes"
    );
    table("x,y", &|_| "nan,nan".to_owned());
    assert_eq!(
        refused(directory.path(), &spec),
        "the target `y` has no values: every row is empty or marked as missing"
    );
    table("x,y", &|i| format!("nan,{}", i % 2));
    let no_features = "no column is left to learn from: besides the target, all are constant in the training part or ignored";
    assert_eq!(refused(directory.path(), &spec), no_features);
    table("x,same,hole,y", &|i| format!("{i},7,,{}", i % 2));
    let problem = Problem::prepare(&spec, directory.path()).unwrap();
    assert_eq!(
        problem.notes(),
        [
            "column `same` is constant in the training part and was left out",
            "column `hole` has no values in the training part and was left out"
        ]
    );
    let wrong = DataSpec { target: Some("mediam_value".into()), ..spec.clone() };
    table("x,median_value", &|i| format!("{i},{}", i % 2));
    assert_eq!(
        refused(directory.path(), &wrong),
        "there is no column `mediam_value` (did you mean `median_value`?); the columns are `x`, `median_value`"
    );
    table("x,y", &|i| if i == 4 { "1,2,3".to_owned() } else { format!("{i},{}", i % 2) });
    assert_eq!(
        refused(directory.path(), &spec),
        "t.csv, row 5 (line 6) has 3 cells, but the first line has 2: every row needs the same number, separated by `,`"
    );
    table("x,y", &|i| format!("{i},{}", if i == 2 { "inf".to_owned() } else { format!("{i}.5") }));
    assert_eq!(
        refused(directory.path(), &spec),
        "t.csv, row 3 (line 4), column `y`: `inf` is not a finite number"
    );
    let two = DataSpec { test_file: Some("more.csv".into()), ..spec.clone() };
    table("x,y", &|i| format!("{i},{i}.5"));
    write(directory.path(), "more.csv", b"x,y\n1,2.5\n3,inf\n");
    assert_eq!(
        refused(directory.path(), &two),
        "more.csv, row 2 (line 3), column `y`: `inf` is not a finite number"
    );
    write(directory.path(), "t.csv", b"x,y\n1,2\n");
    assert_eq!(
        refused(directory.path(), &spec),
        "1 rows are too few: with validation = 0.2 and test = 0.2 the training part would be empty"
    );
    table("x,y", &|i| format!("{i},{i}.5"));
    let window = DataSpec { window: Some(30), ..spec.clone() };
    assert_eq!(
        refused(directory.path(), &window),
        "20 rows are too few for windows of 30 rows and a target 1 later"
    );
}

#[test]
fn cells_may_be_separated_by_blanks_or_semicolons() {
    let directory = tempfile::tempdir().unwrap();
    let rows = |separator: &str| {
        (0..30).map(|i| format!(" {i}.5{separator}{}{separator}{}.25 \n", i % 7, i * i)).collect::<String>()
    };
    let load = |text: String| {
        write(directory.path(), "t.txt", text.as_bytes());
        Problem::prepare(&DataSpec::new("t.txt"), directory.path()).unwrap()
    };
    let plain = load(rows(","));
    for separator in [" ", "\t", " \t", "   ", ";"] {
        assert_eq!(load(rows(separator)).train(), plain.train(), "{separator:?}");
    }
}
