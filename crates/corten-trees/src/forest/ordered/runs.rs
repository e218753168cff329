//! Columns of few values in a node: rows of one value lie together, and cuts come between such runs alone.

use super::super::sort::Key;

/// Rows of a run, on average, from which runs are looked for.
const LONG: usize = 32;

/// Finds where runs of equal codes end, where those are few; says whether they are.
#[inline(always)]
pub(super) fn find<K: Key>(keys: &[K], ends: &mut Vec<u32>) -> bool {
    let (rows, most) = (keys.len(), keys.len() / LONG);
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return false };
    if first.code().abs_diff(last.code()) as usize >= most {
        return false;
    }
    ends.clear();
    let mut start = 0;
    while start < rows {
        // Missing values that come first say nothing of how many follow.
        if ends.len() > most {
            return false;
        }
        let (code, mut step) = (keys[start].code(), LONG);
        while start + step < rows && keys[start + step].code() == code {
            start += step;
            step *= 2;
        }
        let rest = &keys[start + 1..(start + step).min(rows)];
        start += 1 + rest.partition_point(|key| key.code() == code);
        ends.push(start as u32);
    }
    true
}

/// The number of the longest run: what lies on its right is the whole less what follows, so that it needn't be read.
#[inline(always)]
pub(super) fn longest(ends: &[u32]) -> usize {
    let (mut best, mut most, mut start) = (0, 0, 0);
    for (run, &end) in ends.iter().enumerate() {
        if end - start > most {
            (best, most) = (run, end - start);
        }
        start = end;
    }
    best
}

/// Where a run starts.
#[inline(always)]
pub(super) fn start(ends: &[u32], run: usize) -> usize {
    if run == 0 { 0 } else { ends[run - 1] as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_where_codes_change() {
        let keys = |lengths: &[usize], codes: &[u32]| {
            let codes = lengths.iter().zip(codes).flat_map(|(&length, &code)| std::iter::repeat_n(code, length));
            codes.enumerate().map(|(at, code)| <u32 as Key>::new(code, at)).collect::<Vec<u32>>()
        };
        let mut ends = Vec::new();
        assert!(find(&keys(&[1, 200, 33, 64], &[0, 1, 2, 3]), &mut ends));
        assert_eq!(ends, [1, 201, 234, 298]);
        assert_eq!((longest(&ends), start(&ends, 0), start(&ends, 2)), (1, 0, 201));
        // As with missing values in front.
        assert!(find(&keys(&[70, 1, 200], &[5, 0, 3]), &mut ends));
        assert_eq!(ends, [70, 71, 271]);
        assert!(find(&keys(&[500], &[9]), &mut ends));
        assert_eq!(ends, [500]);
        assert!(!find(&keys(&[1; 300], &(0..300).collect::<Vec<_>>()), &mut ends));
        assert!(!find(&keys(&[1; 300], &(0..299).chain([1]).rev().collect::<Vec<_>>()), &mut ends));
        assert!(!find(&keys(&[], &[]), &mut ends));
    }
}
