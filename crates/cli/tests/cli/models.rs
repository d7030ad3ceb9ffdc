//! Networks before training and after it: summed up, limited, applied to new rows, measured, taken out.

use serde_json::Value;

use crate::support::Bench;

/// Rows of two flowers whose sepals tell them apart; `colour` tells nothing.
fn flowers(rows: usize) -> String {
    let row = |i: usize| {
        let (class, length) = if i.is_multiple_of(2) { ("rose", 2.0) } else { ("tulip", 5.0) };
        let colour = ["red", "white", "pink"][i % 3];
        format!("{},{},{colour},{class}\n", length + (i % 7) as f64 * 0.1, 1.0 + (i % 5) as f64 * 0.2)
    };
    format!("length,width,colour,kind\n{}", (0..rows).map(row).collect::<String>())
}

fn study(extra: &str) -> Bench {
    let bench = Bench::with_study(&format!(
        "trials = 2\n[network.data]\nfile = \"flowers.csv\"\ntarget = \"kind\"\n[network.settings]\nepochs = 15\n\
         batch_size = 16\n{extra}\n[params.units]\ntype = \"int\"\nlow = 4\nhigh = 12\n[params.learning_rate]\n\
         type = \"float\"\nlow = 0.01\nhigh = 0.1\nscale = \"log\"\n"
    ));
    bench.write("flowers.csv", &flowers(120));
    bench
}

fn tuned() -> Bench {
    let bench = study("");
    bench.ok(&["tune", "study.toml", "-q"]);
    bench
}

fn csv_rows(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split(',').collect()).collect()
}

#[test]
fn a_summary_shows_the_network_in_the_middle_of_its_ranges_or_as_asked() {
    let bench = study("");
    let text = bench.ok(&["summary"]).out;
    assert_eq!(
        text,
        "   layer         output  parameters  FLOPs
   input         5
1  dense 8 relu  8               48     96
2  dense 1       1                9     17

parameters  57 learned
depth       2
memory      about 3.0 KiB in training with batches of 16: weights 228 B, gradients 228 B, optimiser 456 B, activations 2.1 KiB
arithmetic  113 FLOPs an example, about three times as many in training
"
    );
    // Also settings that are not tuned, and values beyond the ranges.
    let text = bench.ok(&["summary", "study.toml", "units=20", "layers=0"]).out;
    assert!(text.contains("parameters  6 learned\ndepth       1\n"), "{text}");
    let text = bench.ok(&["summary", "units=20", "--json"]).out;
    let summary: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&summary["learned"], &summary["depth"]), (&(5 * 20 + 20 + 20 + 1).into(), &2.into()));
    assert_eq!(summary["layers"][0]["name"], "dense 20 relu");

    assert_eq!(
        bench.error(&["summary", "units"]),
        "error: there is no study file units; `luthier init` writes one"
    );
    let error = bench.error(&["summary", "unitz=3"]);
    assert!(error.contains("unitz"), "{error}");
    bench.write("study.toml", &crate::support::study("", "true", ""));
    assert_eq!(
        bench.error(&["summary"]),
        "error: study.toml runs a command: only networks, which have a [network] table, can be summed up"
    );
}

#[test]
fn networks_above_a_limit_are_refused_before_training() {
    let bench = study("[network.limits]\nparameters = 50");
    let refusal = "the network has 57 parameters to learn, above the limit of 50: use fewer `units`, `filters` or `layers`, or raise the limit";
    let ended = bench.luthier(&["summary"]);
    assert_eq!(ended.code, 1);
    assert!(ended.out.contains("57 learned"), "{}", ended.out);
    assert_eq!(ended.err, format!("error: a trial with this network would be refused: {refusal}\n"));

    bench.luthier(&["tune", "study.toml", "-n", "30", "-q"]);
    let trials = bench.trials();
    let too_large = |trial: &&Value| trial["params"]["units"].as_i64().is_some_and(|units| units > 7);
    assert!(trials.iter().any(|trial| too_large(&trial)), "{trials:?}");
    for trial in &trials {
        assert_eq!(too_large(&trial), trial["state"] == "failed", "{trial}");
        assert_eq!(too_large(&trial), trial.to_string().contains("above the limit of 50"), "{trial}");
    }
}

#[test]
fn limits_are_read_as_they_are_written() {
    let bench = study("[network.limits]\nmemory = \"1 KiB\"\nflops = 1e9");
    let error = bench.error(&["summary"]);
    let start = "error: a trial with this network would be refused: the network needs about 3.0 KiB for 57 parameters and batches of 16 rows, above the limit of 1 KiB:";
    assert!(error.starts_with(start), "{error}");
    bench.edit("\"1 KiB\"", "\"a lot\"");
    let error = bench.error(&["summary"]);
    assert!(error.starts_with("error: study.toml:"), "{error}");
    let told = ": network.limits.memory: `a lot` is no amount of memory: write it as `2 GiB` or `500 MB`";
    assert!(error.lines().next().is_some_and(|line| line.ends_with(told)), "{error}");
    assert!(error.ends_with("| memory = \"a lot\""), "{error}");
    bench.edit("memory = \"a lot\"\nflops = 1e9", "flops = 1e9\n[network.quality]\nfolds = 2.5");
    let error = bench.error(&["tune"]);
    let told = "network.quality.folds: invalid type: floating point `2.5`, expected a whole number from 0\n";
    assert!(error.contains(told), "{error}");
}

#[test]
fn new_rows_are_predicted_with_or_without_the_target() {
    let bench = tuned();
    bench.write("labelled.csv", &flowers(30));
    // Other columns, another order, and no target.
    bench.write("new.csv", "note,width,length,colour\nfirst,1.2,2.1,red\nsecond,1.4,5.3,blue\nthird,,5.1,\n");
    let out = bench.ok(&["predict", "study.toml", "new.csv"]).out;
    let rows = csv_rows(&out);
    assert_eq!(rows[0], ["kind", "p(rose)", "p(tulip)"]);
    let classes: Vec<&str> = rows[1..].iter().map(|row| row[0]).collect();
    assert_eq!(classes, ["rose", "tulip", "tulip"]);
    for row in &rows[1..] {
        let sum: f64 = row[1..].iter().map(|p| p.parse::<f64>().expect("a probability")).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{row:?}");
    }

    let said = bench.ok(&["predict", "study.trials/best", "labelled.csv", "--json", "--out", "out.jsonl"]);
    assert_eq!(said.out, "");
    let lines: Vec<Value> =
        bench.read("out.jsonl").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 30);
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line["prediction"], ["rose", "tulip"][index % 2]);
        assert!(line["probabilities"]["rose"].is_f64(), "{line}");
    }

    bench.write("narrow.csv", "width,colour\n1.0,red\n");
    assert_eq!(
        bench.error(&["predict", "study.toml", "narrow.csv"]),
        "error: narrow.csv: there is no column `length`; the columns are `width`, `colour`"
    );
}

#[test]
fn a_model_is_measured_on_rows_with_their_answers() {
    let bench = tuned();
    bench.write("labelled.csv", &flowers(30));
    let out = bench.ok(&["evaluate", "study.toml", "labelled.csv"]).out;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "30 rows of labelled.csv");
    assert!(lines[1].starts_with("  loss (binary_cross_entropy)  "), "{out}");
    let measured: Value =
        serde_json::from_str(&bench.ok(&["evaluate", "study.toml", "labelled.csv", "--json"]).out)
            .expect("JSON");
    assert_eq!((&measured["rows"], &measured["accuracy"]), (&30.into(), &1.0.into()));
    assert_eq!(measured["loss_kind"], "binary_cross_entropy");

    let refused = |text: &str, expected: &str| {
        bench.write("rows.csv", text);
        assert_eq!(
            bench.error(&["evaluate", "study.toml", "rows.csv"]),
            format!("error: rows.csv{expected}")
        );
    };
    refused(
        "length,width,colour\n2,1,red\n",
        ": there is no column `kind`, which the model predicts: to measure it the right answers must be there (`luthier predict` needs none)",
    );
    refused(
        "length,width,colour,kind\n2,1,red,rose\n2,1,red,lily\n",
        ", row 2 (line 3): the model does not know the class `lily`; it knows `rose`, `tulip`",
    );
    refused(
        "length,width,colour,kind\n2,1,red,\n",
        ", row 1 (line 2): the target `kind` is empty or marked as missing; remove the row or fill it in",
    );
}

#[test]
fn numbers_are_predicted_and_measured_in_their_own_unit() {
    let bench = study("");
    let rows: String = (0..200).map(|i| format!("{i},{}\n", 1000.0 + 10.0 * f64::from(i))).collect();
    bench.write("flowers.csv", &format!("x,y\n{rows}"));
    bench.edit("target = \"kind\"", "target = \"y\"");
    bench.ok(&["tune", "study.toml", "-q"]);
    bench.write("new.csv", "x\n50\n");
    let out = bench.ok(&["predict", "study.toml", "new.csv"]).out;
    let rows = csv_rows(&out);
    assert_eq!(rows[0], ["y"]);
    let value: f64 = rows[1][0].parse().expect("a number");
    assert!((1000.0..2500.0).contains(&value), "{value}");
    let text = bench.ok(&["evaluate", "study.toml", "flowers.csv", "--json"]).out;
    let measured: Value = serde_json::from_str(&text).expect("JSON");
    let (loss, rmse) =
        (measured["loss"].as_f64().expect("a loss"), measured["rmse"].as_f64().expect("an rmse"));
    assert!((loss.sqrt() - rmse).abs() < 1e-6 * rmse, "{measured}");
    assert_eq!(measured["loss_kind"], "squared_error");
}

#[test]
fn the_best_model_leaves_the_house() {
    let bench = tuned();
    let said = bench.ok(&["model", "study.toml", "--out", "flowers", "--onnx"]);
    assert_eq!(said.out, "flowers/model.safetensors\nflowers/model.json\nflowers/model.onnx\n");
    bench.write("new.csv", "width,length,colour\n1.2,2.1,red\n1.4,5.3,white\n");
    let from = |model: &str| bench.ok(&["predict", model, "new.csv"]).out;
    assert_eq!(from("flowers"), from("study.toml"));
    let onnx = std::fs::read(bench.path("flowers/model.onnx")).expect("a file");
    for text in ["luthier", "layers.1.kernel", "probabilities", "[\"rose\",\"tulip\"]"] {
        assert!(onnx.windows(text.len()).any(|bytes| bytes == text.as_bytes()), "{text} is not in it");
    }
    bench.ok(&["model", "flowers", "--out", "copy"]);
    assert_eq!(bench.read("copy/model.json"), bench.read("flowers/model.json"));
    assert!(!bench.has("copy/model.onnx"));
}

#[test]
fn a_model_that_is_not_there_is_missed() {
    let bench = study("");
    bench.write("new.csv", "length,width,colour\n1,2,red\n");
    assert_eq!(
        bench.error(&["predict", "study.toml", "new.csv"]),
        "error: there is no model at study.trials/best: a study of networks leaves its best there when `luthier tune` ends; name the folder if it is elsewhere"
    );
}
