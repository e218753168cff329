//! Damaged model files are refused, or score rows within limits: no panic, no endless loop, no memory without end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use corten_core::Data;
use corten_core::random::Stream;
use corten_model::{Model, Run};

use crate::counting::{HELD, PEAK};
use crate::files;
use crate::structure::{self, Parts};

/// Mutations of each golden file.
const MUTATIONS: usize = 450;
/// What a mutated file may take beyond four times its size.
const ROOM: usize = 64 << 20;
/// How long any file may take.
const LONGEST: Duration = Duration::from_secs(5);

/// The length of the header, and where the tensors start.
fn header(bytes: &[u8]) -> (usize, usize) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (length, 8 + length)
}

/// Makes the digest right for the tensors, and the length right for the header, so that what lies behind these checks is
/// reached as well.
fn repaired(text: &str, tensors: &[u8]) -> Vec<u8> {
    let mut text = text.to_string();
    if let Some(at) = text.find("digest") {
        let digest = blake3::hash(tensors).to_hex();
        // The value is 64 hexadecimal digits behind `digest\":\"`.
        let start = text[at..].find(':').map_or(at, |i| at + i);
        let first = text[start..].find(|c: char| c.is_ascii_hexdigit()).map_or(start, |i| start + i);
        if text.is_char_boundary(first + 64) && first + 64 <= text.len() {
            text.replace_range(first..first + 64, &digest);
        }
    }
    while !(text.len() + 8).is_multiple_of(64) {
        text.push(' ');
    }
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), tensors].concat()
}

/// Another number in place of one that stands in the text.
fn with_another_number(text: &str, random: &mut Stream) -> String {
    let digits: Vec<usize> = text.bytes().enumerate().filter(|(_, b)| b.is_ascii_digit()).map(|(i, _)| i).collect();
    if digits.is_empty() {
        return text.to_string();
    }
    let at = digits[random.below(digits.len() as u64) as usize];
    let bytes = text.as_bytes();
    let (mut start, mut end) = (at, at);
    while start > 0 && bytes[start - 1].is_ascii_digit() {
        start -= 1;
    }
    while end < bytes.len() && bytes[end].is_ascii_digit() {
        end += 1;
    }
    let numbers = ["0", "1", "-1", "7", "255", "65535", "65536", "4294967295", "4294967296", "18446744073709551615"];
    let others = ["1e308", "-0.0", "0.5", "1e999", "null", "\\\"x\\\"", "[]", "{}", "true"];
    let pick = random.below((numbers.len() + others.len()) as u64) as usize;
    let new = numbers.get(pick).or_else(|| others.get(pick - numbers.len())).unwrap();
    format!("{}{new}{}", &text[..start], &text[end..])
}

/// One damaged file.
fn mutated(bytes: &[u8], random: &mut Stream) -> Vec<u8> {
    let (length, start) = header(bytes);
    let mut out = bytes.to_vec();
    let below = |random: &mut Stream, n: usize| random.below(n.max(1) as u64) as usize;
    let text = String::from_utf8(bytes[8..start].to_vec()).unwrap();
    let tensors = &bytes[start..];
    match random.below(12) {
        0 => {
            let at = below(random, out.len());
            out[at] ^= 1 << random.below(8);
            out
        }
        1 => {
            out.truncate(below(random, bytes.len()));
            out
        }
        2 => {
            let at = below(random, out.len());
            let count = 1 + below(random, 16);
            out.splice(at..at, (0..count).map(|i| i as u8 * 17));
            out
        }
        3 => {
            let at = below(random, out.len());
            let end = (at + 1 + below(random, 16)).min(out.len());
            out.drain(at..end);
            out
        }
        4 => {
            let size = random.next_bits() >> random.below(64);
            out[..8].copy_from_slice(&size.to_le_bytes());
            out
        }
        5 => {
            for _ in 0..1 + random.below(8) {
                out[8 + below(random, length)] = random.below(256) as u8;
            }
            out
        }
        // From here on the digest fits: the checks of operators are reached.
        6 | 7 => {
            let mut tensors = tensors.to_vec();
            let count = tensors.len();
            for _ in 0..1 + random.below(4) {
                if count > 0 {
                    let size = [1, 2, 4, 8][random.below(4) as usize];
                    let at = below(random, count) / size * size;
                    let end = (at + size).min(count);
                    let fill = [0xff, 0x00, 0x7f, 0x80, random.below(256) as u8][random.below(5) as usize];
                    tensors[at..end].fill(fill);
                }
            }
            repaired(&text, &tensors)
        }
        8 => {
            let mut tensors = tensors.to_vec();
            tensors.truncate(below(random, tensors.len()));
            repaired(&text, &tensors)
        }
        9 => {
            // A part of the header twice, or gone: keys come twice, brackets don't fit.
            let pieces: Vec<&str> = text.split(',').collect();
            let at = below(random, pieces.len());
            let mut new = pieces.clone();
            if random.below(2) == 0 {
                new.insert(at, pieces[below(random, pieces.len())]);
            } else {
                new.remove(at);
            }
            repaired(&new.join(","), tensors)
        }
        10 => {
            let names =
                ["trees", "linear", "scale", "category", "one_hot", "impute", "decide", "link", "running_moments"];
            let (a, b) = (below(random, names.len()), below(random, names.len()));
            repaired(&text.replace(names[a], names[b]), tensors)
        }
        _ => {
            let mut new = text;
            for _ in 0..1 + random.below(3) {
                new = with_another_number(&new, random);
            }
            repaired(&new, tensors)
        }
    }
}

/// What became of one file.
#[derive(Debug, PartialEq)]
enum Outcome {
    Refused,
    Scored,
    Fault(String),
}

/// Reads a file and asks all that a model can be asked; says where a limit was passed.
fn tried(bytes: &[u8], table: &Data<'_>) -> Outcome {
    let (started, before) = (Instant::now(), HELD.load(Ordering::Relaxed));
    PEAK.store(before, Ordering::Relaxed);
    let scored = catch_unwind(AssertUnwindSafe(|| {
        let Ok(mut model) = Model::from_bytes(bytes) else { return false };
        let mut session = model.session();
        for method in model.methods() {
            let _ = model.run(method, table, &Run::default());
            let texts = vec![Some(&b"Rome"[..]); model.schema().counts().1];
            let _ = model.run_row(method, &mut session, &texts);
        }
        if model.is_stateful() {
            let _ = model.update(table);
        }
        let again = model.to_bytes().expect("a model that was read can be written");
        Model::from_bytes(&again).expect("a model that was written can be read");
        true
    }));
    let peak = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    match scored {
        Err(_) => Outcome::Fault("panic".into()),
        _ if peak > 4 * bytes.len() + ROOM => Outcome::Fault(format!("{peak} bytes for a file of {}", bytes.len())),
        _ if started.elapsed() > LONGEST => Outcome::Fault(format!("{:?}", started.elapsed())),
        Ok(true) => Outcome::Scored,
        Ok(false) => Outcome::Refused,
    }
}

/// Why a file of these bytes is refused, but for its name.
fn told_of_file(bytes: &[u8], path: &Path) -> Option<String> {
    std::fs::write(path, bytes).expect("a file");
    let told = Model::load(path).err()?.to_string();
    Some(told.replacen(&format!("{}: ", path.display()), "", 1))
}

/// Measures nothing beside another test.
static ALONE: Mutex<()> = Mutex::new(());

fn damage_is_harmless(damage: fn(&[u8], &mut Stream) -> Vec<u8>, seed: u64) {
    let _alone = ALONE.lock().unwrap();
    std::panic::set_hook(Box::new(|_| {}));
    let files = files::all();
    let path = std::env::temp_dir().join(format!("corten-damage-{}-{seed}.corten", std::process::id()));
    let (mut cases, mut scored, mut faults) = (0, 0, Vec::new());
    for (nth, golden) in files.iter().enumerate() {
        let mut random = Stream::new(seed, nth as u64);
        let table = golden.table();
        for case in 0..MUTATIONS {
            cases += 1;
            let bytes = damage(&golden.bytes, &mut random);
            if case % 4 == 0 && told_of_file(&bytes, &path) != Model::from_bytes(&bytes).err().map(|e| e.to_string()) {
                faults.push(format!("{} {case}: told otherwise of a file", golden.name));
            }
            match tried(&bytes, &table) {
                Outcome::Scored => scored += 1,
                Outcome::Refused => {}
                Outcome::Fault(what) => faults.push(format!("{} {case}: {what}", golden.name)),
            }
        }
    }
    let _ = std::panic::take_hook();
    let _ = std::fs::remove_file(path);
    assert!(cases >= 10_000, "only {cases} cases");
    assert!(faults.is_empty(), "{} faults: {:#?}", faults.len(), &faults[..faults.len().min(10)]);
    // Some damage does no harm (a bit of a weight): the checks behind the digest are really reached.
    assert!(scored > cases / 50 && scored < cases / 2, "{scored} of {cases} were scored");
}

#[test]
fn damaged_bytes_are_refused_or_score_within_limits() {
    damage_is_harmless(mutated, 11);
}

#[test]
fn damaged_graphs_and_tensors_are_refused_or_score_within_limits() {
    damage_is_harmless(structure::mutated, 12);
}

#[test]
fn many_columns_of_a_small_file_stay_within_limits() {
    let _alone = ALONE.lock().unwrap();
    let golden = files::all().into_iter().find(|g| g.name == "text_imputer").expect("the golden file");
    for (columns, wanted) in [(60_000, Outcome::Scored), (70_000, Outcome::Refused)] {
        let mut parts = Parts::of(&golden.bytes);
        let node = &mut parts.graph["nodes"][0];
        for list in [node["inputs"].take(), node["with"]["fill"].take()].into_iter().zip(["/inputs", "/with/fill"]) {
            let first = list.0[0].clone();
            *node.pointer_mut(list.1).expect("a list") = vec![first; columns].into();
        }
        assert_eq!(tried(&parts.bytes(true, |t| t), &golden.table()), wanted, "{columns} columns of text");
    }
}
