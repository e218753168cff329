//! Random numbers from counters: a draw depends on (seed, stream, counter) and never on the thread or the order.
//!
//! The mixing function is SplitMix64's finaliser (Steele, Lea & Flood, OOPSLA 2014) applied once per word of the key.

/// Mixes 64 bits so that close inputs give unrelated outputs.
#[inline]
pub const fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The `counter`-th 64 random bits of `stream` under `seed`.
#[inline]
pub const fn bits(seed: u64, stream: u64, counter: u64) -> u64 {
    mix(mix(mix(seed) ^ stream) ^ counter)
}

/// A sequence of random numbers under one (seed, stream).
#[derive(Clone, Debug)]
pub struct Stream {
    key: u64,
    counter: u64,
}

impl Stream {
    /// The sequence `stream` under `seed`.
    pub const fn new(seed: u64, stream: u64) -> Self {
        Self { key: mix(mix(seed) ^ stream), counter: 0 }
    }

    /// A sequence of its own for each place, whatever was drawn from this one.
    #[inline]
    pub const fn at(&self, place: u64) -> Self {
        Self { key: mix(self.key ^ place), counter: 0 }
    }

    /// The next 64 bits.
    #[inline]
    pub fn next_bits(&mut self) -> u64 {
        self.counter += 1;
        mix(self.key ^ self.counter)
    }

    /// Uniform in `[0, 1)`, with 53 bits.
    #[inline]
    pub fn uniform(&mut self) -> f64 {
        (self.next_bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in `0..n` (Lemire's multiply-shift; its bias is below `n / 2^64`). `n` must not be 0.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next_bits()) * u128::from(n)) >> 64) as u64
    }

    /// Shuffles in place (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_every_word_of_the_key() {
        let base = bits(1, 2, 3);
        assert!(base != bits(2, 2, 3) && base != bits(1, 3, 3) && base != bits(1, 2, 4));
    }

    #[test]
    fn uniform_has_the_right_mean_and_range() {
        let mut stream = Stream::new(7, 0);
        let draws = 100_000;
        let mut sum = 0.0;
        for _ in 0..draws {
            let u = stream.uniform();
            assert!((0.0..1.0).contains(&u));
            sum += u;
        }
        assert!((sum / f64::from(draws) - 0.5).abs() < 0.005);
    }

    #[test]
    fn shuffle_keeps_every_item() {
        let mut items = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        Stream::new(3, 1).shuffle(&mut items);
        assert_ne!(items, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        items.sort_unstable();
        assert_eq!(items, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
}
