//! Our signatures against botocore's, for generated requests.

use std::{
    cell::{Cell, RefCell},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use pinpoint_exporter::pinpoint::signed_headers;
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};
use url::Url;

/// botocore, in a process of its own.
struct Botocore {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Botocore {
    fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join(".venv/bin/python");
        assert!(python.exists(), "`make tools` installs botocore, which this test needs");
        let mut process = Command::new(python)
            .arg(root.join("tests/judges/botocore_signer.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let requests = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, requests, answers }
    }

    fn sign(&mut self, request: &Value) -> Value {
        writeln!(self.requests, "{request}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Botocore {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Ids and tokens of every kind, already escaped by the client's own rules (which `operation.rs` tests).
fn path_and_query() -> impl Strategy<Value = String> {
    fn escape(text: &str) -> String {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let escaped = |byte| {
            if unreserved(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
        };
        text.bytes().map(escaped).collect()
    }
    let odd = Just("a/b//c+d %2F".to_owned());
    let id = prop_oneof!["[0-9a-f]{32}", "[ -~]{1,20}", "\\PC{1,12}", odd]
        .prop_filter("no exporter sends these", |id| id != "." && id != "..");
    let token = proptest::option::of(prop_oneof!["[A-Za-z0-9+/]{1,60}={0,2}", "\\PC{1,30}"]);
    (id.clone(), proptest::option::of(id), 1_u32..1000, token).prop_map(move |(app, segment, size, token)| {
        let segment = segment.map(|id| format!("/segments/{}", escape(&id))).unwrap_or_default();
        let token = token.map(|token| format!("&token={}", escape(&token))).unwrap_or_default();
        format!("/v1/apps/{}{segment}/jobs/export?page-size={size}{token}", escape(&app))
    })
}

#[test]
fn our_signature_is_botocores_for_256_generated_requests() {
    let base = prop_oneof![
        Just("http://127.0.0.1:9788"),
        Just("https://pinpoint.eu-west-1.amazonaws.com"),
        Just("https://pinpoint.us-east-1.api.aws:443"),
        Just("http://localhost/base/path"),
        Just("http://[::1]:8080"),
    ];
    let request = (
        base,
        path_and_query(),
        "[A-Z0-9]{16,20}",
        "[A-Za-z0-9/+]{20,40}",
        proptest::option::of("[A-Za-z0-9/+=]{20,400}"),
        prop_oneof![Just("eu-west-1"), Just("us-gov-west-1"), Just("cn-north-1")],
        0_u64..4_000_000_000,
    );
    let botocore = RefCell::new(Botocore::start());
    let compared = Cell::new(0);
    let config = ProptestConfig { cases: 256, ..ProptestConfig::with_source_file(file!()) };
    TestRunner::new(config)
        .run(&request, |(base, path, key, secret, token, region, at)| {
            let url = Url::parse(&format!("{base}{path}")).unwrap();
            let theirs = botocore.borrow_mut().sign(&json!({
                "url": url.as_str(), "access_key_id": key, "secret_access_key": secret, "session_token": token,
                "region": region, "at": at,
            }));
            let credentials = Credentials::new(key, secret, token, None, "test");
            let date = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
            let ours = signed_headers(&url, &credentials, region, date).unwrap();
            for header in ["authorization", "x-amz-date", "x-amz-security-token"] {
                let ours = ours.get(header).map(|value| value.to_str().unwrap());
                prop_assert_eq!(ours, theirs[header].as_str(), "{} of {}", header, url);
            }
            compared.set(compared.get() + 1);
            Ok(())
        })
        .unwrap();
    assert!(compared.get() >= 200, "{} requests were compared", compared.get());
}
