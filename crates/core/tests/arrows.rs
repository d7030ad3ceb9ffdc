//! Who may use whom: the arrows between the modules of this crate and between the crates, and what the core never does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each module with the modules it may use. Nothing is below `space` but `space`; only the crate's users use `engine`.
const ARROWS: &[(&str, &[&str])] = &[
    ("figures", &[]),
    ("halton", &[]),
    ("memo", &[]),
    ("metric", &[]),
    ("pareto", &[]),
    ("rng", &[]),
    ("sobol", &[]),
    ("space", &[]),
    ("spec", &["metric", "rng", "space"]),
    ("registry", &["space", "spec"]),
    ("event", &["metric", "space", "spec"]),
    ("trial", &["event", "metric", "space"]),
    ("study", &["event", "metric", "pareto", "space", "spec", "trial"]),
    ("coverage", &["event", "space", "study", "trial"]),
    ("lineage", &["space", "study", "trial"]),
    ("observation", &["event", "study", "trial"]),
    ("steering", &["event", "lineage", "space", "study", "trial"]),
    (
        "convergence",
        &["event", "figures", "metric", "observation", "pareto", "sobol", "spec", "study", "trial"],
    ),
    ("surrogate", &["memo", "observation", "pareto", "rng", "sobol", "space", "study"]),
    ("acquisition", &["memo", "observation", "pareto", "rng", "sobol", "space", "study", "surrogate"]),
    (
        "sampler",
        &[
            "acquisition",
            "coverage",
            "event",
            "figures",
            "halton",
            "memo",
            "metric",
            "observation",
            "pareto",
            "registry",
            "rng",
            "sobol",
            "space",
            "spec",
            "study",
            "surrogate",
            "trial",
        ],
    ),
    (
        "scheduler",
        &[
            "acquisition",
            "event",
            "figures",
            "lineage",
            "memo",
            "metric",
            "pareto",
            "registry",
            "rng",
            "space",
            "spec",
            "steering",
            "study",
            "surrogate",
            "trial",
        ],
    ),
    (
        "insight",
        &["event", "metric", "pareto", "rng", "sobol", "space", "spec", "study", "surrogate", "trial"],
    ),
    (
        "engine",
        &[
            "convergence",
            "coverage",
            "event",
            "memo",
            "metric",
            "registry",
            "rng",
            "sampler",
            "scheduler",
            "space",
            "spec",
            "study",
            "trial",
        ],
    ),
];

/// Files, network, clocks, threads, processes and output belong to the crates above.
const ABSENT: &[&str] = &[
    "std::fs",
    "std::net",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "print!(",
    "println!(",
    "dbg!(",
    "thread_rng",
    "static mut",
];

/// Crates with their level: a crate may use those of lower levels.
const LEVELS: &[(&str, u8)] = &[
    ("luthier-core", 0),
    ("luthier-derive", 0),
    ("luthier", 1),
    ("luthier-nn", 2),
    ("luthier-server", 2),
    ("luthier-cli", 3),
    ("luthier-python", 3),
];

/// Crates that use fewer of ours than their level allows.
const ONLY: &[(&str, &[&str])] =
    &[("luthier-nn", &["luthier"]), ("luthier", &["luthier-core", "luthier-derive"])];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The crate's files with the module each belongs to, and their code without comments.
fn modules() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 10);
    let describe = |path: PathBuf| {
        let inside = path.strip_prefix(&root).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs").to_owned();
        (module, path.clone(), code(&fs::read_to_string(&path).unwrap()))
    };
    files.into_iter().map(describe).collect()
}

fn code(text: &str) -> String {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.collect::<Vec<_>>().join("\n")
}

/// The modules that a file names after `crate::`, inside braces too.
fn used(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, marker) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + marker.len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => top_level(list),
            None => vec![rest],
        };
        let ident = |name: &str| -> String {
            name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        };
        used.extend(names.into_iter().map(ident).filter(|name| !name.is_empty()));
    }
    used
}

/// The parts of a `use` list up to its closing brace, split at commas outside inner braces.
fn top_level(list: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&list[from..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts
}

#[test]
fn modules_use_only_what_is_below_them() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (module, path, code) in modules().iter().filter(|(module, ..)| module != "lib") {
        let Some(allowed) = arrows.get(&**module) else {
            wrong.push(format!("module {module} is not in the table of arrows"));
            continue;
        };
        for name in used(code).iter().filter(|name| *name != module && !allowed.contains(&&***name)) {
            wrong.push(format!("{} uses {name}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_arrows_have_no_circle() {
    let mut below: BTreeSet<&str> = BTreeSet::new();
    for (module, uses) in ARROWS {
        assert!(uses.iter().all(|used| below.contains(used)), "{module} uses something listed after it");
        below.insert(module);
    }
}

#[test]
fn samplers_and_schedulers_do_not_know_each_other() {
    for (module, path, code) in modules() {
        let other = match &*module {
            "sampler" => "scheduler",
            "scheduler" => "sampler",
            _ => continue,
        };
        assert!(!code.contains(&format!("{other}::")), "{} mentions {other}", path.display());
    }
}

#[test]
fn the_core_touches_nothing_outside_itself() {
    for (_, path, code) in modules() {
        for absent in ABSENT {
            assert!(!code.contains(absent), "{} contains {absent}", path.display());
        }
    }
}

#[test]
fn crates_use_only_crates_below_them() {
    let levels: BTreeMap<&str, u8> = LEVELS.iter().copied().collect();
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(crates).unwrap() {
        let Ok(text) = fs::read_to_string(entry.unwrap().path().join("Cargo.toml")) else { continue };
        let manifest: toml::Table = text.parse().unwrap();
        let name = manifest["package"]["name"].as_str().unwrap();
        let level = levels.get(name).unwrap_or_else(|| panic!("crate {name} is not in the table of levels"));
        let ours =
            manifest["dependencies"].as_table().unwrap().keys().filter(|key| key.starts_with("luthier"));
        for used in ours {
            assert!(levels[used.as_str()] < *level, "{name} uses {used}");
            if let Some((_, only)) = ONLY.iter().find(|(limited, _)| *limited == name) {
                assert!(only.contains(&used.as_str()), "{name} uses {used}");
            }
        }
        seen += 1;
    }
    assert!(seen >= 4);
}

#[test]
fn the_reader_of_uses_sees_lists_and_paths() {
    let code = "use crate::space::{Point, Space};\nuse crate::{rng::Rng, study::{Study, Tally}};\n let x = crate::event::f();";
    assert_eq!(used(code).into_iter().collect::<Vec<_>>(), ["event", "rng", "space", "study"]);
}
