//! Which examples are for training, validation and test, and the folds of cross-validation: at random (class by class),
//! by group or in order of time. Row numbers only; no data here.

use super::{DataError, DataSpec, SplitKind};
use crate::rng::{Purpose, Stream};

/// Numbers of the examples of each part, ascending.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Split {
    pub(super) train: Vec<u32>,
    pub(super) validation: Vec<u32>,
    pub(super) test: Vec<u32>,
}

/// One way to train on some examples and score on others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// Numbers of the examples to train on, ascending.
    pub train: Vec<u32>,
    /// Numbers of the examples that score, ascending; none of them is trained on.
    pub validation: Vec<u32>,
}

/// How examples may be divided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Division<'a> {
    pub(super) kind: SplitKind,
    /// Class of each example, for classification.
    pub(super) classes: Option<&'a [u32]>,
    /// Group of each example, for a division by group.
    pub(super) groups: Option<&'a [u32]>,
    /// Examples from the earliest to the last, for a division by time; without it, their own order.
    pub(super) order: Option<&'a [u32]>,
}

/// Fractions of two parts; the rest is the third.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fractions {
    pub(super) validation: f64,
    pub(super) test: f64,
}

impl Division<'_> {
    /// Divides `rows` (ascending). At random every part gets each class in proportion, and the training part at least
    /// one row of each.
    pub(super) fn split(
        self,
        rows: &[u32],
        fractions: Fractions,
        seed: &[u8; 32],
    ) -> Result<Split, DataError> {
        let mut parts = match self.kind {
            SplitKind::Random => self.at_random(rows, fractions, seed),
            SplitKind::Group => self.by_group(rows, fractions, seed),
            SplitKind::Time => self.by_time(rows, fractions),
        };
        let Split { train, validation, test } = &mut parts;
        let wanted_test = fractions.test > 0.0;
        for (part, name, wanted) in
            [(train, "training", true), (validation, "validation", true), (test, "test", wanted_test)]
        {
            part.sort_unstable();
            if wanted && part.is_empty() {
                return Err(self.too_few(rows, fractions, name));
            }
        }
        Ok(parts)
    }

    /// About this fraction of `rows`, ascending: every class in proportion and with at least one row, whole groups and at least
    /// one, or the latest rows. A larger fraction has the rows of a smaller one.
    pub(super) fn share(self, rows: &[u32], fraction: f64, seed: &[u8; 32]) -> Vec<u32> {
        let wanted = ((fraction * rows.len() as f64).round() as usize).max(1);
        let mut chosen: Vec<u32> = match self.kind {
            SplitKind::Time => self.ordered(rows).into_iter().rev().take(wanted).collect(),
            SplitKind::Group => {
                let mut groups = self.grouped(rows);
                Stream::new(seed, Purpose::Split, 0).shuffle(&mut groups);
                let mut chosen: Vec<u32> = Vec::new();
                for group in groups {
                    if !chosen.is_empty() && chosen.len() + group.len() / 2 > wanted {
                        break;
                    }
                    chosen.extend(group);
                }
                chosen
            }
            SplitKind::Random => {
                // The first of each class, then all in the order of their places within their classes.
                let mut places: Vec<(f64, usize, u32)> = Vec::with_capacity(rows.len());
                let classes = self.by_class(rows);
                let needed = classes.iter().filter(|class| !class.is_empty()).count();
                for (class, mut group) in classes.into_iter().enumerate() {
                    Stream::new(seed, Purpose::Split, class as u64).shuffle(&mut group);
                    let size = group.len() as f64;
                    let place = |rank: usize| if rank == 0 { 0.0 } else { (rank as f64 + 0.5) / size };
                    places.extend(group.iter().enumerate().map(|(rank, row)| (place(rank), class, *row)));
                }
                places.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                places.into_iter().take(wanted.max(needed)).map(|(.., row)| row).collect()
            }
        };
        chosen.sort_unstable();
        chosen
    }

    fn too_few(
        self,
        rows: &[u32],
        Fractions { validation, test }: Fractions,
        part: &'static str,
    ) -> DataError {
        if self.kind == SplitKind::Group {
            return DataError::TooFewGroups { groups: self.grouped(rows).len(), validation, test, part };
        }
        DataError::TooFewRows { rows: rows.len(), validation, test, part }
    }

    fn at_random(self, rows: &[u32], fractions: Fractions, seed: &[u8; 32]) -> Split {
        let mut parts = Split { train: Vec::new(), validation: Vec::new(), test: Vec::new() };
        // Rounding is carried from class to class, so that the parts' sizes come out right also with many small classes.
        let (mut owed_validation, mut owed_test) = (0.0, 0.0);
        for (class, mut group) in self.by_class(rows).into_iter().enumerate() {
            Stream::new(seed, Purpose::Split, class as u64).shuffle(&mut group);
            let spare = group.len().saturating_sub(1);
            owed_test += fractions.test * group.len() as f64;
            let test = (owed_test.round() as usize).min(spare);
            owed_validation += fractions.validation * group.len() as f64;
            let validation = (owed_validation.round() as usize).min(spare - test);
            (owed_test, owed_validation) = (owed_test - test as f64, owed_validation - validation as f64);
            parts.test.extend(&group[..test]);
            parts.validation.extend(&group[test..test + validation]);
            parts.train.extend(&group[test + validation..]);
        }
        parts
    }

    /// Whole groups in random order fill the test part, then validation, each until it is as near its size as it gets.
    fn by_group(self, rows: &[u32], fractions: Fractions, seed: &[u8; 32]) -> Split {
        let mut parts = Split { train: Vec::new(), validation: Vec::new(), test: Vec::new() };
        let mut groups = self.grouped(rows);
        Stream::new(seed, Purpose::Split, 0).shuffle(&mut groups);
        let wanted = |fraction: f64| fraction * rows.len() as f64;
        let fits = |part: &[u32], group: &[u32], fraction| {
            part.len() as f64 + group.len() as f64 / 2.0 <= wanted(fraction)
        };
        let last = groups.len().saturating_sub(1);
        for (index, group) in groups.into_iter().enumerate() {
            let part = if index == last && parts.train.is_empty() {
                &mut parts.train
            } else if fits(&parts.test, &group, fractions.test) {
                &mut parts.test
            } else if fits(&parts.validation, &group, fractions.validation) {
                &mut parts.validation
            } else {
                &mut parts.train
            };
            part.extend(group);
        }
        parts
    }

    fn by_time(self, rows: &[u32], fractions: Fractions) -> Split {
        let rows = self.ordered(rows);
        let part = |fraction: f64| (fraction * rows.len() as f64).round() as usize;
        let test = rows.len().saturating_sub(part(fractions.test));
        let validation = test.saturating_sub(part(fractions.validation));
        Split {
            train: rows[..validation].to_vec(),
            validation: rows[validation..test].to_vec(),
            test: rows[test..].to_vec(),
        }
    }

    /// `folds` ways to divide `rows`, repeated with other shuffles. At random each row scores once a repetition, classes
    /// in proportion; by group whole groups do; by time each fold trains on all that is earlier than what it scores.
    pub(super) fn folds(
        self,
        rows: &[u32],
        folds: usize,
        repeats: usize,
        seed: u64,
    ) -> Result<Vec<Fold>, DataError> {
        if self.kind == SplitKind::Time {
            if repeats > 1 {
                return Err(DataError::RepeatedTime);
            }
            return self.folds_in_time(rows, folds);
        }
        let units = if self.kind == SplitKind::Group { self.grouped(rows).len() } else { rows.len() };
        let word = if self.kind == SplitKind::Group { "groups" } else { "rows" };
        if !(2..=units).contains(&folds) {
            return Err(DataError::Folds { folds, of: format!("{units} {word}") });
        }
        let mut all = Vec::with_capacity(folds * repeats);
        for repeat in 0..repeats {
            let seed = derived_seed("folds", seed, repeat as u64);
            let parts = match self.kind {
                SplitKind::Group => self.dealt_groups(rows, folds, &seed),
                SplitKind::Random | SplitKind::Time => self.dealt_rows(rows, folds, &seed),
            };
            all.extend((0..folds).map(|fold| {
                let of = |wanted: bool| {
                    let chosen = rows.iter().zip(&parts).filter(|(_, part)| (**part == fold) == wanted);
                    chosen.map(|(row, _)| *row).collect()
                };
                Fold { train: of(false), validation: of(true) }
            }));
        }
        Ok(all)
    }

    /// Fold of each row: each class is shuffled and dealt out, the next class from where the last one stopped.
    fn dealt_rows(self, rows: &[u32], folds: usize, seed: &[u8; 32]) -> Vec<usize> {
        let place: std::collections::HashMap<u32, usize> = rows.iter().copied().zip(0..).collect();
        let mut parts = vec![0; rows.len()];
        let mut dealt = 0;
        for (class, mut group) in self.by_class(rows).into_iter().enumerate() {
            Stream::new(seed, Purpose::Split, class as u64).shuffle(&mut group);
            for row in group {
                parts[place[&row]] = dealt % folds;
                dealt += 1;
            }
        }
        parts
    }

    /// Fold of each row: groups from the largest on, each to the fold with the fewest rows.
    fn dealt_groups(self, rows: &[u32], folds: usize, seed: &[u8; 32]) -> Vec<usize> {
        let mut groups = self.grouped(rows);
        Stream::new(seed, Purpose::Split, 0).shuffle(&mut groups);
        groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
        let place: std::collections::HashMap<u32, usize> = rows.iter().copied().zip(0..).collect();
        let (mut parts, mut sizes) = (vec![0; rows.len()], vec![0; folds]);
        for group in groups {
            let fold = (0..folds).min_by_key(|&fold| sizes[fold]).unwrap_or_default();
            sizes[fold] += group.len();
            for row in &group {
                parts[place[row]] = fold;
            }
        }
        parts
    }

    /// The last `folds` of `folds` + 1 equal pieces score in turn.
    fn folds_in_time(self, rows: &[u32], folds: usize) -> Result<Vec<Fold>, DataError> {
        let rows = self.ordered(rows);
        let piece = rows.len() / (folds + 1);
        if folds == 0 || piece == 0 {
            return Err(DataError::Folds { folds, of: format!("{} rows in order of time", rows.len()) });
        }
        let sorted = |rows: &[u32]| {
            let mut rows = rows.to_vec();
            rows.sort_unstable();
            rows
        };
        Ok((0..folds)
            .map(|fold| rows.len() - (folds - fold) * piece)
            .map(|start| Fold {
                train: sorted(&rows[..start]),
                validation: sorted(&rows[start..start + piece]),
            })
            .collect())
    }

    /// Rows by class; all together if there are no classes.
    fn by_class(self, rows: &[u32]) -> Vec<Vec<u32>> {
        let Some(classes) = self.classes else { return vec![rows.to_vec()] };
        let mut groups: Vec<Vec<u32>> = Vec::new();
        for &row in rows {
            let class = classes[row as usize] as usize;
            if groups.len() <= class {
                groups.resize(class + 1, Vec::new());
            }
            groups[class].push(row);
        }
        groups
    }

    /// Rows by group, groups in the order of their numbers.
    fn grouped(self, rows: &[u32]) -> Vec<Vec<u32>> {
        let by_group = Division { classes: self.groups, ..self };
        by_group.by_class(rows).into_iter().filter(|group| !group.is_empty()).collect()
    }

    /// Rows from the earliest to the last.
    fn ordered(self, rows: &[u32]) -> Vec<u32> {
        let Some(order) = self.order else { return rows.to_vec() };
        let mut place = vec![u32::MAX; order.len().max(rows.last().map_or(0, |&row| row as usize + 1))];
        order.iter().zip(0..).for_each(|(&row, at)| place[row as usize] = at);
        let mut rows = rows.to_vec();
        rows.sort_by_key(|&row| place[row as usize]);
        rows
    }
}

/// A seed of its own for another use of the same number.
pub(super) fn derived_seed(purpose: &str, seed: u64, index: u64) -> [u8; 32] {
    *blake3::hash(format!("luthier-nn {purpose} {seed} {index}").as_bytes()).as_bytes()
}

/// Refuses fractions that cannot be, and data with fewer rows than parts.
pub(super) fn check(spec: &DataSpec, rows: usize) -> Result<(), DataError> {
    check_fractions(spec)?;
    let test = if spec.test_file.is_some() || spec.outer.is_some() { 0.0 } else { spec.test };
    if rows < 2 + usize::from(test > 0.0) {
        return Err(DataError::TooFewRows { rows, validation: spec.validation, test, part: "training" });
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
    if spec.outer.is_none() && spec.validation + spec.test >= 1.0 {
        return bad("validation", spec.validation, "such that validation + test stays below 1");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::seed_from_u64;

    fn random(classes: Option<&[u32]>) -> Division<'_> {
        Division { kind: SplitKind::Random, classes, groups: None, order: None }
    }

    fn grouped(groups: &[u32]) -> Division<'_> {
        Division { kind: SplitKind::Group, classes: None, groups: Some(groups), order: None }
    }

    fn divided(division: Division<'_>, rows: u32, validation: f64, test: f64) -> Split {
        let rows: Vec<u32> = (0..rows).collect();
        division.split(&rows, Fractions { validation, test }, &seed_from_u64(0)).unwrap()
    }

    #[test]
    fn parts_are_disjoint_and_have_the_asked_sizes() {
        let parts = divided(random(None), 1000, 0.2, 0.1);
        assert_eq!((parts.train.len(), parts.validation.len(), parts.test.len()), (700, 200, 100));
        let mut all = [parts.train, parts.validation, parts.test].concat();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn every_part_has_each_class_in_proportion() {
        let classes: Vec<u32> = (0..300).map(|row| u32::from(row % 3 == 0)).collect();
        let parts = divided(random(Some(&classes)), 300, 0.2, 0.2);
        for (part, share) in [(&parts.train, 60), (&parts.validation, 20), (&parts.test, 20)] {
            let ones = part.iter().filter(|&&row| classes[row as usize] == 1).count();
            assert_eq!((part.len(), ones), (share * 3, share));
        }
    }

    #[test]
    fn a_rare_class_is_trained_on_before_it_is_tested() {
        let classes: Vec<u32> = (0..100).map(|row| u32::from(row == 7)).collect();
        assert!(divided(random(Some(&classes)), 100, 0.2, 0.2).train.contains(&7));
    }

    #[test]
    fn many_small_classes_still_give_parts_of_the_right_size() {
        let classes: Vec<u32> = (0..100).map(|row| row / 2).collect();
        let parts = divided(random(Some(&classes)), 100, 0.2, 0.2);
        assert_eq!((parts.train.len(), parts.validation.len(), parts.test.len()), (60, 20, 20));
    }

    #[test]
    fn another_seed_is_another_split() {
        let rows: Vec<u32> = (0..50).collect();
        let fractions = Fractions { validation: 0.2, test: 0.2 };
        let split = |seed| random(None).split(&rows, fractions, &seed_from_u64(seed)).unwrap();
        assert_ne!(split(0), split(1));
    }

    #[test]
    fn groups_stay_together_and_parts_come_near_their_sizes() {
        let groups: Vec<u32> = (0..400).map(|row| row / 4 % 37).collect();
        let parts = divided(grouped(&groups), 400, 0.2, 0.2);
        let of = |part: &[u32]| {
            part.iter().map(|&row| groups[row as usize]).collect::<std::collections::BTreeSet<_>>()
        };
        let (train, validation, test) = (of(&parts.train), of(&parts.validation), of(&parts.test));
        assert!(train.is_disjoint(&validation) && train.is_disjoint(&test) && validation.is_disjoint(&test));
        assert!(parts.validation.len().abs_diff(80) <= 8 && parts.test.len().abs_diff(80) <= 8);
    }

    #[test]
    fn the_last_rows_in_time_are_the_test_part() {
        let order: Vec<u32> = (0..10).rev().collect();
        let division = Division { kind: SplitKind::Time, classes: None, groups: None, order: Some(&order) };
        let parts = divided(division, 10, 0.2, 0.2);
        assert_eq!((parts.test, parts.validation), (vec![0, 1], vec![2, 3]));
        assert_eq!(parts.train, [4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn each_row_scores_once_in_a_repetition_and_classes_keep_their_share() {
        let classes: Vec<u32> = (0..103).map(|row| u32::from(row % 4 == 0)).collect();
        let rows: Vec<u32> = (0..103).collect();
        let folds = random(Some(&classes)).folds(&rows, 5, 2, 9).unwrap();
        assert_eq!(folds.len(), 10);
        for repetition in folds.chunks(5) {
            let mut scored: Vec<u32> = repetition.iter().flat_map(|fold| fold.validation.clone()).collect();
            scored.sort_unstable();
            assert_eq!(scored, rows);
        }
        for fold in &folds {
            let ones = fold.validation.iter().filter(|&&row| classes[row as usize] == 1).count();
            assert!((20..=21).contains(&fold.validation.len()) && (5..=6).contains(&ones));
            assert_eq!(fold.train.len() + fold.validation.len(), 103);
            assert!(fold.train.iter().all(|row| !fold.validation.contains(row)));
        }
        assert_ne!(folds[0], folds[5]);
    }

    #[test]
    fn no_group_is_trained_on_and_scored_in_one_fold() {
        let groups: Vec<u32> = (0..60).map(|row| row % 7).collect();
        let rows: Vec<u32> = (0..60).collect();
        for fold in grouped(&groups).folds(&rows, 3, 1, 0).unwrap() {
            let of = |rows: &[u32]| {
                rows.iter().map(|&row| groups[row as usize]).collect::<std::collections::BTreeSet<_>>()
            };
            assert!(of(&fold.train).is_disjoint(&of(&fold.validation)));
            assert!((17..=27).contains(&fold.validation.len()));
        }
        let refused = grouped(&groups).folds(&rows, 8, 1, 0).unwrap_err().to_string();
        assert_eq!(refused, "8 folds cannot be made of 7 groups: choose from 2 to as many as there are");
    }

    /// As scikit-learn's `TimeSeriesSplit(n_splits=3)` divides 10 rows.
    #[test]
    fn folds_in_time_train_on_what_came_before() {
        let division = Division { kind: SplitKind::Time, classes: None, groups: None, order: None };
        let rows: Vec<u32> = (0..10).collect();
        let folds = division.folds(&rows, 3, 1, 0).unwrap();
        let fold = |train: std::ops::Range<u32>, validation: std::ops::Range<u32>| Fold {
            train: train.collect(),
            validation: validation.collect(),
        };
        assert_eq!(folds, [fold(0..4, 4..6), fold(0..6, 6..8), fold(0..8, 8..10)]);
        assert!(division.folds(&rows, 3, 2, 0).unwrap_err().to_string().contains("cannot be repeated"));
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
            let spec = DataSpec { validation, test, ..DataSpec::new("") };
            let all: Vec<u32> = (0..rows).collect();
            let split = || random(None).split(&all, Fractions { validation, test }, &seed_from_u64(0));
            let error = check(&spec, rows as usize).and_then(|()| split().map(drop)).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
