//! What the worst answers of the API cost in memory: the resident memory of the program while it reads them.
//!
//! The table of `docs/PROOF.md` is what this prints: `cargo test --locked --test it worst_answers -- --nocapture`.

#![expect(clippy::print_stdout, reason = "the table is for people")]

use std::{collections::BTreeMap, io::Write as _, time::Duration};

use fake_pinpoint::{
    FakePinpoint,
    fault::{Fault, Rule},
    world::World,
};
use flate2::{Compression, write::GzEncoder};

use crate::support::{harness::run_within, program::Program};

/// The size of each answer, unpacked.
const SIZE: usize = 8 * 1024 * 1024;

/// What a process takes for reasons of its own while it reads: threads, the decompressor, the answer to the scrape.
const SLACK: usize = 2 * 1024 * 1024;

/// A body that begins and ends like this, and is filled with as many of these parts as there is room for.
fn filled(begin: &str, part: &str, end: &str) -> String {
    let parts = part.repeat((SIZE - begin.len() - end.len()) / part.len());
    [begin, &parts, end].concat()
}

fn nested(begin: &str, end: &str) -> String {
    let depth = (SIZE - begin.len() - end.len()) / 2;
    [begin, &"[".repeat(depth), &"]".repeat(depth), end].concat()
}

/// What the answers are, and the answers.
fn worst_bodies() -> Vec<(&'static str, String)> {
    vec![
        ("elements that are numbers", filled(r#"{"Item":[0"#, ",0", "]}")),
        ("elements that are empty objects", filled(r#"{"Item":[{}"#, ",{}", "]}")),
        ("elements that are empty strings", filled(r#"{"Item":[0"#, r#","""#, "]}")),
        ("one job again and again", filled(r#"{"Item":[0"#, r#",{"Id":"a"}"#, "]}")),
        ("an element nested deeply", nested(r#"{"Item":["#, "]}")),
        ("a member nested deeply", nested(r#"{"Item":[{"Id":"a","x":"#, "}]}")),
        ("nesting that does not end", filled(r#"{"Item":["#, "[", "")),
        ("one string as an element", filled(r#"{"Item":[""#, r"abcdefg\n", r#""]}"#)),
        (
            "one string as a member that is read",
            filled(r#"{"Item":[{"Id":"a","ApplicationId":""#, r"abcdefg\n", r#""}]}"#),
        ),
        ("one string as a member's name", filled(r#"{"Item":[{"Id":"a",""#, r"abcdefg\n", r#"":0}]}"#)),
        ("one string as the whole body", filled("\"", r"\u0001", "\"")),
        ("one number", filled(r#"{"Item":[{"Id":"a","TotalPieces":1"#, "0", "}]}")),
        ("`Failures` of empty strings", filled(r#"{"Item":[{"Id":"a","Failures":["""#, r#","""#, "]}]}")),
        ("`NextToken` of one string", filled(r#"{"Item":[],"NextToken":""#, r"abcdefg\n", r#""}"#)),
        ("`Item` again and again", filled(r#"{"Item":[]"#, r#","Item":[]"#, "}")),
        ("a list that is cut off", filled(r#"{"Item":[0"#, ",0", ",")),
    ]
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn answer(status: u16, coding: &str, body: Vec<u8>) -> Rule {
    let headers = BTreeMap::from([("Content-Encoding".to_owned(), coding.to_owned())]);
    Fault::AnswerBytes { status, headers, body }.times(1)
}

/// How many bytes the program grows by at most while it reads an answer.
async fn cost(fault: Rule) -> usize {
    let mut world = World::default();
    world.segment("app", "segment");
    let fake = FakePinpoint::start(world).await.unwrap();
    let program = Program::start(&[
        ("AWS_ENDPOINT_URL_PINPOINT", &fake.url()),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ("PINPOINT_EXPORTER_TARGETS", "app/segment"),
        ("PINPOINT_EXPORTER_CACHE_TTL", "0s"),
        ("PINPOINT_EXPORTER_MAX_ATTEMPTS", "1"),
        ("PINPOINT_EXPORTER_REQUEST_TIMEOUT", "2m"),
    ]);
    let scrape = || program.scrape();
    scrape().await;
    let before = program.memory("VmRSS");
    fake.fault(fault);
    scrape().await;
    assert_eq!(fake.requests().len(), 2, "it has read the answer");
    usize::try_from(program.memory("VmHWM").saturating_sub(before)).unwrap()
}

#[test]
fn the_worst_answers_cost_at_most_twice_their_size() {
    run_within(Duration::from_mins(20), async {
        println!(
            "| response | on the wire | unpacked | memory | memory to unpacked |\n| --- | --- | --- | --- | --- |"
        );
        let mut dear = Vec::new();
        let mut judge = |name: String, wire: usize, size: usize, cost: usize| {
            let mib = |bytes: usize| format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20);
            let percent = 100 * cost / size;
            let (whole, hundredths) = (percent / 100, percent % 100);
            let row = format!(
                "| {name} | {} kB | {} | {} | {whole}.{hundredths:02} |",
                wire.div_ceil(1000),
                mib(size),
                mib(cost),
            );
            println!("{row}");
            dear.extend((cost > 2 * size + SLACK).then_some(row));
        };
        for (name, body) in worst_bodies() {
            let wire = compressed(body.as_bytes());
            let cost = cost(answer(200, "gzip", wire.clone())).await;
            judge(name.to_owned(), wire.len(), body.len(), cost);
        }
        let (name, body) = worst_bodies().swap_remove(0);
        let body = body.into_bytes();
        judge(
            format!("{name}, not compressed"),
            body.len(),
            body.len(),
            cost(answer(200, "identity", body.clone())).await,
        );
        let twice = compressed(&compressed(&body));
        judge(
            format!("{name}, compressed twice"),
            twice.len(),
            body.len(),
            cost(answer(200, "gzip, gzip", twice.clone())).await,
        );
        // Of the body of an error no more than 1 MiB is read.
        let error = filled(r#"{"message":[0"#, ",0", "]}").into_bytes();
        let wire = compressed(&error);
        judge(
            "an error whose message is a list".to_owned(),
            wire.len(),
            1024 * 1024,
            cost(answer(500, "gzip", wire.clone())).await,
        );
        assert!(dear.is_empty(), "these cost too much:\n{}", dear.join("\n"));
    });
}
