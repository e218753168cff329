//! Damaged tables are refused, or give blocks: no panic, no endless loop, no memory for what is only claimed.

use std::path::{Path, PathBuf};
use std::time::Instant;

use corten_core::random::Stream;
use corten_core::rows::Inputs;
use corten_core::{Kind, Result};
use corten_data::{Format, Reader, open, open_inputs, table_of};

/// Damaged files of each good one.
const CASES: usize = 500;

const CSV: &str = "a,b,count\n1.5,\"x, \"\"y\"\"\",1\n,z,2\n-3e-5,Łódź,3\ntrue,\"two\nlines\",4\n";
const JSON: &str = "{\"a\": 1.5, \"b\": \"x\\u00e9\"}\n{\"b\": null, \"late\": true}\n{\"a\": -3e-5, \"count\": 3}\n";

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("corten-hostile-{}-{name}", std::process::id())))
    }

    /// Reads these bytes whole: rows and columns.
    fn read(&self, bytes: &[u8], format: Format, kinds: Option<&[(String, Kind)]>) -> Result<(usize, usize)> {
        std::fs::write(&self.0, bytes).unwrap();
        Self::count(open(self.0.to_str().unwrap(), format, kinds)?)
    }

    /// The same for a model of these columns.
    fn read_for(&self, bytes: &[u8], format: Format, columns: &[(String, Kind)]) -> Result<(usize, usize)> {
        std::fs::write(&self.0, bytes).unwrap();
        let inputs = Inputs::new(columns.iter().cloned(), true);
        Self::count(open_inputs(self.0.to_str().unwrap(), format, inputs, 1)?)
    }

    fn count(reader: Reader) -> Result<(usize, usize)> {
        let (mut rows, width) = (0, reader.schema().fields().len());
        for batch in reader {
            let batch = batch?;
            if let Ok(table) = table_of(&batch) {
                for column in table.columns() {
                    let _ = column.to_f64();
                    if let Ok(text) = column.as_text() {
                        (0..batch.num_rows()).for_each(|i| assert!(text.get(i).is_none_or(|t| t.len() < 1 << 31)));
                    }
                }
            }
            rows += batch.num_rows();
            assert!(rows < 100 << 20, "rows without end");
        }
        Ok((rows, width))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn good() -> Vec<(String, Format, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tables");
    let mut out = vec![
        ("csv".to_owned(), Format::Csv, CSV.as_bytes().to_vec()),
        ("jsonl".to_owned(), Format::JsonLines, JSON.as_bytes().to_vec()),
    ];
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let format = Format::of_path(path.to_str().unwrap()).unwrap();
        out.push((path.file_name().unwrap().to_string_lossy().into_owned(), format, std::fs::read(&path).unwrap()));
    }
    out
}

#[test]
fn tables_of_pyarrow_are_read_whole() {
    let scratch = Scratch::new("whole");
    let mut seen = 0;
    for (name, format, bytes) in good() {
        let got = scratch.read(&bytes, format, None).unwrap_or_else(|e| panic!("{name}: {e}"));
        let wanted = match format {
            Format::ArrowIpc | Format::ArrowStream => (40, 9),
            Format::Parquet => (40, 7),
            Format::Csv => (4, 3),
            Format::JsonLines => (3, 4),
        };
        assert_eq!(got, wanted, "{name}");
        seen += 1;
    }
    assert!(seen >= 9, "only {seen} tables");
}

fn damaged(bytes: &[u8], random: &mut Stream) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let below = |random: &mut Stream, n: usize| random.below(n.max(1) as u64) as usize;
    match random.below(8) {
        0 => out.truncate(below(random, bytes.len())),
        1 => {
            let at = below(random, out.len());
            out[at] ^= 1 << random.below(8);
        }
        2 => {
            let (from, at) = (below(random, out.len()), below(random, out.len()));
            let part = bytes[from..(from + 1 + below(random, 40)).min(bytes.len())].to_vec();
            out.splice(at..at, part);
        }
        3 => {
            let at = below(random, out.len());
            let end = (at + 1 + below(random, 40)).min(out.len());
            out.drain(at..end);
        }
        // Lengths and offsets stand in words; most of them in the last part of a file.
        kind => {
            for _ in 0..1 + random.below(3) {
                let size = [1, 2, 4, 8][below(random, 4)];
                let far = if kind < 6 { out.len() } else { out.len().min(1200) };
                let at = (out.len() - 1 - below(random, far)) / size * size;
                let value = [0, 1, u64::MAX, 1 << 62, 1 << 45, 1 << 31, u64::from(u32::MAX) >> 1, random.next_bits()];
                let word = value[below(random, value.len())].to_le_bytes();
                let end = (at + size).min(out.len());
                out[at..end].copy_from_slice(&word[..end - at]);
            }
        }
    }
    out
}

#[test]
fn damaged_tables_are_refused_or_read() {
    let scratch = Scratch::new("damaged");
    let kinds = [("a".to_owned(), Kind::Number), ("b".to_owned(), Kind::Text)];
    // Defects of the formats' own libraries become errors of the file, without their messages on the terminal.
    std::panic::set_hook(Box::new(|_| {}));
    let started = Instant::now();
    let (mut read, mut refused, mut faults) = (0, 0, Vec::new());
    for (nth, (name, format, bytes)) in good().into_iter().enumerate() {
        let mut random = Stream::new(5, nth as u64);
        for case in 0..CASES {
            let hostile = damaged(&bytes, &mut random);
            let before = Instant::now();
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match case % 3 {
                0 => scratch.read(&hostile, format, None),
                1 => scratch.read(&hostile, format, Some(&kinds)),
                _ => scratch.read_for(&hostile, format, &kinds),
            }));
            match outcome {
                Ok(Ok(_)) => read += 1,
                Ok(Err(error)) => {
                    refused += 1;
                    if error.to_string().is_empty() {
                        faults.push(format!("{name} {case}: an error without a sentence"));
                    }
                }
                Err(_) => faults.push(format!("{name} {case}: panic")),
            }
            if before.elapsed().as_secs() >= 10 {
                faults.push(format!("{name} {case}: {:?}", before.elapsed()));
            }
        }
    }
    let _ = std::panic::take_hook();
    assert!(faults.is_empty(), "{} faults: {:#?}", faults.len(), &faults[..faults.len().min(10)]);
    assert!(read > 100 && refused > 1000, "{read} read, {refused} refused in {:?}", started.elapsed());
}

#[test]
fn what_is_only_claimed_takes_no_memory() {
    let scratch = Scratch::new("claimed");
    // A message whose header says 2 GB, a footer that says more than the file has.
    for (format, bytes) in [
        (Format::ArrowIpc, [&[0xff; 4][..], &i32::MAX.to_le_bytes(), b"ABCD"].concat()),
        (Format::ArrowIpc, [&b"ARROW1\0\0"[..], &i32::MAX.to_le_bytes(), b"ARROW1"].concat()),
        (Format::Parquet, [&b"PAR1"[..], &u32::MAX.to_le_bytes(), b"PAR1"].concat()),
        // A list of 2^31 row groups: field 4, a list of structures, its length as a varint.
        (Format::Parquet, [&b"PAR1\x49\xfc\xff\xff\xff\xff\x07\0"[..], &8_u32.to_le_bytes(), b"PAR1"].concat()),
    ] {
        assert!(scratch.read(&bytes, format, None).is_err());
    }
    // A CSV record without end.
    let open = [&b"a,b\n1,\""[..], &vec![b'x'; 17 << 20]].concat();
    assert!(scratch.read(&open, Format::Csv, None).unwrap_err().to_string().contains("16 MiB"));
    let one = [("a".to_owned(), Kind::Number)];
    assert!(scratch.read_for(&open, Format::Csv, &one).unwrap_err().to_string().contains("16 MiB"));
    let long = [&b"{\"a\": 1}\n{\"z\": \""[..], &vec![b'x'; 17 << 20]].concat();
    for read in [scratch.read(&long, Format::JsonLines, None), scratch.read_for(&long, Format::JsonLines, &one)] {
        assert!(read.unwrap_err().to_string().contains("line 2"));
    }
    // Many columns named by one line, and lines that leave all of them out: blocks get short, and nothing gets slow.
    let names: Vec<String> = (0..20_000).map(|i| format!("\"{i}\":0")).collect();
    let text = format!("{{{}}}\n{}", names.join(","), "{}\n".repeat(300));
    assert_eq!(scratch.read(text.as_bytes(), Format::JsonLines, None).unwrap(), (301, 20_000));
    let wide = format!("{}\n1\n", ",".repeat(200_000));
    assert!(scratch.read(wide.as_bytes(), Format::Csv, None).unwrap_err().to_string().contains("columns"));
}
