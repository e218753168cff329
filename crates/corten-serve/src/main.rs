//! `corten-serve`: models as a service.

use std::process::ExitCode;
use std::time::Duration;

use corten_serve::{Options, Store, serve};

const HELP: &str = "\
Serves Corten models over HTTP: Open Inference Protocol v2, and POST /predict with {\"rows\": [...]}.

usage: corten-serve MODEL.corten|NAME=MODEL.corten|FOLDER ... [options]

  --host ADDRESS    address to listen on (default 127.0.0.1; 0.0.0.0 for all)
  --port N          port (default 8080)
  --workers N       threads (default: one a core)
  --max-body BYTES  largest request body (default 16777216)
  --max-rows N      most rows of a request (default 100000)
  --watch MS        pause between two looks for changed files (default 250; 0 never looks)
  --admin           let requests load and unload models
  --help            this text

A model is served under the name of its file, or under NAME. In a folder, NAME.corten is version 1 of a model and
NAME/VERSION/model.corten a version of it. A changed file is loaded and takes over between two requests; one that can't
be loaded leaves the model before in its place.
";

fn number<T: std::str::FromStr>(name: &str, value: Option<String>) -> Result<T, String> {
    let value = value.ok_or_else(|| format!("{name} needs a value"))?;
    value.parse().map_err(|_| format!("{name} must be a number; '{value}' came"))
}

fn arguments() -> Result<Option<(Vec<String>, Options)>, String> {
    let (mut models, mut options) = (Vec::new(), Options::default());
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--help" | "-h" => return Ok(None),
            "--host" => options.host = given.next().ok_or("--host needs a value")?,
            "--port" => options.port = number("--port", given.next())?,
            "--workers" => options.workers = number::<usize>("--workers", given.next())?.clamp(1, 1024),
            "--max-body" => options.max_body = number("--max-body", given.next())?,
            "--max-rows" => options.max_rows = number("--max-rows", given.next())?,
            "--watch" => options.watch = Duration::from_millis(number("--watch", given.next())?),
            "--admin" => options.admin = true,
            other if other.starts_with("--") => return Err(format!("'{other}' is not known here; see --help")),
            _ => models.push(argument),
        }
    }
    if models.is_empty() {
        return Err("a model is needed: corten-serve MODEL.corten; see --help".into());
    }
    Ok(Some((models, options)))
}

fn main() -> ExitCode {
    let (models, options) = match arguments() {
        Ok(Some(given)) => given,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("corten-serve: {problem}");
            return ExitCode::from(2);
        }
    };
    match corten_model::check_cpu().and_then(|()| Store::load(&models)).and_then(|store| serve(store, &options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("corten-serve: {error}");
            ExitCode::FAILURE
        }
    }
}
