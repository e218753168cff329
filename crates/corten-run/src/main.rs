//! The runner that a bundle starts from: a model at the end of this very file, rows on standard input, answers on
//! standard output.

mod bundle;
mod stream;

use std::process::ExitCode;

use stream::Stopped;

const HELP: &str = "\
Scores rows with one model. Without Python, without a network, without anything installed.

usage: corten-run MODEL.corten [--csv | --info]     (a bundle brings its model: APP [--csv | --info])

Reads one JSON object a line from standard input and writes one JSON object a line:
  {\"prediction\": ..., \"probability\": {class: p, ...}}
A row that can't be scored gives {\"error\": \"...\"}, a line on standard error, and exit code 1 at the end.

  --csv    the input is CSV with a header line
  --info   say what the model reads and answers
  --help   this text
";

fn main() -> ExitCode {
    let mut path = None;
    let (mut csv, mut info) = (false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--csv" => csv = true,
            "--info" => info = true,
            "--help" | "-h" => {
                print!("{HELP}");
                return ExitCode::SUCCESS;
            }
            other if other.starts_with('-') || path.is_some() => {
                eprintln!("corten-run: '{other}' is not known here; see --help");
                return ExitCode::from(2);
            }
            other => path = Some(other.to_owned()),
        }
    }
    let model = match corten_model::check_cpu().and_then(|()| bundle::model(path.as_deref())) {
        Ok(Some(model)) => model,
        Ok(None) => {
            eprintln!("corten-run: a model is needed: corten-run MODEL.corten; see --help");
            return ExitCode::from(2);
        }
        Err(error) => {
            eprintln!("corten-run: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = if info { stream::info(&model) } else { stream::score(model, csv) };
    match done {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) | Err(Stopped::Unread) => ExitCode::FAILURE,
        Err(Stopped::Fault(error)) => {
            eprintln!("corten-run: {error}");
            ExitCode::FAILURE
        }
    }
}
