//! Keeps the configuration in force. If a new version of the file has errors, the previous configuration stays in force.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::file::{WebConfig, load};
use crate::{
    file_watch::{Files, Reload, WatchedFile},
    model::clock::Clock,
};

#[derive(Debug)]
pub struct WatchedWebConfig {
    path: PathBuf,
    current: Mutex<Arc<WebConfig>>,
    file: WatchedFile,
}

impl WatchedWebConfig {
    /// Reads the file for the first time. Each error is one sentence.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, Vec<String>> {
        let mut files = Files::default();
        let current = Mutex::new(Arc::new(load(path, &mut files)?));
        let path = path.to_owned();
        let file = WatchedFile::new(path.clone(), "WEB_CONFIG_FILE", files, clock);
        Ok(Self { path, current, file })
    }

    fn locked(&self) -> MutexGuard<'_, Arc<WebConfig>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configuration in force.
    pub fn current(&self) -> Arc<WebConfig> {
        Arc::clone(&self.locked())
    }

    /// The result of the last read of the file.
    pub fn last_reload(&self) -> Reload {
        self.file.last_reload()
    }

    /// Checks whether the file has changed. A change is applied after two identical reads.
    pub fn reload_if_changed(&self) {
        self.file.reload_if_changed(|files| self.apply(files));
    }

    pub fn reload(&self) {
        self.file.reload(|files| self.apply(files));
    }

    fn apply(&self, files: &mut Files) -> Result<(), Vec<String>> {
        let new = load(&self.path, files)?;
        let new = successor(new, &self.current())?;
        *self.locked() = Arc::new(new);
        Ok(())
    }
}

/// Refuses changes that need a restart. For example, a file that an editor has just emptied must not remove the protection of
/// the port.
fn successor(new: WebConfig, old: &WebConfig) -> Result<WebConfig, Vec<String>> {
    if new.is_empty && !old.is_empty {
        return Err(vec!["the file is empty; restore its contents, or restart the exporter".into()]);
    }
    if new.tls.is_some() != old.tls.is_some() {
        return Err(vec!["a reload cannot switch TLS on or off; restart the exporter".into()]);
    }
    Ok(new)
}
