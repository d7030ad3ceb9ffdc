//! Tables: reading, inference, preparation, and the sentence that each kind of bad data gets.

use std::io::Write;
use std::path::Path;

use luthier_nn::{ColumnRef, DataSpec, MissingCategory, OuterFold, Problem, SplitKind, Targets, Task};

fn load(text: &str, change: impl FnOnce(&mut DataSpec)) -> Result<Problem, String> {
    load_bytes("table.csv", text.as_bytes(), change)
}

fn load_bytes(name: &str, bytes: &[u8], change: impl FnOnce(&mut DataSpec)) -> Result<Problem, String> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(name), bytes).unwrap();
    let mut spec = DataSpec::new(name);
    change(&mut spec);
    Problem::prepare(&spec, directory.path()).map_err(|error| error.to_string())
}

/// `rows` rows made by a function of the row's number, under a header.
fn table(header: &str, rows: usize, row: impl Fn(usize) -> String) -> String {
    let lines: Vec<String> = (0..rows).map(row).collect();
    format!("{header}\n{}\n", lines.join("\n"))
}

fn good() -> String {
    table("x,kind,y", 40, |i| format!("{i},{},{}", ["red", "green", "blue"][i % 3], i % 2))
}

fn refused(text: &str, change: impl FnOnce(&mut DataSpec), words: &[&str]) {
    let message = load(text, change).expect_err("these data are bad");
    for word in words {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
    assert!(!message.contains('\n'), "one sentence: {message:?}");
}

#[test]
fn columns_are_standardised_or_one_hot_by_the_training_part() {
    let problem = load(&good(), |_| ()).unwrap();
    assert_eq!((problem.inputs(), problem.task()), (4, Task::Classification));
    assert_eq!(problem.classes(), ["0", "1"]);
    let inputs = problem.train().inputs();
    let numbers: Vec<f64> = inputs.chunks(4).map(|row| f64::from(row[0])).collect();
    let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
    let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / numbers.len() as f64;
    assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-6, "{mean} {variance}");
    for row in inputs.chunks(4).chain(problem.validation().inputs().chunks(4)) {
        let mut kinds = row[1..].to_vec();
        kinds.sort_by(f32::total_cmp);
        assert_eq!(kinds, [0.0, 0.0, 1.0]);
    }
    let numbers = problem.validation().inputs().chunks(4).map(|row| f64::from(row[0]));
    let mean = numbers.sum::<f64>() / problem.validation().len() as f64;
    assert!(mean.abs() > 1e-3, "validation rows must not take part in the statistics");
}

#[test]
fn raw_numbers_are_kept_on_request() {
    let problem = load(&good(), |spec| spec.standardize = false).unwrap();
    assert!(
        problem.train().inputs().chunks(4).all(|row| row[0].fract() == 0.0 && (0.0..40.0).contains(&row[0]))
    );
}

#[test]
fn the_target_is_found_by_name_by_number_and_by_default() {
    let by = |target: Option<ColumnRef>| load(&good(), |spec| spec.target = target.map(Into::into)).unwrap();
    assert_eq!(by(None).preprocessing().target_name(), "y");
    assert_eq!(by(Some("kind".into())).classes(), ["blue", "green", "red"]);
    assert_eq!(by(Some(ColumnRef::Index(0))).task(), Task::Regression);
    assert_eq!(by(Some("1".into())).preprocessing().target_name(), "kind");
}

#[test]
fn few_whole_numbers_are_classes_and_others_are_quantities() {
    let task = |y: &dyn Fn(usize) -> String| {
        load(&table("x,y", 100, |i| format!("{},{}", i * i, y(i))), |_| ()).unwrap().task()
    };
    assert_eq!(task(&|i| (i % 20).to_string()), Task::Classification);
    assert_eq!(task(&|i| (i % 21).to_string()), Task::Regression);
    assert_eq!(task(&|i| format!("{}.0", i % 3)), Task::Classification);
    assert_eq!(task(&|i| format!("{}.5", i % 3)), Task::Regression);
    assert_eq!(task(&|i| ["no", "yes"][i % 2].to_owned()), Task::Classification);
}

#[test]
fn the_task_can_be_told() {
    let grades = table("x,y", 60, |i| format!("{i},{}", i % 7));
    let problem = load(&grades, |spec| spec.task = Some(Task::Regression)).unwrap();
    let Targets::Values(values) = problem.train().targets() else { panic!("numbers expected") };
    let mean: f32 = values.iter().sum::<f32>() / values.len() as f32;
    assert!(mean.abs() < 1e-6);
    let halves = table("x,y", 60, |i| format!("{i},{}", (i % 2) as f64 / 2.0));
    let problem = load(&halves, |spec| spec.task = Some(Task::Classification)).unwrap();
    assert_eq!(problem.classes(), ["0", "0.5"]);
}

#[test]
fn classes_that_are_numbers_are_in_numeric_order() {
    let problem = load(&table("x,y", 60, |i| format!("{i},{}", i % 12)), |_| ()).unwrap();
    assert_eq!(problem.classes()[..3], ["0", "1", "2"]);
    assert_eq!(problem.classes()[11], "11");
}

#[test]
fn a_header_is_recognised_or_told() {
    let rows =
        |problem: Problem| problem.train().len() + problem.validation().len() + problem.held_out_rows();
    assert_eq!(rows(load(&good(), |_| ()).unwrap()), 40);
    let bare = table("0,1", 39, |i| format!("{},{}", i * 3, i % 2));
    assert_eq!(rows(load(&bare, |_| ()).unwrap()), 40);
    assert_eq!(rows(load(&bare, |spec| spec.header = Some(true)).unwrap()), 39);
    let text = table("red,yes", 39, |i| format!("{},{}", ["red", "blue"][i % 2], ["yes", "no"][i / 2 % 2]));
    assert_eq!(rows(load(&text, |_| ()).unwrap()), 40);
}

#[test]
fn gzip_tabs_quotes_spaces_and_byte_order_marks_are_read() {
    let plain = load(&good(), |_| ()).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(good().as_bytes()).unwrap();
    let packed = load_bytes("table.csv.gz", &packed.finish().unwrap(), |_| ()).unwrap();
    assert_eq!(packed.train(), plain.train());
    let tabs = good().replace(',', "\t");
    assert_eq!(load_bytes("t.tsv", tabs.as_bytes(), |_| ()).unwrap().train(), plain.train());
    let semicolons = good().replace(',', " ; ");
    assert_eq!(load(&semicolons, |spec| spec.delimiter = Some(';')).unwrap().train(), plain.train());
    let marked = format!("\u{feff}{}", good().replace("red", "\"red\""));
    let marked = load(&marked, |spec| spec.ignore = vec!["x".into()]).unwrap();
    assert_eq!(marked.inputs(), 3);
}

#[test]
fn missing_cells_are_filled_and_said_so() {
    let holes = table("x,kind,y", 40, |i| {
        let kind = if i % 8 == 0 { "?" } else { ["red", "green"][usize::from(i % 4 == 1)] };
        let x = if i % 10 == 0 { String::new() } else { "5".to_owned() + &i.to_string() };
        format!("{x},{kind},{}", i % 2)
    });
    let problem = load(&holes, |_| ()).unwrap();
    assert!(problem.train().inputs().iter().all(|x| x.is_finite()));
    let notes = problem.notes().join("\n");
    assert!(notes.contains("`x`") && notes.contains("median"), "{notes}");
    assert!(notes.contains("`kind`") && notes.contains("category of their own"), "{notes}");
    let frequent = |spec: &mut DataSpec| spec.missing_category = MissingCategory::MostFrequent;
    let filled = load(&holes, frequent).unwrap();
    assert_eq!((problem.inputs(), filled.inputs()), (4, 3));
    assert!(filled.notes().join("\n").contains("count as `red`"));
}

#[test]
fn constant_columns_are_left_out_and_said_so() {
    let text = table("x,same,word,hole,y", 40, |i| format!("{i},7,a,?,{}", i % 2));
    let problem = load(&text, |_| ()).unwrap();
    assert_eq!(problem.inputs(), 1);
    assert_eq!(problem.notes().len(), 3);
    assert!(problem.notes()[0].contains("`same` is constant"));
}

#[test]
fn texts_that_are_hardly_meant_as_categories_are_doubted() {
    let text = |name: &str| {
        format!("id;{name};y\n{}", (0..60).map(|k| format!("u{k:03};0,{k};{k}.5\n")).collect::<String>())
    };
    let notes = load(&text("comma"), |spec| spec.target = Some("y".into())).unwrap().notes().join("\n");
    assert!(notes.contains("`id`: 36 different texts in 36 training rows"), "{notes}");
    assert!(notes.contains("`comma`: its cells look like numbers with a decimal comma"), "{notes}");
    let classes = table("kind,y", 60, |k| format!("k{},{k}.5", k % 25));
    let notes = load(&classes, |_| {}).unwrap().notes().join("\n");
    assert!(!notes.contains("kind"), "{notes}");
}

#[test]
fn fingerprints_follow_the_bytes_and_the_split() {
    let plain = load(&good(), |_| ()).unwrap();
    let other_split = load(&good(), |spec| spec.seed = 1).unwrap();
    let other_data = load(&good().replace("39,", "38.5,"), |_| ()).unwrap();
    let other_name = load_bytes("other.csv", good().as_bytes(), |_| ()).unwrap();
    assert_eq!(plain.fingerprint(), other_name.fingerprint());
    assert_eq!(plain.data_fingerprint(), other_split.data_fingerprint());
    assert_ne!(plain.fingerprint(), other_split.fingerprint());
    assert_ne!(plain.data_fingerprint(), other_data.data_fingerprint());
    assert_eq!(plain.data_fingerprint().len(), 64);
    let abc = load_bytes("t.csv", b"a,b\n", |_| ());
    assert!(abc.is_err());
}

#[test]
fn bad_files_get_one_clear_sentence() {
    refused("", |_| (), &["no rows"]);
    refused("x,y\n", |spec| spec.header = Some(true), &["no rows"]);
    refused("x,y\n1,2\n3\n", |_| (), &["row 2 (line 3)", "1 cells", "has 2"]);
    refused("x,y\n1,2,3\n", |_| (), &["row 1", "3 cells"]);
    refused("x,x\n1,2\n", |_| (), &["two columns", "`x`"]);
    refused(&good(), |spec| spec.target = Some("Y".into()), &["no column `Y`", "`x`, `kind`, `y`"]);
    refused(&good(), |spec| spec.ignore = vec![ColumnRef::Index(9)], &["no column `9`"]);
    refused(&good(), |spec| spec.delimiter = Some('é'), &["`é`", "ASCII"]);
    let message = load_bytes("t.csv", b"x,y\n1,\xff\n", |_| ()).unwrap_err();
    assert!(message.contains("line 2") && message.contains("UTF-8"), "{message}");
    let missing = Problem::prepare(&DataSpec::new("nowhere.csv"), Path::new(".")).unwrap_err().to_string();
    assert!(missing.contains("nowhere.csv"), "{missing}");
    let truncated = load_bytes("t.csv.gz", &[0x1f, 0x8b, 8, 0], |_| ()).unwrap_err();
    assert!(truncated.contains("t.csv.gz"), "{truncated}");
}

#[test]
fn bad_targets_get_one_clear_sentence() {
    refused(&table("x,y", 20, |i| format!("{i},yes")), |_| (), &["always `yes`", "two classes"]);
    refused(&table("x,y", 20, |i| format!("{i},0.5")), |_| (), &["`y`", "same value"]);
    let hole = table("x,y", 20, |i| format!("{i},{}", if i == 6 { "" } else { "1.5" }));
    refused(&hole, |_| (), &["row 7 (line 8)", "`y`"]);
    let infinite =
        table("x,y", 20, |i| format!("{i},{}", if i == 6 { "inf".into() } else { format!("{i}.5") }));
    refused(&infinite, |_| (), &["row 7", "`y`", "`inf`", "finite"]);
    let infinite = table("x,y", 20, |i| format!("{i},{}", if i == 6 { "inf" } else { ["0", "1"][i % 2] }));
    refused(&infinite, |spec| spec.task = Some(Task::Classification), &["row 7", "`inf`"]);
    let word = table("x,y", 20, |i| format!("{i},{}", if i == 6 { "six".into() } else { format!("{i}.5") }));
    refused(&word, |spec| spec.task = Some(Task::Regression), &["row 7", "`y`", "`six`"]);
    refused(&word, |_| (), &["20 different values in 20 rows", "regression"]);
}

#[test]
fn bad_columns_get_one_clear_sentence() {
    refused(&table("same,y", 20, |i| format!("1,{}", i % 2)), |_| (), &["no column is left"]);
    let infinite =
        table("x,y", 20, |i| format!("{},{}", if i == 3 { "-inf".into() } else { i.to_string() }, i % 2));
    refused(&infinite, |_| (), &["row 4 (line 5)", "`x`", "`-inf`", "finite"]);
    let names = table("id,x,y", 600, |i| {
        format!("{},{i},{}", if i == 2 { "7".into() } else { format!("u{i}") }, i % 2)
    });
    refused(&names, |_| (), &["`id`", "different values", "`u0`", "row 1", "ignore"]);
    let huge = table("x,y", 20, |i| format!("{}e307,{}", i % 9, i % 2));
    refused(&huge, |_| (), &["`x`", "too large"]);
}

#[test]
fn too_few_rows_get_one_clear_sentence() {
    refused("x,y\n1,2\n", |_| (), &["1 rows are too few"]);
    refused(
        "x,y\n1,0.5\n2,1.5\n3,2.5\n",
        |spec| spec.validation = 0.1,
        &["3 rows", "validation part would be empty"],
    );
    refused(&good(), |spec| spec.validation = 1.5, &["`validation` is 1.5"]);
}

#[test]
fn outer_folds_divide_all_rows_and_what_they_hold_changes_nothing_else() {
    let text = |spoilt: &[u32]| {
        table("a,b,y", 60, |i| {
            let wild = if spoilt.contains(&(i as u32)) { 1e6 } else { 0.0 };
            format!("{},{},{}", i % 7, (i * i) as f64 + wild, i as f64 / 2.0 - wild)
        })
    };
    let outer = |fold| move |spec: &mut DataSpec| spec.outer = Some(OuterFold { fold, folds: 4 });
    let seen = |problem: &Problem| [problem.train().rows(), problem.validation().rows()].concat();
    let mut held_out = Vec::new();
    for fold in 0..4 {
        let problem = load(&text(&[]), outer(fold)).unwrap();
        assert_eq!((problem.train().len(), problem.validation().len(), problem.held_out_rows()), (36, 9, 15));
        let left: Vec<u32> = (0..60).filter(|row| !seen(&problem).contains(row)).collect();
        assert_eq!(left.len(), 15);
        // Whatever stands in the rows left out, in inputs and targets, no trial can tell.
        let spoilt = load(&text(&left), outer(fold)).unwrap();
        assert_eq!((spoilt.train(), spoilt.validation()), (problem.train(), problem.validation()));
        assert_eq!(spoilt.preprocessing(), problem.preprocessing());
        assert_ne!(spoilt.fingerprint(), problem.fingerprint());
        // Nor by inner folds.
        for inner in problem.folds(3, 1, 7).unwrap() {
            assert!(inner.train.iter().chain(&inner.validation).all(|row| !left.contains(row)));
        }
        held_out.extend(left);
    }
    held_out.sort_unstable();
    assert_eq!(held_out, (0..60).collect::<Vec<u32>>());

    refused(&text(&[]), outer(4), &["`outer.fold` is 4", "below the number of outer folds"]);
    refused(
        &text(&[]),
        |spec| spec.outer = Some(OuterFold { fold: 0, folds: 61 }),
        &["61 folds cannot be made of 60 rows"],
    );
    let with_test = load(&text(&[]), |spec| {
        outer(0)(spec);
        spec.test_file = Some("table.csv".into());
    });
    assert!(with_test.unwrap_err().contains("leave out `test_file`"));
}

#[test]
fn outer_folds_in_time_train_on_what_came_before() {
    let text = table("a,y", 50, |i| format!("{},{}", i % 7, i as f64 / 2.0));
    let problem = load(&text, |spec| {
        spec.split = Some(SplitKind::Time);
        spec.outer = Some(OuterFold { fold: 1, folds: 4 });
    });
    let problem = problem.unwrap();
    let last = |rows: &[u32]| rows.iter().max().copied();
    assert_eq!((last(problem.train().rows()), last(problem.validation().rows())), (Some(15), Some(19)));
    assert_eq!(problem.held_out_rows(), 10);
}
