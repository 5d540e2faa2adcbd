//! Signatures over bare sockets: requests that botocore signed at a fixed time pass as they are, and no byte of them may change.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::future::Future;

use fake_pinpoint::{
    FakePinpoint, HANG_LIMIT, Key, Options,
    world::{Life, World},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// When they were signed: 20231114T221320Z.
const SIGNED_AT: i64 = 1_700_000_000_000;
const DATE: &str = "20231114T221320Z";
const TOKEN: &str = "session/token+==";
const ODD_APP: &str = "odd/app +%2F é";
const ODD_SEGMENT: &str = "a:b~c";

/// A request that can be altered.
#[derive(Debug, Clone)]
struct Signed {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: &'static str,
}

/// What botocore 1.44.5 made for the key `AKIDEXAMPLE` of AWS's documentation at that time.
fn signed(
    method: &'static str,
    target: &str,
    signed_headers: &str,
    signature: &str,
    more: &[(&'static str, &str)],
    body: &'static str,
) -> Signed {
    let scope = "AKIDEXAMPLE/20231114/eu-west-1/mobiletargeting/aws4_request";
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={signed_headers}, Signature={signature}");
    let mut headers = vec![
        ("host", "pinpoint.example".to_owned()),
        ("x-amz-date", DATE.to_owned()),
        ("authorization", authorization),
    ];
    headers.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    Signed { method, target: target.to_owned(), headers, body }
}

fn plain() -> Signed {
    let signature = "45d96e7da78e4d47a74493236965c45d7ad92a4a59e6c1d0b63045edb292b8bf";
    signed("GET", "/v1/apps", "host;x-amz-date", signature, &[], "")
}

/// A page by its token, with ids that need every kind of escape.
fn odd() -> Signed {
    let target = "/v1/apps/odd%2Fapp%20%2B%252F%20%C3%A9/segments/a%3Ab~c/jobs/export\
                  ?page-size=2&token=eyJ2%2F%2B%20%26%3D%252Bb900%3D%3D";
    let signature = "3379791972c264c99af0ea7e7367ff9577be5acaf692fcf5cc276958f2ddb7cc";
    signed("GET", target, "host;x-amz-date", signature, &[], "")
}

fn with_token() -> Signed {
    let signature = "fe6a04a02942576d171854392e20b81b1612b3a644bef784b425534799390968";
    let token = [("x-amz-security-token", TOKEN)];
    signed("GET", "/v1/apps", "host;x-amz-date;x-amz-security-token", signature, &token, "")
}

fn creation() -> Signed {
    let signature = "a1e5225638dfce6d9957d1c7a0ad1f05e48499218c69a641b91caf38bc787a1c";
    let body = r#"{"RoleArn":"r","S3UrlPrefix":"s3://b/"}"#;
    let kind = [("content-type", "application/json")];
    signed("POST", "/v1/apps/app/jobs/export", "content-type;host;x-amz-date", signature, &kind, body)
}

fn key() -> Key {
    Key {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
        ..Key::default()
    }
}

async fn fake(keys: Vec<Key>) -> FakePinpoint {
    let mut world = World::default();
    for id in ["one", "two", "three"] {
        world.segment(ODD_APP, ODD_SEGMENT).jobs.push(Life::new(id, 0, 1).into());
    }
    world.segment("app", "seg");
    let options = Options { keys, regions: vec!["eu-west-1".to_owned()], ..Options::default() };
    let fake = FakePinpoint::start_with(world, options).await.unwrap();
    fake.server_clock().stop_at(SIGNED_AT);
    fake
}

async fn within<T>(test: impl Future<Output = T>) -> T {
    timeout(HANG_LIMIT, test).await.expect("the test ends in time")
}

/// The status, the name of the error, and the body.
async fn send(fake: &FakePinpoint, request: &Signed) -> (u16, String, String) {
    let Signed { method, target, headers, body } = request;
    let mut head =
        format!("{method} {target} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    let mut socket = TcpStream::connect(fake.address()).await.unwrap();
    socket.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let name = head.lines().find_map(|line| line.strip_prefix("x-amzn-errortype: ")).unwrap_or_default();
    (status, name.to_owned(), body.to_owned())
}

fn with_header(request: &Signed, name: &'static str, value: impl Into<String>) -> Signed {
    let mut request = request.clone();
    request.headers.retain(|(known, _)| *known != name);
    request.headers.push((name, value.into()));
    request
}

fn without_header(request: &Signed, name: &str) -> Signed {
    let mut request = request.clone();
    request.headers.retain(|(known, _)| *known != name);
    request
}

#[tokio::test]
async fn what_botocore_signed_passes() {
    within(async {
        let fake = fake(vec![key(), Key { access_key_id: "ANOTHER".to_owned(), ..Key::default() }]).await;
        assert_eq!(send(&fake, &plain()).await.0, 200);
        let (status, _, body) = send(&fake, &odd()).await;
        assert_eq!(status, 200, "{body}");
        assert!(
            body.contains(r#""Id":"three""#) && !body.contains(r#""Id":"two""#),
            "the page of its token: {body}"
        );
        assert_eq!(send(&fake, &creation()).await.0, 202);
        fake.set_keys(vec![Key { session_token: Some(TOKEN.to_owned()), ..key() }]);
        assert_eq!(send(&fake, &with_token()).await.0, 200);
    })
    .await;
}

/// Another byte of the same kind, so that what is refused is the change and not the form.
fn other(byte: u8) -> u8 {
    match byte {
        b'9' => b'0',
        b'z' | b'Z' => byte - 1,
        b'0'..=b'8' | b'a'..=b'y' | b'A'..=b'Y' => byte + 1,
        _ => b'x',
    }
}

/// Every text that differs from this in one byte.
fn changed(text: &str) -> Vec<String> {
    let change = |at: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = other(bytes[at]);
        String::from_utf8(bytes).unwrap()
    };
    (0..text.len()).map(change).collect()
}

#[tokio::test]
async fn no_byte_of_a_signed_request_may_change() {
    within(async {
        let mut sent = 0;
        for (request, key) in [
            (plain(), key()),
            (odd(), key()),
            (with_token(), Key { session_token: Some(TOKEN.to_owned()), ..key() }),
            (creation(), key()),
        ] {
            let fake = fake(vec![key]).await;
            let mut altered: Vec<Signed> = changed(&request.target[1..])
                .into_iter()
                .map(|rest| Signed { target: format!("/{rest}"), ..request.clone() })
                .collect();
            for (name, value) in &request.headers {
                altered.extend(changed(value).into_iter().map(|value| with_header(&request, name, value)));
            }
            for request in &altered {
                let (status, name, _) = send(&fake, request).await;
                assert!(matches!(status, 400..500), "{request:?}");
                let known = [
                    "InvalidSignatureException",
                    "UnrecognizedClientException",
                    "IncompleteSignatureException",
                    // Another path may be nobody's, which the front door says first.
                    "UnknownOperationException",
                    "MethodNotAllowedException",
                ];
                assert!(known.contains(&&*name), "{name}: {request:?}");
            }
            sent += altered.len();
        }
        assert!(sent > 900, "only {sent} changes");
    })
    .await;
}

#[tokio::test]
async fn another_body_is_refused() {
    within(async {
        let fake = fake(vec![key()]).await;
        let request = Signed { body: r#"{"RoleArn":"s","S3UrlPrefix":"s3://b/"}"#, ..creation() };
        assert_eq!(send(&fake, &request).await.1, "InvalidSignatureException");
    })
    .await;
}

#[tokio::test]
async fn a_plus_that_was_not_escaped_is_no_plus() {
    within(async {
        let odd = odd();
        let raw = Signed { target: odd.target.replace("%2B%20%26", "+%20%26"), ..odd.clone() };
        assert_ne!(raw.target, odd.target);
        let strict = fake(vec![key()]).await;
        assert_eq!(send(&strict, &raw).await.1, "InvalidSignatureException");
        let unsigned = fake(Vec::new()).await;
        assert_eq!(send(&unsigned, &raw).await.1, "BadRequestException");
        // A space may be written as a plus, and means the same request.
        let form = Signed { target: odd.target.replace("%2B%20%26", "%2B+%26"), ..odd };
        assert_eq!(send(&strict, &form).await.0, 200);
    })
    .await;
}

#[tokio::test]
async fn each_fault_of_a_signature_has_aws_own_name_and_status() {
    within(async {
        let fake = fake(vec![key()]).await;
        let plain = plain();
        let authorization = &plain.headers[2].1;
        let authorized = |from: &str, to: &str| {
            assert!(authorization.contains(from));
            with_header(&plain, "authorization", authorization.replace(from, to))
        };
        let (incomplete, invalid) =
            ((400, "IncompleteSignatureException"), (403, "InvalidSignatureException"));
        for (request, (status, name)) in [
            (without_header(&plain, "authorization"), (403, "MissingAuthenticationTokenException")),
            (with_header(&plain, "authorization", ""), incomplete),
            (with_header(&plain, "authorization", "Bearer x"), incomplete),
            (with_header(&plain, "authorization", "AWS4-HMAC-SHA256"), incomplete),
            (authorized("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512"), incomplete),
            (authorized("Credential=", "Credentials="), incomplete),
            (authorized("SignedHeaders=", "Headers="), incomplete),
            (authorized("Signature=", "Sig="), incomplete),
            (authorized("/aws4_request", ""), incomplete),
            (authorized("/aws4_request", "/aws4_request/more"), incomplete),
            (without_header(&plain, "x-amz-date"), incomplete),
            (with_header(&plain, "x-amz-date", "Tue, 14 Nov 2023 22:13:20 GMT"), invalid),
            (authorized("/mobiletargeting/", "/pinpoint/"), invalid),
            (authorized("/eu-west-1/", "/us-east-1/"), invalid),
            (authorized("/20231114/", "/20231113/"), invalid),
            (authorized("host;", ""), invalid),
            (authorized("host;x-amz-date", "x-amz-date;host"), invalid),
            (authorized("AKIDEXAMPLE", "AKIDSOMEBODY"), (403, "UnrecognizedClientException")),
            (
                with_header(&plain, "x-amz-security-token", "uncalled for"),
                (403, "UnrecognizedClientException"),
            ),
        ] {
            let (got, error, body) = send(&fake, &request).await;
            assert_eq!((got, &*error), (status, name), "{request:?}: {body}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_date_may_be_five_minutes_off_and_not_a_second_more() {
    within(async {
        let fake = fake(vec![key()]).await;
        for (seconds, message) in [
            (0, None),
            (300, None),
            (-300, None),
            (301, Some("Signature expired: 20231114T221320Z")),
            (-301, Some("Signature not yet current: 20231114T221320Z")),
        ] {
            fake.server_clock().stop_at(SIGNED_AT + seconds * 1_000);
            let (status, name, body) = send(&fake, &plain()).await;
            match message {
                None => assert_eq!(status, 200, "{seconds} s: {body}"),
                Some(message) => {
                    assert_eq!((status, &*name), (403, "InvalidSignatureException"));
                    assert!(body.contains(message), "{body}");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_that_has_expired_is_told_from_a_wrong_one() {
    within(async {
        let token = Some(TOKEN.to_owned());
        let fake = fake(vec![Key { session_token: token.clone(), expired: true, ..key() }]).await;
        assert_eq!(send(&fake, &with_token()).await.1, "ExpiredTokenException");
        fake.set_keys(vec![Key { session_token: token, ..key() }]);
        let request = with_token();
        for altered in [without_header(&request, "x-amz-security-token"), plain()] {
            assert_eq!(send(&fake, &altered).await.1, "UnrecognizedClientException");
        }
        // Sent, but not signed.
        let unsigned = with_header(&plain(), "x-amz-security-token", TOKEN);
        assert_eq!(send(&fake, &unsigned).await.1, "InvalidSignatureException");
    })
    .await;
}
