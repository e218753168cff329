//! Checks of parameters; each failure names the parameter, what is allowed and what came.

use alloc::format;
use alloc::string::ToString;

use crate::{Error, Result};

/// A finite number with `low <= value <= high`.
///
/// # Errors
/// [`Error::Parameter`] otherwise, for NaN too.
pub fn within(name: &str, value: f64, low: f64, high: f64) -> Result<()> {
    if value >= low && value <= high {
        return Ok(());
    }
    let allowed = match (low.is_finite(), high.is_finite()) {
        (true, true) => format!("a number in the range [{low}, {high}]"),
        (true, false) => format!("a number in the range [{low}, inf)"),
        (false, true) => format!("a number in the range (-inf, {high}]"),
        (false, false) => "a number".to_string(),
    };
    Err(Error::parameter(name, allowed, value))
}

/// A finite number above `low`.
///
/// # Errors
/// [`Error::Parameter`] otherwise, for NaN too.
pub fn above(name: &str, value: f64, low: f64) -> Result<()> {
    if value > low && value.is_finite() {
        return Ok(());
    }
    Err(Error::parameter(name, format!("a number in the range ({low}, inf)"), value))
}

/// A count of at least `low`.
///
/// # Errors
/// [`Error::Parameter`] otherwise.
pub fn at_least(name: &str, value: u64, low: u64) -> Result<()> {
    if value >= low {
        return Ok(());
    }
    Err(Error::parameter(name, format!("an int in the range [{low}, inf)"), value))
}

/// One of the names in `allowed`.
///
/// # Errors
/// [`Error::Parameter`] listing them.
pub fn one_of(name: &str, value: &str, allowed: &[&str]) -> Result<()> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let list = allowed.iter().map(|a| format!("'{a}'")).collect::<alloc::vec::Vec<_>>().join(", ");
    Err(Error::parameter(name, format!("one of {{{list}}}"), format!("'{value}'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_parameter_range_and_value() {
        let text = within("alpha", -1.0, 0.0, f64::INFINITY).unwrap_err().to_string();
        assert_eq!(text, "The 'alpha' parameter must be a number in the range [0, inf). Got -1 instead.");
        assert!(within("alpha", f64::NAN, 0.0, 1.0).is_err());
        assert!(above("tol", 0.0, 0.0).is_err());
        let text = one_of("solver", "magic", &["svd", "cholesky"]).unwrap_err().to_string();
        assert_eq!(text, "The 'solver' parameter must be one of {'svd', 'cholesky'}. Got 'magic' instead.");
    }
}
