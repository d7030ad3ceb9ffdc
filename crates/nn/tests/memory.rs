//! Memory stays flat over many trials in one process. Alone in its file, so that no other test uses memory meanwhile.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use luthier_nn::{DataSpec, Problem, Settings, Trainer};

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    // Pages have 4096 bytes or more; more only makes the limit below stricter in bytes.
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn memory_is_flat_over_two_hundred_trials() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits/digits.csv");
    let problem = Arc::new(Problem::prepare(&DataSpec::new(file), Path::new(".")).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let trial = |number: usize| {
        let text = format!(
            "units = {}\nlayers = {}\nepochs = 2\npatience = 1\nmixup = 0.2\nbatch_size = {}",
            16 + number % 48,
            number % 3,
            64 << (number % 3)
        );
        let settings: Settings = toml::from_str(&text).unwrap();
        let mut trainer = Trainer::new(&problem, settings, [number as u8; 32]).unwrap();
        while !trainer.is_done() {
            trainer.epoch().unwrap();
        }
        // Forcing files to disk is slow on some machines.
        if number.is_multiple_of(20) {
            trainer.save(folder.path()).unwrap();
        }
        if number % 20 == 10 {
            trainer.export_model(folder.path()).unwrap();
        }
    };
    (0..40).for_each(trial);
    let before = resident();
    (40..240).for_each(trial);
    let grown = resident().saturating_sub(before);
    // A trial's weights, states and buffers are about 0.3 MB: kept, they would be 60 MB.
    assert!(grown < 4_000_000, "{grown} bytes more after 200 trials");
}
