//! Which rows stand for a history that is too long for O(n³).

/// Indices of at most `most` of the rows with these losses, ascending: a third are the best, a third the latest, and the
/// others lie evenly among those that are left. A function of the losses alone.
pub(super) fn chosen(losses: impl ExactSizeIterator<Item = f64>, most: usize) -> Vec<usize> {
    let losses: Vec<f64> = losses.collect();
    let n = losses.len();
    if n <= most {
        return (0..n).collect();
    }
    let third = most / 3;
    let mut order: Vec<usize> = (0..n - third).collect();
    order.sort_by(|a, b| losses[*a].total_cmp(&losses[*b]).then(a.cmp(b)));
    let mut left = order.split_off(third);
    left.sort_unstable();
    let wanted = most - 2 * third;
    let spread = (0..wanted).map(|k| left[(2 * k + 1) * left.len() / (2 * wanted)]);
    let mut chosen: Vec<usize> = order.into_iter().chain(n - third..n).chain(spread).collect();
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::chosen;

    #[test]
    fn the_best_and_the_latest_stay_and_none_comes_twice() {
        for n in [9, 10, 11, 50, 1000] {
            let losses: Vec<f64> = (0..n).map(|k| ((k * 7919) % 1013) as f64).collect();
            let kept = chosen(losses.iter().copied(), 9);
            assert_eq!(kept.len(), 9);
            assert!(kept.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(kept.ends_with(&[n - 3, n - 2, n - 1]));
            let best = (0..n).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).unwrap();
            assert!(kept.contains(&best));
        }
        assert_eq!(chosen([2.0, 1.0].into_iter(), 9), [0, 1]);
    }
}
