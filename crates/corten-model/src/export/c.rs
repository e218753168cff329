//! One file of C99 from a model.

use std::fmt::Write as _;

use crate::{Method, Model, Slot};
use corten_core::{Error, Kind, Result};

use crate::export::ops::{Wires, emit};
use crate::export::plan::{Place, Plan};
use crate::export::source::{Source, text};

/// Longest name of a function's prefix: compilers for small devices tell names of 31 characters apart.
const MAX_NAME: usize = 24;
const KEYWORDS: &[&str] = &[
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern", "float",
    "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed", "sizeof",
    "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while",
];

/// What is to be written.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the function's name begins with: `model` gives `model_predict`.
    pub name: String,
    /// What it answers; the first of `predict_proba`, `predict`, `decision_function` and `transform` that the model has
    /// if not given.
    pub method: Option<Method>,
}

/// What the function needs and makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it answers.
    pub method: Method,
    /// Bytes of constant tables: they lie in flash.
    pub table_bytes: usize,
    /// Bytes of variables on the stack while it runs; there are no others. A compiler adds the registers that it saves.
    pub stack_bytes: usize,
    /// Numbers and texts of a row.
    pub inputs: (usize, usize),
    /// Numbers and texts of the answer.
    pub outputs: (usize, usize),
}

/// A file of C and its report.
#[derive(Clone, Debug)]
pub struct Export {
    /// The file.
    pub source: String,
    /// Its report.
    pub report: Report,
}

fn check_name(name: &str) -> Result<()> {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !starts || !plain || name.len() > MAX_NAME || KEYWORDS.contains(&name) {
        return Err(Error::parameter(
            "name",
            format!("a name in C of at most {MAX_NAME} letters, digits and underscores"),
            format!("'{name}'"),
        ));
    }
    Ok(())
}

/// Text inside a comment: nothing that ends it or starts another.
fn comment(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() && !"*/\\?".contains(c) || c == ' ' { c } else { '_' };
    text.chars().take(80).map(plain).collect()
}

/// Writes a model as C99: `int NAME_predict(const double *row, double *out)`.
///
/// Where the model reads text, `const char *const *texts` follows `row`; where it answers text, `const char **out_texts`
/// follows `out`. A missing number is NaN, a missing text a null pointer.
///
/// # Errors
/// [`Error::Parameter`] for a name that C does not take, [`Error::Unsupported`] for a method that the model doesn't have
/// and for an operator without C.
pub fn c(model: &Model, options: &Options) -> Result<Export> {
    check_name(&options.name)?;
    let preferred = [Method::PredictProba, Method::Predict, Method::DecisionFunction, Method::Transform];
    let method = options.method.or_else(|| preferred.into_iter().find(|&m| model.output(m).is_some()));
    let method = method.ok_or_else(|| Error::Unsupported("This model answers nothing.".into()))?;
    let plan = Plan::new(model.graph(), method, model.steps(method)?)?;
    let mut source = Source::default();
    for step in &plan.steps {
        let _ = writeln!(source.body, "\n    /* {} */", step.op.name());
        emit(&mut source, &Wires { step, given: plan.given.0 })?;
    }
    let (mut numbers, mut texts) = (0, 0);
    source.body.push('\n');
    for (slot, &place) in plan.output.columns.iter().zip(&plan.outputs) {
        let line = match (slot, place) {
            (Slot::Text(_), place) => {
                texts += 1;
                format!("out_texts[{}] = {};", texts - 1, text(place))
            }
            (Slot::Number(_), Place::Row(i)) => {
                numbers += 1;
                format!("out[{}] = row[{i}];", numbers - 1)
            }
            (Slot::Number(_), Place::Buffer(i) | Place::GivenText(i) | Place::MadeText(i)) => {
                numbers += 1;
                format!("out[{}] = v[{i}];", numbers - 1)
            }
        };
        source.line(1, &line);
    }
    let stack_bytes = 8 * plan.buffer + 4 * plan.made_texts + source.locals + source.sums + 12;
    let report =
        Report { method, table_bytes: source.flash, stack_bytes, inputs: plan.given, outputs: (numbers, texts) };
    Ok(Export { source: assemble(model, &options.name, &plan, &source, &report), report })
}

fn assemble(model: &Model, name: &str, plan: &Plan<'_>, source: &Source, report: &Report) -> String {
    let Report { inputs, outputs, method, .. } = *report;
    let mut arguments = vec!["const double *row"];
    arguments.extend((inputs.1 > 0).then_some("const char *const *texts"));
    arguments.push("double *out");
    arguments.extend((outputs.1 > 0).then_some("const char **out_texts"));
    let signature = format!("int {name}_predict({})", arguments.join(", "));
    let mut file = String::new();
    let f = &mut file;
    let _ = writeln!(f, "/* {} of a model, written by Corten {}.", method.as_str(), env!("CARGO_PKG_VERSION"));
    let _ = writeln!(f, " *\n *     {signature};\n *");
    let _ = writeln!(
        f,
        " * Returns 0, or why it refuses the row: 1 a value is missing, 2 a value is infinite, 3 a category is"
    );
    let _ = writeln!(
        f,
        " * missing, 4 a category is unknown. A missing number is NaN, a missing text a null pointer; texts are"
    );
    let _ = writeln!(
        f,
        " * UTF-8 and end with a zero byte. Allocates nothing, keeps nothing, may run in any number of threads.\n *"
    );
    let (mut number, mut text) = (0, 0);
    for input in &model.schema().inputs {
        let (array, at) = match input.kind {
            Kind::Number => ("row", &mut number),
            Kind::Text => ("texts", &mut text),
        };
        let _ = writeln!(f, " * {array}[{at}]  {}", comment(&input.name));
        *at += 1;
    }
    let (mut number, mut text) = (0, 0);
    for (slot, label) in plan.output.columns.iter().zip(&plan.output.names) {
        let (array, at) = match slot {
            Slot::Number(_) => ("out", &mut number),
            Slot::Text(_) => ("out_texts", &mut text),
        };
        let _ = writeln!(f, " * {array}[{at}]  {}", comment(label));
        *at += 1;
    }
    if let (Method::Predict, Some(labels)) = (method, &plan.output.labels) {
        let names: Vec<String> = labels.names().iter().take(100).map(|l| comment(l)).collect();
        let _ = writeln!(f, " * out[0] is the place of a class in: {}", names.join(" | "));
    }
    let _ = writeln!(
        f,
        " *\n * {} bytes of tables, {} bytes of variables on the stack. The bits are the executor's where the compiler keeps to\n * IEEE 754: \
         no -ffast-math, and -ffp-contract=off.\n */",
        report.table_bytes, report.stack_bytes
    );
    f.push_str("#include <float.h>\n#include <stdint.h>\n\n");
    f.push_str("#if defined(__FAST_MATH__) || (defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0)\n");
    f.push_str("#error \"needs arithmetic as IEEE 754 has it: compile without -ffast-math, on x86 with -msse2 -mfpmath=sse\"\n");
    f.push_str("#endif\n#if defined(__clang__)\n#pragma STDC FP_CONTRACT OFF\n#endif\n");
    for helper in &source.helpers {
        f.push_str(&helper.source(inputs.0));
    }
    let _ = write!(f, "\n{}\n{signature};\n\n{signature} {{\n    uint32_t i = 0, k = 0, n = 0;\n", source.tables);
    if plan.buffer > 0 {
        let _ = writeln!(f, "    double v[{}];", plan.buffer);
    }
    if plan.made_texts > 0 {
        let _ = writeln!(f, "    const char *t[{}];", plan.made_texts);
    }
    f.push_str("    (void)row, (void)out, (void)i, (void)k, (void)n;\n");
    if inputs.1 > 0 {
        f.push_str("    (void)texts;\n");
    }
    let _ = write!(f, "{}    return 0;\n}}\n", source.body);
    file
}
