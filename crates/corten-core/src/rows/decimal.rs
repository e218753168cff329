//! Decimal numbers to the nearest `f64`.

/// Powers of ten that `f64` has exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Negative powers of five, from the first on, as 128 bits of which the highest is set: rounded up, with an error that
/// products of 64 bits can't carry into a wrong digit as long as the power of five itself has less than 64 bits.
const FIFTHS: [u128; 27] = {
    let mut fifths = [0; 27];
    let (mut at, mut power) = (0, 1u128);
    while at < fifths.len() {
        power *= 5;
        let bits = 128 - (power - 1).leading_zeros();
        // 2^(bits + 127) / power, digit by digit.
        let (mut quotient, mut rest, mut step) = (0u128, 1u128, 0);
        while step < bits + 127 {
            (quotient, rest) = (quotient << 1, rest << 1);
            if rest >= power {
                (quotient, rest) = (quotient | 1, rest - power);
            }
            step += 1;
        }
        fifths[at] = quotient + 1;
        at += 1;
    }
    fifths
};

/// Digits of the fraction of an `f64`.
const FRACTION: u32 = 52;

/// Reads a number of JSON's grammar (RFC 8259, section 6) that begins with the first byte: the nearest `f64`, which is
/// infinite beyond their range, and its bytes. What comes behind it is not looked at.
#[inline]
pub fn read(bytes: &[u8]) -> Option<(f64, usize)> {
    let is_negative = bytes.first() == Some(&b'-');
    let start = usize::from(is_negative);
    let (mut whole, mut exponent) = (0u64, 0i32);
    let before = digits(&bytes[start..], &mut whole);
    if before == 0 || (before > 1 && bytes[start] == b'0') {
        return None;
    }
    let (mut at, mut count) = (start + before, before);
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        let behind = digits(&bytes[at..], &mut whole);
        if behind == 0 {
            return None;
        }
        (at, count) = (at + behind, count + behind);
        exponent = -i32::try_from(behind).ok()?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        let down = bytes.get(at) == Some(&b'-');
        at += usize::from(down || bytes.get(at) == Some(&b'+'));
        let mut given = 0;
        let size = digits(&bytes[at..], &mut given);
        if size == 0 {
            return None;
        }
        at += size;
        // Longer exponents go to the parser that knows what they mean.
        let given = if size > 4 { 10_000 } else { given as i32 };
        exponent = exponent.saturating_add(if down { -given } else { given });
    }
    // More digits than 64 bits hold have overflown.
    if count <= 19
        && let Some(x) = nearest(whole, exponent)
    {
        return Some((if is_negative { -x } else { x }, at));
    }
    let x = core::str::from_utf8(&bytes[..at]).ok()?.parse().ok()?;
    Some((x, at))
}

/// Reads digits behind those of `whole`, which may overflow; returns how many there are.
#[inline]
fn digits(bytes: &[u8], whole: &mut u64) -> usize {
    let mut at = 0;
    while let Some(eight) = bytes[at..].first_chunk().and_then(|b| eight(*b)) {
        *whole = whole.wrapping_mul(100_000_000).wrapping_add(eight);
        at += 8;
    }
    while let Some(digit) = bytes.get(at).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10) {
        *whole = whole.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    at
}

/// The number nearest to `whole * 10^exponent`; none where that takes more than is done here.
#[inline]
fn nearest(whole: u64, exponent: i32) -> Option<f64> {
    let size = exponent.unsigned_abs() as usize;
    // Both are numbers of f64, so one operation rounds once.
    if whole <= 1 << (FRACTION + 1) && size < POWERS.len() {
        let whole = whole as f64;
        return Some(if exponent < 0 { whole / POWERS[size] } else { whole * POWERS[size] });
    }
    (whole > 0 && exponent < 0 && size <= FIFTHS.len()).then(|| quotient(whole, size))
}

/// `whole / 10^size` by one or two multiplications (D. Lemire, "Number parsing at a gigabyte per second", 2021).
fn quotient(whole: u64, size: usize) -> f64 {
    let zeros = whole.leading_zeros();
    let scaled = u128::from(whole << zeros);
    let fifth = FIFTHS[size - 1];
    let mut product = scaled * (fifth >> 64);
    let high = |product: u128| (product >> 64) as u64;
    // The lower half counts where it could carry through all digits below the last that stays.
    let open = u64::MAX >> (FRACTION + 3);
    if high(product) & open == open {
        product += (scaled * (fifth & u128::from(u64::MAX))) >> 64;
    }
    let (low, high) = (product as u64, high(product));
    let upper = (high >> 63) as u32;
    let shift = upper + 64 - FRACTION - 3;
    let mut digits = high >> shift;
    let size = size as i32;
    let mut binary = ((-size * (152_170 + 65_536)) >> 16) + 63 + upper as i32 - zeros as i32 + 1023;
    // Halfway between two numbers: to the even one.
    if low <= 1 && size <= 4 && digits & 3 == 1 && digits << shift == high {
        digits &= !1;
    }
    digits = (digits + (digits & 1)) >> 1;
    if digits >= 2 << FRACTION {
        digits = 1 << FRACTION;
        binary += 1;
    }
    f64::from_bits(digits & !(1 << FRACTION) | (binary as u64) << FRACTION)
}

/// The number that eight digits are; none for other bytes.
#[inline]
fn eight(bytes: [u8; 8]) -> Option<u64> {
    let v = u64::from_le_bytes(bytes);
    let above = 0xf0f0_f0f0_f0f0_f0f0;
    let are_digits = (v & above) | ((v.wrapping_add(0x0606_0606_0606_0606) & above) >> 4);
    if are_digits != 0x3333_3333_3333_3333 {
        return None;
    }
    // Pairs, then fours, then all, in one word.
    let v = v - 0x3030_3030_3030_3030;
    let v = v * 10 + (v >> 8);
    let pairs = 0x0000_00ff_0000_00ff;
    let first = (v & pairs).wrapping_mul(0x000f_4240_0000_0064);
    let second = (v >> 16 & pairs).wrapping_mul(0x0000_2710_0000_0001);
    Some(first.wrapping_add(second) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, vec};

    #[test]
    fn eight_digits_are_read_at_once() {
        for n in [0u64, 1, 9, 10, 99, 12_345_678, 87_654_321, 99_999_999, 10_000_000, 90_909_090] {
            let text = format!("{n:08}");
            assert_eq!(eight(text.as_bytes().try_into().unwrap()), Some(n));
            for at in 0..8 {
                for byte in (0..=255u8).filter(|b| !b.is_ascii_digit()) {
                    let mut bytes: [u8; 8] = text.as_bytes().try_into().unwrap();
                    bytes[at] = byte;
                    assert_eq!(eight(bytes), None);
                }
            }
        }
    }

    #[test]
    fn quotients_are_those_of_the_standard_parser() {
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        for turn in 0..400_000u64 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let size = (turn % 27 + 1) as usize;
            let mut wholes = vec![random >> (turn % 60), u64::MAX - turn, (1 << 53) + turn];
            // What lies halfway between two numbers, and beside that, where a power of ten leads there.
            let half = (1u64 << 53 | random >> 11) | 1;
            let power = 10u64.checked_pow(size as u32).and_then(|p| half.checked_mul(p));
            wholes.extend(power.iter().flat_map(|p| [p - 1, *p, p + 1]));
            for whole in wholes.into_iter().filter(|w| *w > 0) {
                let wanted: f64 = format!("{whole}e-{size}").parse().unwrap();
                assert_eq!(quotient(whole, size).to_bits(), wanted.to_bits(), "{whole}e-{size}");
            }
        }
    }
}
