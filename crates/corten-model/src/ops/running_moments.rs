//! Count, mean and variance per key: state that advances row by row.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use corten_core::{Error, Result};
use serde_json::{Value, json};

use super::{Flow, Operator, Shape};
use crate::file::{TensorReader, TensorWriter};
use crate::graph::Slot;
use crate::texts::Texts;

/// Most keys that a state may hold.
const MAX_KEYS: usize = 10_000_000;
/// Bytes of a key that need no more memory than a session has.
const ROOM: usize = 256;

/// Running count, mean and variance of `values` columns, per key.
///
/// The first input is the key (text or a number), the others are the values. A row's output is the state of its key
/// as it stands: the count of rows, then the mean and the population variance of each value; 0 and NaN for a key that
/// was never seen. `advance` takes a row in by Welford's recurrence (Technometrics 4(3), 1962); a missing value leaves
/// its column's moments as they are.
///
/// Shapes: `1 + values` columns in, `1 + 2 * values` numbers out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunningMoments {
    values: u32,
    state: BTreeMap<Vec<u8>, Moments>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Moments {
    rows: f64,
    /// Count, mean, sum of squared distances from the mean; one triple a value.
    parts: Vec<[f64; 3]>,
}

impl RunningMoments {
    /// An empty state over this many value columns.
    pub fn new(values: u32) -> Self {
        Self { values, state: BTreeMap::new() }
    }

    /// Number of keys seen so far.
    pub fn keys(&self) -> usize {
        self.state.len()
    }

    pub(super) fn advance(&mut self, flow: &Flow<'_, '_>, inputs: &[Slot]) -> Result<()> {
        let mut room = Vec::new();
        for r in 0..flow.rows {
            let key = key(flow, inputs[0], r, &mut room);
            if !self.state.contains_key(key) && self.state.len() >= MAX_KEYS {
                return Err(Error::Limit(format!("the state holds {MAX_KEYS} keys, which is the most it may hold")));
            }
            let width = self.values as usize;
            let moments =
                self.state.entry(key.to_vec()).or_insert_with(|| Moments { rows: 0.0, parts: vec![[0.0; 3]; width] });
            moments.rows += 1.0;
            for (part, &slot) in moments.parts.iter_mut().zip(&inputs[1..]) {
                let Slot::Number(at) = slot else { continue };
                let x = flow.number(at)[r];
                if !x.is_nan() {
                    part[0] += 1.0;
                    let delta = x - part[1];
                    part[1] += delta / part[0];
                    part[2] += delta * (x - part[1]);
                }
            }
        }
        Ok(())
    }
}

/// The key of a row as bytes, in `room`: a tag, then text or the bits of a number.
fn key<'k>(flow: &Flow<'_, '_>, slot: Slot, r: usize, room: &'k mut Vec<u8>) -> &'k [u8] {
    room.clear();
    match slot {
        Slot::Text(at) => match flow.text(at)[r] {
            Some(text) => {
                // Room for most keys at once, so that rows that come later ask for none.
                room.reserve((text.len() + 1).max(ROOM));
                room.push(b't');
                room.extend_from_slice(text);
            }
            None => room.extend_from_slice(b"m"),
        },
        Slot::Number(at) => {
            let x = flow.number(at)[r];
            if x.is_nan() {
                room.extend_from_slice(b"m");
            } else {
                room.push(b'n');
                // Adding 0 makes -0 and 0 one key.
                room.extend_from_slice(&(x + 0.0).to_bits().to_le_bytes());
            }
        }
    }
    room
}

impl Operator for RunningMoments {
    fn check(&self, inputs: &[Slot]) -> Result<Shape> {
        let values = self.values as usize;
        if inputs.len() != values + 1 || inputs[1..].iter().any(|s| matches!(s, Slot::Text(_))) {
            return Err(Error::format(format!("operator 'running_moments' takes a key and {values} numbers")));
        }
        if self.state.values().any(|m| m.parts.len() != values) {
            return Err(Error::format("operator 'running_moments': its state does not fit its columns"));
        }
        Ok(Shape::numbers(1 + 2 * values))
    }

    fn write(&self, tensors: &mut TensorWriter) -> Value {
        let hex = |key: &[u8]| key.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let keys: Texts = self.state.keys().map(|k| hex(k)).collect();
        let mut moments = Vec::new();
        for m in self.state.values() {
            moments.push(m.rows);
            moments.extend(m.parts.iter().flatten());
        }
        tensors.texts("keys", &keys);
        tensors.f64("moments", &moments);
        json!({ "values": self.values })
    }

    fn read(value: &Value, tensors: &TensorReader<'_>) -> Result<Self> {
        let bad = || Error::format("operator 'running_moments': its state does not fit its columns");
        let values = value.get("values").and_then(Value::as_u64).and_then(|v| u32::try_from(v).ok()).ok_or_else(bad)?;
        let keys = tensors.texts("keys")?;
        if keys.len() > MAX_KEYS {
            return Err(Error::format(format!("operator 'running_moments': more than {MAX_KEYS} keys")));
        }
        let moments = tensors.f64("moments")?;
        let width = (values as usize).checked_mul(3).and_then(|w| w.checked_add(1)).ok_or_else(bad)?;
        if keys.len().checked_mul(width) != Some(moments.len()) {
            return Err(bad());
        }
        let mut state = BTreeMap::new();
        for (key, m) in keys.iter().zip(moments.chunks_exact(width)) {
            let key = unhex(key).ok_or_else(bad)?;
            let parts = m[1..].chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect();
            if state.insert(key, Moments { rows: m[0], parts }).is_some() {
                return Err(Error::format("operator 'running_moments': a key comes twice"));
            }
        }
        Ok(Self { values, state })
    }

    fn run<'d>(&'d self, flow: &mut Flow<'_, 'd>, inputs: &[Slot], first: u32) -> Result<()> {
        let stride = flow.stride;
        let mut room = core::mem::take(&mut flow.scratch.key);
        // A dry run has no text, but the rows after it do.
        room.reserve(ROOM);
        for r in 0..flow.rows {
            let moments = self.state.get(key(flow, inputs[0], r, &mut room));
            let (_, after) = flow.split(first);
            after[r] = moments.map_or(0.0, |m| m.rows);
            for i in 0..self.values as usize {
                let (mean, variance) = match moments.map(|m| m.parts[i]) {
                    Some([n, mean, squares]) if n > 0.0 => (mean, squares / n),
                    _ => (f64::NAN, f64::NAN),
                };
                after[(1 + 2 * i) * stride + r] = mean;
                after[(2 + 2 * i) * stride + r] = variance;
            }
        }
        flow.scratch.key = room;
        Ok(())
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    bytes
        .chunks_exact(2)
        .map(|pair| {
            let digit = |b: u8| (b as char).to_digit(16);
            Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8)
        })
        .collect()
}
