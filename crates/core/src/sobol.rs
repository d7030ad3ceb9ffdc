//! The Sobol sequence with Owen's scrambling: points that fill the unit cube more evenly than independent draws.
//!
//! Mathematics only; which trial takes which point is the sampler's affair.

use std::sync::LazyLock;

/// Dimensions with direction numbers (Joe and Kuo 2008, the table `new-joe-kuo-6`).
pub const DIMENSIONS: usize = 1024;

/// Binary digits of an unscrambled coordinate; the sequence has 2³² points.
const DIGITS: u32 = 32;

/// The odd number nearest to 2⁶⁴ divided by the golden ratio (Steele, Lea and Flood 2014).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

static DIRECTIONS: LazyLock<Vec<[u32; DIGITS as usize]>> = LazyLock::new(|| {
    include_str!("joe_kuo.txt").lines().filter(|line| !line.starts_with('#')).map(directions).collect()
});

/// The first 32 binary digits of coordinate `dimension` (from 0, below [`DIMENSIONS`]) of point `index`, unscrambled.
///
/// Points come in the order of the Gray code (Antonov and Saleev 1979), as in most implementations; every block of
/// 2ᵏ points that starts at a multiple of 2ᵏ is a digital net, as in the natural order.
pub fn digits(dimension: usize, index: u32) -> u32 {
    let directions = &DIRECTIONS[dimension];
    let gray = index ^ (index >> 1);
    (0..DIGITS).filter(|k| gray >> k & 1 == 1).fold(0, |sum, k| sum ^ directions[k as usize])
}

/// Coordinate `dimension` of point `index` in [0, 1), a multiple of 2⁻⁵³, scrambled by a `key` of that dimension.
///
/// The scrambling is Owen's (1995): digit `i` is flipped by a random bit that depends on the digits above it, here
/// a hash of the key and those digits; digits past the 32nd are random. So each point is uniform in the
/// cube over keys, and each set of points that was a net still is one. Dimensions from [`DIMENSIONS`] on have
/// independent uniform coordinates instead.
pub fn scrambled(dimension: usize, index: u32, key: u64) -> f64 {
    let tail = mixed(key ^ GOLDEN.rotate_left(32), u64::from(index));
    if dimension >= DIMENSIONS {
        return unit(tail >> 11);
    }
    unit(u64::from(permuted(digits(dimension, index), key)) << 21 | tail >> 43)
}

/// Owen's nested permutation of the digits.
fn permuted(digits: u32, key: u64) -> u32 {
    (0..DIGITS).fold(digits, |flipped, level| {
        let above = u64::from(digits) >> (DIGITS - level);
        let node = 1 << level | above;
        let flip = (mixed(key, node) >> 63) as u32;
        flipped ^ flip << (DIGITS - 1 - level)
    })
}

/// Element `position` of the `SplitMix64` stream that starts at `key`.
fn mixed(key: u64, position: u64) -> u64 {
    let mut z = key.wrapping_add(position.wrapping_mul(GOLDEN));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn unit(bits: u64) -> f64 {
    bits as f64 / (1u64 << 53) as f64
}

/// Direction numbers of one dimension from its line of the table: equation (2) of Joe and Kuo, shifted to 32 digits.
fn directions(line: &str) -> [u32; DIGITS as usize] {
    let mut numbers = line.split(' ').map(str::parse::<u32>);
    let mut next = || match numbers.next() {
        Some(Ok(number)) => Some(number),
        Some(Err(_)) => unreachable!("the table holds numbers only"),
        None => None,
    };
    let polynomial = next().unwrap_or(1);
    let degree = polynomial.ilog2() as usize;
    let mut v = [0; DIGITS as usize];
    for k in 0..v.len() {
        let digit = DIGITS - 1 - k as u32;
        v[k] = if degree == 0 {
            1 << digit
        } else if k < degree {
            next().unwrap_or(1) << digit
        } else {
            let taps = (1..degree).filter(|j| polynomial >> (degree - j) & 1 == 1);
            taps.fold(v[k - degree] ^ v[k - degree] >> degree, |sum, j| sum ^ v[k - j])
        };
    }
    v
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dimension_has_its_directions() {
        assert_eq!(DIRECTIONS.len(), DIMENSIONS);
        let unit_triangular = |v: &[u32; 32]| (0..32).all(|k| v[k].trailing_zeros() == 31 - k as u32);
        assert!(DIRECTIONS.iter().all(unit_triangular));
    }

    #[test]
    fn scrambling_keeps_the_common_digits_of_two_points_and_nothing_more() {
        for (a, b) in [(0, 1), (0x8000_0000, 0x8000_0001), (0x1234_5678, 0x1234_0000), (0, u32::MAX)] {
            for key in 0..20 {
                let common = (a ^ b).leading_zeros();
                assert_eq!((permuted(a, key) ^ permuted(b, key)).leading_zeros(), common);
            }
        }
    }
}
