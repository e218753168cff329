//! A folder of models that goes with its test.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::server::golden;

pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("corten-serve-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Puts a file in place at once, as a deployment should.
    pub(crate) fn put(&self, place: &str, bytes: &[u8]) {
        let place = self.0.join(place);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        let part = place.with_file_name(".part");
        std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, &place)).unwrap();
    }

    pub(crate) fn model(&self, place: &str, name: &str) {
        self.put(place, &std::fs::read(golden(name)).unwrap());
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} doesn't come");
        std::thread::sleep(Duration::from_millis(10));
    }
}
