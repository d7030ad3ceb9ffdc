//! Replicates of trials, from the study file to the report on the winner.

use serde_json::Value;

use crate::support::{Bench, Ended, eventually};

/// A study of small networks on a noisy table of two classes; `head` comes first, `quality` under `[network.quality]`.
fn bench(head: &str, quality: &str, epochs: usize) -> Bench {
    let bench = Bench::with_study(&format!(
        "trials = 3\n{head}\n[network.data]\nfile = \"data.csv\"\ntarget = \"y\"\n[network.settings]\n\
         epochs = {epochs}\nunits = 6\nbatch_size = 16\n{quality}\n[policy]\nsampler = \"random\"\n\
         scheduler = \"run_all\"\n[params.learning_rate]\ntype = \"float\"\nlow = 0.001\nhigh = 0.03\nscale = \"log\"\n"
    ));
    bench.write_classes();
    bench
}

fn report(bench: &Bench) -> Value {
    serde_json::from_str(&bench.read("study.trials/best/quality.json")).expect("JSON")
}

const ACCURACY: &str = "[metric]\nname = \"val_accuracy\"\ndirection = \"maximize\"\ncurve = \"best\"";

#[test]
fn folds_repeated_tell_mean_spread_and_consistency_and_the_winner_is_measured_once() {
    let bench = bench(ACCURACY, "[network.quality]\nfolds = 4\nrepeats = 2", 6);
    let out = bench.ok(&["tune"]).out;
    assert!(out.contains("8 replicates by folds"), "{out}");
    assert!(out.contains("of 160 examples predicted at least twice: always right"), "{out}");
    assert!(out.contains("beyond chance (Fleiss' kappa): "), "{out}");
    assert!(
        out.contains("trained anew on 160 rows, ")
            && out.contains(", measured once on 40 rows no trial has seen\n"),
        "{out}"
    );
    assert!(out.contains("\nheld-out test accuracy  "), "{out}");
    assert_eq!(out.matches("training loss ").count(), 1, "one sentence on the curves: {out}");

    let saved = report(&bench);
    let trials = bench.trials();
    let best = &trials[saved["trial"].as_u64().unwrap() as usize];
    let accuracy =
        saved["quality"]["metrics"].as_array().unwrap().iter().find(|m| m["name"] == "val_accuracy");
    assert_eq!(
        accuracy.unwrap()["mean"],
        best["values"]["val_accuracy"],
        "the table is of the trial's best epoch"
    );
    let examples = saved["quality"]["consistency"]["examples"].as_array().unwrap();
    assert!(examples.len() == 160 && examples.iter().all(|hits| hits["times"] == 2));

    let told = bench.ok(&["quality"]).out;
    assert!(out.contains(&told), "{told}");
    let csv = bench.ok(&["quality", "--examples"]).out;
    assert!(csv.starts_with("example,times,right\n") && csv.lines().count() == 161, "{csv}");
    let json: Value = serde_json::from_str(&bench.ok(&["quality", "--json"]).out).unwrap();
    assert!(
        json["quality"]["consistency"]["kappa"].is_f64() && json["anew"]["earlier"] == serde_json::json!([])
    );
    bench.verify();
}

#[test]
fn the_same_seed_gives_the_same_table_however_many_workers_there_are() {
    let quality = "[network.quality]\nseeds = 3";
    let [one, two] = [1, 2].map(|workers| {
        let bench = bench(ACCURACY, quality, 5);
        bench.ok(&["tune", "-j", &workers.to_string()]);
        bench.read("study.trials/best/quality.json")
    });
    assert_eq!(one, two);
}

#[test]
fn one_pass_of_cross_validation_says_why_it_cannot_tell_consistency() {
    let bench = bench("", "[network.quality]\nfolds = 3", 4);
    let out = bench.ok(&["tune"]).out;
    assert!(out.contains("consistency is not known: no example was predicted twice"), "{out}");
}

#[test]
fn a_lower_bound_or_two_objectives_are_what_the_study_is_about() {
    let bench = bench("", "[network.quality]\nfolds = 3\nobjective = \"lower_bound\"", 4);
    bench.ok(&["tune"]);
    for trial in bench.trials() {
        let bound = trial["values"]["val_loss_upper"].as_f64().expect("the bound of a loss is above");
        let best = trial["curve"].as_array().unwrap().iter().find(|p| p["val_loss_upper"] == bound).unwrap();
        assert!(bound > best["val_loss"].as_f64().unwrap(), "{trial}");
    }

    let bench = self::bench("", "[network.quality]\nseeds = 3\nobjective = \"mean_and_spread\"", 4);
    bench.ok(&["tune"]);
    assert!(
        bench
            .trials()
            .iter()
            .all(|t| t["values"]["val_loss"].is_f64() && t["values"]["val_loss_sd"].is_f64())
    );

    let metrics = "[metric]\nname = \"val_accuracy_lower\"\ndirection = \"maximize\"";
    let bench = self::bench(metrics, "[network.quality]\nseeds = 2\nobjective = \"lower_bound\"", 2);
    bench.ok(&["tune"]);
}

#[test]
fn tables_and_names_that_do_not_fit_are_refused_before_anything_runs() {
    let refused = |metric: &str, quality: &str| bench(metric, quality, 2).error(&["tune"]);
    let said = refused(ACCURACY, "[network.quality]\nfolds = 3\nobjective = \"lower_bound\"");
    assert!(
        said.contains("is about `val_accuracy_lower`, but the study's metric is `val_accuracy`"),
        "{said}"
    );
    let said = refused("[metric]\nname = \"val_loss_sd\"", "");
    assert!(said.contains("spreads and bounds need [network.quality]"), "{said}");
    let said = refused("[metric]\nname = \"val_accuracy_upper\"", "[network.quality]\nseeds = 2");
    assert!(said.contains("`…_lower` where more is better"), "{said}");
    let said = refused("", "[network.quality]\nfolds = 3\nseeds = 3");
    assert!(said.contains("either `folds` (cross-validation) or `seeds`"), "{said}");
    let said = refused("", "[network.quality]\nfolds = 500");
    assert!(said.contains("[network.quality]: ") && said.contains("500"), "{said}");
    let said = bench("", "", 2).error(&["quality"]);
    assert!(said.contains("no") || said.contains("does not exist"), "{said}");
}

/// Two interrupts, the first once it has begun to train; unless it is done before.
fn stopped_at_once(bench: &Bench) -> Ended {
    let mut tuner = bench.start(&["tune"]);
    eventually("a trial has begun", || bench.events().len() > 20);
    for told in ["finishing what is running", "stopping now"] {
        if tuner.is_running() {
            tuner.signal("INT");
        }
        eventually("it has heard", || tuner.err().contains(told) || !tuner.is_running());
    }
    tuner.wait()
}

#[test]
fn an_interrupted_study_continues_with_the_same_bits_and_trains_its_winner_at_the_end() {
    let quality = "[network.quality]\nseeds = 3";
    let epochs = 400;
    let whole = bench(ACCURACY, quality, epochs);
    whole.ok(&["tune"]);

    // On a busy machine it may be done before it hears; then another one is begun.
    let mut begun = (0..20).map(|_| {
        let cut = bench(ACCURACY, quality, epochs);
        let ended = stopped_at_once(&cut);
        (cut, ended)
    });
    let (cut, ended) = begun.find(|(_, ended)| ended.code != 0).expect("one that is stopped before its end");
    assert_eq!(ended.code, 130, "{ended:#?}");
    assert!(!cut.has("study.trials/best/quality.json"), "nothing is measured before the end");
    cut.ok(&["tune"]);
    assert_eq!(cut.read("study.trials/best/quality.json"), whole.read("study.trials/best/quality.json"));
    cut.verify();
}

#[test]
fn a_winner_is_measured_again_only_if_another_one_wins_and_the_report_says_so() {
    let bench = bench(ACCURACY, "[network.quality]\nseeds = 2", 5);
    bench.ok(&["tune", "-n", "1"]);
    let first = bench.read("study.trials/best/quality.json");
    bench.ok(&["tune", "-n", "1"]);
    assert_eq!(bench.read("study.trials/best/quality.json"), first);
    for trials in 2..12 {
        let out = bench.ok(&["tune", "-n", &trials.to_string()]).out;
        let saved = report(&bench);
        if saved["trial"] != 0 {
            assert_eq!(saved["anew"]["earlier"], serde_json::json!([0]));
            assert!(out.contains("; an earlier winner was measured on them too (trial 0)"), "{out}");
            return;
        }
    }
    panic!("no trial beat the first");
}

#[test]
fn without_replicates_the_winner_may_be_trained_anew_too_and_is_diagnosed_in_any_case() {
    let plain = bench(ACCURACY, "", 5);
    let out = plain.ok(&["tune"]).out;
    assert!(out.contains("\nheld-out test accuracy  ") && !out.contains("trained anew"), "{out}");
    assert_eq!(out.matches("training loss ").count(), 1, "{out}");

    let anew = bench(ACCURACY, "", 5);
    anew.edit("[network.data]", "[network]\nretrain = true\n[network.data]");
    let out = anew.ok(&["tune"]).out;
    assert!(out.contains("trained anew on 160 rows, ") && out.contains("measured once on 40 rows"), "{out}");
    assert!(out.contains(" epochs with a learning rate that fell to zero, "), "{out}");
    assert!(report(&anew)["quality"].is_null());
    let settings = |bench: &Bench| -> serde_json::Value {
        let model: serde_json::Value =
            serde_json::from_str(&bench.read("study.trials/best/model.json")).unwrap();
        model["settings"].clone()
    };
    assert_eq!(settings(&anew)["schedule"], "cosine");

    // Unless the file says otherwise, or says what the rate's course is.
    for (from, to) in [
        ("retrain = true", "retrain = true\ncooldown = false"),
        ("[network.settings]", "[network.settings]\nschedule = \"constant\""),
        ("[network.settings]", "[network.settings]\nmax_steps = 100000"),
    ] {
        let held = bench(ACCURACY, "", 5);
        held.edit("[network.data]", "[network]\nretrain = true\n[network.data]");
        held.edit(from, to);
        let out = held.ok(&["tune"]).out;
        assert!(out.contains("trained anew on 160 rows, ") && !out.contains("fell to zero"), "{out}");
        assert_eq!(settings(&held)["schedule"], "constant");
    }
}
