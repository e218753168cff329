//! Rows of answers as text.

use std::io::Write;

use corten_core::OutputColumn;

/// The names of columns as the first line of CSV.
pub(super) fn header(names: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, name) in names.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        field(name, names.len() == 1, &mut out);
    }
    out.push(b'\n');
    out
}

/// Rows of CSV.
pub(super) fn csv(columns: &[OutputColumn], rows: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(20 * rows * columns.len());
    let alone = columns.len() == 1;
    for row in 0..rows {
        for (i, column) in columns.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            match column {
                OutputColumn::Float(v) if v[row].is_nan() => field("", alone, &mut out),
                OutputColumn::Text(v) => field(v[row].as_deref().unwrap_or_default(), alone, &mut out),
                _ => plain(column, row, &mut out),
            }
        }
        out.push(b'\n');
    }
    out
}

/// Lines of JSON.
pub(super) fn json(names: &[String], columns: &[OutputColumn], rows: usize) -> Vec<u8> {
    let members: Vec<Vec<u8>> = names
        .iter()
        .enumerate()
        .map(|(i, name)| {
            let mut member = vec![if i == 0 { b'{' } else { b',' }];
            quote(name, &mut member);
            member.push(b':');
            member
        })
        .collect();
    let mut out = Vec::with_capacity(rows * members.iter().map(|m| m.len() + 20).sum::<usize>());
    for row in 0..rows {
        for (member, column) in members.iter().zip(columns) {
            out.extend_from_slice(member);
            match column {
                OutputColumn::Float(v) if !v[row].is_finite() => out.extend_from_slice(b"null"),
                OutputColumn::Text(v) => match &v[row] {
                    Some(text) => quote(text, &mut out),
                    None => out.extend_from_slice(b"null"),
                },
                _ => plain(column, row, &mut out),
            }
        }
        out.extend_from_slice(if members.is_empty() { b"{}\n" } else { b"}\n" });
    }
    out
}

/// A number or a boolean.
fn plain(column: &OutputColumn, row: usize, out: &mut Vec<u8>) {
    match column {
        OutputColumn::Float(v) => out.extend_from_slice(ryu::Buffer::new().format(v[row]).as_bytes()),
        // Memory takes everything.
        OutputColumn::Int(v) => write!(out, "{}", v[row]).unwrap_or_default(),
        OutputColumn::Bool(v) => out.extend_from_slice(if v[row] { b"true" } else { b"false" }),
        OutputColumn::Text(_) => {}
    }
}

/// A field of CSV, in quotes where it needs them: an empty one that is alone would be a blank line.
fn field(text: &str, alone: bool, out: &mut Vec<u8>) {
    let is_special = text.bytes().any(|b| matches!(b, b',' | b'"' | b'\n' | b'\r'));
    if !(is_special || (alone && text.is_empty())) {
        return out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(byte);
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// A text of JSON.
fn quote(text: &str, out: &mut Vec<u8>) {
    // Text always has a JSON form.
    out.extend_from_slice(serde_json::to_string(text).unwrap_or_default().as_bytes());
}
