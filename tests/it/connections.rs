//! Connections that fail, and answers that are not Amazon Pinpoint's: what the page, the JSON, the log and `check` say of them.

use std::{net::SocketAddr, sync::Arc};

use fake_pinpoint::{FakePinpoint, Options, world::World};
use rcgen::{CertificateParams, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    error_texts::assert_readable,
    support::{
        harness::{Plan, closed_address, run, run_in_virtual_time},
        program::{Program, command_async},
        tls,
    },
};

/// What a server does with a connection.
#[derive(Clone, Copy)]
enum Behaviour {
    /// Reads a request and answers with these bytes, as long as it is asked.
    Answer(&'static str),
    /// Closes it when the request is there.
    Close,
    /// Resets it when the request is there.
    Reset,
}

async fn server(behaviour: Behaviour) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 8192];
            let _ = socket.read(&mut request).await;
            match behaviour {
                Behaviour::Answer(answer) => drop(socket.write_all(answer.as_bytes()).await),
                Behaviour::Close => {}
                Behaviour::Reset => socket.set_zero_linger().unwrap(),
            }
        }
    });
    address
}

/// A TLS server that shows a certificate for a name, valid for these days from now.
fn certificate(name: &str, days: std::ops::Range<i64>) -> (Arc<ServerConfig>, String) {
    tls::self_signed();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    #[expect(clippy::disallowed_methods, reason = "certificates live by the machine's date")]
    let now = OffsetDateTime::from(std::time::SystemTime::now());
    (params.not_before, params.not_after) =
        (now + Duration::days(days.start), now + Duration::days(days.end));
    let certificate = params.self_signed(&key).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).unwrap()), certificate.pem())
}

/// The label and the message of the only target's error, after one scrape. Page and JSON say the same.
async fn error_of(plan: Plan) -> (String, String) {
    let harness = plan.build().await;
    harness.scrape().await;
    let get = async |path: &str| {
        let answer = harness.client.get(format!("{}{path}", harness.url)).send().await.unwrap();
        answer.text().await.unwrap()
    };
    let json: Value = serde_json::from_str(&get("/api/v1/jobs").await).unwrap();
    let error = &json["targets"]["items"][0]["error"];
    let text = |member: &str| error[member].as_str().unwrap_or_else(|| panic!("{json}")).to_owned();
    let message = text("message");
    let escaped = message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let page = get("/").await;
    assert!(page.contains(&escaped), "{message}\n{page}");
    assert_readable(&message);
    (text("exception"), message)
}

async fn error_at(endpoint: &str) -> (String, String) {
    error_of(Plan::new().endpoint(endpoint)).await
}

#[test]
fn a_connection_that_fails_is_told_with_the_url_what_happened_and_the_cure() {
    run(async {
        let closed = closed_address();
        let plain = server(Behaviour::Answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")).await;
        let mail = server(Behaviour::Answer("220 mail.example.com ESMTP\r\n\r\n")).await;
        let (hangs_up, resets) = (server(Behaviour::Close).await, server(Behaviour::Reset).await);
        let short = server(Behaviour::Answer("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")).await;
        let chunk =
            server(Behaviour::Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n")).await;
        let (tls_server, _) = tls::self_signed();
        let options = Options { tls: Some(tls_server), ..Options::default() };
        let tls = FakePinpoint::start_with(World::default(), options).await.unwrap();
        let tls = tls.url().rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
        for (endpoint, exception, expected) in [
            (
                format!("http://{closed}"),
                "ConnectionError",
                ": the server refused the connection; check the address",
            ),
            (
                format!("https://{closed}"),
                "ConnectionError",
                ": the server refused the connection; check the address",
            ),
            ("http://no-such-host.invalid:81".to_owned(), "ConnectionError", "does not resolve ("),
            (
                "https://pinpoint.eu-wset-1.amazonaws.com.invalid".to_owned(),
                "ConnectionError",
                "; check the endpoint URL, and DNS",
            ),
            (format!("https://{plain}"), "TlsError", "answers without TLS; write http://"),
            (format!("https://{mail}"), "TlsError", "answers without TLS; write http://"),
            (
                format!("https://{hangs_up}"),
                "ConnectionError",
                "closed the connection during the TLS handshake",
            ),
            (
                format!("https://{resets}"),
                "ConnectionError",
                "closed the connection during the TLS handshake",
            ),
            (format!("http://{mail}"), "InvalidResponse", "does not answer in HTTP/1.1; check the URL"),
            (
                format!("http://{hangs_up}"),
                "ConnectionError",
                "closed the connection before its answer was whole",
            ),
            (
                format!("http://{resets}"),
                "ConnectionError",
                "reset the connection before its answer was whole",
            ),
            (
                format!("http://{short}"),
                "ConnectionError",
                "closed the connection before its answer was whole",
            ),
            (format!("http://{chunk}"), "ConnectionError", "cannot be read: "),
            (format!("http://localhost:{tls}"), "InvalidResponse", "if it speaks TLS, write https://"),
            (format!("https://localhost:{tls}"), "TlsError", "PEM file with its authority in AWS_CA_BUNDLE"),
        ] {
            let (found, message) = error_at(&endpoint).await;
            assert!(message.contains(&endpoint) && message.contains(expected), "{endpoint}: {message}");
            assert_eq!(found, exception, "{message}");
        }
    });
}

#[test]
fn a_request_that_times_out_names_the_url() {
    run_in_virtual_time(async {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", silent.local_addr().unwrap());
        let plan = Plan::new().set("REQUEST_TIMEOUT", "50ms").endpoint(&endpoint);
        let expected = format!(
            "{endpoint} gave no complete answer within 50ms; check the network, or raise PINPOINT_EXPORTER_REQUEST_TIMEOUT"
        );
        assert_eq!(error_of(plan).await, ("Timeout".to_owned(), expected));
    });
}

#[test]
fn a_certificate_that_cannot_be_used_is_told_in_words_with_the_cure() {
    for (name, days, expected) in [
        ("localhost", -20..-10, "; renew the certificate, or set the clock"),
        ("localhost", 10..20, "; set the clock, or replace the certificate"),
        ("elsewhere.example", -1..10, "is for elsewhere.example, not for localhost; check the host"),
    ] {
        run(async move {
            let (config, pem) = certificate(name, days);
            let folder = tempfile::tempdir().unwrap();
            let bundle = folder.path().join("bundle.pem");
            std::fs::write(&bundle, pem).unwrap();
            let plan = Plan::new().aws("AWS_CA_BUNDLE", bundle.to_str().unwrap());
            let plan = plan.fake(|options| options.tls = Some(config));
            let (exception, message) = error_of(plan).await;
            assert_eq!(exception, "TlsError", "{message}");
            assert!(message.starts_with("the certificate of https://localhost:"), "{message}");
            assert!(message.contains(expected), "{message}");
        });
    }
}

#[test]
fn an_answer_that_is_not_pinpoints_keeps_its_label_and_names_the_url() {
    run(async {
        for (answer, exception, expected) in [
            (
                "HTTP/1.1 404 Not Found\r\nServer: nginx\r\nContent-Length: 7\r\n\r\n<html>x",
                "NotFoundException",
                " answered 404 Not Found with HTML (server: nginx), which does not look like",
            ),
            (
                "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
                "ForbiddenException",
                " answered 403 Forbidden, ",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
                "InvalidResponse",
                " answered 200 OK with HTML, ",
            ),
            (
                "HTTP/1.1 302 Found\r\nLocation: https://login.example/x?hush\r\nContent-Length: 0\r\n\r\n",
                "Other",
                " answered 302 Found with a redirect to https://login.example, ",
            ),
            (
                "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
                "Other",
                "asks for a user name and password (407)",
            ),
        ] {
            let endpoint = format!("http://{}", server(Behaviour::Answer(answer)).await);
            let (found, message) = error_at(&endpoint).await;
            assert_eq!(found, exception, "{message}");
            assert!(message.contains(&endpoint) && message.contains(expected), "{message}");
            assert!(!message.contains("hush"), "{message}");
        }
    });
}

/// The variables of an exporter that reads one segment at this address.
fn variables(endpoint: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_REGION", "eu-west-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()),
        ("AWS_ENDPOINT_URL_PINPOINT", endpoint.to_owned()),
        ("PINPOINT_EXPORTER_TARGETS", "app/segment".to_owned()),
        ("PINPOINT_EXPORTER_MAX_ATTEMPTS", "1".to_owned()),
    ]
}

async fn check(variables: Vec<(&'static str, String)>) -> String {
    let output = command_async(&["check"], &variables).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_readable(&text);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn check_and_the_log_name_the_url_too() {
    run(async {
        let endpoint = format!("http://{}", closed_address());
        let expected = format!("cannot connect to {endpoint}: the server refused the connection");
        let text = check(variables(&endpoint)).await;
        assert!(text.contains(&expected), "{text}");
        let variables = variables(&endpoint);
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let program = Program::start(&variables);
        program.scrape().await;
        let log = program.last_words().await;
        assert!(log.contains(&expected), "{log}");
        assert_readable(&log);
    });
}

#[test]
fn an_answer_that_is_not_pinpoints_makes_check_print_no_policy() {
    run(async {
        let gateway = server(Behaviour::Answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")).await;
        let text = check(variables(&format!("http://{gateway}"))).await;
        assert!(text.contains("does not look like Amazon Pinpoint's answer"), "{text}");
        assert!(!text.contains("Statement"), "{text}");
    });
}

#[test]
fn a_proxy_that_refuses_or_is_not_there_is_named_without_its_password() {
    run(async {
        let closed = closed_address();
        let refuses = server(Behaviour::Answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")).await;
        let asks = server(Behaviour::Answer(
            "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        ))
        .await;
        let (mail, hangs_up) =
            (server(Behaviour::Answer("220 mail\r\n\r\n")).await, server(Behaviour::Close).await);
        let secure = "https://pinpoint.example";
        for (endpoint, proxy, expected) in [
            (secure, closed, "the proxy http://PROXY refused the connection"),
            ("http://pinpoint.example", closed, "the proxy http://PROXY refused the connection"),
            (
                secure,
                refuses,
                "the proxy http://PROXY refused to connect to https://pinpoint.example; allow it there",
            ),
            (
                secure,
                asks,
                "the proxy http://PROXY refused to connect to https://pinpoint.example: it asks for a user name",
            ),
            (secure, hangs_up, "the proxy http://PROXY closed the connection"),
            (secure, mail, "the proxy http://PROXY refused to connect to https://pinpoint.example"),
            ("http://pinpoint.example", asks, "asks for a user name and password (407)"),
        ] {
            let mut variables = variables(endpoint);
            let url = format!("http://user:hush@{proxy}");
            variables.extend([
                ("HTTP_PROXY", url.clone()),
                ("HTTPS_PROXY", url),
                ("NO_PROXY", String::new()),
            ]);
            let text = check(variables).await;
            assert!(text.contains(&expected.replace("PROXY", &proxy.to_string())), "{text}");
            assert!(text.contains(endpoint) && !text.contains("hush"), "{text}");
        }
    });
}
