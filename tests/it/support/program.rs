//! The exporter as a program, with an environment of its own.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

/// A running exporter. It is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    /// Where it serves.
    pub(crate) url: String,
    log: Arc<Mutex<String>>,
}

impl Program {
    /// Starts the exporter on a free port with just these variables, and waits until it says that it serves.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pinpoint-exporter"))
            .env_clear()
            .envs([
                ("AWS_EC2_METADATA_DISABLED", "true"),
                ("AWS_REGION", "eu-west-1"),
                ("PINPOINT_EXPORTER_LISTEN_ADDRESS", "127.0.0.1:0"),
                ("NO_PROXY", "*"),
            ])
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let (found, serving) = mpsc::channel();
        let kept = Arc::clone(&log);
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let address = line.split_whitespace().find_map(|word| word.strip_prefix("address="));
                if let (Some(address), true) = (address, line.contains("serving")) {
                    let _ = found.send(format!("http://{address}"));
                }
                let mut log = kept.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let url = serving.recv_timeout(Duration::from_secs(20));
        let url = url.unwrap_or_else(|_| panic!("it does not serve:\n{}", log.lock().unwrap()));
        Self { child, url, log }
    }

    /// The id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has written to its standard error.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let kill = Command::new("kill").arg(self.id().to_string()).status().unwrap();
        assert!(kill.success());
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
