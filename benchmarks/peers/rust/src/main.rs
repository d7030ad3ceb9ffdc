//! Runs one Rust optimiser on a problem that lives in another process. It knows nothing of the benchmark's problems.
//!
//! The first line of standard input is a [`Task`] as JSON. Then, for each trial, this program writes a line
//! `{"point": [...], "cpu": seconds}` and reads a line with the loss, or `null` for a failed trial. A point has a number for each
//! parameter of the task, in order, or `null` where it is inactive; choices and levels are their index. `cpu` is what this process has used so far.

mod egobox;
mod optimizer;
mod task;

use std::io::{self, BufRead, Write};

use task::{Point, Task};

fn main() {
    let mut first = String::new();
    io::stdin().lock().read_line(&mut first).expect("standard input is readable");
    let task: Task =
        serde_json::from_str(&first).unwrap_or_else(|error| refuse(&format!("the task: {error}")));
    match task.package.as_str() {
        "optimizer" => optimizer::run(&task),
        "egobox" => egobox::run(&task),
        other => refuse(&format!("no package {other:?}; there are: optimizer, egobox")),
    }
}

/// Has the other process evaluate a point. The end of standard input ends this process: the run is over.
fn evaluate(point: &Point) -> Option<f64> {
    println!("{}", serde_json::json!({ "point": point, "cpu": cpu_seconds() }));
    io::stdout().flush().expect("standard output is writable");
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line).expect("standard input is readable") == 0 {
        std::process::exit(0);
    }
    serde_json::from_str(&line).unwrap_or_else(|error| refuse(&format!("a loss: {error}")))
}

/// CPU time of this process, all its threads.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place to write to for the length of the call.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn refuse(message: &str) -> ! {
    eprintln!("{message}");
    std::process::exit(2);
}
