//! `include/corten.h` is what cbindgen makes of the C interface; `CORTEN_WRITE=1 cargo test -p corten-run --test header`
//! writes it again.

use std::path::{Path, PathBuf};

use cbindgen::{Builder, Config, DocumentationStyle, EnumConfig, ExportConfig, Language, RenameRule, Style};

const TOP: &str = "\
/* The C interface of Corten's executor: models of any fitted pipeline, without Python.
 *
 * Open a model once, make a session for each thread, and predict: `corten_predict` allocates nothing and takes no lock.
 * Every function that can fail answers a status; `corten_message` says what went wrong in the calling thread. Answers
 * have the bits that Python gives. Made by cbindgen from crates/corten-run/src/c: don't edit. */";

fn made() -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/c");
    let names = [
        ("Handle", "corten_model"),
        ("Session", "corten_session"),
        ("Text", "corten_text"),
        ("Status", "corten_status"),
        ("Method", "corten_method"),
        ("Kind", "corten_kind"),
    ];
    let config = Config {
        language: Language::C,
        header: Some(TOP.into()),
        include_guard: Some("CORTEN_H".into()),
        sys_includes: vec!["stddef.h".into(), "stdint.h".into()],
        no_includes: true,
        cpp_compat: true,
        style: Style::Type,
        usize_is_size_t: true,
        line_length: 120,
        documentation_style: DocumentationStyle::C99,
        enumeration: EnumConfig { rename_variants: RenameRule::QualifiedScreamingSnakeCase, ..EnumConfig::default() },
        export: ExportConfig {
            rename: names.iter().map(|(rust, c)| ((*rust).into(), (*c).into())).collect(),
            // No function takes it: an integer from C may have any value.
            include: vec!["Method".into()],
            exclude: vec!["corten_alloc".into(), "corten_free".into()],
            ..ExportConfig::default()
        },
        defines: [("feature = std".to_owned(), "CORTEN_HAS_FILES".to_owned())].into_iter().collect(),
        after_includes: Some(
            "\n/* Define CORTEN_NO_FILES for a library made without an operating system. */\n#ifndef CORTEN_NO_FILES\n#define CORTEN_HAS_FILES\n#endif".into(),
        ),
        ..Config::default()
    };
    // The other files are found through their `mod` lines.
    let builder = Builder::new().with_config(config).with_src(source.join("mod.rs"));
    let mut bytes = Vec::new();
    builder.generate().expect("a header").write(&mut bytes);
    String::from_utf8(bytes).expect("text")
}

#[test]
fn the_header_is_what_the_interface_gives() {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/corten.h");
    let made = made();
    if std::env::var_os("CORTEN_WRITE").is_some() {
        std::fs::write(&path, &made).expect("include/ can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, made, "make it again: CORTEN_WRITE=1 cargo test -p corten-run --test header");
}
