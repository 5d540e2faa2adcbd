//! The files that are read for one configuration, and what stood in them, so that a change is seen.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

/// A larger file is a mistake.
const MAX_BYTES: u64 = 1024 * 1024;

/// The files that were read, and a digest of what stood in them: a private key is not kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    paths: Vec<PathBuf>,
    digest: Sha256,
}

impl Files {
    /// What stands in a file.
    pub(super) fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let contents = read(path);
        match &contents {
            Ok(bytes) => {
                self.digest.update([1]);
                self.digest.update((bytes.len() as u64).to_le_bytes());
                self.digest.update(bytes);
            }
            Err(error) => self.digest.update(format!("{:?}", error.kind())),
        }
        self.paths.push(path.to_owned());
        contents
    }

    /// The same files as they are now.
    pub(super) fn again(&self) -> Self {
        let mut now = Self::default();
        for path in &self.paths {
            _ = now.read(path);
        }
        now
    }
}

impl PartialEq for Files {
    fn eq(&self, other: &Self) -> bool {
        self.paths == other.paths && self.digest.clone().finalize() == other.digest.clone().finalize()
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // To open what is no file, such as a pipe, might wait for ever.
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(bytes)
}
