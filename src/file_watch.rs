//! Configuration files that are read again when they change, and on SIGHUP. What is in force stays in force while a file is
//! wrong.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use sha2::{Digest as _, Sha256};

use crate::model::clock::Clock;

/// A file, with those that it names, that is read again when it changes.
#[derive(Debug)]
pub(crate) struct WatchedFile {
    path: PathBuf,
    /// The setting that names it.
    setting: &'static str,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    reload: Reload,
    /// As they were when they were read last, well or not.
    files: Files,
    /// As they were seen to be different from that.
    changed: Option<Files>,
}

/// How the last reading of a file went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reload {
    /// Whether the file is in force as it is.
    pub successful: bool,
    /// When it was last put in force.
    pub last_success: SystemTime,
}

impl Reload {
    /// How the last reading of several files went.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            successful: self.successful && other.successful,
            last_success: self.last_success.max(other.last_success),
        }
    }
}

impl WatchedFile {
    /// Begins to watch files that have just been read and put in force. `setting` names them in the log.
    pub(crate) fn new(path: PathBuf, setting: &'static str, files: Files, clock: Arc<dyn Clock>) -> Self {
        let reload = Reload { successful: true, last_success: clock.now() };
        Self { path, setting, clock, state: Mutex::new(State { reload, files, changed: None }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the last reading went.
    pub(crate) fn reload(&self) -> Reload {
        self.state().reload
    }

    /// Reads the files again if they have changed. A change counts when they are the same at two looks: certificate and key are
    /// rarely written at once.
    pub(crate) fn look(&self, put_in_force: impl FnOnce(&mut Files) -> Result<(), Vec<String>>) {
        let known = self.state().files.clone();
        let now = known.again();
        let mut state = self.state();
        if now == known {
            state.changed = None;
        } else if state.changed.as_ref() == Some(&now) {
            drop(state);
            self.read(put_in_force);
        } else {
            state.changed = Some(now);
        }
    }

    /// Reads the files again. `put_in_force` reads them and uses what they say, or says what is wrong in a sentence each.
    pub(crate) fn read(&self, put_in_force: impl FnOnce(&mut Files) -> Result<(), Vec<String>>) {
        let mut files = Files::default();
        let read = put_in_force(&mut files);
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
                    tracing::error!(%path, "the file of {setting} is wrong, the old one stays in force: {error}");
                }
            }
        }
    }
}

/// What is wrong with a file, in a sentence each: the first errors, and how many more there are.
#[derive(Debug, Default)]
pub(crate) struct FileErrors {
    first: Vec<String>,
    more: usize,
}

/// A large file can have a hundred thousand errors, and a few are enough to correct it by.
const MAX_FAULTS: usize = 20;

impl FileErrors {
    /// Keeps a error.
    pub(crate) fn push(&mut self, error: impl Into<String>) {
        if self.first.len() < MAX_FAULTS {
            self.first.push(error.into());
        } else {
            self.more += 1;
        }
    }

    /// The value, unless there are errors.
    pub(crate) fn none_or<T>(mut self, value: T) -> Result<T, Vec<String>> {
        if self.more > 0 {
            self.first.push(format!("{} more errors are not shown; correct these first", self.more));
        }
        if self.first.is_empty() { Ok(value) } else { Err(self.first) }
    }
}

/// The files that were read, and a digest of what was in them: a private key is not kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    /// Each with the size beyond which it is refused.
    paths: Vec<(PathBuf, u64)>,
    digest: Sha256,
}

impl Files {
    /// What is in a file of at most so many bytes.
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

    /// The same files as they are now.
    fn again(&self) -> Self {
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
    // Opening something else, such as a pipe, could wait for ever.
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
