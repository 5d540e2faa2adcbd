//! The fake's own API over HTTP, what the log tells of a request, answers of any bytes, and the program's arguments.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::{
    process::{Command, Stdio},
    sync::mpsc,
};

use fake_pinpoint::{
    FakePinpoint, HANG_LIMIT, Options,
    fault::Fault,
    world::{Life, World},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const JOBS: &str = "/v1/apps/app/segments/seg/jobs/export";

async fn fake() -> FakePinpoint {
    let mut world = World::default();
    for id in ["one", "two", "three"] {
        world.segment("app", "seg").jobs.push(Life::new(id, 1_000, 1_000).into());
    }
    FakePinpoint::start_with(world, Options { keys: Vec::new(), ..Options::default() }).await.unwrap()
}

async fn ask(fake: &FakePinpoint, method: &str, path: &str, body: &str) -> TcpStream {
    let mut socket = TcpStream::connect(fake.address()).await.unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: fake\r\nconnection: close\r\ncontent-length: {length}\r\n"
    );
    socket.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
    socket
}

/// The head of an answer and its body.
async fn send(fake: &FakePinpoint, method: &str, path: &str, body: &str) -> (String, Vec<u8>) {
    let exchange = async {
        let mut answer = Vec::new();
        ask(fake, method, path, body).await.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        (String::from_utf8(answer[..end].to_vec()).unwrap(), answer[end + 4..].to_vec())
    };
    timeout(HANG_LIMIT, exchange).await.expect("an answer in time")
}

async fn control(fake: &FakePinpoint, method: &str, path: &str, body: Value) -> Value {
    let (head, answer) = send(fake, method, &format!("/_fake/{path}"), &body.to_string()).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    serde_json::from_slice(&answer).unwrap()
}

#[tokio::test]
async fn the_log_has_the_token_and_the_request_id_that_was_answered() {
    let fake = fake().await;
    let (_, body) = send(&fake, "GET", &format!("{JOBS}?page-size=1"), "").await;
    let token = serde_json::from_slice::<Value>(&body).unwrap()["NextToken"].as_str().unwrap().to_owned();
    let escaped: String = token.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let (head, _) = send(&fake, "GET", &format!("{JOBS}?page-size=1&token={escaped}"), "").await;
    let requests = fake.requests();
    assert_eq!((requests[0].token.as_deref(), requests[1].token.as_deref()), (None, Some(&*token)));
    assert_eq!((requests[0].page, requests[1].page), (Some(1), Some(2)));
    assert!(head.contains(&format!("x-amzn-requestid: {}", requests[1].request_id)), "{head}");
    assert_ne!(requests[0].request_id, requests[1].request_id);
}

#[tokio::test]
async fn the_load_counts_what_hangs_until_its_client_goes_away() {
    let fake = fake().await;
    fake.fault(Fault::Hang.always());
    let hanging = [ask(&fake, "GET", JOBS, "").await, ask(&fake, "GET", JOBS, "").await];
    timeout(HANG_LIMIT, fake.wait_for_requests(2)).await.expect("they come");
    assert_eq!((fake.in_flight(), fake.most_in_flight()), (2, 2));
    let load = control(&fake, "GET", "load", Value::Null).await;
    assert_eq!(load, json!({"in_flight": 2, "most_in_flight": 2, "connections": 3}));
    drop(hanging);
    let gone = async {
        while fake.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(HANG_LIMIT, gone).await.expect("they go");
}

#[tokio::test]
async fn an_answer_may_be_of_any_bytes() {
    let fake = fake().await;
    let fault =
        json!({"kind": "answer_bytes", "status": 203, "headers": {"X-Odd": "1"}, "body": [0, 255, 128, 10]});
    control(&fake, "POST", "faults", json!({"fault": fault, "times": 1})).await;
    let (head, body) = send(&fake, "GET", JOBS, "").await;
    assert!(head.starts_with("HTTP/1.1 203 ") && head.contains("x-odd: 1"), "{head}");
    assert_eq!(body, [0, 255, 128, 10]);
    assert_eq!(fake.requests()[0].fault.as_deref(), Some("answer_bytes"));
}

#[tokio::test]
async fn both_clocks_can_be_stopped_over_http() {
    let fake = fake().await;
    let clocks =
        control(&fake, "POST", "clock", json!({"stop_at": 1_500, "stop_at_server": 86_400_000})).await;
    assert_eq!(clocks, json!({"now": 1_500, "server_now": 86_400_000}));
    let (head, body) = send(&fake, "GET", JOBS, "").await;
    assert!(head.contains("date: Fri, 02 Jan 1970 00:00:00 GMT"), "{head}");
    let jobs: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(jobs["Item"][0]["JobStatus"], "PROCESSING");
}

#[tokio::test]
async fn what_is_renamed_has_its_new_name_at_once_and_keeps_what_was_not_named() {
    let fake = fake().await;
    let tags = json!({"team": "a \"b\""});
    control(&fake, "POST", "names", json!({"application": "app", "name": "Shop", "tags": tags})).await;
    control(&fake, "POST", "names", json!({"application": "app", "segment": "seg", "name": "News"})).await;
    control(&fake, "POST", "names", json!({"application": "app", "segment": "seg", "tags": tags})).await;
    let item = async |path| {
        let (_, body) = send(&fake, "GET", path, "").await;
        serde_json::from_slice::<Value>(&body).unwrap()["Item"][0].clone()
    };
    for (path, name) in [("/v1/apps", "Shop"), ("/v1/apps/app/segments", "News")] {
        let item = item(path).await;
        assert_eq!((&item["Name"], &item["tags"]), (&json!(name), &tags), "{path}");
    }
    control(&fake, "POST", "names", json!({"application": "app", "segment": "seg", "name": ""})).await;
    assert_eq!(item("/v1/apps/app/segments").await.get("Name"), None);
    assert_eq!(fake.world().segment("app", "seg").jobs.len(), 3);
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_told() {
    let fake = fake().await;
    for (method, path, body, problem) in [
        ("POST", "faults", r#"{"fault": {"kind": "eclipse"}}"#, "unknown variant `eclipse`"),
        ("POST", "faults", r#"{"fault": {"kind": "hang"}, "time": 1}"#, "unknown field `time`"),
        ("POST", "names", r#"{"application": "none", "name": "x"}"#, "there is no application \"none\""),
        ("POST", "names", r#"{"application": "app", "segment": "none"}"#, "has no segment \"none\""),
        ("POST", "names", r#"{"application": "app", "nme": "x"}"#, "unknown field `nme`"),
        ("POST", "clock", r#"{"advanced": 1}"#, "unknown field `advanced`"),
        ("POST", "world", "{", "EOF while parsing"),
        ("PATCH", "world", "", "there is no PATCH /_fake/world"),
    ] {
        let (head, answer) = send(&fake, method, &format!("/_fake/{path}"), body).await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert!(answer["problem"].as_str().unwrap().contains(problem), "{answer}");
    }
    assert!(fake.requests().is_empty(), "the fake's own API is not in the log");
}

#[test]
fn wrong_arguments_end_the_program_with_64_and_a_cure() {
    for (arguments, problem) in [
        (&["--demo", "--world", "w.json"][..], "leave one of them away"),
        (&["--listen", "9788"], "write 127.0.0.1:9788"),
        (&["--world"], "--world wants a value; see --help"),
        (&["--wrold", "w.json"], "unknown argument --wrold; see --help"),
        (&["--world", "no/such/file.json"], "no/such/file.json"),
        (&["--policy", "no/such/policy.json"], "--policy no/such/policy.json"),
    ] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_fake-pinpoint"));
        program.args(arguments).stdin(Stdio::null());
        let (send, ended) = mpsc::channel();
        std::thread::spawn(move || send.send(program.output()));
        let ended = ended.recv_timeout(HANG_LIMIT).expect("it ends by itself").unwrap();
        let complaint = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), ended.stdout.is_empty()), (Some(64), true), "{complaint}");
        assert!(complaint.contains(problem), "{complaint}");
    }
}
