//! Nested cross-validation: whole studies that leave an outer fold out, and winners measured on it. Labels drawn at random detect leaks: where
//! there is nothing to learn, the best of many trials flatters, and what no trial has seen does not.

use serde_json::Value;

use crate::support::{Bench, eventually, toml_text};

/// A classifier for 300 rows whose labels are random: a hash of the row, by the parameter k, which learns nothing. It scores on the rows that
/// it is told to, and notes down what that was.
const RANDOM: &str = "\
    echo @outer_fold@ @outer_folds@ @outer_part@ >> calls\n\
    awk -v k=@k@ -v fold=@outer_fold@ -v folds=@outer_folds@ -v part=@outer_part@ 'BEGIN {\n\
      srand(12345); for (row = 0; row < 300; row++) label[row] = rand() < 0.5\n\
      srand(k); for (row = 0; row < 300; row++) guess[row] = rand() < 0.5\n\
      for (row = 0; row < 300; row++) if ((row % folds == fold) == (part == \"test\")) { n++; hits += label[row] == guess[row] }\n\
      printf \"{\\\"accuracy\\\": %.6f, \\\"rows\\\": %d}\\n\", hits / n, n }'";

fn random_labels(script: &str) -> Bench {
    let mut script = script.replace('{', "{{").replace('}', "}}");
    for name in ["k", "outer_fold", "outer_folds", "outer_part"] {
        script = script.replace(&format!("@{name}@"), &format!("{{{name}}}"));
    }
    Bench::with_study(&format!(
        "trials = 40\n[metric]\nname = \"accuracy\"\ndirection = \"maximize\"\n[policy]\nsampler = \"random\"\n\
         [params.k]\ntype = \"int\"\nlow = 1\nhigh = 100000\n[command]\nrun = [\"sh\", \"-c\", {}]\n",
        toml_text(&script)
    ))
}

fn result(out: &str) -> Value {
    serde_json::from_str(out.lines().last().expect("a line")).expect("JSON")
}

#[test]
fn nothing_is_learnt_from_random_labels_and_the_outer_folds_say_so() {
    let bench = random_labels(RANDOM);
    let result = result(&bench.ok(&["tune", "--nested", "5", "--json"]).out);
    let inner = result["inner"]["accuracy"].as_f64().unwrap();
    let outer = result["held_out"]["accuracy"]["mean"].as_f64().unwrap();
    // The best of 40 accuracies over 240 rows lies 2.2 standard deviations of 0.032 above a half; the mean over all 300 rows left out has a
    // standard deviation of 0.029. Seeds are fixed.
    assert!(inner > 0.54, "the best of forty flatters: {inner}");
    assert!((outer - 0.5).abs() < 0.09 && outer < inner, "{outer} on rows that no trial has seen");
    assert!(result["held_out"]["accuracy"]["standard_error"].as_f64().unwrap() > 0.0);

    let calls = bench.read("calls");
    for fold in 0..5 {
        let count = |part: &str| calls.lines().filter(|call| **call == format!("{fold} 5 {part}")).count();
        assert_eq!((count("validation"), count("test")), (40, 1), "fold {fold}");
        bench.ok(&["verify", &format!("study.nested/outer-{fold}.luthier")]);
    }
    let params = |fold: usize| result["outer_folds"][fold]["params"]["k"].clone();
    assert!((1..5).any(|fold| params(fold) != params(0)), "each fold draws for itself: {result}");

    // The same again reads what is there, and says it to people.
    let again = bench.ok(&["tune", "--nested", "5"]);
    assert_eq!(bench.read("calls"), calls);
    let mean = format!("  accuracy  {}", (outer * 1e5).round() / 1e5);
    assert!(again.out.contains(&mean) && again.out.contains(" ± "), "{mean}: {}", again.out);
    assert!(again.out.contains("the winners' own trials had said accuracy 0.5"), "{}", again.out);
    assert!(again.err.contains("outer fold 4 of 5 is left out"), "{}", again.err);
}

#[test]
fn a_run_that_ends_early_goes_on_where_it_was() {
    let bench = random_labels(RANDOM);
    bench.edit("trials = 40", "trials = 4");
    let out = bench.ok(&["tune", "--nested", "2", "--for", "0s"]).out;
    assert!(out.contains("the time is up at outer fold 0 of 2"), "{out}");
    assert!(out.contains("to continue: luthier tune study.toml --nested 2"), "{out}");
    // Killed in the second fold.
    let running = bench.start(&["tune", "--nested", "2"]);
    eventually("the second fold has begun", || {
        bench.has("calls") && bench.read("calls").contains("1 2 validation")
    });
    running.kill();
    bench.ok(&["tune", "--nested", "2"]);
    let calls = bench.read("calls");
    let count = |call: &str| calls.lines().filter(|line| *line == call).count();
    assert_eq!((count("0 2 validation"), count("0 2 test"), count("1 2 test")), (4, 1, 1));
    // What ran when it was killed has run again.
    assert!((4..=5).contains(&count("1 2 validation")), "{calls}");
    // Another number of folds would leave out other rows.
    let error = bench.error(&["tune", "--nested", "3"]);
    assert!(
        error.contains("there were 2 outer folds when the study began, and 3 would leave out"),
        "{error}"
    );
    assert!(error.contains("say --nested 2"), "{error}");
    // More trials go on in each fold; a winner that stays is not measured again.
    bench.ok(&["tune", "--nested", "2", "--trials", "5"]);
    let calls = bench.read("calls");
    assert_eq!(calls.lines().filter(|call| *call == "0 2 validation").count(), 5);
    assert!(calls.lines().filter(|call| call.ends_with("test")).count() <= 4, "{calls}");
}

#[test]
fn a_winner_that_cannot_be_measured_leaves_the_number_open() {
    let script = RANDOM.replacen("awk", "[ @outer_part@ = test ] && [ @outer_fold@ = 1 ] && exit 3\nawk", 1);
    let bench = random_labels(&script);
    bench.edit("trials = 40", "trials = 3");
    let ended = bench.luthier(&["tune", "--nested", "3"]);
    assert_eq!(ended.code, 1, "{ended:#?}");
    assert!(
        ended.err.contains("the winner of outer fold 1 could not be measured: exit code 3"),
        "{}",
        ended.err
    );
    assert!(ended.out.contains("outer fold 1: not measured"), "{}", ended.out);
    assert!(ended.out.contains("not all outer folds were measured"), "{}", ended.out);
}

#[test]
fn what_cannot_be_nested_is_refused() {
    let bench = random_labels(&RANDOM.replace("@outer_part@", "validation"));
    let error = bench.error(&["tune", "--nested", "3"]);
    assert!(
        error.contains("{outer_part} is not among its words") && error.contains("study.toml:"),
        "{error}"
    );
    assert!(!bench.has("study.nested/outer-0.luthier"));
    let error = bench.error(&["tune", "study.luthier", "--nested", "3"]);
    assert!(error.contains("give it a study file, not the log"), "{error}");
    assert_eq!(bench.luthier(&["tune", "--nested", "1"]).code, 2);
    // Without the flag there is no outer fold.
    let plain = random_labels(RANDOM);
    plain.ok(&["tune", "--trials", "1"]);
    assert_eq!(plain.read("calls"), "1 1 validation\n");
}

/// A study of small networks on 200 rows whose labels are random, or follow from the inputs.
fn networks(random: bool, more: &str) -> Bench {
    let bench = Bench::with_study(&format!(
        "trials = 12\n{more}\n[metric]\nname = \"val_accuracy\"\ndirection = \"maximize\"\ncurve = \"best\"\n\
         [network.data]\nfile = \"data.csv\"\ntarget = \"y\"\n[network.settings]\nepochs = 8\nunits = 12\nbatch_size = 16\n\
         [policy]\nsampler = \"random\"\nscheduler = \"run_all\"\n[params.learning_rate]\ntype = \"float\"\nlow = 0.001\nhigh = 0.1\nscale = \"log\"\n",
    ));
    let rows: String = (0..200_u64)
        .map(|k| {
            let hash = |salt: u64| {
                (k * 2 + salt)
                    .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                    .rotate_left(31)
                    .wrapping_mul(0xBF58_476D_1CE4_E5B9)
                    >> 40
            };
            let (a, b, coin) = (hash(1) % 1000, hash(50_000) % 1000, hash(900_001) % 2);
            let label = if random { coin == 1 } else { a > b };
            format!("{a},{b},{}\n", if label { "yes" } else { "no" })
        })
        .collect();
    bench.write("data.csv", &format!("a,b,y\n{rows}"));
    bench
}

#[test]
fn networks_are_measured_on_rows_that_no_trial_has_seen() {
    // The best epoch of twelve networks on 32 rows flatters; the mean over all 200 rows has a standard deviation of 0.035.
    let bench = networks(true, "");
    let random = result(&bench.ok(&["tune", "--nested", "5", "--json"]).out);
    let inner = random["inner"]["val_accuracy"].as_f64().unwrap();
    let outer = random["held_out"]["accuracy"]["mean"].as_f64().unwrap();
    assert!(
        inner > 0.58 && (outer - 0.5).abs() < 0.12 && outer < inner - 0.05,
        "{inner} inside, {outer} outside"
    );
    // Where there is something to learn, it is learnt.
    let learnt = result(&networks(false, "").ok(&["tune", "--nested", "3", "--json"]).out);
    assert!(learnt["held_out"]["accuracy"]["mean"].as_f64().unwrap() > 0.85, "{learnt}");
    // Nothing is done twice.
    let again = result(&bench.ok(&["tune", "--nested", "5", "--json"]).out);
    assert_eq!(again["held_out"], random["held_out"]);
}

#[test]
fn networks_may_race_inner_folds() {
    let bench = networks(true, "[replicates]\nfolds = 3");
    bench.edit("trials = 12", "trials = 5");
    bench.edit("scheduler = \"run_all\"", "scheduler = \"race\"");
    let found = result(&bench.ok(&["tune", "--nested", "2", "--json"]).out);
    let outer = found["held_out"]["accuracy"]["mean"].as_f64().unwrap();
    assert!((outer - 0.5).abs() < 0.15, "{found}");
}

#[test]
fn trials_that_pause_are_counted_as_those_that_end() {
    let bench = networks(false, "");
    bench.edit("scheduler = \"run_all\"", "scheduler = \"successive_halving\"");
    let found = result(&bench.ok(&["tune", "--nested", "2", "--json"]).out);
    for fold in found["outer_folds"].as_array().unwrap() {
        assert_eq!(fold["trials"], 12, "{fold}");
        assert!(fold["trial"].as_u64() < fold["trials"].as_u64(), "{fold}");
    }
}
