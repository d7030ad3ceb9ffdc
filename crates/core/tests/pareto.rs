//! Fronts, volumes and directions: against Optuna's numbers, and against what they mean, counted out.

use luthier_core::pareto::{
    constrained_ranks, contributions, crowding_distances, das_dennis, das_dennis_count, das_dennis_inside,
    dominates, front, greedy_subset, hypervolume, ranks,
};
use luthier_core::rng::{Purpose, Rng};
use serde_json::Value as Json;

fn reference(what: &str) -> Vec<Json> {
    let all: Json = serde_json::from_str(include_str!("reference/optuna_pareto.json")).unwrap();
    all[what].as_array().unwrap().clone()
}

fn numbers(json: &Json) -> Vec<f64> {
    json.as_array().unwrap().iter().map(|x| x.as_f64().unwrap_or(f64::INFINITY)).collect()
}

fn integers(json: &Json) -> Vec<usize> {
    json.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect()
}

fn rows(json: &Json) -> Vec<Vec<f64>> {
    json.as_array().unwrap().iter().map(numbers).collect()
}

fn close(found: f64, expected: f64, what: &str) {
    assert!(found == expected || (found - expected).abs() <= 1e-12, "{what}: {found} is not {expected}");
}

/// Points with few digits, so that many are equal in a loss or altogether.
fn coarse(n: usize, objectives: usize, digits: f64, seed: u64) -> Vec<Vec<f64>> {
    let mut rng = Rng::stream(seed, 0, Purpose::Objective, 0);
    (0..n).map(|_| (0..objectives).map(|_| (rng.uniform() * digits).floor() / digits).collect()).collect()
}

#[test]
fn fronts_are_optunas() {
    for case in reference("fronts") {
        let losses = rows(&case["losses"]);
        let found: Vec<usize> = ranks(&losses).into_iter().map(|rank| rank as usize).collect();
        assert_eq!(found, integers(&case["ranks"]));
        let first: Vec<usize> = (0..losses.len()).filter(|k| found[*k] == 0).collect();
        assert_eq!(front(&losses), first);
        let found = constrained_ranks(&losses, &numbers(&case["violations"]));
        assert_eq!(
            found.iter().map(|rank| *rank as usize).collect::<Vec<_>>(),
            integers(&case["constrained"])
        );
    }
}

#[test]
fn crowding_distances_are_optunas() {
    for case in reference("crowded") {
        let found = crowding_distances(&rows(&case["losses"]));
        for (found, expected) in found.into_iter().zip(numbers(&case["distances"])) {
            close(found, expected, "distance");
        }
    }
}

#[test]
fn volumes_are_optunas() {
    for case in reference("volumes") {
        let (losses, corner) = (rows(&case["losses"]), numbers(&case["reference"]));
        close(hypervolume(&losses, &corner), case["volume"].as_f64().unwrap(), "volume");
        let turned: Vec<Vec<f64>> = losses.iter().rev().cloned().collect();
        close(hypervolume(&turned, &corner), case["volume"].as_f64().unwrap(), "volume in another order");
    }
}

#[test]
fn subsets_are_optunas() {
    for case in reference("subsets") {
        let chosen = integers(&case["chosen"]);
        let mut found = greedy_subset(&rows(&case["losses"]), &numbers(&case["reference"]), chosen.len());
        found.sort_unstable();
        assert_eq!(found, chosen);
    }
}

#[test]
fn directions_are_optunas() {
    for case in reference("directions") {
        let number = |key: &str| case[key].as_u64().unwrap() as usize;
        let found = das_dennis(number("objectives"), number("divisions"));
        let expected = rows(&case["points"]);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            close(*found, *expected, "direction");
        }
    }
}

#[test]
fn ranks_are_the_length_of_the_longest_chain_of_dominators() {
    for seed in 0..30 {
        let losses = coarse(40, 1 + seed as usize % 5, 5.0, seed);
        let found = ranks(&losses);
        for k in 0..losses.len() {
            let above = (0..losses.len()).filter(|j| dominates(&losses[*j], &losses[k]));
            let longest = above.map(|j| found[j] + 1).max().unwrap_or(0);
            assert_eq!(found[k], longest, "seed {seed}, point {k}");
        }
    }
}

#[test]
fn volumes_on_a_grid_are_the_cells_counted() {
    for seed in 0..40 {
        let objectives = 1 + seed as usize % 5;
        let losses = coarse(12, objectives, 5.0, 100 + seed);
        let corner = vec![0.8; objectives];
        let cells = 4usize.pow(objectives as u32);
        let is_covered = |cell: usize| {
            let low = |m: usize| (cell / 4usize.pow(m as u32) % 4) as f64 / 5.0;
            losses.iter().any(|point| (0..objectives).all(|m| point[m] <= low(m) + 1e-9))
        };
        let counted = (0..cells).filter(|cell| is_covered(*cell)).count() as f64;
        close(hypervolume(&losses, &corner), counted * 0.2f64.powi(objectives as i32), "volume");
        let alone = contributions(&losses, &corner);
        for (k, alone) in alone.into_iter().enumerate() {
            let others: Vec<&Vec<f64>> = (0..losses.len()).filter(|j| *j != k).map(|j| &losses[j]).collect();
            let gain = hypervolume(&losses, &corner) - hypervolume(&others, &corner);
            assert!((alone - gain).abs() < 1e-9, "{alone} is not {gain}");
        }
    }
}

#[test]
fn nothing_is_gained_beyond_the_reference_point_or_by_what_is_not_a_number() {
    let points = [[0.5, f64::NAN], [2.0, 0.0], [1.0, 0.5], [0.5, f64::INFINITY]];
    assert_eq!(hypervolume(&points, &[1.0, 1.0]), 0.0);
    assert_eq!(ranks(&[[f64::NAN, 0.0], [f64::INFINITY, 0.0], [1.0, 0.0]]), [1, 1, 0]);
    let none: [[f64; 2]; 0] = [];
    assert_eq!((hypervolume(&none, &[1.0, 1.0]), ranks(&none).len(), front(&none).len()), (0.0, 0, 0));
    assert!(greedy_subset(&none, &[1.0, 1.0], 3).is_empty() && crowding_distances(&none).is_empty());
}

#[test]
fn directions_are_counted_and_sum_to_one() {
    for (objectives, divisions) in [(1, 4), (2, 99), (3, 12), (5, 6), (10, 3)] {
        let points = das_dennis(objectives, divisions);
        assert_eq!(Some(points.len()), das_dennis_count(objectives, divisions));
        let inside = das_dennis_inside(objectives, divisions, 0.5);
        assert!(inside.iter().flatten().all(|x| *x >= 0.5 / objectives as f64));
        for point in points.iter().chain(&inside) {
            close(point.iter().sum(), 1.0, "sum");
        }
    }
    assert_eq!(das_dennis_count(500, 500), None);
}
