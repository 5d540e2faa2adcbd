//! Reloads configuration files when they change and on SIGHUP. While a file has errors, its last valid version stays in force.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use sha2::{Digest as _, Sha256};

use crate::model::clock::Clock;

/// A configuration file, with the files that it names, that is reloaded when one of them changes.
#[derive(Debug)]
pub(crate) struct WatchedFile {
    path: PathBuf,
    /// The setting that names the file. The log shows it.
    setting: &'static str,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    reload: Reload,
    /// The files as of the last read, whether it succeeded or not.
    files: Files,
    /// The changed files as the last check found them. `None` if they had not changed.
    changed: Option<Files>,
}

/// The outcome of the last read of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reload {
    /// Whether the current contents of the file are in force.
    pub successful: bool,
    /// When the file was last put in force.
    pub last_success: SystemTime,
}

impl Reload {
    /// Combines the outcomes for two files: successful if both are, with the later success date.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            successful: self.successful && other.successful,
            last_success: self.last_success.max(other.last_success),
        }
    }
}

impl WatchedFile {
    /// Starts to watch files that have just been read and put in force. `setting` is the name that the log shows.
    pub(crate) fn new(path: PathBuf, setting: &'static str, files: Files, clock: Arc<dyn Clock>) -> Self {
        let reload = Reload { successful: true, last_success: clock.now() };
        Self { path, setting, clock, state: Mutex::new(State { reload, files, changed: None }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn last_reload(&self) -> Reload {
        self.state().reload
    }

    /// Checks the files for changes and reloads them if they have changed. A change is applied after two checks in a row find
    /// the same contents, because a certificate and its key are rarely written at the same moment.
    pub(crate) fn reload_if_changed(&self, apply: impl FnOnce(&mut Files) -> Result<(), Vec<String>>) {
        let known = self.state().files.clone();
        let now = known.read_again();
        let mut state = self.state();
        if now == known {
            state.changed = None;
        } else if state.changed.as_ref() == Some(&now) {
            drop(state);
            self.reload(apply);
        } else {
            state.changed = Some(now);
        }
    }

    /// Reloads the files. `apply` reads them and applies them. If they are invalid, it returns one sentence for each
    /// error.
    pub(crate) fn reload(&self, apply: impl FnOnce(&mut Files) -> Result<(), Vec<String>>) {
        let mut files = Files::default();
        let read = apply(&mut files);
        let mut state = self.state();
        state.files = files;
        state.changed = None;
        state.reload.successful = read.is_ok();
        let (path, setting) = (self.path.display(), self.setting);
        match read {
            Ok(()) => {
                tracing::info!(%path, "the file of {setting} has been read again and is in force");
                state.reload.last_success = self.clock.now();
            }
            Err(errors) => {
                for error in errors {
                    tracing::error!(%path, "the file of {setting} has an error; its last valid version stays in force: {error}");
                }
            }
        }
    }
}

/// The errors of a file, one sentence each: the first [`MAX_ERRORS`] of them, and the number of the others.
#[derive(Debug, Default)]
pub(crate) struct FileErrors {
    first: Vec<String>,
    more: usize,
}

/// A large file can have a hundred thousand errors. The first few are enough to start correcting it.
const MAX_ERRORS: usize = 20;

impl FileErrors {
    /// Adds an error. Beyond [`MAX_ERRORS`], errors are only counted.
    pub(crate) fn push(&mut self, error: impl Into<String>) {
        if self.first.len() < MAX_ERRORS {
            self.first.push(error.into());
        } else {
            self.more += 1;
        }
    }

    /// Returns `value` if there are no errors.
    pub(crate) fn none_or<T>(mut self, value: T) -> Result<T, Vec<String>> {
        if self.more > 0 {
            self.first.push(format!("{} more errors are not shown; correct these first", self.more));
        }
        if self.first.is_empty() { Ok(value) } else { Err(self.first) }
    }
}

/// The files that were read, and a digest of their contents. Only the digest is kept, so that no private key stays in memory
/// here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    /// Each path with its maximum size in bytes. A larger file is refused.
    paths: Vec<(PathBuf, u64)>,
    digest: Sha256,
}

impl Files {
    /// Reads a file of at most `max_bytes` bytes, and adds it to the digest.
    pub(crate) fn read(&mut self, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
        let contents = read(path, max_bytes);
        match &contents {
            Ok(bytes) => {
                self.digest.update([1]);
                self.digest.update((bytes.len() as u64).to_le_bytes());
                self.digest.update(bytes);
            }
            Err(error) => self.digest.update(format!("{:?}", error.kind())),
        }
        self.paths.push((path.to_owned(), max_bytes));
        contents
    }

    /// Reads the same files again.
    fn read_again(&self) -> Self {
        let mut now = Self::default();
        for (path, max_bytes) in &self.paths {
            _ = now.read(path, *max_bytes);
        }
        now
    }
}

impl PartialEq for Files {
    fn eq(&self, other: &Self) -> bool {
        self.paths == other.paths && self.digest.clone().finalize() == other.digest.clone().finalize()
    }
}

fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    // Opening anything but a regular file, such as a pipe, could block forever.
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        let message = format!("it is larger than {} MiB", max_bytes >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}
