//! Credentials and tokens of a run in which everything fails stand in no log line, no page and no metric.

use std::collections::BTreeMap;

use aws_smithy_types::base64;
use fake_pinpoint::{
    FakePinpoint, Key, Options,
    fault::{Fault, Place},
    world::World,
};

use crate::support::{
    harness::{client, run},
    program::{Program, command},
    raw::within,
};

const APP: &str = "app";

fn key() -> Key {
    Key {
        access_key_id: "AKIASECRETSECRET0001".to_owned(),
        secret_access_key: "se/cr+et=SECRETKEYSECRETKEYSECRETKEY/+==".to_owned(),
        session_token: Some("FwoGZXIvYXdzE/SESSION+TOKEN/with==every&odd%character".to_owned()),
        ..Key::default()
    }
}

fn percent(text: &str, lower: bool) -> String {
    let escape = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte if lower => format!("%{byte:02x}"),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// The forms in which a secret could come back.
pub(crate) fn forms(secret: &str) -> Vec<String> {
    let encoded = base64::encode(secret);
    let entities = |text: &str| text.replace('/', "&#x2F;").replace('+', "&#43;").replace('=', "&equals;");
    let units = |text: &str| -> String { text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect() };
    vec![
        secret.to_owned(),
        percent(secret, false),
        percent(secret, true),
        percent(&percent(secret, false), true),
        percent(&percent(&percent(secret, true), false), false),
        secret.replace('/', "\\/"),
        units(secret),
        entities(secret),
        entities(&percent(secret, false)).replace('%', "&amp;percnt;"),
        units(&entities(secret)),
        format!("{}\u{200b}{}", &secret[..5], &secret[5..]),
        format!("{}%E2%80%8B{}", &secret[..5], &secret[5..]),
        format!("{}\n{}", &secret[..5], &secret[5..]),
        encoded.trim_end_matches('=').to_owned(),
        base64::encode(percent(secret, false)).replace('+', "-").replace('/', "_"),
        secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
    ]
}

fn secrets() -> Vec<String> {
    let key = key();
    [Some(key.access_key_id), Some(key.secret_access_key), key.session_token]
        .iter()
        .flatten()
        .flat_map(|secret| forms(secret))
        .collect()
}

fn assert_clean(what: &str, text: &str) {
    assert_lacks(what, text, &secrets());
}

/// The text holds none of these, also not where pages and logs write quotes, backslashes and `&` otherwise.
pub(crate) fn assert_lacks(what: &str, text: &str, secrets: &[String]) {
    let plain = text.replace("\\\\", "\\").replace("&amp;", "&").replace("&#x2F;", "/");
    for secret in secrets {
        assert!(!text.contains(secret) && !plain.contains(secret), "{what} holds {secret}:\n{text}");
    }
}

/// An error whose message gives back what it was sent.
fn telling(name: &str, said: &str, place: Place) -> Fault {
    Fault::Error {
        name: name.to_owned(),
        status: Some(403),
        place,
        message: Some(format!("The request by {said} was refused. Canonical string: GET\n{said}")),
        headers: BTreeMap::from([(
            "x-amzn-requestid".to_owned(),
            said.chars().filter(char::is_ascii).collect(),
        )]),
    }
}

#[test]
fn nothing_secret_is_shown_at_any_level_when_everything_fails() {
    for level in ["debug", "trace"] {
        run(async move {
            let mut faults: Vec<Fault> = secrets()
                .iter()
                .flat_map(|said| {
                    [
                        telling("AccessDeniedException", said, Place::Header),
                        telling(&format!("Told{said}"), said, Place::Type),
                    ]
                })
                .collect();
            faults.extend([
                Fault::Reset,
                Fault::Hang,
                Fault::Truncated,
                Fault::Html,
                Fault::RepeatedToken,
                Fault::error("InternalServerErrorException"),
                Fault::error("ThrottlingException"),
                Fault::Answer { status: 200, headers: BTreeMap::new(), body: secrets().join(" ") },
            ]);
            let segments: Vec<String> = (0..faults.len()).map(|n| format!("segment-{n}")).collect();
            let mut world = World::default();
            for segment in &segments {
                world.segment(APP, segment);
            }
            let fake = FakePinpoint::start_with(world, Options { keys: vec![key()], ..Options::default() });
            let fake = fake.await.unwrap();
            for (fault, segment) in faults.into_iter().zip(&segments) {
                fake.fault(fault.always().of_segment(segment));
            }
            let targets: Vec<String> = segments.iter().map(|id| format!("{APP}/{id}")).collect();
            let key = key();
            let program = Program::start(&[
                ("AWS_ACCESS_KEY_ID", &key.access_key_id),
                ("AWS_SECRET_ACCESS_KEY", &key.secret_access_key),
                ("AWS_SESSION_TOKEN", key.session_token.as_deref().unwrap()),
                ("AWS_ENDPOINT_URL_PINPOINT", &fake.url()),
                ("PINPOINT_EXPORTER_TARGETS", &targets.join(" ")),
                // A request that hangs ends soon. On a busy machine others end with it, so this scrapes until all have failed.
                ("PINPOINT_EXPORTER_REQUEST_TIMEOUT", "3s"),
                ("PINPOINT_EXPORTER_CACHE_TTL", "0s"),
                ("PINPOINT_EXPORTER_MAX_ATTEMPTS", "2"),
                ("PINPOINT_EXPORTER_LOG_LEVEL", level),
            ]);
            let client = client();
            let mut pages = String::new();
            let all_have_failed = |pages: &str, log: &str| {
                pages.contains("exception=\"AccessDeniedException\"")
                    && pages.contains("<span class=\"state bad\">AccessDeniedException</span>: ")
                    && pages.contains("\"exception\":\"AccessDeniedException\"")
                    && log.lines().filter(|line| line.contains("AccessDeniedException")).count() >= 10
                    && log.contains("***")
            };
            within("the failures", async {
                while !all_have_failed(&pages, &program.log()) {
                    for path in ["/metrics", "/", "/api/v1/jobs", "/?status=x", "/-/ready", "/nothing"] {
                        let answer = client.get(format!("{}{path}", program.url)).send().await.unwrap();
                        pages.push_str(&format!("{:?}\n", answer.headers()));
                        pages.push_str(&answer.text().await.unwrap());
                    }
                }
            })
            .await;
            assert_clean("a page", &pages);
            let log = program.last_words().await;
            assert_clean("the log", &log);
            let paging = fake
                .requests()
                .iter()
                .find_map(|request| request.query.split_once("token=").map(|q| q.1.to_owned()));
            assert!(!log.contains(&paging.unwrap()), "a token of a listing is in the log");
        });
    }
}

#[test]
fn a_source_of_credentials_that_fails_tells_no_secret() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        let secret = secrets()[0].clone();
        let process = format!("sh -c 'echo {secret}; echo {secret} >&2; exit 1'");
        std::fs::write(&config, format!("[default]\ncredential_process = {process}\n")).unwrap();
        let program = Program::start(&[
            ("PATH", "/usr/bin:/bin"),
            ("AWS_CONFIG_FILE", config.to_str().unwrap()),
            ("AWS_ENDPOINT_URL_PINPOINT", "http://127.0.0.1:9"),
            ("PINPOINT_EXPORTER_TARGETS", "app/segment"),
            ("PINPOINT_EXPORTER_LOG_LEVEL", "trace"),
        ]);
        let client = client();
        let answer =
            client.get(format!("{}/metrics", program.url)).send().await.unwrap().text().await.unwrap();
        assert!(answer.contains("exception=\"CredentialsError\"} 1"));
        assert_clean("a page", &answer);
        let log = program.last_words().await;
        assert!(log.contains("CredentialsError"), "{log}");
        assert_clean("the log", &log);
    });
}

#[test]
fn a_secret_in_a_wrong_variable_or_argument_is_not_shown() {
    const KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    const TOKEN: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEyMyJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl";
    const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAhushMBMG\n-----END PRIVATE KEY-----\n";
    const YAML: &str = "basic_auth_users: {alice: hush-of-alice}";
    let parts = [KEY, "AKIAIOSFODNN7EXAMPLE", TOKEN, "MIGHAgEA", "hush"].map(str::to_owned);
    let good = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL_PINPOINT", "http://127.0.0.1:9"),
        ("PINPOINT_EXPORTER_TARGETS", "app/segment"),
    ];
    let settings = pinpoint_exporter::config::SETTINGS.iter().map(|setting| setting.variable);
    let others = [
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_PROFILE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_CA_BUNDLE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "AWS_USE_FIPS_ENDPOINT",
        "AWS_ENDPOINT_URL_PINPOINT",
        "AWS_ENDPOINT_URL_STS",
        "HTTPS_PROXY",
    ];
    let mut refused = 0;
    let mut check = |what: &str, arguments: &[&str], variables: &[(&str, &str)]| {
        let output = command(arguments, &[&good, variables].concat());
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        refused += usize::from(output.status.code() == Some(64));
        assert_lacks(what, &said, &parts);
    };
    for variable in settings.chain(others) {
        let is_path = variable.ends_with("_FILE") || variable == "AWS_CA_BUNDLE";
        for value in [KEY, "AKIAIOSFODNN7EXAMPLE", TOKEN, PEM].into_iter().chain(is_path.then_some(YAML)) {
            // What else they need to be looked at.
            let container = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9");
            let beside = match variable {
                "AWS_WEB_IDENTITY_TOKEN_FILE" => ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r"),
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" => container,
                "AWS_EC2_METADATA_SERVICE_ENDPOINT" => ("AWS_EC2_METADATA_DISABLED", "false"),
                "AWS_CONFIG_FILE" | "AWS_SHARED_CREDENTIALS_FILE" => ("AWS_PROFILE", "absent"),
                _ => ("PINPOINT_EXPORTER_LOG_FORMAT", "logfmt"),
            };
            check(&format!("{variable}={value}"), &["check"], &[beside, (variable, value)]);
        }
    }
    for secret in [KEY, "AKIAIOSFODNN7EXAMPLE", TOKEN, PEM] {
        for arguments in [
            &[secret][..],
            &[&format!("--password={secret}")],
            &["check", secret],
            &["check", &format!("--json={secret}")],
            &["--password=hush"],
            &["check", "--web.password=hush"],
            &["check", "--json=hush"],
            &["plan", "--segments", secret],
        ] {
            check(&format!("{arguments:?}"), arguments, &[]);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("targets");
    for secret in [KEY, "AKIAIOSFODNN7EXAMPLE", TOKEN, PEM] {
        std::fs::write(&file, format!("app/segment # a comment\n{secret}\n")).unwrap();
        let variable = ("PINPOINT_EXPORTER_TARGETS_FILE", file.to_str().unwrap());
        check(&format!("{secret} in a file of targets"), &["check"], &[variable]);
    }
    assert!(refused > 100, "{refused} are too few to be all that are refused");
}

#[test]
fn nothing_before_the_last_at_of_a_url_is_shown_encoded_or_not() {
    // They are longer than the six random characters of a temporary folder, whose name is shown.
    let hush = ["hushuser", "hushword", "hushhost"].map(str::to_owned);
    for url in [
        "http://hushuser:hushword@h",
        "http://hushuser%3Ahushword%40h",
        "http://hushuser%3Ahushword%40h/",
        "http://hushuser:hushword%2540h",
        "http://hushuser%253Ahushword%25252540h",
        "http://hushuser%3Ahushword%40hushhost@h",
        "http://hushuser@hushword%40h?hushword-of-the-query",
    ] {
        for variable in [
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL_PINPOINT",
            "AWS_ENDPOINT_URL_STS",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "NO_PROXY",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ] {
            let variables = [
                ("AWS_REGION", "eu-west-1"),
                ("AWS_EC2_METADATA_DISABLED", "false"),
                ("PINPOINT_EXPORTER_TARGETS", "app/segment"),
                ("AWS_ENDPOINT_URL_PINPOINT", "http://127.0.0.1:9"),
                (variable, url),
            ];
            let output = command(&["check"], &variables);
            let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
            assert_ne!(output.status.code(), Some(0), "{said}");
            assert_lacks(&format!("{variable}={url}"), &said, &hush);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    std::fs::write(&config, "[default]\nendpoint_url = http://hushuser%3Ahushword%40h\n").unwrap();
    let variables = [
        ("AWS_REGION", "eu-west-1"),
        ("PINPOINT_EXPORTER_TARGETS", "app/segment"),
        ("AWS_CONFIG_FILE", config.to_str().unwrap()),
    ];
    let said = String::from_utf8(command(&["check"], &variables).stderr).unwrap();
    assert!(said.contains("http://***%40h"), "{said}");
    assert_lacks("a profile", &said, &hush);
}

#[test]
fn the_settings_that_the_page_shows_hold_no_secret() {
    run(async {
        let secret = secrets()[0].clone();
        let url = format!("https://user:{secret}@host/path?token={secret}#{secret}");
        let key = key();
        let program = Program::start(&[
            ("AWS_ACCESS_KEY_ID", &key.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &key.secret_access_key),
            ("AWS_SESSION_TOKEN", key.session_token.as_deref().unwrap()),
            // None of them is used, so none of them is refused.
            ("AWS_ENDPOINT_URL_PINPOINT", &url),
            ("AWS_ENDPOINT_URL", &url),
            ("AWS_ENDPOINT_URL_STS", &url),
            ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
            ("HTTPS_PROXY", &format!("http://user:{secret}@127.0.0.1:9")),
            (
                "PINPOINT_EXPORTER_TARGETS",
                "arn:aws:mobiletargeting:eu-west-1:123456789012:apps/app/segments/s",
            ),
            ("PINPOINT_EXPORTER_ROLE_ARNS", "arn:aws:iam::123456789012:role/reader"),
            ("PINPOINT_EXPORTER_ROLE_EXTERNAL_ID", &secret),
        ]);
        for path in ["/", "/api/v1/jobs"] {
            let answer =
                client().get(format!("{}{path}", program.url)).send().await.unwrap().text().await.unwrap();
            assert_clean(path, &answer);
            for shown in
                ["https://***@host/path?***", "PINPOINT_EXPORTER_ROLE_EXTERNAL_ID", "role/reader", "***"]
            {
                assert!(answer.contains(shown), "{path} lacks {shown}: {answer}");
            }
        }
        assert_clean("the log", &program.last_words().await);
    });
}
