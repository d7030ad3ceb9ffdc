//! Studies that are given nothing but data.

use crate::support::Bench;

/// Rows of a number that follows two others.
fn table(rows: usize) -> String {
    let row = |i: usize| {
        let (a, b) = ((i * 7 % 23) as f64 / 23.0, (i * 5 % 17) as f64 / 17.0);
        format!("{a},{b},{}\n", 2.0 * a - b + (i % 3) as f64 * 0.01)
    };
    format!("a,b,price\n{}", (0..rows).map(row).collect::<String>())
}

#[test]
fn a_table_alone_is_tuned_and_the_same_command_continues() {
    let bench = Bench::new();
    bench.write("houses.csv", &table(150));
    let tune = ["tune", "--data", "houses.csv", "--target", "price", "--trials", "3", "--quiet"];
    let first = bench.ok(&tune);
    assert!(first.err.contains("wrote houses.toml"), "{}", first.err);
    let file = bench.read("houses.toml");
    // Three trials open two parameters, the most important ones.
    assert!(file.contains("[params.learning_rate]") && file.contains("[params.beta1]"), "{file}");
    assert_eq!(file.matches("[params.").count(), 2, "{file}");
    assert!(first.out.contains("val_rmse"), "{}", first.out);

    let again = bench.ok(&["tune", "--data", "houses.csv", "--target", "price", "--trials", "4", "--quiet"]);
    assert!(!again.err.contains("wrote"), "{}", again.err);
    assert!(bench.ok(&["verify", "houses.toml"]).out.contains("4 trials"));
}

#[test]
fn more_trials_open_more_parameters() {
    let bench = Bench::new();
    bench.write("houses.csv", &table(150));
    let opened = |trials: &str, output: &str| {
        bench.ok(&["init", "--data", "houses.csv", "--trials", trials, "--output", output]);
        bench.ok(&["tune", output, "--for", "0s", "-q"]);
        bench.read(output).matches("[params.").count()
    };
    assert!(opened("20", "small.toml") < opened("60", "large.toml"));
}

#[test]
fn a_study_file_of_other_data_is_not_taken_for_this_one() {
    let bench = Bench::new();
    bench.write("houses.csv", &table(150));
    bench.ok(&["init", "--data", "houses.csv", "--target", "b", "--output", "houses.toml"]);
    let error = bench.error(&["tune", "--data", "houses.csv", "--target", "price", "-q"]);
    assert!(error.contains("houses.toml is there already and is about something else"), "{error}");
}

#[test]
fn text_is_read_as_told_and_the_file_can_be_tuned() {
    let bench = Bench::new();
    bench.write("poem.txt", &"the cat sat on the mat and looked at the hat\n".repeat(20));
    let read = ["--read", "format=text", "--read", "text.steps=8"];
    bench.ok(&[&["init", "--data", "poem.txt", "--output", "poem.toml"], &read[..]].concat());
    let file = bench.read("poem.toml");
    assert!(file.contains("steps = 8"), "{file}");
    bench.ok(&["tune", "poem.toml", "--for", "0s", "-q"]);
    let error = bench.error(&["init", "--data", "poem.txt", "--output", "b.toml", "--read", "format"]);
    assert!(error.contains("KEY=VALUE"), "{error}");
}

#[test]
fn a_wrong_target_is_told_with_the_columns() {
    let bench = Bench::new();
    bench.write("houses.csv", &table(150));
    let error = bench.error(&["tune", "--data", "houses.csv", "--target", "prize", "-q"]);
    assert!(error.contains("prize") && error.contains("`price`"), "{error}");
    assert!(!bench.has("houses.toml"));
}

#[test]
fn what_is_noticed_about_the_data_is_said_once() {
    let bench = Bench::new();
    let rows: String =
        (0..60).map(|k| format!("{},{k}\n", if k == 7 { String::new() } else { k.to_string() })).collect();
    bench.write("holes.csv", &format!("a,y\n{rows}"));
    let said = bench.ok(&["tune", "--data", "holes.csv", "--target", "y", "--trials", "1"]).err;
    assert_eq!(said.matches("1 missing training cell").count(), 1, "{said}");
    let refused = bench.luthier(&["tune", "--data", "holes.csv", "mine.toml"]);
    assert_eq!(refused.code, 2, "a study file would not be read: {refused:?}");
}
