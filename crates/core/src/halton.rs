//! The Halton sequence with random permutations of its digits: points that fill the unit cube evenly, in any number, with
//! one prime number as the base of each dimension.
//!
//! Mathematics only; which trial takes which point is the sampler's affair.

use std::sync::LazyLock;

/// Dimensions with a base of their own: the first so many primes.
pub const DIMENSIONS: usize = 1024;

/// Digits are permuted as long as an index of 32 bits can have them; those after are random.
const INDEX_BITS: u32 = 32;

/// The odd number nearest to 2⁶⁴ divided by the golden ratio (Steele, Lea and Flood 2014).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

static PRIMES: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let mut primes: Vec<u32> = Vec::with_capacity(DIMENSIONS);
    let is_prime =
        |n: u32, primes: &[u32]| primes.iter().take_while(|p| *p * *p <= n).all(|p| !n.is_multiple_of(*p));
    for n in 2.. {
        if primes.len() == DIMENSIONS {
            break;
        }
        if is_prime(n, &primes) {
            primes.push(n);
        }
    }
    primes
});

/// The base of a dimension below [`DIMENSIONS`].
pub fn base(dimension: usize) -> u32 {
    PRIMES[dimension]
}

/// Coordinate `dimension` (from 0, below [`DIMENSIONS`]) of point `index`, unscrambled: the digits of the index in the
/// dimension's base, read backwards behind the point (Halton 1960).
pub fn radical_inverse(dimension: usize, index: u32) -> f64 {
    let base = PRIMES[dimension];
    let (mut rest, mut weight, mut sum) = (index, 1.0, 0.0);
    while rest > 0 {
        weight /= f64::from(base);
        sum += f64::from(rest % base) * weight;
        rest /= base;
    }
    sum
}

/// Coordinate `dimension` of point `index` in [0, 1), scrambled by a `key` of that dimension.
///
/// Each digit goes through a random permutation that depends on the key and the digit's position (Owen 2017,
/// arXiv:1706.02808), so each point is uniform in the cube over keys, and any bᵏ points in a row that start at a multiple
/// of bᵏ still have one in each of the bᵏ equal parts of dimension with base b. Dimensions from [`DIMENSIONS`] on have
/// independent uniform coordinates instead.
///
/// ```
/// use luthier_core::halton::scrambled;
/// let thirds: Vec<u32> = (0..3).map(|i| (scrambled(1, i, 7) * 3.0) as u32).collect();
/// assert!((0..3).all(|third| thirds.contains(&third)));
/// ```
pub fn scrambled(dimension: usize, index: u32, key: u64) -> f64 {
    let tail = (mixed(key ^ GOLDEN.rotate_left(32), u64::from(index)) >> 11) as f64 / (1u64 << 53) as f64;
    if dimension >= DIMENSIONS {
        return tail;
    }
    let base = PRIMES[dimension];
    let (mut rest, mut weight, mut sum, mut reach) = (index, 1.0, 0.0, 1u64);
    let mut position = 0;
    while reach < 1 << INDEX_BITS {
        weight /= f64::from(base);
        sum += f64::from(permuted(rest % base, base, mixed(key, position))) * weight;
        (rest, reach, position) = (rest / base, reach * u64::from(base), position + 1);
    }
    // A sum of products may be rounded up to 1.
    (sum + tail * weight).min(1.0 - f64::EPSILON / 2.0)
}

/// The place of `digit` in a random order of all digits that `key` determines. That of 0, by far the most frequent, costs
/// nothing.
fn permuted(digit: u32, base: u32, key: u64) -> u32 {
    let of_zero = ((u128::from(mixed(key, 0)) * u128::from(base)) >> 64) as u32;
    if digit == 0 {
        return of_zero;
    }
    let own = (mixed(key, u64::from(digit)), digit);
    let before = (1..base).filter(|other| (mixed(key, u64::from(*other)), *other) < own).count() as u32;
    before + u32::from(before >= of_zero)
}

/// Element `position` of the `SplitMix64` stream that starts at `key`, after one more round.
fn mixed(key: u64, position: u64) -> u64 {
    let mut z = key.wrapping_add((position + 1).wrapping_mul(GOLDEN));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_has_its_own_place() {
        for base in [2, 3, 7, 31] {
            for key in 0..50 {
                let mut places: Vec<u32> = (0..base).map(|digit| permuted(digit, base, key)).collect();
                places.sort_unstable();
                assert_eq!(places, (0..base).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn all_orders_of_three_digits_are_equally_likely() {
        let mut counts = [0; 6];
        for key in 0..6000 {
            let order: Vec<u32> = (0..3).map(|digit| permuted(digit, 3, mixed(99, key))).collect();
            counts[(order[0] * 2 + u32::from(order[1] > order[2])) as usize] += 1;
        }
        // χ² with 5 degrees of freedom is above 20.5 once in 1,000; the keys are fixed.
        let chi: f64 = counts.iter().map(|n| (f64::from(*n) - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi < 20.5, "{chi}");
    }
}
