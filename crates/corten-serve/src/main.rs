//! `corten-serve`: models as a service.

use std::path::Path;
use std::process::ExitCode;

use corten_serve::{Keys, Options, Store, hash_of, serve};

const HELP: &str = "\
Serves Corten models over HTTP and gRPC: Open Inference Protocol v2, and POST /predict with {\"rows\": [...]}.

usage: corten-serve MODEL.corten|NAME=MODEL.corten|FOLDER ... [options]

  --host ADDRESS       address to listen on (default 127.0.0.1; 0.0.0.0 for all)
  --port N             port (default 8080)
  --grpc-port N        port for gRPC (default: none; KServe's is 8081, Triton's 8001)
  --workers N          threads (default: one a core)
  --max-body BYTES     largest request body (default 16777216)
  --max-rows N         most rows of a request (default 100000)
  --max-connections N  most connections at once (default 4096)
  --max-active N       most requests in progress at once (default 4096)
  --head-timeout S     longest wait for the head of a request (default 75)
  --body-timeout S     longest wait for the body of a request (default 30)
  --drain-delay S      how long requests are taken after SIGTERM (default 0)
  --drain-timeout S    longest wait for open requests after that (default 10)
  --watch MS           milliseconds between looks at the files (default 1000; 0: never)
  --admin              let requests load and unload models
  --keys FILE          hashes of bearer keys, a line each: HASH infer|admin [MODEL ...]
  --hash-key           print the hash of the key on standard input, and end
  --cors ORIGIN        an origin whose pages may ask; may be given again
  --log                log each request as a line of JSON
  --help               this text

A model is served under the name of its file, or under NAME. A folder holds NAME.corten or NAME/VERSION/FILE.corten.
Files that change are loaded again; one that can't be loaded changes nothing.
";

fn number<T: std::str::FromStr>(name: &str, value: Option<String>) -> Result<T, String> {
    let value = value.ok_or_else(|| format!("{name} needs a value"))?;
    value.parse().map_err(|_| format!("{name} must be a number; '{value}' came"))
}

fn seconds(name: &str, value: Option<String>) -> Result<u64, String> {
    let value = number::<u32>(name, value)?;
    if value == 0 { Err(format!("{name} must be at least 1; 0 came")) } else { Ok(value.into()) }
}

fn hash_key() -> ExitCode {
    let mut key = String::new();
    if let Err(error) = std::io::stdin().read_line(&mut key) {
        eprintln!("corten-serve: standard input: {error}");
        return ExitCode::FAILURE;
    }
    println!("{}", hash_of(key.trim()));
    ExitCode::SUCCESS
}

fn arguments() -> Result<Option<(Vec<String>, Options)>, String> {
    let (mut models, mut options) = (Vec::new(), Options::default());
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--help" | "-h" => return Ok(None),
            "--host" => options.host = given.next().ok_or("--host needs a value")?,
            "--port" => options.port = number("--port", given.next())?,
            "--grpc-port" => options.grpc_port = Some(number("--grpc-port", given.next())?),
            "--workers" => options.workers = number::<usize>("--workers", given.next())?.clamp(1, 1024),
            "--max-body" => options.max_body = number("--max-body", given.next())?,
            "--max-connections" => options.max_connections = number("--max-connections", given.next())?,
            "--max-active" => options.max_active = number("--max-active", given.next())?,
            "--head-timeout" => options.head_timeout = seconds("--head-timeout", given.next())?,
            "--body-timeout" => options.body_timeout = seconds("--body-timeout", given.next())?,
            "--drain-delay" => options.drain_delay = number::<u32>("--drain-delay", given.next())?.into(),
            "--drain-timeout" => options.drain_timeout = number::<u32>("--drain-timeout", given.next())?.into(),
            "--watch" => options.watch = number::<u32>("--watch", given.next())?.into(),
            "--admin" => options.admin = true,
            "--log" => options.log = true,
            "--cors" => options.cors.push(given.next().ok_or("--cors needs a value")?),
            "--keys" => {
                let path = given.next().ok_or("--keys needs a value")?;
                options.keys = Keys::load(Path::new(&path)).map_err(|e| e.to_string())?;
            }
            "--max-rows" => options.max_rows = number("--max-rows", given.next())?,
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
    if std::env::args().nth(1).as_deref() == Some("--hash-key") {
        return hash_key();
    }
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
