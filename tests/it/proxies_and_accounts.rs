//! The program in its surroundings: proxies, sources of credentials, accounts. Everything is on loopback.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use fake_pinpoint::{FakePinpoint, Options, world::World};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::support::{
    harness::{client, closed_address, run},
    program::{Program, command},
    text_format::{Scrape, parse},
    tls,
};

const TARGET: (&str, &str) = ("PINPOINT_EXPORTER_TARGETS", "app/segment");
const ARN: (&str, &str) =
    ("PINPOINT_EXPORTER_TARGETS", "arn:aws:mobiletargeting:eu-west-1:123456789012:apps/app/segments/segment");

fn world() -> World {
    let mut world = World::default();
    world.segment("app", "segment");
    world
}

fn key() -> [(&'static str, &'static str); 2] {
    [
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ]
}

async fn scrape(program: &Program) -> Scrape {
    let answer = client().get(format!("{}/metrics", program.url)).send().await.unwrap();
    parse(&answer.text().await.unwrap()).unwrap()
}

fn error(scrape: &Scrape) -> Option<String> {
    scrape.samples("pinpoint_target_error", &[]).first().map(|sample| sample.labels["exception"].clone())
}

/// A server whose answer to every request is this body; it keeps the requests.
async fn answering(content_type: &'static str, body: String) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    answering_with("200 OK", content_type, body).await
}

async fn answering_with(
    status: &'static str,
    content_type: &'static str,
    body: String,
) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let request = read_request(&mut socket).await;
            kept.lock().unwrap().push(request);
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n",
                body.len()
            );
            let _ = socket.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes()).await;
        }
    });
    (address, requests)
}

/// A request with its body, which may come in several packets.
async fn read_request(socket: &mut TcpStream) -> String {
    let mut request = String::new();
    let mut part = [0; 4 * 1024];
    loop {
        if let Some((head, body)) = request.split_once("\r\n\r\n") {
            let length =
                |line: &str| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok();
            if body.len() >= head.lines().find_map(length).unwrap_or(0) {
                return request;
            }
        }
        match socket.read(&mut part).await {
            Ok(read) if read > 0 => request.push_str(&String::from_utf8_lossy(&part[..read])),
            _ => return request,
        }
    }
}

/// A proxy that lets every CONNECT through to one address, and keeps what was asked for.
async fn proxy(to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match socket.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            kept.lock().unwrap().push(line);
            tokio::spawn(async move {
                let mut upstream = TcpStream::connect(to).await.unwrap();
                socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = copy_bidirectional(&mut socket, &mut upstream).await;
            });
        }
    });
    (address, asked)
}

/// A URL that refuses every connection.
fn nobody() -> String {
    format!("http://{}", closed_address())
}

#[test]
fn a_proxy_is_used_unless_no_proxy_names_the_host() {
    run(async {
        let (server, pem) = tls::self_signed();
        let options = Options { tls: Some(server), ..Options::default() };
        let fake = FakePinpoint::start_with(world(), options).await.unwrap();
        let (proxy, asked) = proxy(fake.address()).await;
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("bundle.pem");
        std::fs::write(&bundle, pem).unwrap();
        for (no_proxy, through) in [("", 1), ("localhost", 0)] {
            asked.lock().unwrap().clear();
            let (proxy, url) = (format!("http://{proxy}"), fake.url());
            let mut variables = vec![
                TARGET,
                ("HTTPS_PROXY", proxy.as_str()),
                ("NO_PROXY", no_proxy),
                ("AWS_CA_BUNDLE", bundle.to_str().unwrap()),
                ("AWS_ENDPOINT_URL_PINPOINT", &url),
            ];
            variables.extend(key());
            let program = Program::start(&variables);
            assert_eq!(error(&scrape(&program).await), None, "{}", program.log());
            let asked = asked.lock().unwrap().clone();
            assert_eq!(asked.len(), through, "{asked:?}");
            assert!(asked.iter().all(|line| line.starts_with("CONNECT localhost:")), "{asked:?}");
        }
    });
}

#[test]
fn a_container_gives_credentials_once_and_past_any_proxy() {
    run(async {
        let key = fake_pinpoint::Key {
            session_token: Some("container/token+==".to_owned()),
            ..Options::default_key()
        };
        let body = json!({
            "AccessKeyId": key.access_key_id, "SecretAccessKey": key.secret_access_key, "Token": key.session_token,
            "Expiration": "2099-01-01T00:00:00Z",
        });
        let options = Options { keys: vec![key], ..Options::default() };
        let fake = FakePinpoint::start_with(world(), options).await.unwrap();
        let (container, requests) = answering("application/json", body.to_string()).await;
        let (url, proxy, endpoint) = (format!("http://{container}/"), nobody(), fake.url());
        let program = Program::start(&[
            TARGET,
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "let me in"),
            ("HTTP_PROXY", &proxy),
            ("NO_PROXY", fake.address().ip().to_string().as_str()),
            ("AWS_ENDPOINT_URL_PINPOINT", &endpoint),
            ("PINPOINT_EXPORTER_CACHE_TTL", "0s"),
        ]);
        for _ in 0..3 {
            assert_eq!(error(&scrape(&program).await), None, "{}", program.log());
        }
        let requests = requests.lock().unwrap().clone();
        assert_eq!((requests.len(), fake.requests().len()), (1, 3));
        assert!(requests[0].to_lowercase().contains("authorization: let me in"));
    });
}

#[test]
fn a_profile_gives_the_region_and_the_credentials() {
    run(async {
        let fake = FakePinpoint::start_with(
            world(),
            Options { regions: vec!["us-west-2".to_owned()], ..Options::default() },
        );
        let fake = fake.await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        let [(_, id), (_, secret)] = key();
        let text = format!(
            "[profile mine]\nregion = us-west-2\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n"
        );
        std::fs::write(&config, text).unwrap();
        let endpoint = fake.url();
        let program = Program::start(&[
            TARGET,
            ("AWS_REGION", ""),
            ("AWS_PROFILE", "mine"),
            ("AWS_CONFIG_FILE", config.to_str().unwrap()),
            ("AWS_ENDPOINT_URL_PINPOINT", &endpoint),
        ]);
        let scrape = scrape(&program).await;
        assert_eq!(error(&scrape), None, "{}", program.log());
        assert_eq!(scrape.value("pinpoint_target_up", &[("aws_region", "us-west-2")]), Some(1.0));
    });
}

/// Requests for Pinpoint itself end at a proxy where nobody listens.
async fn with_an_arn(more: &[(&str, &str)]) -> (Scrape, String) {
    let nobody = nobody();
    let mut variables = vec![ARN, ("HTTPS_PROXY", nobody.as_str()), ("NO_PROXY", "")];
    variables.extend(key());
    variables.extend(more);
    let program = Program::start(&variables);
    (scrape(&program).await, program.last_words().await)
}

#[test]
fn credentials_of_another_account_than_the_arns_never_reach_pinpoint() {
    run(async {
        let (scrape, log) = with_an_arn(&[("AWS_ACCOUNT_ID", "999999999999")]).await;
        assert_eq!(error(&scrape).as_deref(), Some("CredentialsError"));
        assert_eq!(scrape.sum("pinpoint_api_requests_total", &[]), 0);
        assert!(
            log.contains("belong to account 999999999999") && log.contains("to account 123456789012"),
            "{log}"
        );
    });
}

#[test]
fn credentials_without_an_account_id_are_asked_for_it_through_sts() {
    let identity = |account: &str| {
        format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>arn:aws:iam::{account}:user/u</Arn><UserId>AIDA</UserId><Account>{account}</Account>\
             </GetCallerIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>\
             </GetCallerIdentityResponse>"
        )
    };
    for (account, expected) in [("123456789012", "ConnectionError"), ("210987654321", "CredentialsError")] {
        run(async move {
            let (sts, requests) = answering("text/xml", identity(account)).await;
            let sts = format!("http://{sts}");
            let more = [("AWS_ENDPOINT_URL_STS", sts.as_str()), ("PINPOINT_EXPORTER_MAX_ATTEMPTS", "1")];
            let (scrape, log) = with_an_arn(&more).await;
            assert_eq!(error(&scrape).as_deref(), Some(expected), "{log}");
            let requests = requests.lock().unwrap().clone();
            assert_eq!(requests.len(), 1);
            assert!(requests[0].contains("/sts/aws4_request"), "{requests:?}");
        });
    }
}

/// What STS answers to `AssumeRole`, with the credentials of a role in that account.
fn assumed(account: &str, key: &fake_pinpoint::Key) -> String {
    format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><AssumedRoleUser>\
         <AssumedRoleId>AROA:pinpoint-exporter</AssumedRoleId>\
         <Arn>arn:aws:sts::{account}:assumed-role/reader/pinpoint-exporter</Arn></AssumedRoleUser><Credentials>\
         <AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>{}</SessionToken>\
         <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>\
         <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></AssumeRoleResponse>",
        key.access_key_id,
        key.secret_access_key,
        key.session_token.as_deref().unwrap()
    )
}

const ROLE: (&str, &str) = ("PINPOINT_EXPORTER_ROLE_ARNS", "arn:aws:iam::123456789012:role/reader");

#[test]
fn an_arns_account_picks_the_role_to_assume_and_its_credentials_are_used() {
    run(async {
        let key = fake_pinpoint::Key {
            access_key_id: "ASIAOFTHEROLE0000000".to_owned(),
            session_token: Some("of/the+role==".to_owned()),
            ..Options::default_key()
        };
        let (sts, requests) = answering("text/xml", assumed("123456789012", &key)).await;
        let options = Options { keys: vec![key], ..Options::default() };
        let fake = FakePinpoint::start_with(world(), options).await.unwrap();
        let (sts, endpoint) = (format!("http://{sts}"), fake.url());
        let more = [
            ROLE,
            ("PINPOINT_EXPORTER_ROLE_EXTERNAL_ID", "between-us"),
            ("AWS_ENDPOINT_URL_STS", sts.as_str()),
            ("AWS_ENDPOINT_URL_PINPOINT", &endpoint),
            ("PINPOINT_EXPORTER_LOG_LEVEL", "debug"),
        ];
        let (scrape, log) = with_an_arn(&more).await;
        assert_eq!(error(&scrape), None, "{log}");
        let requests = requests.lock().unwrap().clone();
        assert_eq!(requests.len(), 1, "{requests:?}");
        for part in [
            "Action=AssumeRole",
            "role%2Freader",
            "RoleSessionName=pinpoint-exporter",
            "ExternalId=between-us",
        ] {
            assert!(requests[0].contains(part), "{part}: {requests:?}");
        }
        assert!(!log.contains("between-us") && !log.contains("of/the+role"), "{log}");
    });
}

#[test]
fn a_role_that_is_refused_or_leads_to_another_account_is_a_credentials_error() {
    let refused = "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
                   <Code>AccessDenied</Code><Message>User is not authorized to perform: sts:AssumeRole</Message></Error>\
                   <RequestId>r</RequestId></ErrorResponse>";
    let key = fake_pinpoint::Key { session_token: Some("t".to_owned()), ..Options::default_key() };
    for (status, body, why) in [
        (
            "403 Forbidden",
            refused.to_owned(),
            "sts:AssumeRole is refused; check the policy of the caller, the trust policy of the role, and \
          PINPOINT_EXPORTER_ROLE_EXTERNAL_ID (AccessDenied: User is not authorized to perform: sts:AssumeRole)",
        ),
        ("200 OK", assumed("999999999999", &key), "belong to account 999999999999"),
    ] {
        run(async move {
            let (sts, _) = answering_with(status, "text/xml", body).await;
            let sts = format!("http://{sts}");
            let (scrape, log) = with_an_arn(&[ROLE, ("AWS_ENDPOINT_URL_STS", &sts)]).await;
            assert_eq!(error(&scrape).as_deref(), Some("CredentialsError"), "{log}");
            assert_eq!(scrape.sum("pinpoint_api_requests_total", &[]), 0);
            assert!(log.contains(why), "{log}");
        });
    }
}

#[test]
fn what_is_wrong_with_a_source_of_credentials_is_said_with_the_cure() {
    run(async {
        let refused = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized to perform \
                       sts:AssumeRoleWithWebIdentity</Message></Error><RequestId>r</RequestId></ErrorResponse>";
        let (sts, _) = answering_with("403 Forbidden", "text/xml", refused.to_owned()).await;
        let folder = tempfile::tempdir().unwrap();
        let (config, token, sts) =
            (folder.path().join("config"), folder.path().join("token"), format!("http://{sts}"));
        let text = "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = nowhere\n\
                    [profile sso]\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\n\
                    [sso-session s]\nsso_region = eu-west-1\nsso_start_url = https://portal.example.com/start\n";
        std::fs::write(&config, text).unwrap();
        std::fs::write(&token, "a-token").unwrap();
        let role = ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r");
        for (variables, expected) in [
            (vec![], "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
            (
                vec![("AWS_PROFILE", "role")],
                "config, line 3): the profile nowhere does not exist; correct the name",
            ),
            (vec![("AWS_PROFILE", "sso")], "failed to load the cached SSO token; run aws sso login"),
            (
                vec![role, ("AWS_WEB_IDENTITY_TOKEN_FILE", "/no/such/token")],
                "cannot be read (no such file or directory); check the file that AWS_WEB_IDENTITY_TOKEN_FILE",
            ),
            (
                vec![role, ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap())],
                "sts:AssumeRoleWithWebIdentity is refused; check AWS_ROLE_ARN and the trust policy of the role \
                 (AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity)",
            ),
        ] {
            let own = [
                TARGET,
                ("AWS_REGION", "eu-west-1"),
                ("HOME", folder.path().to_str().unwrap()),
                ("AWS_CONFIG_FILE", config.to_str().unwrap()),
                ("AWS_ENDPOINT_URL_STS", &sts),
                ("AWS_ENDPOINT_URL_PINPOINT", "http://127.0.0.1:9"),
            ];
            let output = command(&["check"], &[&own, &variables[..]].concat());
            let text = String::from_utf8(output.stdout).unwrap();
            let unwrapped = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(unwrapped.contains(expected), "{variables:?}: {text}");
        }
    });
}

#[test]
fn with_an_endpoint_of_ones_own_an_arn_is_taken_at_its_word() {
    run(async {
        let fake = FakePinpoint::start(world()).await.unwrap();
        let url = fake.url();
        let (scrape, log) =
            with_an_arn(&[("AWS_ENDPOINT_URL", &url), ("AWS_ACCOUNT_ID", "999999999999")]).await;
        assert_eq!(error(&scrape), None, "{log}");
        assert_eq!(scrape.value("pinpoint_target_up", &[("aws_account_id", "123456789012")]), Some(1.0));
    });
}

#[test]
fn a_ca_bundle_that_is_missing_or_holds_no_certificate_ends_the_start_with_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    for (path, why) in
        [("/no/such/bundle.pem", "cannot be read"), (empty.to_str().unwrap(), "no certificate in PEM")]
    {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_pinpoint-exporter"))
            .env_clear()
            .envs([TARGET, ("AWS_REGION", "eu-west-1"), ("AWS_CA_BUNDLE", path)])
            .env("PINPOINT_EXPORTER_LISTEN_ADDRESS", "127.0.0.1:0")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(text.contains("AWS_CA_BUNDLE") && text.contains(path) && text.contains(why), "{text}");
    }
}
