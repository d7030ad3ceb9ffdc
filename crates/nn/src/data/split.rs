//! Which rows are for training, validation and test: drawn by seed, class by class for classification.

use super::{DataError, DataSpec};
use crate::rng::{Purpose, Stream, seed_from_u64};

/// Row numbers of each part, ascending.
#[derive(Debug, PartialEq)]
pub(super) struct Split {
    pub(super) train: Vec<usize>,
    pub(super) validation: Vec<usize>,
    pub(super) test: Vec<usize>,
}

/// Splits `rows` rows. With `classes` (the class of each row) every part gets each class in proportion, and the
/// training part at least one row of each.
pub(super) fn split(spec: &DataSpec, rows: usize, classes: Option<&[u32]>) -> Result<Split, DataError> {
    let seed = seed_from_u64(spec.seed);
    let mut parts = Split { train: Vec::new(), validation: Vec::new(), test: Vec::new() };
    // Rounding is carried from class to class, so that the parts' sizes come out right also with many small classes.
    let (mut owed_validation, mut owed_test) = (0.0, 0.0);
    for (class, mut group) in groups(rows, classes).into_iter().enumerate() {
        Stream::new(&seed, Purpose::Split, class as u64).shuffle(&mut group);
        let spare = group.len().saturating_sub(1);
        owed_test += spec.test * group.len() as f64;
        let test = (owed_test.round() as usize).min(spare);
        owed_validation += spec.validation * group.len() as f64;
        let validation = (owed_validation.round() as usize).min(spare - test);
        (owed_test, owed_validation) = (owed_test - test as f64, owed_validation - validation as f64);
        parts.test.extend(&group[..test]);
        parts.validation.extend(&group[test..test + validation]);
        parts.train.extend(&group[test + validation..]);
    }
    let Split { train, validation, test } = &mut parts;
    for (part, name, wanted) in
        [(train, "training", true), (validation, "validation", true), (test, "test", spec.test > 0.0)]
    {
        part.sort_unstable();
        if wanted && part.is_empty() {
            return Err(DataError::TooFewRows {
                rows,
                validation: spec.validation,
                test: spec.test,
                part: name,
            });
        }
    }
    Ok(parts)
}

/// Refuses fractions that cannot be, and tables with fewer rows than parts.
pub(super) fn check(spec: &DataSpec, rows: usize) -> Result<(), DataError> {
    check_fractions(spec)?;
    if rows < 2 + usize::from(spec.test > 0.0) {
        let (validation, test) = (spec.validation, spec.test);
        return Err(DataError::TooFewRows { rows, validation, test, part: "training" });
    }
    Ok(())
}

fn check_fractions(spec: &DataSpec) -> Result<(), DataError> {
    let bad = |name, value, expected| Err(DataError::Fraction { name, value, expected });
    if !(spec.validation > 0.0 && spec.validation < 1.0) {
        return bad("validation", spec.validation, "above 0 and below 1");
    }
    if !(0.0..1.0).contains(&spec.test) {
        return bad("test", spec.test, "at least 0 and below 1");
    }
    if spec.validation + spec.test >= 1.0 {
        return bad("validation", spec.validation, "such that validation + test stays below 1");
    }
    Ok(())
}

/// Rows by class; one group if there are no classes.
fn groups(rows: usize, classes: Option<&[u32]>) -> Vec<Vec<usize>> {
    let Some(classes) = classes else { return vec![(0..rows).collect()] };
    let mut groups = Vec::new();
    for (row, &class) in classes.iter().enumerate() {
        let class = class as usize;
        if groups.len() <= class {
            groups.resize(class + 1, Vec::new());
        }
        groups[class].push(row);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(validation: f64, test: f64) -> DataSpec {
        DataSpec { validation, test, ..DataSpec::new("") }
    }

    #[test]
    fn parts_are_disjoint_and_have_the_asked_sizes() {
        let parts = split(&spec(0.2, 0.1), 1000, None).unwrap();
        assert_eq!((parts.train.len(), parts.validation.len(), parts.test.len()), (700, 200, 100));
        let mut all = [parts.train, parts.validation, parts.test].concat();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn every_part_has_each_class_in_proportion() {
        let classes: Vec<u32> = (0..300).map(|row| u32::from(row % 3 == 0)).collect();
        let parts = split(&spec(0.2, 0.2), 300, Some(&classes)).unwrap();
        for (part, share) in [(&parts.train, 60), (&parts.validation, 20), (&parts.test, 20)] {
            let ones = part.iter().filter(|&&row| classes[row] == 1).count();
            assert_eq!((part.len(), ones), (share * 3, share));
        }
    }

    #[test]
    fn a_rare_class_is_trained_on_before_it_is_tested() {
        let classes: Vec<u32> = (0..100).map(|row| u32::from(row == 7)).collect();
        assert!(split(&spec(0.2, 0.2), 100, Some(&classes)).unwrap().train.contains(&7));
    }

    #[test]
    fn many_small_classes_still_give_parts_of_the_right_size() {
        let classes: Vec<u32> = (0..100).map(|row| row / 2).collect();
        let parts = split(&spec(0.2, 0.2), 100, Some(&classes)).unwrap();
        assert_eq!((parts.train.len(), parts.validation.len(), parts.test.len()), (60, 20, 20));
    }

    #[test]
    fn another_seed_is_another_split() {
        let other = DataSpec { seed: 1, ..spec(0.2, 0.2) };
        assert_ne!(split(&spec(0.2, 0.2), 50, None).unwrap(), split(&other, 50, None).unwrap());
    }

    #[test]
    fn impossible_fractions_and_sizes_are_refused() {
        for (validation, test, rows, words) in [
            (0.0, 0.2, 100, "`validation` is 0"),
            (0.2, f64::NAN, 100, "`test` is NaN"),
            (0.6, 0.4, 100, "validation + test"),
            (0.2, 0.2, 1, "training part would be empty"),
            (0.01, 0.2, 10, "validation part would be empty"),
            (0.2, 0.01, 10, "test part would be empty"),
        ] {
            let spec = spec(validation, test);
            let error = check(&spec, rows).and_then(|()| split(&spec, rows, None).map(drop)).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
