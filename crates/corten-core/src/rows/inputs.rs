//! The columns of a model in rows of text: where they are, and what they may hold.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{Scanner, decimal};
use crate::error::MOST_NAMES;
use crate::{Error, Kind, Result};

/// Where the values of a row go. Positions count the columns of a kind.
pub trait Cells {
    /// A number; NaN is missing.
    fn number(&mut self, at: usize, value: f64);
    /// Where the bytes of a text are appended before [`Cells::text`] is called.
    fn room(&mut self, at: usize) -> &mut Vec<u8>;
    /// A text, which starts there in its room, or is missing.
    fn text(&mut self, at: usize, start: Option<usize>);
}

#[derive(Clone, Debug)]
struct Input {
    name: String,
    kind: Kind,
    /// Its place among the columns of its kind.
    at: usize,
    /// Whether numbers are rounded to singles.
    single: bool,
}

/// The columns of a model.
#[derive(Clone, Debug)]
pub struct Inputs {
    inputs: Vec<Input>,
    /// Positions by name.
    order: Vec<usize>,
    named: bool,
    seen: Vec<bool>,
    key: Vec<u8>,
}

/// A number of CSV: as JSON, Python and spreadsheets write it; NaN where it is missing.
///
/// Blanks around it don't count. Nothing, `NaN`, `nan` and `NA` are missing, `true` is 1 and `false` 0 (`True`, `TRUE` ...),
/// and what lies beyond the range of `f64` is infinite, as for pandas and Polars.
#[inline]
pub fn number(field: &[u8]) -> Option<f64> {
    match decimal::read(field) {
        Some((x, size)) if size == field.len() => Some(x),
        _ => odd_number(field.trim_ascii()),
    }
}

fn odd_number(field: &[u8]) -> Option<f64> {
    if matches!(field, b"" | b"NaN" | b"nan" | b"NA") {
        return Some(f64::NAN);
    }
    // The standard parser also takes `+1`, `.5`, `1.`, and infinity by its names.
    let parsed = core::str::from_utf8(field).ok()?.parse().ok();
    parsed.or_else(|| boolean(field).map(|b| f64::from(u8::from(b))))
}

/// A boolean of CSV.
pub fn boolean(field: &[u8]) -> Option<bool> {
    match field {
        b"true" | b"True" | b"TRUE" => Some(true),
        b"false" | b"False" | b"FALSE" => Some(false),
        _ => None,
    }
}

impl Inputs {
    /// Columns in the order of the model; `named` where they are known by name and not by position alone.
    pub fn new(columns: impl IntoIterator<Item = (String, Kind)>, named: bool) -> Self {
        let mut counts = [0, 0];
        let mut next = |kind: Kind| {
            let count = &mut counts[usize::from(kind == Kind::Text)];
            *count += 1;
            *count - 1
        };
        let inputs: Vec<Input> =
            columns.into_iter().map(|(name, kind)| Input { name, kind, at: next(kind), single: false }).collect();
        let mut order: Vec<usize> = (0..inputs.len()).collect();
        order.sort_by(|&a, &b| inputs[a].name.cmp(&inputs[b].name));
        Self { seen: vec![false; inputs.len()], inputs, order, named, key: Vec::new() }
    }

    /// The same where the numbers of some columns are rounded to singles (`f32`), as those of a column of singles are.
    pub fn with_singles(mut self, are_single: impl IntoIterator<Item = bool>) -> Self {
        for (input, single) in self.inputs.iter_mut().zip(are_single) {
            input.single = single;
        }
        self
    }

    /// Name and kind of each column.
    pub fn columns(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.inputs.iter().map(|i| (&*i.name, i.kind))
    }

    /// Whether columns are known by name and not by position alone.
    pub fn is_named(&self) -> bool {
        self.named
    }

    /// How many columns are text.
    pub fn texts(&self) -> usize {
        self.inputs.iter().filter(|i| i.kind == Kind::Text).count()
    }

    /// The field of each column under a header of CSV. Columns that are known by position may have any names there, as in
    /// tables of every other format.
    ///
    /// # Errors
    /// [`Error::MissingColumn`] when the header lacks one, [`Error::Column`] when it has one twice, and [`Error::Value`] for
    /// another number of columns where they are known by position.
    pub fn places(&self, header: &[String]) -> Result<Vec<usize>> {
        if !self.named {
            let (given, wanted) = (header.len(), self.inputs.len());
            if given != wanted {
                return Err(Error::value(format!(
                    "X has {given} features, but this model is expecting {wanted} features as input"
                )));
            }
            return Ok((0..wanted).collect());
        }
        let mut sorted: Vec<usize> = (0..header.len()).collect();
        sorted.sort_by(|&a, &b| header[a].cmp(&header[b]));
        let place = |input: &Input| {
            let start = sorted.partition_point(|&at| header[at] < input.name);
            let mut found = sorted[start..].iter().copied().take_while(|&at| header[at] == input.name);
            let missing = || Error::missing_column(&input.name, header.iter().map(String::as_str));
            let place = found.next().ok_or_else(missing)?;
            match found.next() {
                None => Ok(place),
                Some(_) => Err(Error::column(&input.name, "stands in the header twice")),
            }
        };
        self.inputs.iter().map(place).collect()
    }

    /// Reads a field of CSV.
    ///
    /// # Errors
    /// [`Error::Column`] for text in a column of numbers.
    #[inline]
    pub fn field(&self, input: usize, field: &[u8], cells: &mut impl Cells) -> Result<()> {
        let Input { kind, at, single, .. } = self.inputs[input];
        match kind {
            Kind::Number => {
                let x = number(field).ok_or_else(|| self.no_number(input, field))?;
                cells.number(at, if single { f64::from(x as f32) } else { x });
            }
            Kind::Text if field.is_empty() => cells.text(at, None),
            Kind::Text => {
                let room = cells.room(at);
                let start = room.len();
                room.extend_from_slice(field);
                cells.text(at, Some(start));
            }
        }
        Ok(())
    }

    #[cold]
    fn no_number(&self, input: usize, field: &[u8]) -> Error {
        let shown: String = String::from_utf8_lossy(field).trim().chars().take(80).collect();
        Error::column(&self.inputs[input].name, format!("'{shown}' is no number; the model reads numbers here"))
    }

    fn value(&self, input: usize, scanner: &mut Scanner<'_>, cells: &mut impl Cells) -> Result<()> {
        let Input { ref name, kind, at, single } = self.inputs[input];
        match (kind, scanner.peek()) {
            (Kind::Number, Some(b'"')) => Err(Error::column(name, "holds text where the model reads numbers")),
            (_, Some(b'[' | b'{')) => {
                Err(Error::column(name, "holds a list or an object; a number, text or null is needed"))
            }
            (Kind::Number, _) => {
                let x = scanner.number().map_err(|e| Error::column(name, e))?;
                cells.number(at, if single { f64::from(x as f32) } else { x });
                Ok(())
            }
            (Kind::Text, Some(b'"')) => {
                let room = cells.room(at);
                let start = room.len();
                scanner.string(room)?;
                cells.text(at, Some(start));
                Ok(())
            }
            (Kind::Text, Some(b'n' | b'N')) => {
                scanner.number()?;
                cells.text(at, None);
                Ok(())
            }
            (Kind::Text, _) => Err(Error::column(name, "holds a number where the model reads text")),
        }
    }

    /// Reads a row of JSON: an object with every column by its name, or a list in their order. Other members are passed over.
    ///
    /// # Errors
    /// [`Error::Value`] for what is no JSON, [`Error::MissingColumn`], and [`Error::Column`] for a value of the wrong
    /// kind or a column that comes twice.
    pub fn row(&mut self, scanner: &mut Scanner<'_>, cells: &mut impl Cells) -> Result<()> {
        if scanner.peek() == Some(b'[') {
            return self.list(scanner, cells);
        }
        let begin = *scanner;
        self.seen.fill(false);
        scanner.expect(b'{')?;
        let mut count = 0;
        if !scanner.take(b'}') {
            // Rows mostly have the model's columns in the model's order.
            let mut guess = 0;
            loop {
                self.key.clear();
                scanner.peek();
                scanner.string(&mut self.key)?;
                scanner.expect(b':')?;
                match self.find(guess) {
                    Some(input) => {
                        if core::mem::replace(&mut self.seen[input], true) {
                            return Err(Error::column(&self.inputs[input].name, "comes twice in a row"));
                        }
                        self.value(input, scanner, cells)?;
                        count += 1;
                        guess = input + 1;
                    }
                    None => scanner.skip()?,
                }
                if !scanner.take(b',') {
                    scanner.expect(b'}')?;
                    break;
                }
            }
        }
        match self.seen.iter().position(|s| !s).filter(|_| count < self.inputs.len()) {
            None => Ok(()),
            Some(input) => {
                let present = members(begin).unwrap_or_default();
                Err(Error::missing_column(&self.inputs[input].name, present.iter().map(String::as_str)))
            }
        }
    }

    fn find(&self, guess: usize) -> Option<usize> {
        let is_it = |input: &Input| input.name.as_bytes() == self.key;
        if self.inputs.get(guess).is_some_and(is_it) {
            return Some(guess);
        }
        let found = self.order.binary_search_by(|&i| self.inputs[i].name.as_bytes().cmp(&self.key));
        found.ok().map(|at| self.order[at])
    }

    fn list(&self, scanner: &mut Scanner<'_>, cells: &mut impl Cells) -> Result<()> {
        scanner.expect(b'[')?;
        for input in 0..self.inputs.len() {
            if input > 0 {
                scanner.expect(b',')?;
            }
            self.value(input, scanner, cells)?;
        }
        scanner.expect(b']')
    }
}

/// The members of an object, for an error.
fn members(mut scanner: Scanner<'_>) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    scanner.expect(b'{')?;
    while names.len() < MOST_NAMES && scanner.peek() == Some(b'"') {
        let mut name = Vec::new();
        scanner.string(&mut name)?;
        names.push(String::from_utf8_lossy(&name).into_owned());
        scanner.expect(b':')?;
        scanner.skip()?;
        scanner.take(b',');
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned;
    use alloc::string::ToString;

    #[test]
    fn numbers_of_csv_are_those_of_the_standard_parser_and_a_few_words() {
        for text in ["1", "-0", "+1", ".5", "1.", "01", "1e5", "1E-5", "0.1", "1e-400", "9007199254740993", "1e999"] {
            assert_eq!(number(text.as_bytes()).unwrap().to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
            let wide = format!(" {text}\t");
            assert_eq!(number(wide.as_bytes()).unwrap().to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        }
        assert_eq!(number(b"1e999"), Some(f64::INFINITY));
        assert_eq!((number(b"inf"), number(b"-Infinity")), (Some(f64::INFINITY), Some(f64::NEG_INFINITY)));
        assert_eq!((number(b"True"), number(b" false ")), (Some(1.0), Some(0.0)));
        for text in ["", " ", "NaN", "nan", "NA", " NA "] {
            assert!(number(text.as_bytes()).unwrap().is_nan(), "{text:?}");
        }
        for text in ["a", "1a", "1 2", "1,5", "0x1", "--1", "1e", "tRUE", "null", "\u{a0}1", "1_0"] {
            assert_eq!(number(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(number(b"\xff"), None);
    }

    #[test]
    fn a_header_is_searched_by_name_and_unnamed_columns_go_by_position() {
        let header = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let inputs = |named| Inputs::new([("b".to_owned(), Kind::Number), ("a".to_owned(), Kind::Text)], named);
        assert_eq!(inputs(true).places(&header(&["a", "c", "b"])).unwrap(), [2, 0]);
        let missing = inputs(true).places(&header(&["a", "c"])).unwrap_err().to_string();
        assert_eq!(missing, "Column 'b' is missing from the input; it has: 'a', 'c'.");
        assert!(inputs(true).places(&header(&["a", "b", "a"])).unwrap_err().to_string().contains("'a': stands in"));
        assert_eq!(inputs(false).places(&header(&["x", "y"])).unwrap(), [0, 1]);
        assert_eq!(inputs(false).places(&header(&["a", "b"])).unwrap(), [0, 1]);
        let more = inputs(false).places(&header(&["a", "b", "z"])).unwrap_err().to_string();
        assert_eq!(more, "X has 3 features, but this model is expecting 2 features as input");
        let nothing = inputs(true).places(&header(&[])).unwrap_err().to_string();
        assert_eq!(nothing, "Column 'b' is missing from the input, which has no columns.");
    }
}
