//! Sorting of keys by the code in their upper half.

use super::finder::{Order, Span};

/// A code above a row's place.
pub(crate) trait Key: Copy + Ord + Default + Send + Sync {
    fn new(code: u32, place: usize) -> Self;
    fn code(self) -> u32;
    fn place(self) -> usize;
    /// Sorts few keys.
    fn sort(keys: &mut [Self]);
}

impl Key for u32 {
    #[inline]
    fn new(code: u32, place: usize) -> Self {
        code << 16 | place as u32
    }

    #[inline]
    fn code(self) -> u32 {
        self >> 16
    }

    #[inline]
    fn place(self) -> usize {
        self as usize & 0xffff
    }

    fn sort(keys: &mut [Self]) {
        corten_kernels::sort::ascending(keys);
    }
}

impl Key for u64 {
    #[inline]
    fn new(code: u32, place: usize) -> Self {
        u64::from(code) << 32 | place as u64
    }

    #[inline]
    fn code(self) -> u32 {
        (self >> 32) as u32
    }

    #[inline]
    fn place(self) -> usize {
        self as u32 as usize
    }

    fn sort(keys: &mut [Self]) {
        keys.sort_unstable();
    }
}

/// Keys from which digits are counted instead of keys compared.
const RADIX_FROM: usize = 256;
/// Bits of a digit.
const DIGIT: u32 = 8;
/// Most bits of a range that is counted at once.
const DIRECT: u32 = 11;

/// Sorts keys by code, and by place among equal codes; all codes lie in `low..=high`, and places ascend.
pub(crate) fn by_code<K: Key>(keys: &mut Vec<K>, scratch: &mut Vec<K>, low: u32, high: u32) {
    let n = keys.len();
    let bits = u32::BITS - (high - low).leading_zeros();
    // Passes over few keys cost more than a network, or than comparisons.
    if n <= RADIX_FROM {
        K::sort(keys);
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

/// The rows of a node by a column, with their tags or else their places.
pub(crate) fn rows<'a, K: Key>(
    codes: &[u32],
    tags: &[u16],
    missing: u32,
    span: &Span,
    [present, absent, scratch]: &'a mut [Vec<K>; 3],
) -> Order<'a, K> {
    present.clear();
    absent.clear();
    if span.missing == 0 && tags.is_empty() {
        present.extend(codes.iter().enumerate().map(|(at, &code)| K::new(code, at)));
    } else if span.missing == 0 {
        present.extend(codes.iter().zip(tags).map(|(&code, &tag)| K::new(code, usize::from(tag))));
    } else {
        for (at, &code) in codes.iter().enumerate() {
            let low = tags.get(at).map_or(at, |&tag| usize::from(tag));
            (if code == missing { &mut *absent } else { &mut *present }).push(K::new(code, low));
        }
    }
    by_code(present, scratch, span.low, span.high);
    Order { present, absent }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_core::random::Stream;

    #[test]
    fn sorts_by_code_whatever_the_size_and_range() {
        let mut stream = Stream::new(1, 0);
        let mut scratch = Vec::new();
        for n in [1usize, 7, 50, 159, 256, 257, 500, 3000] {
            for range in [1u64, 2, 200, 1000, 60_000] {
                let mut keys: Vec<u32> = (0..n).map(|i| <u32 as Key>::new(5 + stream.below(range) as u32, i)).collect();
                let mut wide: Vec<u64> = keys.iter().map(|k| u64::new(k.code(), k.place())).collect();
                let mut expected = keys.clone();
                expected.sort_unstable();
                let (low, high) = (expected[0].code(), expected[n - 1].code());
                by_code(&mut keys, &mut scratch, low, high);
                assert_eq!(keys, expected, "{n} keys in a range of {range}");
                by_code(&mut wide, &mut Vec::new(), low, high);
                assert!(wide.iter().zip(&keys).all(|(w, k)| (w.code(), w.place()) == (k.code(), k.place())));
            }
        }
    }
}
