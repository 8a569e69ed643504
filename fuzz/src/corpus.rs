//! What fuzzing has found worth keeping (`make fuzz`): inputs that led somewhere new, and in `found` those that once failed.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The inputs of a target.
pub fn of(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    // Of most targets nothing has failed.
    let directories = ["corpus", "found"].map(|kept| fs::read_dir(fuzz.join(kept).join(target)).ok());
    let mut paths: Vec<PathBuf> = directories.into_iter().flatten().flatten().map(|it| it.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 20, "{target}: {}", paths.len());
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}
