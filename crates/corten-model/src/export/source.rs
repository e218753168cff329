//! C as it is written: tables, statements, and which helpers they call.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::export::plan::Place;
use crate::export::support::Helper;

/// Widest line of a table.
const WIDTH: usize = 110;

/// What has been written so far.
#[derive(Default)]
pub(crate) struct Source {
    pub(crate) tables: String,
    pub(crate) body: String,
    pub(crate) helpers: BTreeSet<Helper>,
    /// Bytes of tables.
    pub(crate) flash: usize,
    /// Most bytes of an operator's own variables.
    pub(crate) locals: usize,
    /// Bytes of the sums that a link keeps beside them.
    pub(crate) sums: usize,
    /// Makes names of tables differ.
    names: usize,
}

/// A table of numbers in the narrowest type that holds them.
#[derive(Clone, Debug)]
pub(crate) struct Reals {
    name: String,
    kind: RealKind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum RealKind {
    F64,
    F32,
    /// Whole numbers times a power of two.
    Whole(f64),
}

impl Reals {
    /// Reads an entry as `double`.
    pub(crate) fn at(&self, index: &str) -> String {
        let entry = format!("{}[{index}]", self.name);
        match self.kind {
            RealKind::F64 => entry,
            RealKind::F32 => format!("(double){entry}"),
            RealKind::Whole(1.0) => format!("(double){entry}"),
            RealKind::Whole(scale) => format!("(double){entry} * {}", number(scale)),
        }
    }

    /// Name and scale of a table of whole numbers.
    pub(crate) fn whole(&self) -> Option<(&str, f64)> {
        match self.kind {
            RealKind::Whole(scale) => Some((&self.name, scale)),
            _ => None,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether entries are `float`.
    pub(crate) fn is_single(&self) -> bool {
        self.kind == RealKind::F32
    }
}

/// A number as C reads it back exactly.
pub(crate) fn number(x: f64) -> String {
    if x.is_nan() {
        "NOT_A_NUMBER".into()
    } else if x.is_infinite() {
        if x > 0.0 { "INFINITE".into() } else { "-INFINITE".into() }
    } else {
        format!("{x:?}")
    }
}

/// The narrowest unsigned type that holds numbers up to `max`, and its bytes.
pub(crate) fn unsigned(max: usize) -> (&'static str, usize) {
    match max {
        0..=0xff => ("uint8_t", 1),
        0x100..=0xffff => ("uint16_t", 2),
        _ => ("uint32_t", 4),
    }
}

/// `array[start + index]`.
pub(crate) fn entry(array: &str, start: usize, index: &str) -> String {
    if start == 0 { format!("{array}[{index}]") } else { format!("{array}[{start} + {index}]") }
}

/// Whole multiples of a power of two, if all values are such within `limit`.
fn whole(values: &[f64], limit: i64) -> Option<(f64, Vec<i64>)> {
    let finite = values.iter().all(|x| x.is_finite() && (*x != 0.0 || x.is_sign_positive()));
    let max = values.iter().fold(0.0f64, |a, x| a.max(x.abs()));
    if !finite || max > 1e100 {
        return None;
    }
    // The lowest bit that any of them has.
    let lowest = values.iter().filter(|x| **x != 0.0).map(|&x| lowest_bit(x)).min().unwrap_or(0);
    if !(-300..=300).contains(&lowest) {
        return None;
    }
    // A scale of 1 costs nothing to apply.
    let scale = if lowest >= 0 && max <= limit as f64 { 1.0 } else { 2f64.powi(lowest) };
    let whole: Vec<i64> = values.iter().map(|x| (x / scale) as i64).collect();
    let exact = whole.iter().zip(values).all(|(&q, x)| (q as f64 * scale).to_bits() == x.to_bits());
    (exact && whole.iter().all(|q| q.abs() <= limit)).then_some((scale, whole))
}

/// The exponent of the lowest bit that is set.
fn lowest_bit(x: f64) -> i32 {
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32;
    let mantissa = (bits & ((1 << 52) - 1)) | if exponent == 0 { 0 } else { 1 << 52 };
    exponent.max(1) - 1075 + mantissa.trailing_zeros() as i32
}

impl Source {
    /// Calls a helper.
    pub(crate) fn needs(&mut self, helper: Helper) {
        helper.with_needs(&mut self.helpers);
    }

    /// A number inside a statement.
    pub(crate) fn literal(&mut self, x: f64) -> String {
        if !x.is_finite() {
            self.needs(Helper::Special);
        }
        number(x)
    }

    /// Appends a statement, indented.
    pub(crate) fn line(&mut self, depth: usize, text: &str) {
        let _ = writeln!(self.body, "{:width$}{text}", "", width = 4 * depth);
    }

    fn name(&mut self, hint: &str) -> String {
        self.names += 1;
        format!("{hint}_{}", self.names)
    }

    /// Writes a table of entries that are C already.
    pub(crate) fn table(&mut self, hint: &str, kind: &str, bytes: usize, entries: &[String]) -> String {
        let name = self.name(hint);
        let _ = write!(self.tables, "static const {kind} {name}[{}] = {{", entries.len().max(1));
        if entries.is_empty() {
            self.tables.push('0');
        }
        let mut width = WIDTH;
        for e in entries {
            if width + e.len() + 2 > WIDTH {
                self.tables.push_str("\n    ");
                width = 4;
            }
            self.tables.push_str(e);
            self.tables.push_str(", ");
            width += e.len() + 2;
        }
        while self.tables.ends_with([' ', ',']) {
            self.tables.pop();
        }
        self.tables.push_str("};\n");
        self.flash += bytes * entries.len().max(1);
        name
    }

    /// A table of whole numbers in the narrowest type.
    pub(crate) fn wholes(&mut self, hint: &str, values: &[usize]) -> String {
        let (kind, bytes) = unsigned(values.iter().copied().max().unwrap_or(0));
        let entries: Vec<String> = values.iter().map(ToString::to_string).collect();
        self.table(hint, kind, bytes, &entries)
    }

    /// A table of words of 32 bits.
    pub(crate) fn words(&mut self, hint: &str, values: &[u32]) -> String {
        let entries: Vec<String> = values.iter().map(|w| format!("{w}u")).collect();
        self.table(hint, "uint32_t", 4, &entries)
    }

    /// A table of numbers in the narrowest type that holds them exactly.
    pub(crate) fn reals(&mut self, hint: &str, values: &[f64]) -> Reals {
        for (limit, kind, bytes) in [(127, "int8_t", 1), (32767, "int16_t", 2)] {
            if let Some((scale, whole)) = whole(values, limit) {
                let entries: Vec<String> = whole.iter().map(ToString::to_string).collect();
                return Reals { name: self.table(hint, kind, bytes, &entries), kind: RealKind::Whole(scale) };
            }
        }
        self.floats(hint, values)
    }

    /// A table of `float` where that is exact, else of `double`.
    pub(crate) fn floats(&mut self, hint: &str, values: &[f64]) -> Reals {
        if values.iter().any(|x| !x.is_finite()) {
            self.needs(Helper::Special);
        }
        let single = values.iter().all(|&x| x.is_nan() || f64::from(x as f32).to_bits() == x.to_bits());
        let entries: Vec<String> = values
            .iter()
            .map(|&x| if single && x.is_finite() { format!("{:?}f", x as f32) } else { number(x) })
            .collect();
        if single {
            Reals { name: self.table(hint, "float", 4, &entries), kind: RealKind::F32 }
        } else {
            Reals { name: self.table(hint, "double", 8, &entries), kind: RealKind::F64 }
        }
    }

    /// One text with a 0 behind it.
    pub(crate) fn one_text(&mut self, hint: &str, value: &str) -> String {
        let bytes: Vec<String> = value.bytes().chain([0]).map(|b| b.to_string()).collect();
        self.table(hint, "unsigned char", 1, &bytes)
    }

    /// Texts one after the other, each with a 0 behind it, and where each starts.
    pub(crate) fn texts(&mut self, hint: &str, values: &[&str]) -> (String, String) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for value in values {
            starts.push(bytes.len());
            bytes.extend(value.bytes().chain([0]).map(|b| b.to_string()));
        }
        (self.table(hint, "unsigned char", 1, &bytes), self.wholes(&format!("{hint}_starts"), &starts))
    }
}

/// Number columns that an operator reads.
pub(crate) enum Columns {
    Run(&'static str, usize),
    Listed(String),
}

impl Columns {
    /// Of these places; a table lists them where they are not side by side.
    pub(crate) fn new(source: &mut Source, inputs: &[Place], given: usize) -> Self {
        let flat = |p: &Place| match *p {
            Place::Row(i) => i,
            Place::Buffer(i) => given + i,
            Place::GivenText(i) | Place::MadeText(i) => i,
        };
        let indices: Vec<usize> = inputs.iter().map(flat).collect();
        let one_array = inputs.iter().all(|p| matches!(p, Place::Row(_)) == matches!(inputs[0], Place::Row(_)));
        if one_array && indices.windows(2).all(|w| w[1] == w[0] + 1) {
            return match inputs.first() {
                Some(&Place::Buffer(i)) => Self::Run("v", i),
                Some(&Place::Row(i)) => Self::Run("row", i),
                _ => Self::Run("row", 0),
            };
        }
        if inputs.iter().all(|p| matches!(p, Place::Row(_))) {
            return Self::Listed(format!("row[{}[", source.wholes("inputs", &indices)));
        }
        source.needs(Helper::At);
        let name = source.wholes("inputs", &indices);
        Self::Listed(format!("at(row, v, {name}["))
    }

    /// Reads column `index` of the operator.
    pub(crate) fn at(&self, index: &str) -> String {
        match self {
            Self::Run(array, start) => entry(array, *start, index),
            Self::Listed(open) => format!("{open}{index}]{}", if open.starts_with("at") { ")" } else { "]" }),
        }
    }
}

/// The C expression of a text.
pub(crate) fn text(place: Place) -> String {
    match place {
        Place::MadeText(i) => format!("t[{i}]"),
        Place::GivenText(i) | Place::Row(i) | Place::Buffer(i) => format!("texts[{i}]"),
    }
}
