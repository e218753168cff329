//! Arrow's arrays as Corten's columns, borrowed where the layouts agree.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, RecordBatch};
use arrow_schema::DataType;
use corten_core::{Column, Result, Strided, Table, Text, TextValues, Validity, Values};

/// The column that pandas adds for its index.
const PANDAS_INDEX: &str = "__index_level_0__";

/// A batch as a table of named columns. Numbers and text are borrowed; booleans, half floats and decimals are copied.
/// A type that no estimator takes becomes [`Values::Unsupported`]: an error only when it is used.
///
/// # Errors
/// [`corten_core::Error::Value`] when two columns have the same name.
pub fn table_of(batch: &RecordBatch) -> Result<Table<'_>> {
    let columns = batch
        .schema_ref()
        .fields()
        .iter()
        .zip(batch.columns())
        .filter(|(field, _)| field.name() != PANDAS_INDEX)
        .map(|(field, array)| column_of(field.name(), array))
        .collect();
    Table::named(columns)
}

fn validity_of(array: &dyn Array) -> Option<Validity<'_>> {
    array.nulls().filter(|n| n.null_count() > 0).map(|n| Validity::new(n.validity(), n.offset()))
}

fn numbers<T: ArrowPrimitiveType>(array: &ArrayRef) -> Strided<'_, T::Native>
where
    [T::Native]: ToOwned<Owned = Vec<T::Native>>,
{
    Strided::contiguous(&array.as_primitive::<T>().values()[..])
}

fn column_of<'a>(name: &str, array: &'a ArrayRef) -> Column<'a> {
    let number = |values| Column::number(name, values, validity_of(array));
    match array.data_type() {
        DataType::Float64 => number(Values::F64(numbers::<Float64Type>(array))),
        DataType::Float32 => number(Values::F32(numbers::<Float32Type>(array))),
        DataType::Int64 => number(Values::I64(numbers::<Int64Type>(array))),
        DataType::Int32 => number(Values::I32(numbers::<Int32Type>(array))),
        DataType::Int16 => number(Values::I16(numbers::<Int16Type>(array))),
        DataType::Int8 => number(Values::I8(numbers::<Int8Type>(array))),
        DataType::UInt64 => number(Values::U64(numbers::<UInt64Type>(array))),
        DataType::UInt32 => number(Values::U32(numbers::<UInt32Type>(array))),
        DataType::UInt16 => number(Values::U16(numbers::<UInt16Type>(array))),
        DataType::UInt8 => number(Values::U8(numbers::<UInt8Type>(array))),
        DataType::Float16 => {
            let values: Vec<f32> = array.as_primitive::<Float16Type>().values().iter().map(|v| v.to_f32()).collect();
            number(Values::F32(Strided::contiguous(values)))
        }
        DataType::Decimal128(_, scale) => {
            // The nearest number to the power of ten, on every platform.
            let divisor: f64 = format!("1e{scale}").parse().unwrap_or(f64::NAN);
            let values = array.as_primitive::<Decimal128Type>().values().iter().map(|&v| v as f64 / divisor);
            number(Values::F64(Strided::contiguous(values.collect::<Vec<_>>())))
        }
        DataType::Boolean => {
            let values: Vec<u8> = array.as_boolean().values().iter().map(u8::from).collect();
            number(Values::Bool(Strided::contiguous(values)))
        }
        // One value stands for all rows.
        DataType::Null => match Strided::new(vec![f64::NAN], 0, 0, array.len()) {
            Ok(values) => number(Values::F64(values)),
            Err(_) => unsupported(name, array),
        },
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => match text_of(array) {
            Some(text) => Column::text(name, text),
            None => unsupported(name, array),
        },
        DataType::Dictionary(_, _) => dictionary(name, array),
        _ => unsupported(name, array),
    }
}

fn unsupported(name: &str, array: &ArrayRef) -> Column<'static> {
    let type_name = array.data_type().to_string();
    Column::number(name, Values::Unsupported { type_name, rows: array.len() }, None)
}

/// Views as bytes: uncopied where numbers are little endian.
fn views_of(views: &[u128]) -> Cow<'_, [[u8; 16]]> {
    if cfg!(target_endian = "little") {
        return Cow::Borrowed(bytemuck::cast_slice(views));
    }
    views.iter().map(|v| v.to_le_bytes()).collect::<Vec<_>>().into()
}

/// A column of text in one of Arrow's three layouts.
fn text_of(array: &ArrayRef) -> Option<Text<'_>> {
    let values = match array.data_type() {
        DataType::Utf8 => {
            let a = array.as_string::<i32>();
            TextValues::Small { offsets: (&a.offsets()[..]).into(), bytes: (&a.values()[..]).into() }
        }
        DataType::LargeUtf8 => {
            let a = array.as_string::<i64>();
            TextValues::Large { offsets: (&a.offsets()[..]).into(), bytes: (&a.values()[..]).into() }
        }
        DataType::Utf8View => {
            let a = array.as_string_view();
            TextValues::View {
                views: views_of(a.views()),
                buffers: a.data_buffers().iter().map(|b| Cow::Borrowed(&b[..])).collect(),
            }
        }
        _ => return None,
    };
    Some(Text { values, validity: validity_of(array) })
}

macro_rules! codes {
    ($array:expr, $missing:expr, $($type:ident => $key:ty),*) => {
        match $array.data_type() {
            $(DataType::Dictionary(key, _) if **key == DataType::$type => {
                let keys = $array.as_dictionary::<$key>().keys();
                // A negative key becomes a large number, which no dictionary has.
                let code = |k: &_| match *k as u64 {
                    k if k < u64::from($missing) => k as u32,
                    _ => $missing,
                };
                let mut codes: Vec<u32> = keys.values().iter().map(code).collect();
                if let Some(nulls) = keys.nulls().filter(|n| n.null_count() > 0) {
                    codes.iter_mut().zip(nulls).filter(|(_, there)| !there).for_each(|(code, _)| *code = $missing);
                }
                Some(codes)
            })*
            _ => None,
        }
    };
}

/// A dictionary of text is a column of codes; one of numbers is spread out.
fn dictionary<'a>(name: &str, array: &'a ArrayRef) -> Column<'a> {
    let Some(any) = array.as_any_dictionary_opt() else { return unsupported(name, array) };
    let values = any.values();
    let Ok(missing) = u32::try_from(values.len()) else { return unsupported(name, array) };
    let codes = codes!(array, missing,
        Int8 => Int8Type, Int16 => Int16Type, Int32 => Int32Type, Int64 => Int64Type,
        UInt8 => UInt8Type, UInt16 => UInt16Type, UInt32 => UInt32Type, UInt64 => UInt64Type);
    let Some(codes) = codes else { return unsupported(name, array) };
    let mut column = match text_of(values) {
        Some(text) => Column::text(
            name,
            Text { values: TextValues::Dictionary { codes: codes.into(), values: Box::new(text) }, validity: None },
        ),
        None => {
            let Ok(spread) = column_of(name, values).to_f64().map(Cow::into_owned) else {
                return unsupported(name, array);
            };
            let read = |code: u32| spread.get(code as usize).copied().unwrap_or(f64::NAN);
            Column::f64(name, codes.into_iter().map(read).collect::<Vec<_>>())
        }
    };
    column.categorical = true;
    column
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::*;
    use std::sync::Arc;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap()
    }

    fn texts(column: &Column<'_>) -> Vec<Option<String>> {
        let text = column.as_text().unwrap();
        (0..text.len()).map(|i| text.get(i).map(|b| String::from_utf8(b.to_vec()).unwrap())).collect()
    }

    #[test]
    fn numbers_with_gaps_are_read_through_slices() {
        let ints: ArrayRef = Arc::new(Int16Array::from(vec![Some(1), None, Some(3), Some(4), None]));
        let flags: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true), None]));
        let b = batch(vec![("i", ints), ("b", flags), ("n", Arc::new(NullArray::new(5)))]).slice(1, 3);
        let table = table_of(&b).unwrap();
        let read = |name: &str| table.column(name).unwrap().to_f64().unwrap().into_owned();
        assert!(read("i")[0].is_nan() && read("i")[1..] == [3.0, 4.0]);
        assert!(read("b")[0] == 0.0 && read("b")[1].is_nan() && read("b")[2] == 1.0);
        assert!(read("n").iter().all(|x| x.is_nan()));
        assert_eq!(table.column("b").unwrap().type_name(), "bool");
    }

    #[test]
    fn every_layout_of_text_reads_alike() {
        let rows = vec![Some("a"), None, Some("a text longer than twelve bytes"), Some("ä")];
        let want: Vec<Option<String>> = rows[1..].iter().map(|r| r.map(String::from)).collect();
        let dictionary: DictionaryArray<Int8Type> = rows.iter().copied().collect();
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(rows.clone())),
            Arc::new(LargeStringArray::from(rows.clone())),
            Arc::new(StringViewArray::from(rows.clone())),
            Arc::new(dictionary),
        ];
        for array in arrays {
            let b = batch(vec![("t", array)]).slice(1, 3);
            let table = table_of(&b).unwrap();
            assert_eq!(texts(&table.columns()[0]), want, "{}", b.column(0).data_type());
        }
    }

    #[test]
    fn a_date_is_kept_by_name_and_pandas_index_is_dropped() {
        let date: ArrayRef = Arc::new(Date32Array::from(vec![1]));
        let b = batch(vec![("d", date), (PANDAS_INDEX, Arc::new(Int64Array::from(vec![7])))]);
        let table = table_of(&b).unwrap();
        assert_eq!((table.width(), table.columns()[0].type_name()), (1, "Date32"));
        assert!(table.columns()[0].to_f64().is_err());
    }
}
