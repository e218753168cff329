//! Many texts in one piece of memory.

use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;
use core::ops::Index;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A list of texts that takes their bytes and 4 more for each. Together they have at most 4 GiB.
///
/// Seen from outside, and in JSON, it is a list of strings.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Texts {
    bytes: String,
    /// The end of each.
    ends: Vec<u32>,
}

impl Texts {
    /// Of all bytes and the end of each text; `None` where they don't fit together or a part isn't UTF-8.
    pub(crate) fn of_parts(bytes: Vec<u8>, ends: Vec<u32>) -> Option<Self> {
        let bytes = String::from_utf8(bytes).ok()?;
        let ascending = ends.windows(2).all(|w| w[0] <= w[1]);
        let whole = ends.iter().all(|&end| bytes.is_char_boundary(end as usize));
        let covered = ends.last().map_or(0, |&end| end as usize) == bytes.len();
        (ascending && whole && covered).then_some(Self { bytes, ends })
    }

    /// All bytes and the end of each text.
    pub(crate) fn parts(&self) -> (&[u8], &[u32]) {
        (self.bytes.as_bytes(), &self.ends)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A text by its place.
    #[inline]
    pub fn get(&self, at: usize) -> Option<&str> {
        let end = *self.ends.get(at)? as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        self.bytes.get(start..end)
    }

    /// The bytes of a text that is there.
    #[inline]
    pub(crate) fn bytes(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.bytes.as_bytes()[start..self.ends[at] as usize]
    }

    /// All of them in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + DoubleEndedIterator + Clone {
        (0..self.len()).map(|at| &self[at])
    }

    /// The place of a text where they ascend by their bytes.
    pub fn find_sorted(&self, text: &[u8]) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let at = low.midpoint(high);
            match self.bytes(at).cmp(text) {
                Ordering::Less => low = at + 1,
                Ordering::Equal => return Some(at),
                Ordering::Greater => high = at,
            }
        }
        None
    }

    /// Appends one.
    ///
    /// # Panics
    /// When they have more than 4 GiB together.
    pub fn push(&mut self, text: &str) {
        self.bytes.push_str(text);
        let Ok(end) = u32::try_from(self.bytes.len()) else { panic!("a list of texts of more than 4 GiB") };
        self.ends.push(end);
    }
}

impl Index<usize> for Texts {
    type Output = str;

    fn index(&self, at: usize) -> &str {
        self.get(at).unwrap_or_else(|| panic!("text {at} of {}", self.len()))
    }
}

impl<S: AsRef<str>> FromIterator<S> for Texts {
    fn from_iter<I: IntoIterator<Item = S>>(texts: I) -> Self {
        let mut out = Self::default();
        texts.into_iter().for_each(|text| out.push(text.as_ref()));
        out
    }
}

impl<S: AsRef<str>> From<Vec<S>> for Texts {
    fn from(texts: Vec<S>) -> Self {
        texts.into_iter().collect()
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for Texts {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::<String>::deserialize(from).map(Self::from)
    }
}
