//! What a user reads when something is wrong: the whole text, as it is printed.

use std::fs;

use rusqlite::Connection;

use crate::support::{Bench, study};

const PARAMS: &str = "[params.x]\ntype = \"float\"\nlow = 0.0\nhigh = 1.0\n";
const HEAD: &str = "metric.name = \"loss\"\npolicy.sampler = \"random\"\n";

/// What `luthier tune` says about a study file.
fn file(text: &str) -> String {
    let bench = Bench::with_study(text);
    let said = bench.error(&["tune"]);
    assert!(!bench.has("study.luthier"), "a study was made of it");
    said
}

/// The same for one with this `[command]` table.
fn command(table: &str) -> String {
    file(&format!("{HEAD}{PARAMS}[command]\n{table}\n"))
}

/// What a run with this command says at its end.
fn run(table: &str) -> String {
    let bench = Bench::with_study(&format!("{HEAD}trials = 1\n{PARAMS}[command]\n{table}\n"));
    let ended = bench.luthier(&["tune", "--quiet"]);
    assert_eq!((ended.code, &*ended.err), (1, ""), "{ended:?}");
    let end = ended.out.find("cost ").unwrap_or(ended.out.len());
    ended.out[..end].trim().replace(&bench.name(), "FOLDER")
}

#[test]
fn study_files_with_mistakes() {
    let cases = [
        ("trials = 3\n[metric\nname = 1", ""),
        ("trials = \"x\"", ""),
        ("", ""),
        ("command.run = [\"true\"]\n[params.x]\ntype = \"bool\"", ""),
        ("command.run = [\"true\"]\nmetric.name = \"loss\"", ""),
        ("command.run = [\"true\"]\nmetric.name = \"loss\"\n[params.x]\ntype = \"float\"\nlow = 2\nhigh = 1", ""),
        ("command.run = [\"true\"]\nmetric.name = \"loss\"\n[params.x]\ntype = \"flaot\"", ""),
        ("command.run = \"train.py {x}\"\nmetric.name = \"loss\"", ""),
        ("metric.directon = \"max\"", ""),
        ("metric = { name = \"x\", direction = \"max\" }", ""),
        ("trails = 3", ""),
        ("seed = -1", ""),
        ("trials = 3\nlimits.trials = 4\nmetric.name = \"loss\"\ncommand.run = [\"true\"]\n[params.x]\ntype = \"bool\"", ""),
        ("name = \"a/b\"\nmetric.name = \"loss\"\npolicy.sampler = \"random\"\ncommand.run = [\"true\"]\n[params.x]\ntype = \"bool\"", ""),
        ("metric.name = \"loss\"\npolicy.sampler = \"best\"\ncommand.run = [\"true\"]\n[params.x]\ntype = \"bool\"", ""),
        ("metric.name = \"loss\"\npolicy.sampler = \"random\"\npolicy.scheduler = \"asha\"\ncommand.run = [\"true\"]\n[params.x]\ntype = \"bool\"", ""),
        ("metric.name = \"loss\"\npolicy.sampler = { name = \"random\", gamma = 1 }\ncommand.run = [\"true\"]\n[params.x]\ntype = \"bool\"", ""),
        ("budget.max = 0\nmetric.name = \"loss\"\ncommand.run = [\"true\"]\n[params.x]\ntype = \"bool\"", ""),
        ("metric.name = \"step\"\ncommand.run = [\"true\"]\n[params.x]\ntype = \"bool\"", ""),
    ];
    for (text, _) in cases { println!("{text:?}\n=> {}\n", file(text)); }
    for table in ["run = []", "run = [\"sh\", \"-c\", \"echo {y}\"]", "run = [\"sh\", \"-c\", \"echo {x\"]", "run = [\"t\"]\ntime_limit = -1", "run = [\"t\"]\npattern = { loss = 'x=' }", "run = [\"t\"]\npattern = { loss = 'x=(' }", "run = [\"t\"]\npattern = { los = 'x=(.*)' }", "run = [\"t\"]\nenv = { A = \"{q}\" }"] {
        println!("{table:?}\n=> {}\n", command(table));
    }
    for table in ["run = [\"nosuchprogram\"]", "run = [\"./no.sh\"]", "run = [\"true\"]\nworking_dir = \"nowhere\"", "run = [\"true\"]", "run = [\"study.toml\"]", "run = [\"./study.toml\"]"] {
        println!("{table:?}\n=> {}\n", run(table));
    }
    let bench = Bench::new();
    bench.write("text.luthier", "hello");
    fs::create_dir(bench.path("d")).unwrap();
    for a in [&["tune"][..], &["tune", "x.luthier"], &["tune", "d"], &["tune", "text.luthier"], &["show", "text.luthier"], &["best", "x.luthier"], &["tune", "x.luthier", "--study", "y"]] {
        println!("{a:?}\n=> {}\n", bench.error(a));
    }
    for a in [&["tune", "-j", "0"][..], &["tune", "--for", "soon"], &["tune", "--sampler", "best"], &["tune", "--what"], &["tun"], &["tell", "-t", "1"]] {
        println!("{a:?}\n=> {}\n", bench.luthier(a).err);
    }
    panic!();
}
