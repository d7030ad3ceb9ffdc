//! Numbers as people read them: one way to round, wherever something is told.

/// Significant digits that a value is told with.
const DIGITS: usize = 5;

/// A number with at most five significant digits; see [`figure_of`].
///
/// ```
/// use luthier_core::figures::figure;
/// assert_eq!([0.123_456_789, 12.0, 100_000.0, 9.999_999].map(figure), ["0.12346", "12", "100000", "10"]);
/// assert_eq!([1.25e-7, -1e12, f64::NAN].map(figure), ["1.25e-7", "-1e12", "NaN"]);
/// ```
pub fn figure(x: f64) -> String {
    figure_of(x, DIGITS)
}

/// A number with at most `digits` significant digits, at least one, and no zeros that say nothing; a whole part is told in full. What has
/// more than ten digits before the point, or is smaller than 0.0001, has an exponent.
///
/// ```
/// use luthier_core::figures::figure_of;
/// assert_eq!([1234.5, 0.012_345].map(|x| figure_of(x, 2)), ["1234", "0.012"]);
/// ```
pub fn figure_of(x: f64, digits: usize) -> String {
    if x == 0.0 || !x.is_finite() {
        return format!("{}", x + 0.0);
    }
    let after = digits.max(1) - 1;
    // Rounded before its magnitude is asked for: 9.999999 is 10.
    let rounded = format!("{x:.after$e}");
    let (mantissa, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..=9).contains(&exponent) {
        let decimals = (after as i32 - exponent).max(0) as usize;
        short(&format!("{x:.decimals$}"))
    } else {
        format!("{}e{exponent}", short(mantissa))
    }
}

/// A number of which no more than two significant digits are known.
///
/// ```
/// use luthier_core::figures::about;
/// assert_eq!((about(0.002_134), about(1234.5)), ("0.0021".into(), "1200".into()));
/// ```
pub fn about(x: f64) -> String {
    figure(of_two_digits(x))
}

/// A share, such as 0.123, as per cent: `12.3 %`. What is next to nothing or next to all is not rounded to it.
///
/// ```
/// use luthier_core::figures::percent;
/// let told = [0.0, 0.0004, 0.05, 0.123_4, 0.9997, 1.0].map(percent);
/// assert_eq!(told, ["0 %", "under 0.1 %", "5 %", "12.3 %", "over 99.9 %", "100 %"]);
/// ```
pub fn percent(share: f64) -> String {
    match 100.0 * share {
        x if x > 0.0 && x < 0.1 => "under 0.1 %".into(),
        x if x > 99.9 && x < 100.0 => "over 99.9 %".into(),
        x => format!("{} %", short(&format!("{x:.1}"))),
    }
}

/// A share that is an estimate, with two significant digits of its per cent: `12 %`, `3.4 %`.
///
/// ```
/// assert_eq!(luthier_core::figures::about_percent(0.1234), "12 %");
/// ```
pub fn about_percent(share: f64) -> String {
    percent(of_two_digits(share))
}

fn of_two_digits(x: f64) -> f64 {
    format!("{x:.1e}").parse().unwrap_or(x)
}

/// Without the zeros at the end of a fraction.
fn short(text: &str) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text.into() }
}
