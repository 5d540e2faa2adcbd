//! The configuration that holds now: the files are looked at every second, and read anew when they have changed. A broken new
//! file leaves the old one in force.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{task::spawn_blocking, time::sleep};

use super::{WebConfig, files::Files, load};
use crate::clock::Clock;

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// The configuration that holds now.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current: Arc<WebConfig>,
    reload: Reload,
    /// As they were when they were read last, well or not.
    files: Files,
    /// As they were seen to be different from that.
    changed: Option<Files>,
}

/// How the last reading of the file went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reload {
    /// Whether the file is in force as it is.
    pub successful: bool,
    /// When it was last read well.
    pub last_success: SystemTime,
}

impl Watched {
    /// Reads the file for the first time. What is wrong is said in a sentence each.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, Vec<String>> {
        let (config, files) = load(path);
        let reload = Reload { successful: true, last_success: clock.now() };
        let state = State { current: Arc::new(config?), reload, files, changed: None };
        Ok(Self { path: path.to_owned(), clock, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What holds now.
    pub fn current(&self) -> Arc<WebConfig> {
        Arc::clone(&self.state().current)
    }

    /// How the last reading went.
    pub fn reload(&self) -> Reload {
        self.state().reload
    }

    /// Looks at the files for ever. A file system that hangs holds up nothing else.
    pub(crate) async fn watch(self: Arc<Self>) {
        loop {
            sleep(INTERVAL).await;
            let watched = Arc::clone(&self);
            _ = spawn_blocking(move || watched.look()).await;
        }
    }

    /// Looks at the files. A change counts when they are the same at two looks: certificate and key are rarely written at once.
    pub fn look(&self) {
        let known = self.state().files.clone();
        let now = known.again();
        let mut state = self.state();
        if now == known {
            state.changed = None;
            return;
        }
        if state.changed.as_ref() != Some(&now) {
            state.changed = Some(now);
            return;
        }
        drop(state);
        let (config, files) = load(&self.path);
        let mut state = self.state();
        state.files = files;
        state.changed = None;
        match config.and_then(|config| successor(config, &state.current)) {
            Ok(config) => {
                tracing::info!(path = %self.path.display(), "the web configuration has changed, and holds from now on");
                state.current = Arc::new(config);
                state.reload = Reload { successful: true, last_success: self.clock.now() };
            }
            Err(faults) => {
                state.reload.successful = false;
                for fault in faults {
                    tracing::error!(
                        path = %self.path.display(),
                        "the new web configuration is wrong, and the old one stays in force: {fault}"
                    );
                }
            }
        }
    }
}

/// What may not change on the way: a file that an editor has just emptied must not open the port.
fn successor(new: WebConfig, old: &WebConfig) -> Result<WebConfig, Vec<String>> {
    if new.is_empty && !old.is_empty {
        return Err(vec!["it is empty; write what it should say, or restart the exporter".into()]);
    }
    if new.tls.is_some() != old.tls.is_some() {
        return Err(vec!["TLS cannot be switched on or off on the way; restart the exporter".into()]);
    }
    Ok(new)
}
