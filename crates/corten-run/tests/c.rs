//! The C interface as C uses it: same bits as the executor, no allocation in a prediction, failures that say why.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::ptr;

use corten::c::*;
use corten_core::{Column, Data, Kind as ColumnKind, Table, Text as Words};
use corten_model::{Batch, Model, Run};

struct Counting;

std::thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "an allocator that counts")]
// SAFETY: hands everything to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

fn golden() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/models/1");
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("golden models").map(|e| e.expect("a file").path()).collect();
    found.retain(|p| p.extension().is_some_and(|e| e == "corten"));
    found.sort();
    assert!(found.len() > 10, "golden models");
    found
}

fn said() -> String {
    #[expect(unsafe_code, reason = "a text of C")]
    // SAFETY: always a text that ends with a zero byte.
    unsafe { CStr::from_ptr(corten_message()) }.to_str().expect("UTF-8").to_owned()
}

/// An open model with one session, closed at the end.
struct Open {
    model: *mut Handle,
    session: *mut Session,
}

#[expect(unsafe_code, reason = "the C interface")]
impl Open {
    fn new(path: &Path, rows: usize) -> Self {
        let (mut model, mut session) = (ptr::null_mut(), ptr::null_mut());
        let name = CString::new(path.to_str().expect("UTF-8")).expect("no zero");
        // SAFETY: all pointers are valid.
        unsafe {
            assert_eq!(corten_open(name.as_ptr(), &mut model), Status::Ok, "{}", said());
            assert_eq!(corten_session_new(model, rows, &mut session), Status::Ok);
        }
        Self { model, session }
    }

    /// Numbers and texts of the answer, the status, and how often memory was asked for.
    fn predict(
        &self,
        method: i32,
        numbers: &[f64],
        texts: &[Text],
        rows: usize,
    ) -> (Vec<f64>, Vec<Text>, Status, usize) {
        // SAFETY: the arrays have the lengths that the queries give.
        unsafe {
            let mut out = vec![0.0; corten_out_numbers(self.model, method) * rows];
            let mut words = vec![Text { data: ptr::null(), size: 0 }; corten_out_texts(self.model, method) * rows];
            let before = ASKED.with(Cell::get);
            let status = corten_predict(
                self.model,
                self.session,
                method,
                numbers.as_ptr(),
                texts.as_ptr(),
                rows,
                out.as_mut_ptr(),
                words.as_mut_ptr(),
            );
            let asked = ASKED.with(Cell::get) - before;
            (out, words, status, asked)
        }
    }
}

impl Drop for Open {
    #[expect(unsafe_code, reason = "the C interface")]
    fn drop(&mut self) {
        // SAFETY: open, and not used any more.
        unsafe {
            corten_session_free(self.session);
            corten_close(self.model);
        }
    }
}

/// Rows of a golden model, repeated: numbers and texts as C has them, and as a table.
struct Rows {
    count: usize,
    numbers: Vec<f64>,
    words: Vec<Option<String>>,
    table: Data<'static>,
}

impl Rows {
    fn of(path: &Path, model: &Model, count: usize) -> Self {
        let case: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path.with_extension("json")).expect("a case")).expect("JSON");
        let value = |name: &str, row: usize| {
            let values = case["inputs"][name]["values"].as_array().expect("values");
            values[row % values.len()].as_str().map(str::to_owned)
        };
        let (mut numbers, mut words) = (Vec::new(), Vec::new());
        let number = |name: &str, row: usize| value(name, row).map_or(f64::NAN, |v| v.parse().expect("a number"));
        let inputs = &model.schema().inputs;
        for row in 0..count {
            for input in inputs {
                match input.kind {
                    ColumnKind::Number => numbers.push(number(&input.name, row)),
                    ColumnKind::Text => words.push(value(&input.name, row)),
                }
            }
        }
        let column = |input: &corten_model::Input| match input.kind {
            ColumnKind::Number => {
                Column::f64(&input.name, (0..count).map(|r| number(&input.name, r)).collect::<Vec<_>>())
            }
            ColumnKind::Text => {
                let own: Vec<Option<String>> = (0..count).map(|r| value(&input.name, r)).collect();
                Column::text(&input.name, Words::from_options(own.iter().map(Option::as_deref)))
            }
        };
        let table = Data::Table(Table::named(inputs.iter().map(column).collect()).expect("a table"));
        Self { count, numbers, words, table }
    }

    fn texts(&self) -> Vec<Text> {
        let text = |w: &Option<String>| {
            w.as_ref().map_or(Text { data: ptr::null(), size: 0 }, |w| Text { data: w.as_ptr().cast(), size: w.len() })
        };
        self.words.iter().map(text).collect()
    }
}

fn bits(numbers: &[f64]) -> Vec<u64> {
    numbers.iter().map(|x| if x.is_nan() { f64::NAN.to_bits() } else { x.to_bits() }).collect()
}

#[expect(unsafe_code, reason = "texts of C")]
fn same_texts(made: &[Text], expected: &Batch) -> bool {
    let width = expected.texts.len();
    made.iter().enumerate().all(|(i, text)| {
        // SAFETY: the texts live as long as the model and its inputs.
        let bytes =
            (!text.data.is_null()).then(|| unsafe { std::slice::from_raw_parts(text.data.cast::<u8>(), text.size) });
        bytes == expected.texts[i % width][i / width].as_deref().map(str::as_bytes)
    })
}

#[test]
fn rows_have_the_executors_bits_and_ask_for_no_memory() {
    for path in golden() {
        let model = Model::load(&path).expect("a golden model");
        let rows = Rows::of(&path, &model, 2500);
        let texts = rows.texts();
        for block in [1, 7, 0] {
            let open = Open::new(&path, block);
            for method in model.methods() {
                let code = corten_model::Method::ALL.iter().position(|&m| m == method).expect("a method") as i32;
                let expected = model.run(method, &rows.table, &Run::default()).expect("an answer");
                for _ in 0..2 {
                    let (out, words, status, asked) = open.predict(code, &rows.numbers, &texts, rows.count);
                    assert_eq!(status, Status::Ok, "{}: {}", path.display(), said());
                    assert_eq!(bits(&out), bits(&expected.numbers), "{} in blocks of {block}", path.display());
                    assert!(same_texts(&words, &expected), "{}", path.display());
                    assert_eq!(asked, 0, "{} {method:?} in blocks of {block} asks for memory", path.display());
                }
                let (inputs, words) = model.schema().counts();
                for row in 0..100 {
                    let numbers = &rows.numbers[row * inputs..][..inputs];
                    let (out, _, status, asked) = open.predict(code, numbers, &texts[row * words..][..words], 1);
                    let width = expected.width;
                    assert_eq!((status, asked), (Status::Ok, 0));
                    assert_eq!(bits(&out), bits(&expected.numbers[row * width..][..width]));
                }
            }
        }
    }
}

#[test]
fn a_model_is_shared_by_threads() {
    #[derive(Clone, Copy)]
    struct Shared(*mut Handle);
    #[expect(unsafe_code, reason = "the interface promises it")]
    // SAFETY: a model is immutable; this is what the test is about.
    unsafe impl Send for Shared {}

    let path = golden().into_iter().find(|p| p.ends_with("boosting_two.corten")).unwrap_or_else(|| golden().remove(0));
    let model = Model::load(&path).expect("a model");
    let rows = Rows::of(&path, &model, 300);
    let method = model.methods()[0];
    let expected = bits(&model.run(method, &rows.table, &Run::default()).expect("an answer").numbers);
    let open = Open::new(&path, 1);
    let shared = Shared(open.model);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (rows, expected) = (&rows, &expected);
            // Texts of C are no Send; each thread makes its own.
            let numbers = rows.numbers.clone();
            let words = rows.words.clone();
            scope.spawn(move || {
                let shared = shared;
                let own = Rows { count: rows.count, numbers, words, table: rows.table.clone() };
                let texts = own.texts();
                let mut session = ptr::null_mut();
                let mut out = vec![0.0; expected.len()];
                #[expect(unsafe_code, reason = "the C interface")]
                // SAFETY: the model outlives the threads; each has its own session.
                unsafe {
                    assert_eq!(corten_session_new(shared.0, 0, &mut session), Status::Ok);
                    let code = corten_model::Method::ALL.iter().position(|&m| m == method).expect("a method") as i32;
                    for _ in 0..20 {
                        let (n, t, o) = (own.numbers.as_ptr(), texts.as_ptr(), out.as_mut_ptr());
                        let done = corten_predict(shared.0, session, code, n, t, own.count, o, ptr::null_mut());
                        assert_eq!(done, Status::Ok);
                        assert_eq!(bits(&out), *expected);
                    }
                    corten_session_free(session);
                }
            });
        }
    });
}

#[test]
#[expect(unsafe_code, reason = "the C interface")]
fn failures_have_a_status_and_one_sentence() {
    let mut model = ptr::null_mut();
    // SAFETY: what may be null is null on purpose; everything else is valid.
    unsafe {
        assert_eq!(corten_open(c"/nowhere/m.corten".as_ptr(), &mut model), Status::Io);
        assert!(said().starts_with("/nowhere/m.corten: can't be read"), "{}", said());
        assert_eq!(corten_open(ptr::null(), &mut model), Status::Argument);
        assert_eq!(said(), "'path' is null; the path of a model file is needed");
        assert_eq!(corten_open_bytes(b"no model at all".as_ptr().cast(), 15, &mut model), Status::Format);
        assert!(said().starts_with("Not a valid Corten model"), "{}", said());
        assert!(model.is_null());

        let open = Open::new(&golden()[0], 1);
        assert_eq!(corten_open(c"x".as_ptr(), ptr::null_mut()), Status::Argument);
        assert_eq!(open.predict(99, &[], &[], 0).2, Status::Argument);
        assert_eq!(said(), "the method must be one of CORTEN_METHOD_PREDICT to CORTEN_METHOD_PREDICT_SET, not 99");
        let inputs = corten_inputs(open.model);
        assert!(corten_input_name(open.model, inputs).is_null() && corten_input_kind(open.model, inputs) == Kind::None);
        assert_eq!((corten_inputs(ptr::null()), corten_has(ptr::null(), 0), corten_has(open.model, -1)), (0, 0, 0));
        let without = corten_predict(
            open.model,
            ptr::null_mut(),
            0,
            ptr::null(),
            ptr::null(),
            1,
            ptr::null_mut(),
            ptr::null_mut(),
        );
        assert_eq!(
            (without, said().as_str()),
            (Status::Argument, "a model and a session are needed, but one of them is null")
        );
        corten_close(ptr::null_mut());
        corten_session_free(ptr::null_mut());

        let (linear, trees) = (named("linear"), named("boost"));
        let (linear, trees) = (Open::new(&linear, 1), Open::new(&trees, 1));
        let mut out = [0.0; 64];
        let numbers = [0.0; 64];
        let texts = [Text { data: ptr::null(), size: 0 }; 64];
        let (n, t) = (numbers.as_ptr(), texts.as_ptr());
        let other = corten_predict(trees.model, linear.session, 0, n, t, 1, out.as_mut_ptr(), ptr::null_mut());
        assert!(other == Status::Value && said().contains("another model"), "{other:?} {}", said());
        assert_eq!(
            corten_predict(trees.model, trees.session, 0, ptr::null(), t, 1, out.as_mut_ptr(), ptr::null_mut()),
            Status::Argument
        );
        assert!(said().contains("'numbers'"), "{}", said());
    }
}

fn named(part: &str) -> PathBuf {
    let found = golden().into_iter().find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().contains(part)));
    found.unwrap_or_else(|| panic!("no golden model is named like {part}"))
}

#[test]
#[expect(unsafe_code, reason = "the C interface")]
fn a_state_advances_and_is_saved() {
    let open = Open::new(&named("running_moments"), 1);
    let model = Model::load(&named("running_moments")).expect("a model");
    let rows = Rows::of(&named("running_moments"), &model, 12);
    let mut by_table = model.clone();
    let expected = by_table.update(&rows.table).expect("an answer");
    let (inputs, words) = model.schema().counts();
    let texts = rows.texts();
    let mut out = vec![0.0; expected.width];
    // SAFETY: the arrays have the lengths that the schema gives.
    unsafe {
        assert_eq!(corten_stateful(open.model), 1);
        for row in 0..rows.count {
            let (n, t) = (rows.numbers[row * inputs..].as_ptr(), texts[row * words..].as_ptr());
            assert_eq!(corten_update(open.model, open.session, n, t, out.as_mut_ptr()), Status::Ok, "{}", said());
            assert_eq!(bits(&out), bits(&expected.numbers[row * expected.width..][..expected.width]));
        }
        let path = std::env::temp_dir().join(format!("corten-c-{}.corten", std::process::id()));
        let name = CString::new(path.to_str().expect("UTF-8")).expect("no zero");
        assert_eq!(corten_save(open.model, name.as_ptr()), Status::Ok, "{}", said());
        assert_eq!(std::fs::read(&path).expect("a file"), by_table.to_bytes().expect("bytes"));
        std::fs::remove_file(path).expect("a file");
    }
}
