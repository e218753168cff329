//! `corten-serve`: models as a service.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use corten_serve::{Keys, Options, Store, Tls, Tracer, hash_of, lambda, lambda_fault, probe, serve};

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
  --max-wait MS        longest wait behind other requests, where many wait (default 100)
  --head-timeout S     longest wait for the head of a request (default 10)
  --body-timeout S     longest wait for the body of a request (default 30)
  --min-body-rate N    fewest bytes a second of a body that takes more than 5 seconds (default 1024; 0: any)
  --idle-timeout S     longest wait for the next request of a connection (default 75)
  --drain-delay S      how long requests are taken after SIGTERM (default 0)
  --drain-timeout S    longest wait for open requests after that (default 10)
  --watch MS           milliseconds between looks at the files (default 100; 0: never)
  --routes FILE        aliases, shares of traffic, shadows (default: routes.json in each folder)
  --admin              let requests load and unload models
  --keys FILE          hashes of bearer keys, a line each: HASH infer|admin [MODEL ...]
  --hash-key           print the hash of the key on standard input, and end
  --tls-cert FILE      certificate of the server and those above it (PEM); read again when it changes
  --tls-key FILE       its key (PEM)
  --tls-client-ca FILE authorities (PEM): clients must show a certificate of one of them
  --cors ORIGIN        an origin whose pages may ask, https://HOST[:PORT], or * for all; may be given again
  --drift-window S     how long drift is counted before older rows are forgotten (default 3600)
  --log                log each request as a line of JSON
  --otlp URL           send traces to the collector at http://HOST:PORT (OTLP over HTTP, JSON)
  --trace-share F      share of the requests without a trace that begin one (default 0)
  --lambda             answer the invocations of AWS Lambda instead of a port; so does a binary named bootstrap, with the
                       model or folder that the function's handler names
  --probe HOST:PORT    ask a server whether it is ready, and end: 0 if it is; https://HOST:PORT asks one with TLS, and
                       doesn't look at its certificate
  --help               this text

A model is served under the name of its file, or under NAME. A folder holds NAME.corten or NAME/VERSION/FILE.corten.
Files that change are loaded again; one that can't be loaded changes nothing.
";

fn number<T: std::str::FromStr>(name: &str, value: Option<String>) -> Result<T, String> {
    let value = value.ok_or_else(|| format!("{name} needs a value"))?;
    value.parse().map_err(|_| format!("{name} must be a number; '{value}' came"))
}

/// A number of something without which nothing could be answered.
fn some(name: &str, value: Option<String>) -> Result<usize, String> {
    let value = number::<usize>(name, value)?;
    if value == 0 { Err(format!("{name} must be at least 1; 0 came")) } else { Ok(value) }
}

fn port(name: &str, value: Option<String>) -> Result<u16, String> {
    let value = value.ok_or_else(|| format!("{name} needs a value"))?;
    value.parse().map_err(|_| format!("{name} must be a number from 0 to 65535; '{value}' came"))
}

/// An origin as browsers send it, or all.
fn origin(value: Option<String>) -> Result<String, String> {
    let value = value.ok_or("--cors needs a value")?;
    let host = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
    let fits = host.is_some_and(|h| !h.is_empty() && !h.contains(['/', ' ', '?', '#', '@']));
    if fits || value == "*" {
        return Ok(value);
    }
    Err(format!("--cors must be an origin such as https://example.com, without a path, or *; '{value}' came"))
}

fn seconds(name: &str, value: Option<String>) -> Result<u64, String> {
    let value = number::<u32>(name, value)?;
    if value == 0 { Err(format!("{name} must be at least 1; 0 came")) } else { Ok(value.into()) }
}

fn ask(address: Option<String>) -> ExitCode {
    let given = address.ok_or_else(|| "--probe needs a value".to_owned());
    match given.and_then(|address| probe(&address).map_err(|e| e.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("corten-serve: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output, which may be full, or a pipe that nobody reads any more.
fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => eprintln!("corten-serve: standard output: {error}"),
    }
    ExitCode::FAILURE
}

fn hash_key() -> ExitCode {
    let mut key = String::new();
    if let Err(error) = std::io::stdin().read_line(&mut key) {
        eprintln!("corten-serve: standard input: {error}");
        return ExitCode::FAILURE;
    }
    if key.trim().is_empty() {
        eprintln!("corten-serve: a key is needed on standard input; an empty line came");
        return ExitCode::FAILURE;
    }
    print(&format!("{}\n", hash_of(key.trim())))
}

/// What is served.
struct Sources {
    models: Vec<String>,
    routes: Option<String>,
    window: Duration,
    /// Whether invocations of AWS Lambda are answered.
    lambda: bool,
}

/// What a binary that Lambda starts by its name is to do: the function's handler names a model or a folder of the package.
fn bootstrap() -> Option<Vec<String>> {
    let mut given = std::env::args();
    let named = given.next().is_some_and(|name| Path::new(&name).file_name().is_some_and(|n| n == "bootstrap"));
    if !named || given.next().is_some() {
        return None;
    }
    let root = std::env::var("LAMBDA_TASK_ROOT").unwrap_or_else(|_| ".".into());
    let handler = std::env::var("_HANDLER").unwrap_or_default();
    Some(vec!["--lambda".into(), Path::new(&root).join(handler).display().to_string()])
}

fn arguments() -> Result<Option<(Sources, Options)>, String> {
    let (mut models, mut routes, mut options) = (Vec::new(), None, Options::default());
    let mut window = 3600;
    let (mut otlp, mut share) = (None::<String>, None);
    let [mut certificate, mut key, mut authorities] = [const { None::<String> }; 3];
    let mut lambda = false;
    let mut given = bootstrap().unwrap_or_else(|| std::env::args().skip(1).collect()).into_iter();
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--help" | "-h" => return Ok(None),
            "--host" => options.host = given.next().ok_or("--host needs a value")?,
            "--port" => options.port = port("--port", given.next())?,
            "--grpc-port" => options.grpc_port = Some(port("--grpc-port", given.next())?),
            "--workers" => options.workers = number::<usize>("--workers", given.next())?.clamp(1, 1024),
            "--max-body" => options.max_body = some("--max-body", given.next())?,
            "--max-connections" => options.max_connections = some("--max-connections", given.next())?,
            "--max-active" => options.max_active = some("--max-active", given.next())?,
            "--max-wait" => options.max_wait = number::<u32>("--max-wait", given.next())?.into(),
            "--head-timeout" => options.head_timeout = seconds("--head-timeout", given.next())?,
            "--min-body-rate" => options.min_rate = number::<u32>("--min-body-rate", given.next())?.into(),
            "--idle-timeout" => options.idle_timeout = seconds("--idle-timeout", given.next())?,
            "--body-timeout" => options.body_timeout = seconds("--body-timeout", given.next())?,
            "--drain-delay" => options.drain_delay = number::<u32>("--drain-delay", given.next())?.into(),
            "--drain-timeout" => options.drain_timeout = number::<u32>("--drain-timeout", given.next())?.into(),
            "--watch" => options.watch = number::<u32>("--watch", given.next())?.into(),
            "--drift-window" => window = seconds("--drift-window", given.next())?,
            "--routes" => routes = Some(given.next().ok_or("--routes needs a value")?),
            "--lambda" => lambda = true,
            "--admin" => options.admin = true,
            "--log" => options.log = true,
            "--cors" => options.cors.push(origin(given.next())?),
            "--keys" => {
                let path = given.next().ok_or("--keys needs a value")?;
                options.keys = Keys::load(Path::new(&path)).map_err(|e| e.to_string())?;
            }
            "--otlp" => otlp = Some(given.next().ok_or("--otlp needs a value")?),
            "--trace-share" => share = Some(number::<f64>("--trace-share", given.next())?),
            "--tls-cert" => certificate = Some(given.next().ok_or("--tls-cert needs a value")?),
            "--tls-key" => key = Some(given.next().ok_or("--tls-key needs a value")?),
            "--tls-client-ca" => authorities = Some(given.next().ok_or("--tls-client-ca needs a value")?),
            "--max-rows" => options.max_rows = some("--max-rows", given.next())?,
            other if other.starts_with("--") => return Err(format!("'{other}' is not known here; see --help")),
            _ => models.push(argument),
        }
    }
    if models.is_empty() {
        return Err("a model is needed: corten-serve MODEL.corten; see --help".into());
    }
    options.tracer = match otlp {
        Some(url) => {
            // OpenTelemetry's own variable.
            let service = std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| "corten-serve".into());
            Some(Tracer::new(&url, share.unwrap_or(0.0), &service).map_err(|e| e.to_string())?)
        }
        None if share.is_some() => return Err("--trace-share needs --otlp".into()),
        None => None,
    };
    options.tls = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let tls = Tls::load(Path::new(&certificate), Path::new(&key), authorities.as_ref().map(Path::new));
            Some(Arc::new(tls.map_err(|e| e.to_string())?))
        }
        (None, None) if authorities.is_none() => None,
        _ => return Err("--tls-cert and --tls-key are needed together, also for --tls-client-ca".into()),
    };
    Ok(Some((Sources { models, routes, window: Duration::from_secs(window), lambda }, options)))
}

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("--hash-key") => return hash_key(),
        Some("--probe") => return ask(std::env::args().nth(2)),
        _ => {}
    }
    let (sources, options) = match arguments() {
        Ok(Some(given)) => given,
        Ok(None) => {
            return print(HELP);
        }
        Err(problem) => {
            eprintln!("corten-serve: {problem}");
            return ExitCode::from(2);
        }
    };
    let load = || Store::load(&sources.models, sources.routes.as_ref().map(Path::new), sources.window);
    let store = corten_model::check_cpu().and_then(|()| load());
    if let (true, Err(error)) = (sources.lambda, &store) {
        lambda_fault(error);
    }
    let serve = if sources.lambda { lambda } else { serve };
    match store.and_then(|store| serve(store, &options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("corten-serve: {error}");
            ExitCode::FAILURE
        }
    }
}
