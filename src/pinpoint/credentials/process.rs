//! `credential_process`: runs a program that prints credentials. It runs in its own process group. The group is killed at the
//! time limit of the program and when the exporter ends.

use std::{
    collections::BTreeSet,
    io,
    process::Stdio,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aws_credential_types::{Credentials, attributes::AccountId};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpid};
use serde::Deserialize;
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, ChildStdout, Command},
    signal::unix::{SignalKind, signal},
};

use super::expiration;
use crate::config::profile::{Value, words};

/// The maximum size of the output.
const MAX_OUTPUT_BYTES: u64 = 1024 * 1024;

/// The process ids of the running programs. Each of them leads a process group.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn running() -> MutexGuard<'static, BTreeSet<i32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills all running programs and their process groups when dropped.
#[derive(Debug)]
pub struct ProcessCleanup;

impl Drop for ProcessCleanup {
    fn drop(&mut self) {
        for id in running().iter() {
            end_group(*id);
        }
    }
}

fn end_group(id: i32) {
    if let Some(group) = Pid::from_raw(id) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// A running program. Dropping it kills the process group, unless the program has already ended.
struct Running {
    child: Child,
    id: i32,
    has_ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = running();
        if !self.has_ended {
            end_group(self.id);
        }
        running.remove(&self.id);
    }
}

/// Runs a command and parses the credentials that it prints. They belong to `account_id` if the output names no account. Errors
/// hold nothing of the output.
pub(in crate::pinpoint) async fn credentials(
    command: &Value,
    account_id: Option<AccountId>,
) -> Result<Credentials, String> {
    let failed = |why: String| format!("credential_process ({}): {why}", command.position);
    let output = output(&command.text).await.map_err(&failed)?;
    read(&output, account_id).map_err(failed)
}

async fn output(text: &str) -> Result<Vec<u8>, String> {
    let argv = argv(text)?;
    let [program, arguments @ ..] = &argv[..] else {
        return Err("the command is empty; write the program and its arguments".to_owned());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    let mut running = start(&mut command).map_err(|error| cannot_start(program, text, &error))?;
    let stdout = running.child.stdout.take();
    let output = read_output(stdout)
        .await
        .map_err(|error| format!("the output of {program} cannot be read: {error}"))?;
    if output.len() as u64 > MAX_OUTPUT_BYTES {
        return Err(format!("{program} printed more than 1 MiB; it has to print one JSON object"));
    }
    let status =
        running.child.wait().await.map_err(|error| format!("the end of {program} is unknown: {error}"))?;
    running.has_ended = true;
    if !status.success() {
        return Err(format!("{program} failed with {status}; run it by hand to see why"));
    }
    Ok(output)
}

/// Starts the program. The lock is held until the program is registered, so that [`reap`] does not take its exit status.
fn start(command: &mut Command) -> io::Result<Running> {
    let mut running = running();
    let child = command.spawn()?;
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let id = id.ok_or_else(|| io::Error::other("it has no process id"))?;
    running.insert(id);
    Ok(Running { child, id, has_ended: false })
}

async fn read_output(stdout: Option<ChildStdout>) -> io::Result<Vec<u8>> {
    let mut output = Vec::new();
    if let Some(stdout) = stdout {
        stdout.take(MAX_OUTPUT_BYTES + 1).read_to_end(&mut output).await?;
    }
    Ok(output)
}

fn cannot_start(program: &str, text: &str, error: &io::Error) -> String {
    let program = program.escape_debug();
    match error.kind() {
        io::ErrorKind::NotFound if needs_shell(text) => {
            format!(
                "the command needs the shell {program}, which is not there; write a command without {SPECIAL}"
            )
        }
        io::ErrorKind::NotFound => {
            format!("the program {program} is not there; write its whole path, or add its folder to PATH")
        }
        io::ErrorKind::PermissionDenied => {
            format!("the program {program} may not be run; make it executable")
        }
        _ => format!("the program {program} cannot be started: {error}"),
    }
}

/// Characters that have a meaning only in a shell.
const SPECIAL: &str = "| & ; < > ( ) $ ` * ? [ ] { } ~ !";

/// The program and its arguments. The command is split as botocore does, or passed to a shell if it needs one.
fn argv(text: &str) -> Result<Vec<String>, String> {
    if needs_shell(text) {
        return Ok(vec!["sh".to_owned(), "-c".to_owned(), text.to_owned()]);
    }
    words(text).ok_or_else(|| "a quote or a backslash ends the command; close the quote".to_owned())
}

/// Whether the command needs a shell: it has a special character outside quotes, or its first word is an assignment. `$` and
/// the backtick are special inside double quotes too.
fn needs_shell(text: &str) -> bool {
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None | Some('"'), '\\') => {
                chars.next();
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, c) if SPECIAL.contains(c) && c != ' ' => return true,
            (Some('"'), '$' | '`') => return true,
            _ => {}
        }
    }
    let first = text.split_whitespace().next().unwrap_or_default();
    first.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// The output of a program.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    version: u64,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    session_token: Option<String>,
    expiration: Option<String>,
    account_id: Option<String>,
}

fn read(output: &[u8], account_id: Option<AccountId>) -> Result<Credentials, String> {
    const CURE: &str = "it has to print Version, AccessKeyId, SecretAccessKey, and for temporary credentials SessionToken \
                        and Expiration";
    // The error of the decoder can quote a secret, so it is dropped.
    let printed: Printed = serde_json::from_slice(output)
        .map_err(|_| format!("the output is not a JSON object with credentials; {CURE}"))?;
    if printed.version != 1 {
        return Err(format!("the output has Version {}; version 1 is supported", printed.version));
    }
    let present = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (Some(id), Some(secret)) = (present(printed.access_key_id), present(printed.secret_access_key))
    else {
        return Err(format!("the output lacks AccessKeyId or SecretAccessKey; {CURE}"));
    };
    let mut credentials = Credentials::builder()
        .access_key_id(id)
        .secret_access_key(secret)
        .provider_name("credential_process");
    if let Some(date) = present(printed.expiration) {
        let expiry = expiration::parse(&date)
            .ok_or("the Expiration in the output is not a date; write one such as 2026-01-01T00:00:00Z")?;
        credentials = credentials.expiry(expiry);
    }
    credentials.set_session_token(present(printed.session_token));
    credentials.set_account_id(present(printed.account_id).map(AccountId::from).or(account_id));
    Ok(credentials.build())
}

/// Reaps children that this process did not start, for as long as it runs. Only the first process of a container gets such
/// children.
pub async fn reap_orphans() -> io::Result<()> {
    let mut ended = signal(SignalKind::child())?;
    loop {
        reap();
        ended.recv().await;
    }
}

/// Reaps the ended children that this process did not start.
fn reap() {
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    let own = std::process::id();
    let running = running();
    for name in processes.flatten().map(|entry| entry.file_name()) {
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        if !running.contains(&id) && has_ended_under(id, own) {
            let _ = waitpid(Pid::from_raw(id), WaitOptions::NOHANG);
        }
    }
}

/// Whether the process is a zombie with this parent.
fn has_ended_under(id: i32, parent: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The name of the program is in parentheses and can contain any character.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = rest.split_whitespace();
    fields.next() == Some("Z") && fields.next().and_then(|id| id.parse().ok()) == Some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_runs_without_a_shell_unless_it_needs_one() {
        for (text, expected) in [
            ("/opt/creds --name 'a b' \"c$\"", &["sh", "-c", "/opt/creds --name 'a b' \"c$\""][..]),
            ("/opt/creds --name 'a $b' \"c d\" e\\ f", &["/opt/creds", "--name", "a $b", "c d", "e f"]),
            ("/opt/creds --a=b # c", &["/opt/creds", "--a=b", "#", "c"]),
            ("A=b creds", &["sh", "-c", "A=b creds"]),
            ("creds | jq .", &["sh", "-c", "creds | jq ."]),
            ("creds \\| x", &["creds", "|", "x"]),
        ] {
            assert_eq!(argv(text).unwrap(), expected, "{text}");
        }
        assert!(argv("creds 'a").unwrap_err().contains("close the quote"));
    }

    /// Waits for a file and returns its text.
    async fn text_of(path: &std::path::Path) -> String {
        loop {
            match std::fs::read_to_string(path) {
                Ok(text) => return text,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        }
    }

    #[tokio::test]
    async fn a_program_that_is_not_waited_for_any_more_ends_with_its_child() {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        let script = format!("sleep 1000 & echo $! $$ > {0}.new; mv {0}.new {0}; wait", pids.display());
        let started = tokio::select! {
            _ = output(&script) => panic!("it ends"),
            started = text_of(&pids) => started,
        };
        let limit = std::time::Duration::from_mins(1);
        let ended = tokio::time::timeout(limit, async {
            for id in started.split_whitespace() {
                // A zombie that nobody reaps counts as ended.
                while std::fs::read_to_string(format!("/proc/{id}/stat"))
                    .is_ok_and(|stat| !stat.contains(") Z "))
                {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            }
        });
        ended.await.expect("both end");
        assert!(running().is_empty());
    }

    #[test]
    fn what_a_program_prints_is_read_or_refused_in_words() {
        let printed =
            |rest: &str| format!(r#"{{"Version": 1, "AccessKeyId": "id", "SecretAccessKey": "hush"{rest}}}"#);
        for zone in ["Z", "+00:00", "+0000", "UTC"] {
            let text = printed(&format!(r#", "Expiration": "2026-01-01T00:00:00{zone}""#));
            assert!(read(text.as_bytes(), None).unwrap().expiry().is_some(), "{zone}");
        }
        for (output, why) in [
            ("", "not a JSON object"),
            ("hush", "not a JSON object"),
            (r#"{"Version": 2}"#, "has Version 2"),
            (r#"{"Version": 1, "AccessKeyId": "hush"}"#, "lacks AccessKeyId"),
            (&printed(r#", "Expiration": "hush""#), "not a date"),
        ] {
            let error = read(output.as_bytes(), None).unwrap_err();
            assert!(error.contains(why) && !error.contains("hush"), "{output}: {error}");
        }
    }
}
