//! Sorting of keys by the code in their upper bits.

/// A code with a payload below it.
pub(crate) trait Key: Copy + Ord + Default + Send {
    fn code(self) -> u32;
    fn payload(self) -> u32;
}

impl Key for u32 {
    #[inline]
    fn code(self) -> u32 {
        self >> 16
    }

    #[inline]
    fn payload(self) -> u32 {
        self & 0xffff
    }
}

impl Key for u64 {
    #[inline]
    fn code(self) -> u32 {
        (self >> 32) as u32
    }

    #[inline]
    fn payload(self) -> u32 {
        self as u32
    }
}

/// Keys from which digits are counted instead of keys compared.
const RADIX_FROM: usize = 160;
/// Bits of a digit.
const DIGIT: u32 = 8;
/// Most bits of a range that is counted at once.
const DIRECT: u32 = 11;

/// Sorts keys by code; all codes lie in `low..=high`. The order among equal codes is left open.
pub(crate) fn by_code<K: Key>(keys: &mut Vec<K>, scratch: &mut Vec<K>, low: u32, high: u32) {
    let n = keys.len();
    let bits = u32::BITS - (high - low).leading_zeros();
    // Passes over few keys cost less than the counters only where the range is small.
    if n < RADIX_FROM && (bits > DIGIT || n < 48) {
        keys.sort_unstable();
        return;
    }
    scratch.resize(n, K::default());
    let direct = bits <= DIRECT && (1usize << bits) <= 4 * n;
    let digit = if direct { bits.max(1) } else { DIGIT };
    let mut shift = 0;
    while shift < bits.max(1) {
        let mask = (1u32 << digit) - 1;
        let mut starts = [0u32; 1 << DIRECT];
        let starts = &mut starts[..=mask as usize];
        for k in keys.iter() {
            starts[((k.code() - low) >> shift & mask) as usize] += 1;
        }
        let mut sum = 0;
        for s in starts.iter_mut() {
            let count = *s;
            *s = sum;
            sum += count;
        }
        for &k in keys.iter() {
            let at = &mut starts[((k.code() - low) >> shift & mask) as usize];
            scratch[*at as usize] = k;
            *at += 1;
        }
        std::mem::swap(keys, scratch);
        shift += digit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_core::random::Stream;

    #[test]
    fn sorts_by_code_whatever_the_size_and_range() {
        let mut stream = Stream::new(1, 0);
        let mut scratch = Vec::new();
        for n in [1usize, 7, 50, 159, 160, 500, 3000] {
            for range in [1u64, 2, 200, 1000, 60_000] {
                let mut keys: Vec<u32> =
                    (0..n).map(|_| (5 + stream.below(range) as u32) << 16 | stream.below(9) as u32).collect();
                let mut expected = keys.clone();
                expected.sort_unstable();
                let (low, high) = (expected[0].code(), expected[n - 1].code());
                by_code(&mut keys, &mut scratch, low, high);
                assert!(keys.is_sorted_by_key(|k| k.code()), "{n} keys in a range of {range}");
                keys.sort_unstable();
                assert_eq!(keys, expected);
            }
        }
    }
}
