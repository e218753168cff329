//! Lists of numbers in text.

use std::str::FromStr;

use corten_core::{Error, Result};

/// The numbers of a list, separated by spaces; exactly `count` of them.
///
/// # Errors
/// [`Error::Foreign`] that names the list.
pub(crate) fn list<T: FromStr>(name: &str, text: &str, count: usize) -> Result<Vec<T>> {
    // A number takes two bytes at least: what is only claimed takes no memory.
    if count > text.len().div_ceil(2) {
        return Err(Error::foreign(format!("'{name}' has fewer than {count} numbers")));
    }
    let mut out = Vec::with_capacity(count);
    for word in text.split_ascii_whitespace() {
        let number = word.parse().map_err(|_| Error::foreign(format!("'{name}' holds '{}'", shown(word))))?;
        if out.len() == count {
            return Err(Error::foreign(format!("'{name}' has more than {count} numbers")));
        }
        out.push(number);
    }
    if out.len() < count {
        return Err(Error::foreign(format!("'{name}' has {} numbers where {count} are needed", out.len())));
    }
    Ok(out)
}

/// One number.
///
/// # Errors
/// [`Error::Foreign`] that names it.
pub(crate) fn one<T: FromStr>(name: &str, text: &str) -> Result<T> {
    text.trim().parse().map_err(|_| Error::foreign(format!("'{name}' is '{}'", shown(text))))
}

/// The start of a text, for messages.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}
