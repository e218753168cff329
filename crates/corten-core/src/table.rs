//! A table: columns of the same length, and sparse matrices beside it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::{Column, Csr, Error, Result};

/// Columns of the same length.
#[derive(Clone, Debug)]
pub struct Table<'a> {
    columns: Vec<Column<'a>>,
    rows: usize,
    named: bool,
}

impl<'a> Table<'a> {
    /// A table of named columns.
    ///
    /// # Errors
    /// [`Error::Value`] when two columns have the same name or columns differ in length.
    pub fn named(columns: Vec<Column<'a>>) -> Result<Self> {
        let mut names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
            return Err(Error::value(format!("the table has two columns named '{}'", twice[0])));
        }
        Self::build(columns, true)
    }

    /// A matrix: its columns are known by position.
    ///
    /// # Errors
    /// [`Error::Value`] when columns differ in length.
    pub fn matrix(columns: Vec<Column<'a>>) -> Result<Self> {
        Self::build(columns, false)
    }

    fn build(columns: Vec<Column<'a>>, named: bool) -> Result<Self> {
        let rows = columns.first().map_or(0, Column::len);
        match columns.iter().find(|c| c.len() != rows) {
            Some(c) => Err(Error::value(format!(
                "column '{}' has {} rows where column '{}' has {rows}",
                c.name,
                c.len(),
                columns[0].name
            ))),
            None => Ok(Self { columns, rows, named }),
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// Whether columns are known by name (a frame) rather than by position (a matrix).
    pub fn is_named(&self) -> bool {
        self.named
    }

    /// All columns.
    pub fn columns(&self) -> &[Column<'a>] {
        &self.columns
    }

    /// The column of a name.
    ///
    /// # Errors
    /// [`Error::MissingColumn`].
    pub fn column(&self, name: &str) -> Result<&Column<'a>> {
        let found = self.columns.iter().find(|c| c.name == name);
        found.ok_or_else(|| Error::missing_column(name, self.columns.iter().map(|c| c.name.as_str())))
    }

    /// The columns at some positions, as a table of the same kind.
    pub fn select(&self, positions: &[usize]) -> Table<'a> {
        Table {
            columns: positions.iter().map(|&p| self.columns[p].clone()).collect(),
            rows: self.rows,
            named: self.named,
        }
    }

    /// A copy of some rows, in the order given.
    pub fn take(&self, rows: &[u32]) -> Table<'static> {
        Table { columns: self.columns.iter().map(|c| c.take(rows)).collect(), rows: rows.len(), named: self.named }
    }
}

/// What estimators are fitted on and models are run on.
#[derive(Clone, Debug)]
pub enum Data<'a> {
    /// A frame or a dense matrix.
    Table(Table<'a>),
    /// A sparse matrix.
    Csr(Csr<'a>),
}

impl<'a> Data<'a> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Table(t) => t.rows(),
            Self::Csr(m) => m.rows(),
        }
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        match self {
            Self::Table(t) => t.width(),
            Self::Csr(m) => m.columns(),
        }
    }

    /// The table.
    ///
    /// # Errors
    /// [`Error::Type`] for a sparse matrix.
    pub fn table(&self) -> Result<&Table<'a>> {
        match self {
            Self::Table(t) => Ok(t),
            Self::Csr(_) => Err(Error::Type(
                "Sparse data was passed, but dense data is required. Use '.toarray()' to convert to a dense numpy array."
                    .into(),
            )),
        }
    }

    /// Name of a column: the table's own, `x{position}` in a matrix.
    pub fn name(&self, position: usize) -> String {
        match self {
            Self::Table(t) => t.columns()[position].name.clone(),
            Self::Csr(_) => format!("x{position}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    #[test]
    fn refuses_doubled_names_and_ragged_columns() {
        let a = || Column::f64("a", vec![1.0, 2.0]);
        assert_eq!(Table::named(vec![a(), a()]).unwrap_err().to_string(), "the table has two columns named 'a'");
        assert!(Table::named(vec![a(), Column::f64("b", vec![1.0])]).is_err());
    }

    #[test]
    fn a_missing_column_is_named_with_those_present() {
        let told = |names: &[&str]| {
            let table = Table::named(names.iter().map(|name| Column::f64(*name, vec![1.0])).collect()).unwrap();
            table.column("b").unwrap_err().to_string()
        };
        assert_eq!(told(&["a", " b"]), "Column 'b' is missing from the input; it has: 'a', ' b'.");
        let names: Vec<_> = (0..22).map(|i| format!("x{i}")).collect();
        let many = told(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(many.ends_with(", 'x18', 'x19' and 2 more."), "{many}");
    }
}
