//! How many threads the numerical libraries of a parallel trial should use. Only environment variables: a program that
//! sets its own thread count is left alone.

use std::ffi::OsStr;

/// Variables that take a number of threads, each read by a widespread library.
const COUNTS: [&str; 13] = [
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "GOMAXPROCS",
];

/// Variables that make idle threads sleep: teams that spin for work bring a shared processor almost to a halt.
const PASSIVE: [(&str, &str); 3] =
    [("OMP_WAIT_POLICY", "PASSIVE"), ("GOMP_SPINCOUNT", "0"), ("KMP_BLOCKTIME", "0")];

/// The variables that give each of `parallel` trials its share of `cores`, at least one thread, and let idle threads
/// sleep. Variables that the tuner's own environment sets are left out: the user knows better. Empty when
/// `parallel <= 1`, since a trial that runs alone shares with nobody.
///
/// ```
/// let shares = luthier::process::thread_environment(16, 4);
/// assert!(std::env::var_os("OMP_NUM_THREADS").is_some() || shares.contains(&("OMP_NUM_THREADS".into(), "4".into())));
/// ```
pub fn thread_environment(cores: usize, parallel: usize) -> Vec<(String, String)> {
    unless_set(cores, parallel, |name| std::env::var_os(OsStr::new(name)).is_some())
}

fn unless_set(cores: usize, parallel: usize, is_set: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    if parallel <= 1 {
        return Vec::new();
    }
    let share = (cores / parallel).max(1).to_string();
    let counts = COUNTS.iter().map(|name| (*name, share.as_str()));
    counts
        .chain(PASSIVE)
        .filter(|(name, _)| !is_set(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(env: &'a [(String, String)], name: &str) -> Option<&'a str> {
        env.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    #[test]
    fn cores_are_shared_evenly_and_nobody_gets_none() {
        let check = |cores, parallel, threads| {
            let env = unless_set(cores, parallel, |_| false);
            assert_eq!(value(&env, "OMP_NUM_THREADS"), Some(threads), "{cores} cores, {parallel} trials");
            assert_eq!(value(&env, "OMP_WAIT_POLICY"), Some("PASSIVE"));
        };
        check(16, 4, "4");
        check(7, 2, "3");
        check(2, 8, "1");
        check(0, 2, "1");
    }

    #[test]
    fn what_the_user_set_is_left_out() {
        let env = unless_set(8, 2, |name| name == "MKL_NUM_THREADS" || name == "OMP_WAIT_POLICY");
        assert_eq!(value(&env, "MKL_NUM_THREADS"), None);
        assert_eq!(value(&env, "OMP_WAIT_POLICY"), None);
        assert_eq!(value(&env, "OMP_NUM_THREADS"), Some("4"));
    }

    #[test]
    fn a_trial_that_runs_alone_is_left_alone() {
        assert!(unless_set(8, 1, |_| false).is_empty());
        assert!(unless_set(8, 0, |_| false).is_empty());
    }
}
