//! Where a model is saved to: a file at once, and what is no file as it is.

use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::Command;

use corten_model::Model;

#[test]
fn a_pipe_is_written_to_and_a_link_is_followed() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/models/1/ridge.corten");
    let model = Model::load(&golden).unwrap();
    let bytes = model.to_bytes().unwrap();
    let folder = std::env::temp_dir().join(format!("corten-save-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (pipe, link, target) = (folder.join("pipe"), folder.join("link"), folder.join("target.corten"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read(pipe).unwrap()
    });
    model.save(&pipe).unwrap();
    assert_eq!(reader.join().unwrap(), bytes);
    assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
    std::fs::write(&target, "old").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    model.save(&link).unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::read(&target).unwrap(), bytes);
    assert!(model.save(&folder).is_err());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3, "nothing is left beside");
    std::fs::remove_dir_all(&folder).unwrap();
}
