//! Whether a loss no longer falls: the count behind a lower learning rate on a plateau, as Keras and `PyTorch` keep it.

/// When a loss stands on a plateau.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plateau {
    /// So many reports in a row without a gain; `PyTorch` waits for one more.
    pub(super) patience: usize,
    /// A loss gains if it is below the best by more than this share of that.
    pub(super) threshold: f64,
    /// So many reports after the last turn are not counted.
    pub(super) cooldown: usize,
}

impl Plateau {
    /// The best loss so far, if for a while none has gained on it. `turned_at` is how many of these losses came before the knobs
    /// were turned last; none where they are those of the beginning. They count towards the best alone.
    pub(super) fn stands_at(&self, losses: &[f64], turned_at: Option<usize>) -> Option<f64> {
        let counted_from = turned_at.map_or(0, |turned_at| turned_at + self.cooldown);
        let (mut best, mut waited) = (None, 0);
        for (k, &loss) in losses.iter().enumerate() {
            if self.gains(best, loss) {
                (best, waited) = (Some(loss), 0);
            } else if k >= counted_from {
                waited += 1;
            }
        }
        best.filter(|_| waited >= self.patience)
    }

    fn gains(&self, best: Option<f64>, loss: f64) -> bool {
        best.is_none_or(|best: f64| loss < best - self.threshold * best.abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Plateau = Plateau { patience: 3, threshold: 0.01, cooldown: 0 };

    #[test]
    fn so_many_reports_in_a_row_without_a_gain_are_a_plateau() {
        assert_eq!(RULE.stands_at(&[], None), None);
        assert_eq!(RULE.stands_at(&[2.0, 1.0, 1.0, 1.5], None), None);
        assert_eq!(RULE.stands_at(&[2.0, 1.0, 1.0, 1.5, 1.0], None), Some(1.0));
        assert_eq!(RULE.stands_at(&[2.0, 1.0, 1.0, 1.5, 0.5], None), None, "a gain begins the count anew");
        assert_eq!(RULE.stands_at(&[2.0, 1.0, 1.0, 0.5, 0.6, 0.7], None), None);
    }

    #[test]
    fn a_gain_is_more_than_a_share_of_the_best_on_either_side_of_0() {
        // Each is better than the one before, but all together by less than a hundredth.
        assert_eq!(RULE.stands_at(&[1.0, 0.997, 0.994, 0.991], None), Some(1.0));
        assert_eq!(RULE.stands_at(&[1.0, 0.997, 0.994, 0.989], None), None);
        assert_eq!(RULE.stands_at(&[-1.0, -1.003, -1.006, -1.009], None), Some(-1.0));
        assert_eq!(RULE.stands_at(&[-1.0, -1.003, -1.006, -1.011], None), None);
        let any = Plateau { threshold: 0.0, ..RULE };
        assert_eq!(any.stands_at(&[1.0, 0.999, 0.998, 0.997], None), None);
        assert_eq!(any.stands_at(&[0.0; 4], None), Some(0.0));
    }

    #[test]
    fn a_turn_begins_the_count_anew_but_keeps_the_best() {
        let losses = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        assert_eq!(RULE.stands_at(&losses, Some(4)), None);
        assert_eq!(RULE.stands_at(&losses, Some(3)), Some(1.0));
        assert_eq!(
            RULE.stands_at(&[1.0, 5.0, 4.0, 3.0, 2.0], Some(2)),
            Some(1.0),
            "worse than it was before"
        );
    }

    #[test]
    fn what_comes_right_after_a_turn_is_not_counted_but_may_be_the_best() {
        let patient = Plateau { cooldown: 2, ..RULE };
        let losses = [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5];
        assert_eq!(patient.stands_at(&losses, Some(2)), Some(0.5));
        assert_eq!(patient.stands_at(&losses[..6], Some(2)), None);
        assert_eq!(patient.stands_at(&[1.0; 4], None), Some(1.0), "at the beginning nothing is waited for");
    }
}
