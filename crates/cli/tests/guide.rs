//! README and guide are true: study files in them are read, keys and options are all described, commands and flags
//! exist, and what the `console` blocks show is what happens. Rust blocks are documentation tests of `luthier`;
//! `spaces.md` has its test beside the space.
//!
//! A block whose fence names a file (```` ```python train.py ````) is written to that file before later blocks of its page
//! run. In the output of a `console` block numbers and sparklines may differ, and lines may be left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use luthier::core::registry::Entry;
use luthier::core::sampler::SAMPLERS;
use luthier::core::scheduler::SCHEDULERS;
use luthier::core::spec::Component;
use luthier::objective::command::Command as CommandObjective;
use luthier::study_file::{ObjectiveSpec, StudyFile};
use luthier_nn::{NetworkSpec, Settings};
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every page but the one on spaces, whose blocks are not study files.
fn pages() -> Vec<(String, String)> {
    let mut names = vec!["README.md".to_owned()];
    for entry in fs::read_dir(root().join("docs/guide")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap();
        if path.extension().is_some_and(|extension| extension == "md") && name != "spaces.md" {
            names.push(format!("docs/guide/{name}"));
        }
    }
    names.sort();
    assert!(names.len() > 5, "{names:?}");
    names.into_iter().map(|name| (name.clone(), page(&name))).collect()
}

/// A fenced block.
struct Block {
    language: String,
    file: Option<String>,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open = false;
    for line in page.lines() {
        if let Some(info) = line.strip_prefix("```") {
            if !open {
                let mut words = info.split_whitespace().map(str::to_owned);
                let language = words.next().unwrap_or_else(|| panic!("a block without a language: {line}"));
                found.push(Block { language, file: words.next(), text: String::new() });
            }
            open = !open;
        } else if open {
            let block = found.last_mut().expect("an open block");
            block.text.push_str(line);
            block.text.push('\n');
        }
    }
    assert!(!open, "a block is not closed");
    found
}

/// A part of a study file with what it lacks to be one. Tables may follow in any order.
fn completed(text: &str) -> String {
    let starts =
        |line: &str, key: &str| line.starts_with(&format!("[{key}")) || line.starts_with(&format!("{key} ="));
    let has = |key: &str| text.lines().any(|line| starts(line, key));
    let mut whole = text.to_owned();
    if !has("command") && !has("network") {
        whole.push_str("\n[command]\nrun = [\"true\"]\n");
    }
    if !has("metric") && !has("[metrics") && !has("network") {
        whole.push_str("\n[metric]\nname = \"val_loss\"\n");
    }
    if !has("budget") && !has("network") {
        whole.push_str("\n[budget]\nmax = 81\n");
    }
    if !has("params") {
        whole.push_str("\n[params.lr]\ntype = \"float\"\nlow = 1e-5\nhigh = 1.0\nscale = \"log\"\n");
    }
    whole
}

#[test]
fn study_files_are_read() {
    let mut read = 0;
    for (name, text) in pages() {
        for block in blocks(&text).iter().filter(|block| block.language == "toml") {
            let text = completed(&block.text);
            let found = StudyFile::read(&text, Path::new("study.toml"));
            let file = found.unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
            if let ObjectiveSpec::Command(command) = file.objective {
                let checked =
                    CommandObjective::new(command, &file.spec.space, &file.spec.metrics, Path::new("."));
                checked.map_err(|error| panic!("{name}: {error}\n{text}")).ok();
            }
            read += 1;
        }
    }
    assert!(read > 10, "{read}");
}

/// The keys that a refusal of an unknown one lists.
fn keys(error: &str) -> BTreeSet<String> {
    let (_, list) = error.split_once("expected").unwrap_or_else(|| panic!("no list of keys in {error:?}"));
    let keys: BTreeSet<String> = list.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(!keys.is_empty(), "{error}");
    keys
}

fn study_file_keys(table: &str) -> BTreeSet<String> {
    let text = completed(&format!("{table}\nno_such_key = 1\n"));
    keys(&StudyFile::read(&text, Path::new("study.toml")).expect_err("an unknown key").to_string())
}

fn network_keys(table: Value) -> BTreeSet<String> {
    keys(&serde_json::from_value::<NetworkSpec>(table).expect_err("an unknown key").to_string())
}

/// The part of a page under a heading, up to the next of the same or a higher level.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let start = page.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading:?}"));
    let rest = &page[start + heading.len() + 2..];
    let level = heading.split(' ').next().unwrap_or_default();
    let ends = (1..=level.len()).filter_map(|n| rest.find(&format!("\n{} ", "#".repeat(n))));
    &rest[..ends.min().unwrap_or(rest.len())]
}

#[test]
fn every_key_of_a_study_file_is_described() {
    let page = page("docs/guide/study-files.md");
    let tables = [
        ("## Top level", study_file_keys("")),
        ("## `[metric]`", study_file_keys("[metric]\nname = \"a\"")),
        ("## `[limits]`", study_file_keys("[limits]")),
        ("## `[budget]`", study_file_keys("[budget]\nmax = 9")),
        ("## `[policy]`", study_file_keys("[policy]")),
        ("## `[command]`", study_file_keys("[command]\nrun = [\"true\"]")),
    ];
    check_rows(&page, tables);
}

#[test]
fn every_key_of_a_network_is_described() {
    let page = page("docs/guide/networks.md");
    let no_such_key = || json!({ "no_such_key": 1 });
    let tables = [
        ("## `[network]`", network_keys(no_such_key())),
        ("### `[network.data]`", network_keys(json!({ "data": no_such_key() }))),
        ("### `[network.data.text]`", network_keys(json!({ "data": { "text": no_such_key() } }))),
        (
            "### `[network.quality]`",
            network_keys(json!({ "data": { "file": "x" }, "quality": no_such_key() })),
        ),
        ("### `[network.settings]`", Settings::names().map(str::to_owned).collect()),
    ];
    check_rows(&page, tables);
}

fn check_rows<const N: usize>(page: &str, tables: [(&str, BTreeSet<String>); N]) {
    for (heading, keys) in tables {
        let text = section(page, heading);
        for key in keys {
            assert!(text.contains(&format!("| `{key}` |")), "{heading} has no row for `{key}`");
        }
    }
}

fn check_registry<T: ?Sized>(page: &str, entries: &[Entry<T>]) {
    for entry in entries {
        let text = section(page, &format!("### `{}`", entry.name));
        // Bounds have no default, and the threshold wants one.
        let minimal = if entry.name == "threshold" {
            Component::named("").with("upper", 1)
        } else {
            Component::named("")
        };
        let (_, defaults) = (entry.build)(&minimal.options).expect("options of which none is necessary");
        for option in entry.options {
            let row = text.lines().find(|line| line.starts_with(&format!("| `{}` |", option.name)));
            let row = row.unwrap_or_else(|| panic!("{} has no row for `{}`", entry.name, option.name));
            let default = defaults.get(option.name).unwrap_or(&Value::Null);
            let shown = match default {
                Value::Null | Value::Object(_) | Value::Array(_) => continue,
                Value::String(text) => text.clone(),
                Value::Number(number) if number.as_f64().is_some_and(|x| x.fract() == 0.0) => {
                    format!("{}", number.as_f64().unwrap_or_default())
                }
                other => other.to_string(),
            };
            let is_there = minimal.options.contains_key(option.name) || row.contains(&format!("`{shown}`"));
            assert!(is_there, "the default of {}.{} is {shown}: {row}", entry.name, option.name);
        }
    }
}

#[test]
fn every_sampler_and_scheduler_is_described_with_its_options() {
    let page = page("docs/guide/samplers-and-schedulers.md");
    check_registry(&page, SAMPLERS);
    check_registry(&page, SCHEDULERS);
}

fn luthier() -> &'static str {
    env!("CARGO_BIN_EXE_luthier")
}

fn help(command: &str) -> String {
    let mut process = Command::new(luthier());
    if !command.is_empty() {
        process.arg(command);
    }
    let output = process.arg("--help").output().unwrap();
    assert!(output.status.success(), "luthier {command} --help");
    String::from_utf8(output.stdout).unwrap()
}

fn commands() -> BTreeSet<String> {
    let text = help("");
    let list = text.split("Commands:").nth(1).and_then(|rest| rest.split("Options:").next()).unwrap();
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// What pages say after the word `luthier` in code: command lines.
fn command_lines(page: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = false;
    for line in page.lines() {
        let line = line.replace("cargo run --release -- ", "luthier ");
        if line.starts_with("```") {
            open = !open;
        } else if open {
            lines.extend(line.split("luthier ").skip(1).map(str::to_owned));
        } else {
            let codes = line.split('`').skip(1).step_by(2);
            lines.extend(codes.filter_map(|code| code.strip_prefix("luthier ")).map(str::to_owned));
        }
    }
    lines
}

#[test]
fn commands_and_flags_exist() {
    let known = commands();
    assert!(known.contains("tune") && known.len() > 8, "{known:?}");
    let mut checked = 0;
    for (name, text) in pages() {
        for line in command_lines(&text) {
            let command = line.split_whitespace().next().unwrap_or_default();
            if !known.contains(command) {
                continue;
            }
            let help = help(command);
            let own = line.split(" -- ").next().unwrap_or_default();
            let own = own.split(['#', '|', ';', ')', '$']).next().unwrap_or_default();
            for word in own.split_whitespace().filter(|word| word.starts_with('-') && word.len() > 1) {
                let flag = word.split('=').next().unwrap_or_default();
                let listed = help.split([' ', ',', '\n']).any(|listed| listed == flag);
                assert!(listed, "{name}: luthier {command} has no {flag}");
                checked += 1;
            }
        }
    }
    assert!(checked > 5, "{checked}");
}

#[test]
fn every_command_is_described() {
    let page = page("docs/guide/command-line.md");
    for command in commands() {
        assert!(page.contains(&format!("`luthier {command}")), "luthier {command} is not in command-line.md");
    }
    let help = help("tune");
    let flags = help.split_whitespace().map(|word| word.trim_end_matches([',', ';']));
    for flag in
        flags.filter(|word| word.starts_with("--") && !matches!(*word, "--help" | "--lr" | "--layers"))
    {
        assert!(
            section(&page, "## `tune`").contains(&format!("`{flag}")),
            "luthier tune {flag} is not described"
        );
    }
}

/// The targets of a page's links that are files of this repository.
fn links(page: &str) -> Vec<&str> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.filter(|target| !target.starts_with("http") && !target.starts_with('#'));
    files.filter_map(|target| target.split('#').next()).collect()
}

#[test]
fn links_lead_somewhere() {
    let more = [
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "examples/README.md",
        "docs/decisions/README.md",
    ];
    let more = more.map(|name| (name.to_owned(), page(name)));
    for (name, text) in pages().into_iter().chain(more) {
        let folder = root().join(&name).parent().unwrap().to_owned();
        for link in links(&text) {
            assert!(folder.join(link).exists(), "{name} links to {link}, which is not there");
        }
    }
}

/// A line without what differs between runs and machines: numbers, sparklines, widths.
fn masked(line: &str) -> String {
    let mut masked = String::new();
    let mut rest = line.trim().chars().peekable();
    while let Some(c) = rest.next() {
        if c.is_ascii_digit() {
            let part = |c: &char| c.is_ascii_digit() || matches!(c, '.' | 'e' | '-' | '+');
            while rest.next_if(part).is_some() {}
            if masked.ends_with('-') {
                masked.pop();
            }
            masked.push('#');
        } else if ('▁'..='█').contains(&c) || c == '░' {
            while rest.next_if(|c| ('▁'..='█').contains(c) || *c == '░').is_some() {}
            masked.push('~');
        } else {
            masked.push(c);
        }
    }
    masked.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A command with the lines shown below it.
fn shown(text: &str) -> Vec<(String, Vec<&str>)> {
    let mut found: Vec<(String, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            found.push((command.to_owned(), Vec::new()));
        } else if let Some(more) = line.strip_prefix("> ") {
            let (command, _) = found.last_mut().expect("a command before its second line");
            command.push('\n');
            command.push_str(more);
        } else if !line.trim().is_empty() && line.trim() != "…" {
            found.last_mut().expect("a command before its output").1.push(line);
        }
    }
    found
}

fn copy_examples(to: &Path) {
    for example in ["digits", "script"] {
        let target = to.join("examples").join(example);
        fs::create_dir_all(&target).unwrap();
        for file in ["study.toml", "train.py", "digits.csv"] {
            // Each example has some of them.
            let _missing = fs::copy(root().join("examples").join(example).join(file), target.join(file));
        }
    }
}

#[cfg(unix)]
fn run(name: &str, folder: &Path, command: &str, expected: &[&str]) {
    let program = Path::new(luthier()).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{command}")])
        .current_dir(folder)
        .env("PATH", path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{name}: {command}\n{text}");
    let mut lines = text.lines().map(masked);
    for line in expected {
        let wanted = masked(line);
        assert!(
            lines.any(|line| line == wanted),
            "{name}: {command}\ndid not print, in this order,\n{line}\nbut\n{text}"
        );
    }
}

#[cfg(unix)]
#[test]
fn what_is_shown_is_what_happens() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("python3 is missing: the documents' scripts were not run");
        return;
    }
    let mut ran = 0;
    for (name, text) in pages() {
        let folder = tempfile::tempdir().unwrap();
        copy_examples(folder.path());
        for block in blocks(&text) {
            if let Some(file) = &block.file {
                fs::write(folder.path().join(file), &block.text).unwrap();
            }
            if block.language == "console" {
                for (command, expected) in shown(&block.text) {
                    run(&name, folder.path(), &command, &expected);
                    ran += 1;
                }
            }
        }
    }
    assert!(ran > 5, "{ran}");
}

#[test]
fn masks_hide_numbers_and_keep_words() {
    assert_eq!(masked("  lr   0.0012  x-1 -3.5e-7 ▁▂▃"), "lr # x# # ~");
    assert_ne!(masked("trial 3 pruned"), masked("trial 3 completed"));
}

#[test]
fn keys_are_read_from_a_refusal() {
    let found = keys("unknown field `z`, expected one of `a`, `b`");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "b"]);
}
