//! Agreement and confidence intervals against numpy and scipy (`reference/quality.py`).

use luthier_nn::{Answers, Consistency, Design, MetricQuality, Quality, Replicate};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    agreement: Vec<Votes>,
    intervals: Vec<Interval>,
}

#[derive(Deserialize)]
struct Votes {
    truth: Vec<u32>,
    said: Vec<Said>,
    kappa: f64,
    agreement: f64,
}

#[derive(Deserialize)]
struct Said {
    examples: Vec<u32>,
    answers: Vec<u32>,
}

#[derive(Deserialize)]
struct Interval {
    values: Vec<f64>,
    test_per_train: f64,
    mean: f64,
    standard_deviation: f64,
    standard_error: f64,
    low: f64,
    high: f64,
    bound: f64,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("reference/quality.json")).unwrap()
}

#[test]
fn kappa_agrees_with_the_formulas_of_fleiss_and_gwet() {
    let cases = fixture().agreement;
    assert_eq!(cases.len(), 4);
    for case in cases {
        let of = |said: &Said| Replicate {
            values: Vec::new(),
            examples: said.examples.clone(),
            answers: Answers::Classes(said.answers.clone()),
        };
        let replicates: Vec<Replicate> = case.said.iter().map(of).collect();
        let quality = Quality::of(&replicates, &Answers::Classes(case.truth.clone()), Design::Seeds);
        let Consistency::Classes { agreement, kappa, examples, .. } = quality.consistency else {
            panic!("classes were predicted several times")
        };
        assert!((agreement - case.agreement).abs() < 1e-12 && (kappa.unwrap() - case.kappa).abs() < 1e-12);
        for hits in examples {
            let answers = case.said.iter().flat_map(|said| said.examples.iter().zip(&said.answers));
            let about: Vec<u32> = answers.filter(|(e, _)| **e == hits.example).map(|(_, a)| *a).collect();
            let right = about.iter().filter(|a| **a == case.truth[hits.example as usize]).count();
            assert_eq!((hits.times as usize, hits.right as usize), (about.len(), right));
        }
    }
}

#[test]
fn intervals_agree_with_scipy() {
    for case in fixture().intervals {
        let design = if case.test_per_train == 0.0 {
            Design::Seeds
        } else {
            Design::Folds { test_per_train: case.test_per_train }
        };
        let got = MetricQuality::of("loss", &case.values, design);
        let spread = got.spread.unwrap();
        let pairs = [
            (got.mean, case.mean),
            (spread.standard_deviation, case.standard_deviation),
            (spread.standard_error, case.standard_error),
            (spread.interval.0, case.low),
            (spread.interval.1, case.high),
            (spread.bound, case.bound),
        ];
        for (got, want) in pairs {
            assert!((got - want).abs() < 1e-9 * want.abs().max(1.0), "{got}, not {want}");
        }
    }
}
