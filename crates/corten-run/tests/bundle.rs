//! A bundle: the runner with a model behind it, rows in, answers out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fixtures/models/1/{name}.corten"))
}

/// An executable in a folder of its own, which goes with it.
struct Bundle {
    folder: PathBuf,
    path: PathBuf,
}

impl Bundle {
    /// Bundles a golden model as `corten bundle` does.
    fn of(name: &str) -> Self {
        let model = std::fs::read(golden(name)).expect("a model");
        let mut bytes = std::fs::read(env!("CARGO_BIN_EXE_corten-run")).expect("the runner");
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
        let offset = bytes.len() as u64;
        bytes.extend_from_slice(&model);
        bytes.extend_from_slice(&offset.to_le_bytes());
        bytes.extend_from_slice(&(model.len() as u64).to_le_bytes());
        bytes.extend_from_slice(b"CORTENB1");
        Self::with(name, &bytes)
    }

    fn with(name: &str, bytes: &[u8]) -> Self {
        let thread = format!("{:?}", std::thread::current().id());
        let folder = std::env::temp_dir().join(format!("corten-run-{}-{name}-{thread}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("app");
        std::fs::copy(env!("CARGO_BIN_EXE_corten-run"), &path).expect("a file that can be run");
        std::fs::write(&path, bytes).expect("a bundle");
        Self { folder, path }
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Run {
        run(&self.path, arguments, input)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

struct Run {
    code: i32,
    lines: Vec<Value>,
    errors: String,
}

/// Starts a program that was just written: a test beside this one may hold it open for a moment yet, in a child that has
/// not become another program.
fn start(program: &Path, arguments: &[&str]) -> Child {
    loop {
        let piped = || Stdio::piped();
        let started = Command::new(program).args(arguments).stdin(piped()).stdout(piped()).stderr(piped()).spawn();
        match started {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            started => return started.expect("the bundle runs"),
        }
    }
}

fn run(program: &Path, arguments: &[&str], input: &[u8]) -> Run {
    let mut child = start(program, arguments);
    let mut stdin = child.stdin.take().expect("standard input");
    let input = input.to_vec();
    // The program may end before it has read all.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let done = child.wait_with_output().expect("an end");
    writer.join().expect("a writer");
    let text = String::from_utf8(done.stdout).expect("text");
    Run {
        code: done.status.code().unwrap_or(-1),
        lines: text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|_| json!(l))).collect(),
        errors: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}

/// Column by column: its name, whether it holds numbers, and its values as text.
fn columns(name: &str) -> Vec<(String, bool, Vec<Option<String>>)> {
    let case: Value = serde_json::from_slice(&std::fs::read(golden(name).with_extension("json")).unwrap()).unwrap();
    let column = |(name, column): (&String, &Value)| {
        let values = column["values"].as_array().unwrap().iter();
        let text = |v: &Value| v.as_str().filter(|t| *t != "nan").map(str::to_owned);
        (name.clone(), column["kind"] == "number", values.map(text).collect())
    };
    case["inputs"].as_object().unwrap().iter().map(column).collect()
}

fn expected(name: &str, method: &str) -> Vec<u64> {
    let case: Value = serde_json::from_slice(&std::fs::read(golden(name).with_extension("json")).unwrap()).unwrap();
    let rows = case["outputs"][method].as_array().unwrap();
    let number = |x: &Value| x.as_str().unwrap().parse::<f64>().unwrap().to_bits();
    rows.iter().flat_map(|r| r.as_array().unwrap()).map(number).collect()
}

fn json_lines(name: &str) -> String {
    let columns = columns(name);
    let mut out = String::new();
    for row in 0..columns[0].2.len() {
        let members = columns.iter().map(|(name, is_number, values)| {
            let value = values[row]
                .as_ref()
                .map_or("null".into(), |v| if *is_number { v.clone() } else { json!(v).to_string() });
            format!("{}: {value}", json!(name))
        });
        out += &format!("{{{}}}\n", members.collect::<Vec<_>>().join(", "));
    }
    out
}

fn csv(name: &str, end: &str) -> String {
    let columns = columns(name);
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut out = columns.iter().map(|c| quoted(&c.0)).collect::<Vec<_>>().join(",") + end;
    for row in 0..columns[0].2.len() {
        let field = |values: &[Option<String>]| values[row].as_deref().map_or(String::new(), quoted);
        out += &(columns.iter().map(|c| field(&c.2)).collect::<Vec<_>>().join(",") + end);
    }
    out
}

fn probabilities(lines: &[Value]) -> Vec<u64> {
    let members = lines.iter().flat_map(|l| l["probability"].as_object().unwrap().values());
    members.map(|x| x.as_f64().unwrap().to_bits()).collect()
}

#[test]
fn rows_of_json_and_csv_are_answered_to_the_last_bit() {
    for name in ["logistic_two", "boosting_three", "forest"] {
        let bundle = Bundle::of(name);
        let wanted = expected(name, "predict_proba");
        let json = json_lines(name);
        for (arguments, input) in [
            (&[][..], json.clone()),
            (&[], json.replace('\n', "\r\n\r\n")),
            (&[], json.trim_end().to_owned()),
            (&["--csv"], csv(name, "\n")),
            (&["--csv"], csv(name, "\r\n")),
            (&["--csv"], format!("\u{feff}{}\n\n", csv(name, "\n").trim_end())),
        ] {
            let run = bundle.run(arguments, input.as_bytes());
            assert_eq!((run.code, run.errors.as_str()), (0, ""), "{name} {arguments:?}");
            assert_eq!(probabilities(&run.lines), wanted, "{name} {arguments:?}");
        }
        let beside =
            run(Path::new(env!("CARGO_BIN_EXE_corten-run")), &[golden(name).to_str().unwrap()], json.as_bytes());
        assert_eq!(probabilities(&beside.lines), wanted, "{name}");
    }
}

#[test]
fn rows_that_do_not_fit_are_told_by_line_and_the_others_answered() {
    let bundle = Bundle::of("ridge");
    let input = b"{\"width\": 1, \"count\": 2}\n{\"width\": 1}\n\n{\"width\": \"x\", \"count\": 2}\n[1, 2]\n{]\n\xff\n{\"width\": NaN, \"count\": 2}\n";
    let run = bundle.run(&[], input);
    assert_eq!((run.code, run.lines.len()), (1, 7), "{:?} {}", run.lines, run.errors);
    assert!(run.lines[0]["prediction"].is_f64() && run.lines[3]["prediction"] == run.lines[0]["prediction"]);
    for (line, wanted) in [(2, "count"), (4, "width"), (6, "line 6"), (7, "line 7"), (8, "width")] {
        let told = run.errors.lines().find(|l| l.starts_with(&format!("line {line}: ")));
        assert!(told.is_some_and(|l| l.contains(wanted)), "line {line}: {}", run.errors);
    }
    assert!(run.lines[1]["error"].as_str().is_some_and(|e| e.contains("count")));
    let run = bundle.run(&["--csv"], b"count,width,more\n2,1,\"a\nb\"\n2\n2,wide,x\n2,1,x,y\n2,1,\n");
    assert_eq!((run.code, run.lines.len()), (1, 5), "{:?} {}", run.lines, run.errors);
    for (line, wanted) in [(4, "1 fields"), (5, "width"), (6, "4 fields")] {
        let told = run.errors.lines().find(|l| l.starts_with(&format!("line {line}: ")));
        assert!(told.is_some_and(|l| l.contains(wanted)), "line {line}: {}", run.errors);
    }
    assert_eq!(run.lines[0], run.lines[4]);
}

#[test]
fn what_can_not_be_scored_at_all_is_one_sentence() {
    let bundle = Bundle::of("ridge");
    let long = [&b"width,count\n1,\""[..], &vec![b' '; 17 << 20], b"\n1,2\n"].concat();
    for (arguments, input, wanted) in [
        (&["--csv"][..], &b""[..], "empty"),
        (&["--csv"], b"width\n1\n", "count"),
        (&["--csv"], b"width,count,width\n", "twice"),
        (&["--csv"], &long, "line 2: a CSV record of more than 16 MiB"),
    ] {
        let run = bundle.run(arguments, input);
        let one = run.errors.lines().count() == 1 && run.errors.contains(wanted);
        assert!(run.code == 1 && one, "{arguments:?} {wanted}: {} {}", run.code, run.errors);
    }
    let run = bundle.run(&["--what"], b"");
    assert!(run.code == 2 && run.errors.contains("--what"), "{} {}", run.code, run.errors);
}

#[test]
fn a_line_that_is_too_long_costs_one_answer() {
    let bundle = Bundle::of("ridge");
    let row = |size: usize| {
        let text = b"{\"width\": 1, \"count\": 2}";
        [&text[..], &vec![b' '; size - text.len()], b"\n"].concat()
    };
    let (short, most) = (row(30), row(16 << 20));
    let (more, far) = (row((16 << 20) + 1), row(40 << 20));
    // As the first line, between others, and as the last one, without an end.
    for (input, told) in [
        ([&more[..], &short, &most, &far, &short].concat(), &[1, 4][..]),
        ([&most[..], &more, &far, &short].concat(), &[2, 3]),
        ([&short[..], &far[..far.len() - 1]].concat(), &[2]),
        ([&short[..], &most[..most.len() - 1]].concat(), &[]),
    ] {
        let run = bundle.run(&[], &input);
        let errors: Vec<String> = told.iter().map(|l| format!("line {l}: a line of more than 16 MiB\n")).collect();
        assert_eq!((run.code, &run.errors), (i32::from(!told.is_empty()), &errors.concat()));
        assert_eq!(run.lines.len(), input.split_inclusive(|&b| b == b'\n').count());
        for (at, line) in (1..).zip(&run.lines) {
            let fails = line["error"] == "a line of more than 16 MiB";
            assert!(if told.contains(&at) { fails } else { line["prediction"].is_f64() }, "{at}: {line}");
        }
    }
}

#[test]
fn a_bundle_whose_model_is_damaged_does_not_start() {
    let whole = std::fs::read(&Bundle::of("forest").path).unwrap();
    let change = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        let at = bytes.len() - at;
        bytes[at] ^= byte;
        bytes
    };
    // The offset, the length, the tensors, the header's length.
    for (at, byte) in [(23, 0x7f), (16, 0x40), (12, 0xff), (60, 1), (30, 0x80)] {
        let run = Bundle::with("damaged", &change(at, byte)).run(&[], b"{}\n");
        assert!(run.code == 1 && run.lines.is_empty() && run.errors.lines().count() == 1, "{at}: {}", run.errors);
    }
    // Without the mark at the end it is the runner alone.
    let run = Bundle::with("unmarked", &change(1, 0xff)).run(&[], b"{}\n");
    assert!(run.code == 2 && run.errors.contains("a model is needed"), "{}", run.errors);
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    let bundle = Bundle::of("ridge");
    let mut child = start(&bundle.path, &[]);
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().expect("standard input");
    let row = b"{\"width\": 1, \"count\": 2}\n";
    while stdin.write_all(row).is_ok() {}
    let done = child.wait_with_output().expect("an end");
    assert!(!done.status.success() && done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn state_goes_on_from_row_to_row() {
    let bundle = Bundle::of("running_moments");
    let input = b"{\"city\": \"new\", \"width\": 1, \"count\": 0}\n{\"city\": \"new\", \"width\": 3, \"count\": 0}\n";
    let run = bundle.run(&[], input);
    assert_eq!((run.code, run.lines.len()), (0, 2), "{}", run.errors);
    assert_ne!(run.lines[0], run.lines[1]);
    let numbers: Vec<f64> = run.lines[1]["transform"].as_object().unwrap().values().filter_map(Value::as_f64).collect();
    assert!(numbers.contains(&2.0), "two rows, mean 2, variance 2: {numbers:?}");
}
