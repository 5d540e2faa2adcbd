//! Each fault does what it says, the log tells what came, and jobs live through their states: seen over bare sockets.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::{
    io::{self, Read as _},
    time::Duration,
};

use fake_pinpoint::{
    FakePinpoint, HANG_LIMIT, Operation, Options, Request,
    fault::{Fault, Place, Rule},
    world::{Application, End, Job, Life, World},
};
use flate2::read::GzDecoder;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::{Instant, timeout},
};

/// When the jobs of these tests begin: Tue, 14 Nov 2023 22:13:20 GMT.
const BEGIN: i64 = 1_700_000_000_000;
const SECOND: i64 = 1_000;

const JOBS: &str = "/v1/apps/app/segments/seg/jobs/export";

/// A test may not hang.
async fn within<T>(test: impl Future<Output = T>) -> T {
    timeout(HANG_LIMIT, test).await.expect("the test ends in time")
}

/// Nothing comes for a while.
async fn never<T>(event: impl Future<Output = T>) -> bool {
    timeout(Duration::from_millis(120), event).await.is_err()
}

/// Three jobs in `seg`, one in `other`, one of no segment; nobody's signature is asked for.
async fn fake() -> FakePinpoint {
    let mut world = World::default();
    for id in ["one", "two", "three"] {
        world.segment("app", "seg").jobs.push(Life::new(id, BEGIN, 1000 * SECOND).into());
    }
    world.segment("app", "other").jobs.push(Life::new("four", BEGIN, 1000 * SECOND).into());
    if let Some(application) = world.applications.get_mut("app") {
        application.jobs.push(Life::new("five", BEGIN, 1000 * SECOND).into());
    }
    world.applications.insert("empty".to_owned(), Application::default());
    let fake =
        FakePinpoint::start_with(world, Options { keys: Vec::new(), ..Options::default() }).await.unwrap();
    fake.clock().stop_at(BEGIN + 2000 * SECOND);
    fake
}

/// A fake with one fault for every request, and the answer to a listing.
async fn listing_with(fault: Fault) -> (FakePinpoint, Answer) {
    let fake = fake().await;
    fake.fault(fault.always());
    let answer = get(&fake, JOBS).await.unwrap();
    (fake, answer)
}

/// An answer as far as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The pieces it came in, if it was chunked.
    pieces: usize,
    /// How it ended.
    end: io::Result<()>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn ids(&self) -> Vec<String> {
        let items = self.json()["Item"].as_array().cloned().unwrap_or_default();
        items.iter().filter_map(|item| item["Id"].as_str().map(str::to_owned)).collect()
    }

    fn next(&self, path: &str) -> Option<String> {
        let token = self.json()["NextToken"].as_str()?.to_owned();
        Some(format!("{path}token={}", utf8_percent_encode(&token, NON_ALPHANUMERIC)))
    }

    fn gunzipped(&self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        GzDecoder::new(&self.body[..]).read_to_end(&mut body).map(|_| body)
    }

    /// The same jobs as without a fault.
    fn is_right(&self) -> bool {
        self.status == 200 && self.end.is_ok() && self.ids() == ["one", "two", "three"]
    }
}

/// A connection of a client that takes what comes.
struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn open(fake: &FakePinpoint) -> io::Result<Self> {
        Ok(Self(BufReader::new(TcpStream::connect(fake.address()).await?)))
    }

    async fn send(&mut self, method: &str, target: &str, body: &str) -> io::Result<()> {
        let length = body.len();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: fake\r\nContent-Length: {length}\r\n\r\n");
        self.0.write_all(format!("{head}{body}").as_bytes()).await
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// An answer, its body as far as it comes before the connection ends.
    async fn receive(&mut self) -> io::Result<Answer> {
        let mut answer = self.receive_head().await?;
        answer.end = self.body(&mut answer).await;
        Ok(answer)
    }

    /// The head of an answer.
    async fn receive_head(&mut self) -> io::Result<Answer> {
        let status = self.line().await?;
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_owned(), value.to_owned()));
        }
        Ok(Answer { status, headers, body: Vec::new(), pieces: 0, end: Ok(()) })
    }

    async fn body(&mut self, answer: &mut Answer) -> io::Result<()> {
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = usize::from_str_radix(&self.line().await?, 16).map_err(io::Error::other)?;
                self.bytes(size, &mut answer.body).await?;
                self.line().await?;
                if size == 0 {
                    return Ok(());
                }
                answer.pieces += 1;
            }
        }
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        self.bytes(length.unwrap_or(0), &mut answer.body).await
    }

    async fn bytes(&mut self, count: usize, body: &mut Vec<u8>) -> io::Result<()> {
        let end = body.len() + count;
        while body.len() < end {
            let available = self.0.fill_buf().await?;
            if available.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let taken = available.len().min(end - body.len());
            body.extend_from_slice(&available[..taken]);
            self.0.consume(taken);
        }
        Ok(())
    }

    /// Whether the server closed the connection after what it sent.
    async fn is_closed(&mut self) -> bool {
        self.0.read_u8().await.is_err()
    }
}

async fn get(fake: &FakePinpoint, target: &str) -> io::Result<Answer> {
    let mut connection = Connection::open(fake).await?;
    connection.send("GET", target, "").await?;
    connection.receive().await
}

fn kind(answer: &Answer) -> Option<io::ErrorKind> {
    answer.end.as_ref().err().map(io::Error::kind)
}

#[tokio::test]
async fn without_a_fault_the_answer_is_right_and_whole() {
    within(async {
        let answer = get(&fake().await, JOBS).await.unwrap();
        assert!(answer.is_right(), "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
        assert!(answer.header("x-amzn-requestid").is_some() && answer.header("date").is_some());
        assert_eq!(answer.header("transfer-encoding"), None);
        assert_eq!(answer.header("content-encoding"), None);
        assert_eq!(answer.header("age"), None);
    })
    .await;
}

#[tokio::test]
async fn a_delay_makes_the_right_answer_late() {
    within(async {
        let begin = Instant::now();
        let (_, answer) = listing_with(Fault::Delay { milliseconds: 100 }).await;
        assert!(begin.elapsed() >= Duration::from_millis(100));
        assert!(answer.is_right());
    })
    .await;
}

#[tokio::test]
async fn a_hang_answers_nothing_and_keeps_the_connection() {
    within(async {
        let fake = fake().await;
        fake.fault(Fault::Hang.times(1));
        let mut connection = Connection::open(&fake).await.unwrap();
        connection.send("GET", JOBS, "").await.unwrap();
        assert!(never(connection.0.read_u8()).await, "neither a byte nor an end");
        assert!(get(&fake, JOBS).await.unwrap().is_right(), "others are answered meanwhile");
        assert_eq!(fake.most_in_flight(), 2);
        assert_eq!(fake.requests()[0].status, None);
    })
    .await;
}

#[tokio::test]
async fn a_hang_in_the_body_gives_half_of_it_and_keeps_the_connection() {
    within(async {
        let fake = fake().await;
        let whole = get(&fake, JOBS).await.unwrap().body;
        fake.fault(Fault::HangInBody.times(1));
        let mut connection = Connection::open(&fake).await.unwrap();
        connection.send("GET", JOBS, "").await.unwrap();
        let mut half = connection.receive_head().await.unwrap();
        connection.bytes(whole.len() / 2, &mut half.body).await.unwrap();
        assert_eq!((half.status, &half.body[..]), (200, &whole[..whole.len() / 2]));
        assert_eq!(half.header("content-length"), Some(&*whole.len().to_string()));
        assert!(never(connection.0.read_u8()).await, "neither a byte nor an end");
    })
    .await;
}

#[tokio::test]
async fn a_reset_is_seen_as_econnreset() {
    within(async {
        let fake = fake().await;
        fake.fault(Fault::Reset.times(1));
        let error = get(&fake, JOBS).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(get(&fake, JOBS).await.unwrap().is_right());
    })
    .await;
}

#[tokio::test]
async fn a_reset_in_the_body_comes_after_half_of_it() {
    within(async {
        let (fake, answer) = listing_with(Fault::ResetInBody).await;
        fake.clear_faults();
        let whole = get(&fake, JOBS).await.unwrap().body;
        assert_eq!((answer.status, kind(&answer)), (200, Some(io::ErrorKind::ConnectionReset)));
        assert_eq!(answer.body, whole[..whole.len() / 2]);
    })
    .await;
}

#[tokio::test]
async fn a_truncated_answer_ends_after_half_of_the_body_without_a_reset() {
    within(async {
        let (fake, answer) = listing_with(Fault::Truncated).await;
        fake.clear_faults();
        let whole = get(&fake, JOBS).await.unwrap().body;
        assert_eq!((answer.status, kind(&answer)), (200, Some(io::ErrorKind::UnexpectedEof)));
        assert_eq!(answer.body, whole[..whole.len() / 2]);
        assert_eq!(answer.header("content-length"), Some(&*whole.len().to_string()));
    })
    .await;
}

#[tokio::test]
async fn an_oversized_body_has_its_size_and_is_valid_to_its_end() {
    within(async {
        let (_, answer) = listing_with(Fault::Oversized { mebibytes: 2, gzip: false }).await;
        assert!(answer.end.is_ok());
        assert_eq!(answer.body.len(), 2 * 1024 * 1024 + r#"{"Item":[]}"#.len());
        assert_eq!(answer.json(), json!({"Item": []}));
    })
    .await;
}

#[tokio::test]
async fn an_oversized_compressed_body_is_small_until_it_is_decoded() {
    within(async {
        let (_, answer) = listing_with(Fault::Oversized { mebibytes: 2, gzip: true }).await;
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        assert!(answer.body.len() < 64 * 1024, "{}", answer.body.len());
        let body = answer.gunzipped().unwrap();
        assert_eq!(body.len(), 2 * 1024 * 1024 + r#"{"Item":[]}"#.len());
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), json!({"Item": []}));
    })
    .await;
}

#[tokio::test]
async fn html_is_a_page_with_status_200() {
    within(async {
        let (_, answer) = listing_with(Fault::Html).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html")));
        assert!(answer.body.starts_with(b"<!DOCTYPE html>"));
    })
    .await;
}

#[tokio::test]
async fn a_wrapped_answer_is_the_right_one_within_another_object() {
    within(async {
        let (_, answer) = listing_with(Fault::Wrapped).await;
        let body = answer.json();
        assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["ExportJobsResponse"]);
        assert_eq!(body["ExportJobsResponse"]["Item"].as_array().map(Vec::len), Some(3));
    })
    .await;
}

#[tokio::test]
async fn an_empty_answer_has_status_200_and_no_byte() {
    within(async {
        let (_, answer) = listing_with(Fault::Empty).await;
        assert_eq!((answer.status, answer.header("content-length")), (200, Some("0")));
        assert!(answer.body.is_empty() && answer.end.is_ok());
    })
    .await;
}

#[tokio::test]
async fn an_answer_without_item_is_an_empty_object() {
    within(async {
        let (_, answer) = listing_with(Fault::NoItem).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]));
    })
    .await;
}

#[tokio::test]
async fn a_repeated_token_is_the_same_after_every_page() {
    within(async {
        let (fake, first) = listing_with(Fault::RepeatedToken).await;
        let token = first.next("?");
        assert!(token.is_some());
        for _ in 0..3 {
            let answer = get(&fake, &first.next(&format!("{JOBS}?")).unwrap()).await.unwrap();
            assert_eq!((answer.status, answer.next("?")), (200, token.clone()));
        }
    })
    .await;
}

#[tokio::test]
async fn endless_tokens_are_new_after_every_page_and_accepted() {
    within(async {
        let (fake, mut answer) = listing_with(Fault::EndlessTokens).await;
        let mut tokens = Vec::new();
        for n in 0..20 {
            if n == 10 {
                fake.clear_requests();
            }
            let token = answer.next(&format!("{JOBS}?page-size=1&")).unwrap();
            answer = get(&fake, &token).await.unwrap();
            assert_eq!(answer.status, 200);
            assert!(!tokens.contains(&token), "{token} after {tokens:?}");
            tokens.push(token);
        }
    })
    .await;
}

#[tokio::test]
async fn a_date_is_as_wrong_as_asked_for() {
    within(async {
        let fake = fake().await;
        fake.server_clock().stop_at(BEGIN);
        assert_eq!(
            get(&fake, JOBS).await.unwrap().header("date"),
            Some("Tue, 14 Nov 2023 22:13:20 GMT"),
            "the right one"
        );
        fake.fault(Fault::Date { offset: -20 * SECOND }.times(1));
        fake.fault(Fault::Date { offset: 40 * SECOND }.times(1));
        let (early, late) = (get(&fake, JOBS).await.unwrap(), get(&fake, JOBS).await.unwrap());
        assert_eq!(early.header("date"), Some("Tue, 14 Nov 2023 22:13:00 GMT"));
        assert_eq!(late.header("date"), Some("Tue, 14 Nov 2023 22:14:00 GMT"));
        assert!(early.is_right() && late.is_right());
    })
    .await;
}

#[tokio::test]
async fn no_date_leaves_the_date_away() {
    within(async {
        let (_, answer) = listing_with(Fault::NoDate).await;
        assert!(answer.is_right());
        assert_eq!(answer.header("date"), None);
    })
    .await;
}

#[tokio::test]
async fn an_age_is_that_of_a_cache() {
    within(async {
        let (_, answer) = listing_with(Fault::Age { seconds: 61 }).await;
        assert!(answer.is_right());
        assert_eq!(answer.header("age"), Some("61"));
    })
    .await;
}

#[tokio::test]
async fn gzip_decodes_to_the_right_answer() {
    within(async {
        let (fake, answer) = listing_with(Fault::Gzip).await;
        fake.clear_faults();
        let whole = get(&fake, JOBS).await.unwrap().body;
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        assert_ne!(answer.body, whole);
        assert_eq!(answer.gunzipped().unwrap(), whole);
    })
    .await;
}

#[tokio::test]
async fn corrupt_gzip_does_not_decode() {
    within(async {
        let (_, answer) = listing_with(Fault::CorruptGzip).await;
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        assert!(answer.end.is_ok(), "the answer itself is whole");
        assert!(answer.body.starts_with(&[0x1f, 0x8b]), "it begins as gzip does");
        assert!(answer.gunzipped().is_err());
    })
    .await;
}

#[tokio::test]
async fn a_padded_answer_is_right_but_for_what_stands_before_its_items() {
    within(async {
        for (element, times, gzip) in
            [("0", 3_000_000, false), ("[]", 1, false), ("{\"a\":[1]}", 70_000, true)]
        {
            let fault = Fault::Padded { element: element.to_owned(), times, gzip };
            let (fake, answer) = listing_with(fault).await;
            let body = if gzip { answer.gunzipped().unwrap() } else { answer.body };
            let mut body: Value = serde_json::from_slice(&body).unwrap();
            let items = body["Item"].as_array_mut().unwrap();
            let padding: Value = serde_json::from_str(element).unwrap();
            assert!(items[..times].iter().all(|item| *item == padding));
            items.drain(..times);
            fake.clear_faults();
            assert_eq!(body, get(&fake, JOBS).await.unwrap().json());
        }
    })
    .await;
}

#[tokio::test]
async fn an_error_may_have_any_date() {
    within(async {
        let mut fault = Fault::error("InternalServerErrorException");
        if let Fault::Error { headers, .. } = &mut fault {
            headers.insert("Date".to_owned(), "Fri, 31 Dec 9999 23:59:59 GMT".to_owned());
        }
        let (_, answer) = listing_with(fault).await;
        assert_eq!(answer.header("date"), Some("Fri, 31 Dec 9999 23:59:59 GMT"));
    })
    .await;
}

#[tokio::test]
async fn a_chunked_answer_has_no_length() {
    within(async {
        let (_, answer) = listing_with(Fault::Chunked).await;
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
        assert_eq!(answer.header("content-length"), None);
        assert!(answer.is_right() && answer.pieces == 1);
    })
    .await;
}

#[tokio::test]
async fn a_drip_comes_in_small_pieces_with_time_between() {
    within(async {
        let begin = Instant::now();
        let (_, answer) = listing_with(Fault::Drip { bytes: 200, milliseconds: 10 }).await;
        assert!(answer.is_right());
        assert_eq!(answer.pieces, answer.body.len().div_ceil(200));
        assert!(answer.pieces > 3, "{}", answer.pieces);
        assert!(begin.elapsed() >= Duration::from_millis(10 * answer.pieces as u64));
    })
    .await;
}

#[tokio::test]
async fn a_redirect_says_where_to() {
    within(async {
        let (_, answer) =
            listing_with(Fault::Redirect { location: "http://127.0.0.1:9/there".to_owned() }).await;
        assert_eq!(answer.status, 302);
        assert_eq!(answer.header("location"), Some("http://127.0.0.1:9/there"));
    })
    .await;
}

#[tokio::test]
async fn an_error_has_its_name_in_the_place_asked_for_and_nowhere_else() {
    within(async {
        for place in [Place::Header, Place::Type, Place::Code] {
            let name = "com.amazonaws.pinpoint#TooManyRequestsException:http://internal.amazon.com/x#y";
            let fault = Fault::Error {
                name: name.to_owned(),
                status: None,
                place,
                message: Some("slowly".to_owned()),
                headers: [("Retry-After".to_owned(), "7".to_owned())].into(),
            };
            let (fake, answer) = listing_with(fault).await;
            let body = answer.json();
            let found = (answer.header("x-amzn-errortype"), body["__type"].as_str(), body["code"].as_str());
            let expected = match place {
                Place::Header => (Some(name), None, None),
                Place::Type => (None, Some(name), None),
                Place::Code => (None, None, Some(name)),
            };
            assert_eq!(found, expected);
            assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
            assert_eq!(body["Message"], "slowly");
            assert!(answer.header("x-amzn-requestid").is_some());
            assert_eq!(fake.requests()[0].error.as_deref(), Some("TooManyRequestsException"));
        }
    })
    .await;
}

#[tokio::test]
async fn an_error_may_have_another_status_or_no_name() {
    within(async {
        let Fault::Error { name, place, message, headers, .. } = Fault::error("ThrottlingException") else {
            unreachable!()
        };
        let (_, usual) = listing_with(Fault::error("ThrottlingException")).await;
        let other = Fault::Error { name, status: Some(503), place, message, headers };
        let (_, other) = listing_with(other).await;
        assert_eq!((usual.status, other.status), (400, 503));
        assert_eq!(other.header("x-amzn-errortype"), Some("ThrottlingException"));
        let (_, nameless) = listing_with(Fault::error("")).await;
        assert_eq!((nameless.status, nameless.header("x-amzn-errortype")), (400, None));
        assert_eq!(nameless.json().as_object().unwrap().keys().collect::<Vec<_>>(), ["Message"]);
    })
    .await;
}

#[tokio::test]
async fn any_answer_can_be_asked_for() {
    within(async {
        let fault = Fault::Answer {
            status: 418,
            headers: [("Content-Type".to_owned(), "text/tea".to_owned())].into(),
            body: "short and stout".to_owned(),
        };
        let (_, answer) = listing_with(fault).await;
        assert_eq!((answer.status, answer.header("content-type")), (418, Some("text/tea")));
        assert_eq!(answer.body, b"short and stout");
    })
    .await;
}

/// The statuses of these requests, one after the other.
async fn statuses(fake: &FakePinpoint, targets: &[&str]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for target in targets {
        statuses.push(get(fake, target).await.unwrap().status);
    }
    statuses
}

fn teapot() -> Fault {
    Fault::Answer { status: 418, headers: [].into(), body: String::new() }
}

#[tokio::test]
async fn a_fault_spares_as_many_requests_and_meets_as_many_as_its_rule_says() {
    within(async {
        let fake = fake().await;
        fake.fault(teapot().times(2).after(1));
        assert_eq!(statuses(&fake, &[JOBS; 5]).await, [200, 418, 418, 200, 200]);
        fake.fault(teapot().always());
        assert_eq!(statuses(&fake, &[JOBS; 2]).await, [418, 418]);
        fake.clear_faults();
        assert_eq!(statuses(&fake, &[JOBS]).await, [200]);
    })
    .await;
}

#[tokio::test]
async fn faults_come_in_the_order_of_their_rules() {
    within(async {
        let fake = fake().await;
        let answer = |status| Fault::Answer { status, headers: [].into(), body: String::new() };
        fake.fault(answer(500).times(1));
        fake.fault(answer(501).times(1));
        fake.fault(answer(502).times(1).after(1));
        assert_eq!(statuses(&fake, &[JOBS; 5]).await, [500, 501, 200, 502, 200]);
    })
    .await;
}

#[tokio::test]
async fn a_fault_meets_only_its_page() {
    within(async {
        let fake = fake().await;
        fake.fault(teapot().on_page(2));
        let first = get(&fake, &format!("{JOBS}?page-size=1")).await.unwrap();
        assert_eq!(first.ids(), ["one"]);
        let second = first.next(&format!("{JOBS}?page-size=1&")).unwrap();
        assert_eq!(statuses(&fake, &[&second, JOBS, &second]).await, [418, 200, 418]);
        fake.clear_faults();
        let second = get(&fake, &second).await.unwrap();
        assert_eq!(second.ids(), ["two"]);
        fake.fault(teapot().on_page(2));
        let third = second.next(&format!("{JOBS}?page-size=1&")).unwrap();
        assert_eq!(get(&fake, &third).await.unwrap().ids(), ["three"]);
        assert_eq!(fake.requests().iter().filter_map(|it| it.page).collect::<Vec<_>>(), [1, 2, 1, 2, 2, 3]);
    })
    .await;
}

#[tokio::test]
async fn a_fault_meets_only_its_segment_application_or_operation() {
    within(async {
        let fake = fake().await;
        let others = "/v1/apps/app/segments/other/jobs/export";
        let targets = [JOBS, others, "/v1/apps/app/jobs/export", "/v1/apps/empty/jobs/export", "/v1/apps"];
        let cases = [
            (teapot().always().of_segment("other"), [200, 418, 200, 200, 200]),
            (Rule { application: Some("app".to_owned()), ..teapot().always() }, [418, 418, 418, 200, 200]),
            (
                Rule { operation: Some(Operation::GetExportJobs), ..teapot().always() },
                [200, 200, 418, 418, 200],
            ),
        ];
        for (rule, expected) in cases {
            fake.fault(rule);
            assert_eq!(statuses(&fake, &targets).await, expected);
            fake.clear_faults();
        }
    })
    .await;
}

#[tokio::test]
async fn the_log_tells_what_came_and_what_it_got() {
    within(async {
        let fake = fake().await;
        fake.fault(teapot().times(1));
        let mut connection = Connection::open(&fake).await.unwrap();
        for target in [&format!("{JOBS}?page-size=2"), "/v1/apps/no%2Fne", "/elsewhere"] {
            connection.send("GET", target, "").await.unwrap();
            connection.receive().await.unwrap();
        }
        connection.send("PUT", "/v1/apps", "{}").await.unwrap();
        connection.receive().await.unwrap();
        let told = |it: &Request| (it.operation, it.status, it.error.clone(), it.fault.clone());
        let text = |text: &str| Some(text.to_owned());
        let requests = fake.requests();
        assert_eq!(
            requests.iter().map(told).collect::<Vec<_>>(),
            [
                (Some(Operation::GetSegmentExportJobs), Some(418), None, text("answer")),
                (Some(Operation::GetApp), Some(404), text("NotFoundException"), None),
                (None, Some(404), text("UnknownOperationException"), None),
                (None, Some(405), text("MethodNotAllowedException"), None),
            ]
        );
        assert_eq!((&*requests[0].path, &*requests[0].query), (JOBS, "page-size=2"));
        assert_eq!((&requests[0].application, &requests[0].segment), (&text("app"), &text("seg")));
        assert_eq!((&*requests[1].path, &requests[1].application), ("/v1/apps/no%2Fne", &text("no/ne")));
        assert_eq!((requests[0].method.as_str(), requests[0].header("host")), ("GET", Some("fake")));
        assert_eq!((fake.connections(), fake.most_in_flight()), (1, 1));
        assert_eq!((fake.count(Operation::GetApp), fake.count(Operation::GetApps)), (1, 0));
        fake.clear_requests();
        assert_eq!((fake.requests().len(), fake.most_in_flight()), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn the_most_in_flight_is_the_most_at_once_also_while_bodies_are_sent() {
    within(async {
        let fake = fake().await;
        fake.fault(Fault::HangInBody.times(2));
        fake.fault(Fault::Hang.times(1));
        let mut connections = Vec::new();
        for n in 1..=3 {
            let mut connection = Connection::open(&fake).await.unwrap();
            connection.send("GET", JOBS, "").await.unwrap();
            fake.wait_for_requests(n).await;
            connections.push(connection);
        }
        assert_eq!((fake.most_in_flight(), fake.connections()), (3, 3));
        fake.clear_requests();
        assert_eq!(fake.most_in_flight(), 3, "they are still in flight");
        drop(connections);
        // They are in flight until the fake sees that the clients have gone.
        loop {
            fake.clear_requests();
            assert!(get(&fake, JOBS).await.unwrap().is_right());
            if fake.most_in_flight() == 1 {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_is_not_noted_at_another_request_after_the_log_was_forgotten() {
    within(async {
        let fake = fake().await;
        fake.fault(Fault::Delay { milliseconds: 100 }.times(1));
        fake.fault(Fault::Hang.times(1));
        let mut late = Connection::open(&fake).await.unwrap();
        late.send("GET", "/v1/apps/none", "").await.unwrap();
        fake.wait_for_requests(1).await;
        fake.clear_requests();
        let mut never = Connection::open(&fake).await.unwrap();
        never.send("GET", JOBS, "").await.unwrap();
        fake.wait_for_requests(1).await;
        assert_eq!(late.receive().await.unwrap().status, 404);
        let noted = fake.requests();
        assert_eq!((noted.len(), noted[0].status, noted[0].error.as_deref()), (1, None, None));
    })
    .await;
}

#[tokio::test]
async fn a_dropped_fake_ends_its_connections() {
    within(async {
        let fake = fake().await;
        fake.fault(Fault::Hang.always());
        let mut connection = Connection::open(&fake).await.unwrap();
        connection.send("GET", JOBS, "").await.unwrap();
        fake.wait_for_requests(1).await;
        let address = fake.address();
        drop(fake);
        assert!(connection.is_closed().await);
        assert!(TcpStream::connect(address).await.is_err());
    })
    .await;
}

/// The job at so many thousandths of its life.
async fn at(fake: &FakePinpoint, thousandths: i64) -> Option<Value> {
    fake.clock().stop_at(BEGIN + thousandths * SECOND);
    let answer = get(fake, "/v1/apps/app/jobs/export/job").await.unwrap();
    (answer.status == 200).then(|| answer.json())
}

async fn fake_with(change: impl FnOnce(&mut Life)) -> FakePinpoint {
    let mut life = Life::new("job", BEGIN, 1000 * SECOND);
    (life.endpoints, life.pieces, life.failed_endpoints, life.failed_pieces) = (7800, 78, 780, 39);
    change(&mut life);
    let fake = fake().await;
    fake.world().segment("app", "seg").jobs = vec![Job::Life(life)];
    fake
}

/// The states in their order, each once, as the clock goes on.
async fn states(fake: &FakePinpoint) -> Vec<String> {
    let mut states = Vec::new();
    for time in (0..=1100).step_by(10) {
        states.push(at(fake, time).await.unwrap()["JobStatus"].as_str().unwrap().to_owned());
    }
    states.dedup();
    states
}

#[tokio::test]
async fn a_job_goes_through_its_states_as_the_clock_is_turned() {
    within(async {
        let fake = fake_with(|_| {}).await;
        assert_eq!(at(&fake, -1).await, None, "it is not created yet");
        assert_eq!(
            states(&fake).await,
            [
                "CREATED",
                "PREPARING_FOR_INITIALIZATION",
                "INITIALIZING",
                "PENDING_JOB",
                "PROCESSING",
                "COMPLETING",
                "COMPLETED"
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn a_failing_job_ends_as_failed_and_half_done() {
    within(async {
        let fake = fake_with(|life| life.end = End::Failed).await;
        let states = states(&fake).await;
        assert_eq!(states[4..], ["PROCESSING", "FAILING", "FAILED"]);
        let job = at(&fake, 1000).await.unwrap();
        assert_eq!(job["TotalProcessed"], 3900);
        assert_eq!(job["CompletionDate"], "2023-11-14T22:30:00.000Z");
    })
    .await;
}

#[tokio::test]
async fn a_stuck_job_stays_at_processing_for_ever() {
    within(async {
        let fake = fake_with(|life| life.end = End::Stuck).await;
        assert_eq!(states(&fake).await.last().unwrap(), "PROCESSING");
        let (early, late) = (at(&fake, 400).await.unwrap(), at(&fake, 1_000_000).await.unwrap());
        assert_eq!(early, late);
        assert_eq!(late.get("CompletionDate"), None);
        assert_eq!(late["TotalProcessed"], 2800);
    })
    .await;
}

#[tokio::test]
async fn counts_are_absent_before_the_work_and_grow_to_the_whole_of_it() {
    within(async {
        let fake = fake_with(|_| {}).await;
        let counts = ["TotalPieces", "CompletedPieces", "FailedPieces", "TotalProcessed", "TotalFailures"];
        let created = at(&fake, 0).await.unwrap();
        assert!(counts.iter().all(|count| created.get(count).is_none()), "{created}");
        let mut before = [0; 5];
        for time in (120..=1000).step_by(40) {
            let job = at(&fake, time).await.unwrap();
            let now = counts.map(|count| job[count].as_i64().unwrap());
            assert!(now.iter().zip(before).all(|(now, before)| *now >= before), "{now:?} after {before:?}");
            assert!(now[1] + now[2] <= now[0], "no more pieces than there are");
            before = now;
        }
        assert_eq!(before, [78, 39, 39, 7800, 780]);
        let half = at(&fake, 510).await.unwrap();
        assert_eq!(counts.map(|count| half[count].as_i64().unwrap()), [78, 19, 19, 3900, 390]);
    })
    .await;
}

#[tokio::test]
async fn a_completion_date_is_there_at_the_end_only() {
    within(async {
        let fake = fake_with(|_| {}).await;
        for time in [0, 500, 999] {
            assert_eq!(at(&fake, time).await.unwrap().get("CompletionDate"), None, "at {time}");
        }
        for time in [1000, 5000] {
            let job = at(&fake, time).await.unwrap();
            assert_eq!(job["CreationDate"], "2023-11-14T22:13:20.000Z");
            assert_eq!(job["CompletionDate"], "2023-11-14T22:30:00.000Z", "at {time}");
        }
    })
    .await;
}

#[tokio::test]
async fn failures_are_samples_of_the_first_hundred() {
    within(async {
        let fake = fake_with(|life| life.failed_endpoints = 3).await;
        assert_eq!(at(&fake, 1000).await.unwrap()["Failures"].as_array().map(Vec::len), Some(3));
        let fake = fake_with(|_| {}).await;
        assert_eq!(at(&fake, 1000).await.unwrap()["Failures"].as_array().map(Vec::len), Some(100));
        let fake = fake_with(|life| life.failed_endpoints = 0).await;
        assert_eq!(at(&fake, 1000).await.unwrap().get("Failures"), None);
    })
    .await;
}

#[tokio::test]
async fn a_row_of_jobs_gets_a_new_one_again_and_again_but_no_more_than_its_times() {
    within(async {
        let fake = fake_with(|life| (life.every, life.times) = (Some(60 * SECOND), Some(3))).await;
        let mut listed = Vec::new();
        for time in [-1, 0, 59, 60, 120, 180, 10_000] {
            fake.clock().stop_at(BEGIN + time * SECOND);
            listed.push(get(&fake, JOBS).await.unwrap().ids().len());
        }
        assert_eq!(listed, [0, 1, 1, 2, 3, 3, 3]);
        let jobs = get(&fake, JOBS).await.unwrap();
        assert_eq!(jobs.ids(), ["job0000", "job0001", "job0002"]);
        assert_eq!(jobs.json()["Item"][2]["CreationDate"], "2023-11-14T22:15:20.000Z");
        let endless = fake_with(|life| life.every = Some(60 * SECOND)).await;
        endless.clock().stop_at(BEGIN + 6000 * SECOND);
        let first = get(&endless, &format!("{JOBS}?page-size=200")).await.unwrap();
        assert_eq!((first.ids().len(), first.next("?")), (101, None));
    })
    .await;
}

#[tokio::test]
async fn the_clock_can_be_turned_over_http_too() {
    within(async {
        let fake = fake_with(|_| {}).await;
        assert_eq!(at(&fake, 0).await.unwrap()["JobStatus"], "CREATED");
        let mut connection = Connection::open(&fake).await.unwrap();
        connection.send("POST", "/_fake/clock", r#"{"advance": 500000}"#).await.unwrap();
        let answer = connection.receive().await.unwrap();
        assert_eq!((answer.status, answer.json()["now"].as_i64()), (200, Some(BEGIN + 500 * SECOND)));
        connection.send("GET", "/v1/apps/app/jobs/export/job", "").await.unwrap();
        let answer = connection.receive().await.unwrap();
        assert_eq!(answer.json()["JobStatus"], "PROCESSING");
    })
    .await;
}

#[tokio::test]
async fn a_world_that_was_read_over_http_can_be_put_back() {
    within(async {
        let fake = fake_with(|_| {}).await;
        fake.world().segment("app", "seg").jobs.push(Job::Verbatim { item: json!({"Id": 7}) });
        let before = get(&fake, "/_fake/world").await.unwrap();
        let mut connection = Connection::open(&fake).await.unwrap();
        let body = String::from_utf8(before.body.clone()).unwrap();
        connection.send("PUT", "/_fake/world", &body).await.unwrap();
        let answer = connection.receive().await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"null"[..]));
        assert_eq!(get(&fake, "/_fake/world").await.unwrap().json(), before.json());
    })
    .await;
}
