//! Hyperband's brackets (Li et al. 2018, JMLR 18(185), algorithm 1): which trial belongs to which, and how many each has.
//!
//! They divide trials, not what is learnt from them: a sampler sees all trials of a study, whatever their bracket.

/// 2⁶⁴ divided by the golden ratio: multiples of it, modulo 2⁶⁴, are spread most evenly.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The brackets of a study. Bracket *b* leaves out the *b* lowest rungs, so that its trials are compared later.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Brackets {
    /// How many trials each has for as much budget as the others.
    trials: Vec<u64>,
}

impl Brackets {
    /// At most `most` brackets between `first`, the lowest rung, and `max_budget`; with room for n, bracket *b* gets
    /// ⌈n·ηˢ / (s + 1)⌉ trials in a round, s = n − 1 − b.
    pub(super) fn new(first: u64, eta: u64, max_budget: u64, most: u32) -> Self {
        let starts = std::iter::successors(Some(first), |start| start.checked_mul(eta));
        let count = starts.take_while(|start| *start <= max_budget).count();
        let (room, count) = (count as u64, count.min(most as usize).max(1));
        let trials = |b: u64| {
            let s = room.saturating_sub(1 + b);
            let power = u128::from(eta).saturating_pow(s as u32);
            let share = (u128::from(room) * power.min(u128::from(u64::MAX))).div_ceil(u128::from(s + 1));
            // As many brackets as bits at most, so that sums stay within bounds.
            u64::try_from(share).unwrap_or(u64::MAX).clamp(1, u64::MAX >> 7)
        };
        Self { trials: (0..count as u64).map(trials).collect() }
    }

    /// How many brackets there are.
    pub(super) fn count(&self) -> usize {
        self.trials.len()
    }

    /// How many trials of a round begin in a bracket.
    pub(super) fn trials(&self, bracket: usize) -> u64 {
        self.trials[bracket]
    }

    /// The bracket of the `offset`-th trial where all brackets run side by side: shares follow the numbers of trials, evenly
    /// at any time.
    pub(super) fn of(&self, offset: u32) -> usize {
        let round: u64 = self.trials.iter().sum();
        let place = (u128::from(u64::from(offset).wrapping_mul(GOLDEN)) * u128::from(round)) >> 64;
        self.holding(place as u64).0
    }

    /// Where the brackets run one after the other, round by round: the bracket of the `offset`-th trial.
    pub(super) fn slice(&self, offset: u32) -> Slice {
        let round: u64 = self.trials.iter().sum();
        let (rounds, within) = (u64::from(offset) / round, u64::from(offset) % round);
        let (bracket, before) = self.holding(within);
        Slice {
            index: rounds as usize * self.trials.len() + bracket,
            first: (rounds * round + before) as u32,
            trials: u32::try_from(self.trials[bracket]).unwrap_or(u32::MAX),
            start: bracket,
        }
    }

    /// The bracket at a place of a round, and how many trials of the round come before it.
    fn holding(&self, place: u64) -> (usize, u64) {
        let mut before = 0;
        for (bracket, trials) in self.trials.iter().enumerate() {
            if place < before + trials {
                return (bracket, before);
            }
            before += trials;
        }
        (self.trials.len() - 1, before)
    }
}

/// One bracket of one round: trials with numbers in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Slice {
    /// Its number over all rounds.
    pub(super) index: usize,
    /// Its first trial, counted from the first of the policy.
    pub(super) first: u32,
    /// How many trials it has.
    pub(super) trials: u32,
    /// Its first rung.
    pub(super) start: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_have_the_sizes_of_the_paper() {
        let brackets = Brackets::new(1, 3, 81, u32::MAX);
        assert_eq!(brackets.trials, [81, 34, 15, 8, 5], "table 1 of the paper");
        assert_eq!(Brackets::new(1, 3, 30, 2).trials, [27, 12]);
        assert_eq!(Brackets::new(1, 3, 81, 1).trials.len(), 1);
    }

    #[test]
    fn shares_are_even_at_any_time() {
        let brackets = Brackets::new(1, 3, 27, u32::MAX);
        for trials in [49, 100, 1000] {
            let mut counts = [0.0; 4];
            for offset in 0..trials {
                counts[brackets.of(offset)] += 1.0;
            }
            for (count, share) in counts.iter().zip([27.0, 12.0, 6.0, 4.0]) {
                let expected = share / 49.0 * f64::from(trials);
                assert!((count - expected).abs() < 3.0, "{counts:?}");
            }
        }
    }

    #[test]
    fn slices_follow_one_another() {
        let brackets = Brackets::new(1, 3, 9, u32::MAX);
        assert_eq!(brackets.trials, [9, 5, 3]);
        let slice = |offset| {
            let Slice { index, first, trials, start } = brackets.slice(offset);
            (index, first, trials, start)
        };
        assert_eq!(slice(0), (0, 0, 9, 0));
        assert_eq!(slice(8), (0, 0, 9, 0));
        assert_eq!(slice(9), (1, 9, 5, 1));
        assert_eq!(slice(16), (2, 14, 3, 2));
        assert_eq!(slice(17), (3, 17, 9, 0));
    }

    #[test]
    fn the_largest_budgets_do_not_overflow() {
        for eta in [2, 3, 1 << 20] {
            let brackets = Brackets::new(1, eta, u64::MAX, u32::MAX);
            for offset in [0, 1, 1000, u32::MAX] {
                assert!(brackets.of(offset) < brackets.trials.len());
                assert!(brackets.slice(offset).first <= offset);
            }
        }
    }
}
