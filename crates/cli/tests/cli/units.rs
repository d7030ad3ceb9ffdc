//! What the budget of a network counts: epochs, updates of the weights, seconds, or per cent of the rows.

use serde_json::Value;

use crate::support::Bench;

fn bench(metric: &str, budget: &str, policy: &str, settings: &str) -> Bench {
    let bench = Bench::with_study(&format!(
        "trials = 9\n[metric]\nname = \"val_loss\"\n{metric}\n[budget]\n{budget}\n[policy]\nsampler = \"random\"\n{policy}\n\
         [network.data]\nfile = \"data.csv\"\ntarget = \"y\"\n[network.settings]\nunits = 6\n{settings}\n\
         [params.learning_rate]\ntype = \"float\"\nlow = 0.001\nhigh = 0.1\nscale = \"log\"\n\
         [params.batch_size]\ntype = \"categorical\"\nchoices = [8, 16, 32]\n"
    ));
    bench.write_classes();
    bench
}

fn steps(trial: &Value) -> Vec<u64> {
    trial["curve"].as_array().unwrap().iter().map(|point| point["step"].as_u64().unwrap()).collect()
}

/// Of 200 rows 120 are trained on.
fn updates_in_an_epoch(trial: &Value) -> u64 {
    120_u64.div_ceil(trial["params"]["batch_size"].as_u64().unwrap())
}

#[test]
fn updates_of_the_weights_are_counted_whatever_the_batch_size() {
    for mode in ["stop", "promote"] {
        let policy = format!("scheduler = {{ name = \"asha\", mode = \"{mode}\", min_budget = 10 }}");
        let bench = bench("", "unit = \"steps\"\nmax = 90", &policy, "schedule = \"cosine\"");
        let out = bench.ok(&["tune"]);
        assert!(out.out.contains(" of work, ") && out.out.contains(" steps\n"), "{}", out.out);
        let trials = bench.trials();
        for trial in &trials {
            let each = updates_in_an_epoch(trial);
            let expected: Vec<u64> = (1..).map(|k| k * each).take(steps(trial).len()).collect();
            assert_eq!(steps(trial), expected, "{mode}: {trial}");
            let end = 90_u64.div_ceil(each) * each;
            assert!(*expected.last().unwrap() <= end, "{mode}: {trial}");
            assert_eq!(trial["state"] == "completed", *expected.last().unwrap() == end, "{mode}: {trial}");
        }
        let sizes = trials.iter().filter(|trial| trial["state"] == "completed").map(updates_in_an_epoch);
        assert!(sizes.count() >= 1 && trials.iter().any(|trial| trial["state"] != "completed"), "{trials:?}");
        bench.ok(&["verify"]);
    }
}

#[test]
fn the_largest_step_bounds_a_training_in_epochs_too() {
    for (settings, expected) in [("epochs = 50", 5), ("epochs = 3", 3), ("", 5)] {
        let bench = bench("", "max = 5", "scheduler = \"run_all\"", settings);
        bench.ok(&["tune", "-n", "2"]);
        for trial in bench.trials() {
            assert_eq!(trial["step"].as_u64(), Some(expected), "{settings}: {trial}");
        }
    }
}

#[test]
fn seconds_end_a_training_where_nothing_else_does() {
    let bench = bench("", "unit = \"seconds\"\nmax = 1", "", "");
    let out = bench.ok(&["tune", "-n", "2"]).out;
    assert!(out.contains(" seconds\n") && !out.contains("too short"), "{out}");
    for trial in bench.trials() {
        assert!(trial["state"] == "completed" && trial["step"].as_u64() >= Some(1), "{trial}");
        assert!(trial["seconds"].as_f64().unwrap() > 0.95, "{trial}");
    }
    bench.ok(&["verify"]);
}

#[test]
fn a_part_of_the_rows_is_a_training_of_its_own_and_all_of_them_the_usual_one() {
    let percent = bench("", "unit = \"percent\"", "", "epochs = 6");
    let out = percent.ok(&["tune"]);
    assert!(out.out.contains("held-out test loss  "), "{}", out.out);
    assert!(out.err.contains("random + asha") && out.err.contains("paused: at percent 4, "), "{}", out.err);
    let usual = bench("curve = \"last\"", "", "scheduler = \"run_all\"", "epochs = 6");
    usual.ok(&["tune"]);
    let usual = usual.trials();
    let mut ended = 0;
    for (trial, whole) in percent.trials().iter().zip(&usual) {
        assert_eq!(trial["params"], whole["params"]);
        assert!([4, 12, 36, 100].starts_with(&steps(trial)), "{trial}");
        if trial["state"] == "completed" {
            assert_eq!(trial["values"], whole["values"]);
            assert_eq!(trial["values"]["val_loss"], trial["curve"][3]["val_loss"]);
            ended += 1;
        }
    }
    assert!(ended >= 1);
    percent.ok(&["verify"]);
    let again = percent.ok(&["replay"]).out;
    assert!(again.contains("the curve is that of the study"), "{again}");
    assert!(percent.has("study.trials/best/model.json"));
}

#[test]
fn who_is_at_the_largest_step_at_once_has_completed() {
    let policy = "scheduler = { name = \"asha\", mode = \"promote\", min_budget = 1 }";
    let bench = bench("", "unit = \"step\"\nmax = 3", policy, "");
    bench.ok(&["tune", "-n", "3"]);
    assert!(bench.trials().iter().all(|trial| trial["state"] == "completed" && steps(trial).len() == 1));
    bench.ok(&["verify"]);
}

/// Its epochs are those of the trial, not the usual twenty.
#[test]
fn a_winner_by_steps_is_trained_anew_for_as_long_as_its_trial() {
    for settings in ["", "max_steps = 600", "schedule = \"cosine\"", "max_steps = 600\nschedule = \"cosine\""]
    {
        let bench = bench("", "unit = \"step\"\nmax = 600", "scheduler = \"run_all\"", settings);
        bench.edit("[network.data]", "[network]\nretrain = true\n[network.data]");
        bench.edit("choices = [8, 16, 32]", "choices = [32]");
        let out = bench.ok(&["tune", "-n", "1"]).out;
        assert!(out.contains(", 150 epochs"), "{settings}: {out}");
    }
}

#[test]
fn another_scheduler_is_checked_before_it_is_written_down() {
    let bench = bench("", "unit = \"percent\"", "", "epochs = 2");
    bench.ok(&["tune", "-n", "2"]);
    bench.edit("sampler = \"random\"", "sampler = \"random\"\nscheduler = \"median\"");
    assert!(bench.error(&["tune", "-n", "2"]).contains("median sends no trial further"));
    bench.edit("scheduler = \"median\"", "");
    bench.ok(&["tune", "-n", "2"]);
}

#[test]
fn folds_have_parts_of_their_rows_too() {
    let bench = bench("", "unit = \"percent\"", "", "epochs = 3");
    bench.edit("[network.data]", "[replicates]\nfolds = 3\n[network.data]");
    assert!(bench.ok(&["tune", "-n", "6"]).err.contains("random + asha"));
    let trials = bench.trials();
    assert!(trials.iter().all(|trial| [4, 12, 36, 100].starts_with(&steps(trial))), "{trials:?}");
    assert!(trials.iter().any(|trial| trial["state"] == "paused"), "{trials:?}");
    bench.ok(&["verify"]);
}

#[test]
fn folds_in_step_have_parts_of_their_rows_too() {
    let bench = bench("", "unit = \"percent\"", "", "epochs = 3");
    bench.edit("[network.data]", "[network.quality]\nfolds = 3\n[network.data]");
    bench.ok(&["tune", "-n", "4"]);
    assert!(bench.trials().iter().all(|trial| [4, 12, 36, 100].starts_with(&steps(trial))));
    bench.ok(&["verify"]);
}

#[test]
fn a_network_without_a_metric_is_after_the_least_loss_of_its_curve() {
    let bench = bench("", "", "scheduler = \"run_all\"", "epochs = 40");
    bench.edit("[metric]\nname = \"val_loss\"\n", "");
    bench.ok(&["tune", "-n", "4"]);
    let trials = bench.trials();
    let losses = |trial: &Value| -> Vec<f64> {
        trial["curve"].as_array().unwrap().iter().map(|point| point["val_loss"].as_f64().unwrap()).collect()
    };
    for trial in &trials {
        let least = losses(trial).into_iter().fold(f64::MAX, f64::min);
        assert_eq!(trial["values"]["val_loss"].as_f64(), Some(least));
    }
    assert!(trials.iter().any(|trial| trial["values"]["val_loss"].as_f64() != losses(trial).last().copied()));
}

#[test]
fn what_does_not_go_with_the_unit_is_said() {
    for (metric, budget, policy, settings, expected) in [
        ("", "unit = \"minutes\"\nmax = 3", "", "", "is not what a network's training can be counted in"),
        ("", "unit = \"step\"", "", "", "give budget.max"),
        ("", "unit = \"step\"\nmax = 9\n[network]\nunit = \"percent\"", "", "", "keep one"),
        (
            "",
            "unit = \"percent\"",
            "scheduler = { name = \"forecast\", scheduler = \"asha\" }",
            "",
            "sends no trial further",
        ),
        ("", "unit = \"second\"\nmax = 3", "", "schedule = \"cosine\"", "give epochs in [network.settings]"),
        ("", "unit = \"percent\"\nmax = 200", "", "", "there are at most 100"),
        ("", "unit = \"percent\"", "scheduler = \"asha\"", "", "asha sends no trial further"),
        ("curve = \"best\"", "unit = \"percent\"", "", "", "say curve = \"last\" in [metric]"),
        ("", "unit = \"step\"\nmax = 90", "scheduler = \"pbt\"", "", "say unit = \"epoch\""),
    ] {
        let said = bench(metric, budget, policy, settings).error(&["tune"]);
        assert!(said.contains(expected), "{budget}: {said}");
    }
}
