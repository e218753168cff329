//! Damage that knows the file: its JSON stays JSON and its digest is right, so that the checks behind them are reached.

use corten_core::random::Stream;
use serde_json::{Map, Value, json};

/// A model file taken apart.
pub(crate) struct Parts {
    /// The tensors, by name: `dtype`, `shape`, `data_offsets`.
    pub(crate) tensors: Map<String, Value>,
    /// The graph.
    pub(crate) graph: Value,
    /// The bytes of the tensors.
    pub(crate) data: Vec<u8>,
}

impl Parts {
    /// The parts of a file that can be read.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let Value::Object(mut tensors) = serde_json::from_slice(&bytes[8..start]).unwrap() else { unreachable!() };
        let metadata = tensors.remove("__metadata__").unwrap();
        let graph = serde_json::from_str(metadata["corten"].as_str().unwrap()).unwrap();
        Self { tensors, graph, data: bytes[start..].to_vec() }
    }

    /// The file of these parts; with its digest made right if `repair`.
    pub(crate) fn bytes(&self, repair: bool, change_text: impl FnOnce(String) -> String) -> Vec<u8> {
        let mut graph = self.graph.clone();
        if repair && graph.is_object() {
            graph["digest"] = blake3::hash(&self.data).to_hex().as_str().into();
        }
        let mut header = self.tensors.clone();
        header.insert("__metadata__".into(), json!({ "corten": graph.to_string() }));
        let mut text = change_text(Value::Object(header).to_string());
        text.extend(std::iter::repeat_n(' ', (text.len() + 8).next_multiple_of(64) - text.len() - 8));
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &self.data].concat()
    }
}

fn below(random: &mut Stream, n: usize) -> usize {
    random.below(n.max(1) as u64) as usize
}

/// The pointers (RFC 6901) of everything in a value.
fn pointers(value: &Value, at: String, out: &mut Vec<String>) {
    out.push(at.clone());
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, v)| pointers(v, format!("{at}/{i}"), out));
        }
        Value::Object(members) => members.iter().for_each(|(k, v)| {
            pointers(v, format!("{at}/{}", k.replace('~', "~0").replace('/', "~1")), out);
        }),
        _ => {}
    }
}

/// The pointers of what `keep` chooses.
fn chosen(value: &Value, keep: impl Fn(&Value) -> bool) -> Vec<String> {
    let mut all = Vec::new();
    pointers(value, String::new(), &mut all);
    all.retain(|p| value.pointer(p).is_some_and(&keep));
    all
}

/// A value that may stand where another one was expected.
fn hostile(random: &mut Stream) -> Value {
    let values = [
        json!(0),
        json!(1),
        json!(2),
        json!(-1),
        json!(255),
        json!(65_534),
        json!(65_536),
        json!(1_048_576),
        json!(u32::MAX),
        json!(u64::from(u32::MAX) + 1),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(0.5),
        json!(-0.0),
        json!(1e308),
        json!("NaN"),
        json!("-inf"),
        json!(""),
        json!("arg_max"),
        json!("category"),
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!({ "n": 0 }),
        json!({ "t": 0 }),
    ];
    values[below(random, values.len())].clone()
}

fn pick<'a>(random: &mut Stream, from: &'a [String]) -> Option<&'a str> {
    (!from.is_empty()).then(|| from[below(random, from.len())].as_str())
}

/// Changes something in the graph.
fn change_graph(graph: &mut Value, random: &mut Stream) {
    match random.below(5) {
        0 => {
            let leaves = chosen(graph, |v| !v.is_array() && !v.is_object());
            if let Some(to) = pick(random, &leaves).and_then(|p| graph.pointer_mut(p)) {
                *to = hostile(random);
            }
        }
        1 => {
            let leaves = chosen(graph, |v| !v.is_array() && !v.is_object());
            if let (Some(a), Some(b)) = (pick(random, &leaves), pick(random, &leaves)) {
                let (left, right) = (graph.pointer(a).cloned(), graph.pointer(b).cloned());
                if let (Some(left), Some(right)) = (left, right) {
                    graph.pointer_mut(a).into_iter().for_each(|v| v.clone_from(&right));
                    graph.pointer_mut(b).into_iter().for_each(|v| v.clone_from(&left));
                }
            }
        }
        2 => {
            let lists = chosen(graph, Value::is_array);
            let list = pick(random, &lists).and_then(|p| graph.pointer_mut(p)).and_then(Value::as_array_mut);
            if let Some(list) = list.filter(|l| !l.is_empty()) {
                let at = below(random, list.len());
                match random.below(4) {
                    0 => drop(list.remove(at)),
                    1 => list.swap(at, 0),
                    2 => list.clear(),
                    _ => {
                        let again = list[at].clone();
                        let times = [1, 2, 2000][below(random, 3)];
                        list.extend(std::iter::repeat_n(again, times));
                    }
                }
            }
        }
        3 => {
            let objects = chosen(graph, Value::is_object);
            let object = pick(random, &objects).and_then(|p| graph.pointer_mut(p)).and_then(Value::as_object_mut);
            if let Some(object) = object {
                let names: Vec<String> = object.keys().cloned().collect();
                if let Some(name) = pick(random, &names) {
                    object.remove(name);
                }
            }
        }
        _ => {
            let any = chosen(graph, |_| true);
            if let Some(to) = pick(random, &any).and_then(|p| graph.pointer_mut(p)) {
                *to = hostile(random);
            }
        }
    }
}

/// Changes something in the table of tensors.
fn change_tensors(tensors: &mut Map<String, Value>, random: &mut Stream) {
    let names: Vec<String> = tensors.keys().cloned().collect();
    let (Some(a), Some(b)) = (pick(random, &names), pick(random, &names)) else { return };
    match random.below(6) {
        0 => {
            let (left, right) = (tensors[a].clone(), tensors[b].clone());
            tensors[a] = right;
            tensors[b] = left;
        }
        1 => {
            let types = ["F64", "F32", "U32", "I32", "U16", "U8", "BOOL", "F8_E4M3", "nonsense"];
            tensors[a]["dtype"] = types[below(random, types.len())].into();
        }
        2 => {
            let shapes =
                [json!([]), json!([0]), json!([1, 1]), json!([u64::MAX]), json!([1_u64 << 63, 2]), json!([-1])];
            tensors[a]["shape"] = shapes[below(random, shapes.len())].clone();
        }
        3 => tensors[a]["data_offsets"] = tensors[b]["data_offsets"].clone(),
        4 => tensors[a]["data_offsets"] = json!([hostile(random), hostile(random)]),
        _ => drop(tensors.remove(a)),
    }
}

/// A member of the header that comes twice.
fn doubled(text: String, random: &mut Stream) -> String {
    let members: Vec<usize> = text.match_indices("\":").map(|(at, _)| at).collect();
    let at = members[below(random, members.len())];
    let start = text[..at].rfind('"').unwrap_or(0);
    let end = text[at..].find([',', '}']).map_or(text.len(), |i| at + i);
    format!("{}{},{}", &text[..start], &text[start..end], &text[start..])
}

/// One damaged file whose JSON can be read.
pub(crate) fn mutated(bytes: &[u8], random: &mut Stream) -> Vec<u8> {
    let mut parts = Parts::of(bytes);
    let mut double = false;
    for _ in 0..1 + random.below(3) {
        match random.below(8) {
            0 => double = true,
            1 | 2 => change_tensors(&mut parts.tensors, random),
            _ => change_graph(&mut parts.graph, random),
        }
    }
    let repair = random.below(8) > 0;
    parts.bytes(repair, |text| if double { doubled(text, random) } else { text })
}
