//! What the process does with signals, with variables of the libraries it is made of, and with panics.

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use fake_pinpoint::{FakePinpoint, HANG_LIMIT, world::World};
use pinpoint_exporter::{cli::logging, config::LogFormat, model::printable, web::Exporter as _};
use rustix::process::Signal;
use tracing::Level;
use tracing_subscriber::filter::Targets;

use crate::support::{
    harness::{Plan, run},
    ports::free_address,
    program::{Program, command, send},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pinpoint-exporter");

/// Asks until the answer is yes.
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    #[expect(clippy::disallowed_methods, reason = "a process is waited for, whose time is the machine's")]
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < HANG_LIMIT, "{what} takes for ever");
        thread::sleep(Duration::from_micros(100));
    }
}

/// Whether a process handles a signal. It does not once it has ended.
fn handles(process: u32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.map_or(0, |mask| u64::from_str_radix(mask.trim(), 16).unwrap());
    mask & (1 << (signal.as_raw() - 1)) != 0
}

fn is_the_exporter(process: u32) -> bool {
    fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|path| path == Path::new(PROGRAM))
}

/// Starts the server, as PID 1 of its own namespace if that is possible and asked for. Gives the process that was spawned, which
/// ends as the exporter does, and the exporter's id.
fn start(as_pid_1: bool, address: &str) -> (Child, u32) {
    let mut command = if as_pid_1 { Command::new("unshare") } else { Command::new(PROGRAM) };
    if as_pid_1 {
        command.args(["--pid", "--fork", "--", PROGRAM]);
    }
    let child = command
        .env_clear()
        .envs([
            ("PATH", env::var("PATH").unwrap().as_str()),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL_PINPOINT", "http://127.0.0.1:9"),
            ("PINPOINT_EXPORTER_TARGETS", "app/segment"),
            ("PINPOINT_EXPORTER_LISTEN_ADDRESS", address),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut exporter = child.id();
    wait_for("the exporter's start", || {
        if as_pid_1 {
            let children = format!("/proc/{0}/task/{0}/children", child.id());
            let children = fs::read_to_string(children).unwrap_or_default();
            exporter = children.split_whitespace().next().and_then(|id| id.parse().ok()).unwrap_or(0);
        }
        is_the_exporter(exporter)
    });
    (child, exporter)
}

#[test]
fn sigterm_and_sigint_end_the_server_well_from_its_first_instant_also_as_pid_1() {
    let can_be_pid_1 = Command::new("unshare").args(["--pid", "--fork", "true"]).output();
    let can_be_pid_1 = can_be_pid_1.is_ok_and(|output| output.status.success());
    for as_pid_1 in [false, true].into_iter().filter(|as_pid_1| !as_pid_1 || can_be_pid_1) {
        let mut came_before_the_port = 0;
        for signal in [Signal::TERM, Signal::INT].repeat(10) {
            let free = free_address().unwrap().to_string();
            let (mut child, exporter) = start(as_pid_1, &free);
            // Its handler is the last: a signal can be lost while its own is being installed.
            wait_for("the handlers", || handles(exporter, Signal::XFSZ));
            came_before_the_port += u32::from(TcpStream::connect(&free).is_err());
            send(signal, exporter);
            let mut status = None;
            wait_for("the end", || {
                status = child.try_wait().unwrap();
                status.is_some()
            });
            let mut log = String::new();
            child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
            assert_eq!(status.unwrap().code(), Some(0), "{signal:?} as PID 1: {as_pid_1}: {log}");
        }
        assert!(came_before_the_port > 0, "the port is open before the signals are handled");
    }
}

#[test]
fn no_other_signal_ends_the_server() {
    run(async {
        let mut program = Program::start(&[
            ("AWS_ENDPOINT_URL_PINPOINT", "http://127.0.0.1:9"),
            ("PINPOINT_EXPORTER_TARGETS", "app/segment"),
        ]);
        for signal in
            [Signal::HUP, Signal::USR1, Signal::USR2, Signal::ALARM, Signal::PIPE, Signal::XFSZ, Signal::HUP]
        {
            program.signal(signal);
            program.scrape_within(0.1, HANG_LIMIT).await;
        }
        program.terminate();
        assert!(program.end().await.success());
        assert!(program.log().contains("there is no file to read again"), "{}", program.log());
    });
}

#[test]
fn signals_end_the_other_commands_with_the_status_of_the_signal() {
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    for (arguments, signal, code) in [
        (["check"], Signal::TERM, 143),
        (["plan"], Signal::INT, 130),
        (["healthcheck"], Signal::TERM, 143),
        (["check"], Signal::HUP, 129),
    ] {
        let mut child = Command::new(PROGRAM)
            .args(arguments)
            .env_clear()
            .envs([
                ("AWS_REGION", "eu-west-1"),
                ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
                ("AWS_SECRET_ACCESS_KEY", "x"),
                ("AWS_ENDPOINT_URL_PINPOINT", &format!("http://{address}")),
                ("PINPOINT_EXPORTER_TARGETS", "app/*"),
                ("PINPOINT_EXPORTER_LISTEN_ADDRESS", &address),
                ("PINPOINT_EXPORTER_REQUEST_TIMEOUT", "10m"),
                ("PINPOINT_EXPORTER_REFRESH_TIMEOUT", "10m"),
            ])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (_asking, _) = silent.accept().unwrap();
        send(signal, child.id());
        let mut status = None;
        wait_for("the end", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(code), "{arguments:?} {signal:?}");
    }
}

#[test]
fn variables_that_libraries_read_change_nothing() {
    run(async {
        let mut world = World::default();
        world.segment("app", "segment");
        let fake = FakePinpoint::start(world).await.unwrap();
        let url = fake.url();
        let own = [
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            ("AWS_ENDPOINT_URL_PINPOINT", &url),
            ("PINPOINT_EXPORTER_TARGETS", "app/*"),
        ];
        let check = |others: &[(&str, &str)]| command(&["check"], &[&own, others].concat());
        let expected = check(&[]);
        assert!(expected.status.success(), "{expected:?}");
        for other in [
            ("TOKIO_WORKER_THREADS", "0"),
            ("TOKIO_WORKER_THREADS", "abc"),
            ("TOKIO_WORKER_THREADS", "100000000"),
            ("TOKIO_UNSTABLE_SHARDED_BLOCKING_QUEUE", "1"),
            ("RUST_MIN_STACK", "1"),
            ("RUST_MIN_STACK", "999999999999999"),
            ("RUST_BACKTRACE", "full"),
            ("RUST_LOG", "trace"),
            ("RUST_LOG", "[[["),
            ("LOG_SENSITIVE_BODIES", "true"),
            ("SSLKEYLOGFILE", "/nowhere/keys"),
            ("SSL_CERT_FILE", "/nowhere"),
            ("SSL_CERT_DIR", "/dev/null"),
            ("REQUEST_METHOD", "GET"),
            ("TZ", ":/nowhere"),
            ("LC_ALL", "xx"),
            ("COLUMNS", "-1"),
            ("NO_COLOR", "1"),
            ("TMPDIR", "/nowhere"),
            ("HOME", "/nowhere"),
            ("MALLOC_ARENA_MAX", "abc"),
        ] {
            let output = check(&[other]);
            assert_eq!(output, expected, "{other:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
    });
}

const PANIC_FORMAT: &str = "PINPOINT_EXPORTER_TEST_PANIC";

#[test]
fn a_panic_is_one_line_in_the_format_of_the_log() {
    if let Ok(format) = env::var(PANIC_FORMAT) {
        return panic_in_a_thread(&format);
    }
    for format in ["none", "logfmt", "json"] {
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "process::a_panic_is_one_line_in_the_format_of_the_log", "--nocapture"])
            .env(PANIC_FORMAT, format)
            .env("RUST_BACKTRACE", "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let [before, panic, after] = lines[..] else { panic!("{text}") };
        assert!(panic.contains("panicked at tests/it/process.rs:"), "{text}");
        assert!(panic.contains("report it: two") && panic.contains("lines"), "{text}");
        assert!(!panic.contains(char::is_control), "{text}");
        match format {
            "json" => {
                let events: Vec<serde_json::Value> =
                    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
                assert_eq!(events[1]["level"], "ERROR", "{text}");
                let message = events[1]["message"].as_str().unwrap();
                assert!(message.ends_with("two\nlines\u{9b}"), "{message:?}");
            }
            "logfmt" => {
                assert!(before.contains(" level=info ") && after.contains(" level=info "), "{text}");
                assert!(panic.contains(" level=error target=pinpoint_exporter::cli::logging "), "{text}");
            }
            _ => assert!(panic.starts_with("pinpoint-exporter: panicked at "), "{text}"),
        }
    }
}

fn panic_in_a_thread(format: &str) {
    logging::log_panics();
    let format = match format {
        "logfmt" => Some(LogFormat::Logfmt),
        "json" => Some(LogFormat::Json),
        _ => None,
    };
    let log = format.map(|format| logging::init(format, Targets::new().with_default(Level::INFO)).unwrap());
    let say = |text: &str| {
        if log.is_some() { tracing::info!("{text}") } else { _ = writeln!(io::stderr(), "{text}") }
    };
    say("before");
    let panicking = thread::spawn(|| {
        let lines = "two\nlines\u{9b}";
        panic!("{lines}");
    });
    assert!(panicking.join().is_err());
    say("after");
}

#[test]
fn a_look_for_credentials_that_panics_leaves_the_exporter_ready() {
    run(async {
        let harness = Plan::new().build().await;
        harness.source.panic();
        assert!(!harness.exporter.is_ready());
        harness.exporter.get_ready().await;
        assert!(harness.exporter.is_ready());
        harness.close().await;
    });
}

#[test]
fn what_is_said_of_arguments_variables_and_paths_has_no_control_characters() {
    let nasty = "\u{1b}[2J\u{9b}31m\r\u{202e}";
    let path = format!("/{nasty}");
    let targets = ("PINPOINT_EXPORTER_TARGETS", "app");
    for (arguments, variables) in [
        (vec![nasty], vec![]),
        (vec!["check", nasty], vec![]),
        (vec!["plan", "--jobs-per-segment", nasty], vec![]),
        (vec!["healthcheck"], vec![("PINPOINT_EXPORTER_LISTEN_ADDRESS", nasty)]),
        (vec![], vec![("PINPOINT_EXPORTER_TARGETS", nasty)]),
        (vec![], vec![("PINPOINT_EXPORTER_TARGETS_FILE", &path)]),
        (vec![], vec![("PINPOINT_EXPORTER_WEB_CONFIG_FILE", &path)]),
        (vec!["check"], vec![targets, ("AWS_REGION", "eu-west-1"), ("AWS_CA_BUNDLE", &path)]),
    ] {
        let output = command(&arguments, &variables);
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("[2J") && printable::lines(&said) == said.as_str(),
            "{arguments:?} {variables:?}: {said:?}"
        );
    }
}
