//! Makes the Rust messages of the server's gRPC interface, and the descriptors that reflection answers with, from
//! `crates/corten-serve/proto`: `cargo run --manifest-path tools/grpc/Cargo.toml`.

use std::error::Error;
use std::path::Path;

use prost::Message;

const FILES: [&str; 3] = ["inference.proto", "health.proto", "reflection.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/corten-serve");
    let into = server.join("src/grpc/messages");
    std::fs::create_dir_all(&into)?;
    let files = protox::compile(FILES, [server.join("proto")])?;
    prost_build::Config::new()
        .out_dir(&into)
        // Tensors are read where they came and sent from where they were written; the order of parameters is their names'.
        .bytes(["."])
        .btree_map(["."])
        .include_file("mod.rs")
        .compile_fds(files.clone())?;
    for file in &files.file {
        // Without comments: only the shape of messages is asked for.
        let mut bare = file.clone();
        bare.source_code_info = None;
        let name = file.name().replace(".proto", ".bin");
        std::fs::write(into.join(name), bare.encode_to_vec())?;
    }
    Ok(())
}
