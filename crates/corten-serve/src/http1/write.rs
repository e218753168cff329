//! Answers as bytes.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::StatusCode;
use hyper::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};

use crate::answer::Answer;

/// What becomes of the connection after an answer, as its head tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Stays,
    /// It stays, which HTTP/1.0 has to be told.
    StaysOld,
    Ends,
}

/// Writes the head of an answer, and the field of its date and the empty line last.
pub(crate) fn head(answer: &Answer, after: After, out: &mut Vec<u8>) {
    let status = answer.status();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in answer.headers() {
        // What belongs to the connection is told here.
        if [CONTENT_LENGTH, CONNECTION, DATE, TRANSFER_ENCODING].contains(name) {
            continue;
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
    }
    if status != StatusCode::NO_CONTENT {
        length(answer.body().len(), out);
    }
    out.extend_from_slice(match after {
        After::Stays => b"",
        After::StaysOld => b"\r\nconnection: keep-alive",
        After::Ends => b"\r\nconnection: close",
    });
    end(out);
}

/// Writes the field of a body's length.
pub(crate) fn length(length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\ncontent-length: ");
    // A vector takes all that is written to it.
    let _ = std::io::Write::write_fmt(out, format_args!("{length}"));
}

/// Writes the date and ends the head.
pub(crate) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\ndate: ");
    out.extend_from_slice(&date());
    out.extend_from_slice(b"\r\n\r\n");
}

type Date = [u8; 29];

/// The date as HTTP has it, made anew each second.
fn date() -> Date {
    thread_local! {
        static LAST: Cell<(u64, Date)> = const { Cell::new((u64::MAX, [0; 29])) };
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (then, mut date) = LAST.get();
    if then != now {
        date = date_of(now);
        LAST.set((now, date));
    }
    date
}

/// The date of a second since 1970: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date_of(second: u64) -> Date {
    const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
    const MONTHS: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let (day, rest) = (second / 86_400, second % 86_400);
    // The calendar in eras of 400 years that begin with March (Hinnant, days_from_civil).
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 2 } else { month - 10 };
    let year = era * 400 + year_of_era + u64::from(month < 2);
    let two = |n: u64| [b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8];
    let mut date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    date[..3].copy_from_slice(DAYS[(day % 7) as usize]);
    date[5..7].copy_from_slice(&two(day_of_month));
    date[8..11].copy_from_slice(MONTHS[month as usize]);
    date[12..14].copy_from_slice(&two(year / 100));
    date[14..16].copy_from_slice(&two(year));
    date[17..19].copy_from_slice(&two(rest / 3600));
    date[20..22].copy_from_slice(&two(rest / 60 % 60));
    date[23..25].copy_from_slice(&two(rest % 60));
    date
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // RFC 9110's example, leap days, and ends of years; the figures are `date -u -d @N`'s.
        for (second, wanted) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (1_709_251_200, "Fri, 01 Mar 2024 00:00:00 GMT"),
            (1_767_225_599, "Wed, 31 Dec 2025 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(String::from_utf8_lossy(&date_of(second)), wanted);
        }
    }
}
