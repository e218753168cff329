//! Any bytes are refused as a table, or give blocks of columns; the first byte chooses the format.
#![no_main]

use corten_core::Kind;
use corten_core::rows::Inputs;
use corten_data::{Format, open, open_inputs, table_of};
use libfuzzer_sys::fuzz_target;

// Defects of the formats' own libraries are caught and become errors of the file: only what gets past that counts.
fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let format = [Format::Csv, Format::JsonLines, Format::ArrowIpc, Format::Parquet][usize::from(choice % 4)];
    let path = std::env::temp_dir().join(format!("corten-fuzz-{}", std::process::id()));
    std::fs::write(&path, bytes).expect("a temporary file");
    let kinds = [("a".to_owned(), Kind::Number), ("b".to_owned(), Kind::Text)];
    let path = path.to_str().expect("a path");
    let opened = match choice >> 2 & 3 {
        0 => open(path, format, None),
        1 => open(path, format, Some(&kinds)),
        _ => open_inputs(path, format, Inputs::new(kinds, choice & 4 != 0), 1),
    };
    let Ok(reader) = opened else { return };
    let schema = reader.schema().clone();
    let mut rows = 0;
    for batch in reader {
        let Ok(batch) = batch else { return };
        assert_eq!(batch.schema_ref().fields().len(), schema.fields().len());
        if let Ok(table) = table_of(&batch) {
            for column in table.columns() {
                let _ = column.to_f64();
                if let Ok(text) = column.as_text() {
                    (0..batch.num_rows()).for_each(|i| assert!(text.get(i).is_none_or(|t| t.len() < 1 << 31)));
                }
            }
        }
        rows += batch.num_rows();
        if rows > 1 << 20 {
            // A run of equal values takes few bytes: many rows are no fault.
            return;
        }
    }
});
