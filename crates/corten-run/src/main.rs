//! The runner that a bundle starts from: a model at the end of this very file, rows on standard input, answers on
//! standard output; or a socket that answers until it is told to stop.

#[cfg(feature = "arrow")]
mod arrow;
mod bench;
mod bundle;
#[cfg(all(target_arch = "x86_64", any(target_env = "musl", test)))]
mod copy;
#[cfg(unix)]
mod daemon;
mod stream;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::str::FromStr;

use corten_core::Error;
use corten_model::Model;
use stream::Stopped;

const HELP: &str = "\
Scores rows with one model. Without Python, without a network, without anything installed.

usage: corten-run MODEL.corten [options]     (a bundle brings its model: APP [options])

Reads one JSON object a line from standard input and writes one JSON object a line:
  {\"prediction\": ..., \"probability\": {class: p, ...}}
A row that can't be scored gives {\"error\": \"...\"}, a line on standard error, and exit code 1 at the end.

  --csv                the input is CSV with a header line
  --arrow              the input is an Arrow IPC stream, and so is the output (corten bundle --arrow)
  --socket PATH        answer frames on a Unix socket until SIGTERM or SIGINT (docs/bundle.md has the protocol)
  --connections N      connections that may be open at once (default 64)
  --bench              score the rows of standard input again and again; print quantiles and a histogram of the times
  --seconds S          how long (default 3)
  --info               say what the model reads and answers
  --help               this text
";

/// What was asked for.
#[derive(Default)]
struct Options {
    path: Option<String>,
    csv: bool,
    arrow: bool,
    info: bool,
    bench: bool,
    socket: Option<String>,
    connections: Option<usize>,
    seconds: Option<f64>,
}

/// The value of an option that takes one.
fn value<T: FromStr>(
    name: &str,
    given: Option<String>,
    allowed: &str,
    fits: impl Fn(&T) -> bool,
) -> Result<Option<T>, String> {
    let given = given.ok_or_else(|| format!("'{name}' needs a value: {allowed}"))?;
    let parsed = given.parse().ok().filter(fits);
    parsed.map(Some).ok_or_else(|| format!("'{name}' must be {allowed}; got '{given}'"))
}

impl Options {
    /// `None` where help was asked for.
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--csv" => options.csv = true,
                "--arrow" => options.arrow = true,
                "--info" => options.info = true,
                "--bench" => options.bench = true,
                "--socket" => {
                    options.socket = value("--socket", arguments.next(), "a path", |p: &String| !p.is_empty())?
                }
                "--connections" => {
                    let allowed = "a number from 1 to 4096";
                    let fits = |n: &usize| (1..=4096).contains(n);
                    options.connections = value("--connections", arguments.next(), allowed, fits)?;
                }
                "--seconds" => {
                    let fits = |s: &f64| *s > 0.0 && *s <= 3600.0;
                    options.seconds = value("--seconds", arguments.next(), "a number of at most 3600", fits)?;
                }
                "--help" | "-h" => return Ok(None),
                other if other.starts_with('-') || options.path.is_some() => {
                    return Err(format!("'{other}' is not known here; see --help"));
                }
                other => options.path = Some(other.to_owned()),
            }
        }
        let modes = [options.info, options.bench, options.socket.is_some()];
        if modes.iter().filter(|m| **m).count() > 1 {
            return Err("--info, --bench and --socket don't go together".into());
        }
        if (options.csv || options.arrow) && (options.info || options.socket.is_some()) {
            return Err("--csv and --arrow say what standard input is; --info and --socket don't read it".into());
        }
        if options.arrow && (options.csv || options.bench) {
            return Err("--arrow goes neither with --csv nor with --bench".into());
        }
        if options.seconds.is_some() && !options.bench {
            return Err("--seconds goes with --bench".into());
        }
        if options.connections.is_some() && options.socket.is_none() {
            return Err("--connections goes with --socket".into());
        }
        Ok(Some(options))
    }
}

#[cfg(unix)]
fn serve(model: Model, socket: &str, connections: usize) -> Result<u64, Stopped> {
    Ok(daemon::serve(model, socket.as_ref(), connections).map(|()| 0)?)
}

#[cfg(not(unix))]
fn serve(_: Model, _: &str, _: usize) -> Result<u64, Stopped> {
    Err(Error::Unsupported("--socket needs a system with Unix sockets".into()).into())
}

#[cfg(feature = "arrow")]
fn arrow(model: Model) -> Result<u64, Stopped> {
    arrow::score(model)
}

#[cfg(not(feature = "arrow"))]
fn arrow(_: Model) -> Result<u64, Stopped> {
    let said = "this runner reads no Arrow; make the executable with `corten bundle --arrow`";
    Err(Error::Unsupported(said.into()).into())
}

/// Writes to standard output, which may be full, or a pipe that nobody reads any more.
fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => eprintln!("corten-run: standard output: {error}"),
    }
    ExitCode::FAILURE
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            return print(HELP);
        }
        Err(problem) => {
            eprintln!("corten-run: {problem}");
            return ExitCode::from(2);
        }
    };
    let fault = |error: &Error| {
        eprintln!("corten-run: {error}");
        ExitCode::FAILURE
    };
    let model = match corten_model::check_cpu().and_then(|()| bundle::model(options.path.as_deref())) {
        Ok(Some(model)) => model,
        Ok(None) => {
            eprintln!("corten-run: a model is needed: corten-run MODEL.corten; see --help");
            return ExitCode::from(2);
        }
        Err(error) => return fault(&error),
    };
    let done = match &options {
        Options { info: true, .. } => stream::info(&model),
        Options { bench: true, .. } => {
            bench::run(model, options.csv, options.seconds.unwrap_or(3.0)).map(|()| 0).map_err(Stopped::from)
        }
        Options { arrow: true, .. } => arrow(model),
        Options { socket: Some(path), .. } => serve(model, path, options.connections.unwrap_or(64)),
        _ => stream::score(model, options.csv),
    };
    match done {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) | Err(Stopped::Unread) => ExitCode::FAILURE,
        Err(Stopped::Fault(error)) => fault(&error),
    }
}
