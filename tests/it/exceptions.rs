//! Every label of the closed list of exceptions, produced by an API over a socket and counted under its name.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    net::SocketAddr,
    sync::Arc,
};

use fake_pinpoint::{
    Key, Options,
    fault::{Fault, Place},
};
use flate2::{Compression, write::GzEncoder};
use pinpoint_exporter::{model::exception::Exception, pinpoint::Operation};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{
    harness::{Harness, Plan, closed_address, credentials, run, run_in_virtual_time},
    text_format::Scrape,
    tls,
};

/// The list, as the contract writes it.
const CLOSED_LIST: &str = "BadRequestException InternalServerErrorException PayloadTooLargeException ForbiddenException \
    NotFoundException MethodNotAllowedException TooManyRequestsException AccessDeniedException ExpiredTokenException \
    UnrecognizedClientException InvalidSignatureException SignatureDoesNotMatch MissingAuthenticationTokenException \
    IncompleteSignatureException RequestExpired RequestTimeTooSkewed OptInRequired UnknownOperationException \
    ThrottlingException InternalFailure ServiceUnavailableException Timeout ConnectionError TlsError InvalidResponse \
    CredentialsError Other";

const OPERATION: (&str, &str) = ("operation", "GetSegmentExportJobs");

/// The labels counted so far, with their numbers.
fn counted(scrape: &Scrape) -> Vec<(String, u32)> {
    let samples = scrape.samples("pinpoint_api_errors_total", &[OPERATION]);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few errors")]
    let counted = samples.iter().map(|sample| (sample.labels["exception"].clone(), sample.value as u32));
    counted.filter(|(_, count)| *count > 0).collect()
}

/// Asserts that exactly this was counted, and that the target is down for it.
async fn assert_counted(harness: &Harness, label: &str) {
    let scrape = harness.scrape().await;
    assert_eq!(counted(&scrape), [(label.to_owned(), 1)]);
    assert_eq!(scrape.value("pinpoint_target_error", &[("exception", label)]), Some(1.0), "{label}");
    harness.assert_equation(0).await;
}

#[test]
fn every_combination_is_there_from_the_start_at_zero() {
    run(async {
        let harness = Plan::new().build().await;
        harness.source.give(None);
        let scrape = harness.scrape().await;
        let wanted: BTreeSet<_> = CLOSED_LIST.split_whitespace().collect();
        assert_eq!(wanted, Exception::ALL.iter().map(|exception| exception.name()).collect());
        for operation in Operation::ALL.map(Operation::name) {
            for exception in &wanted {
                let labels = [("operation", operation), ("exception", *exception)];
                let value = scrape.value("pinpoint_api_errors_total", &labels);
                let expected = operation == OPERATION.1 && *exception == "CredentialsError";
                assert_eq!(value, Some(f64::from(u8::from(expected))), "{labels:?}");
            }
        }
        assert_eq!(
            scrape.samples("pinpoint_api_errors_total", &[]).len(),
            Operation::ALL.len() * wanted.len()
        );
    });
}

#[test]
fn every_name_that_aws_gives_is_counted_under_it() {
    let names = CLOSED_LIST.split_whitespace().take(21);
    for name in names {
        run(async move {
            let harness = Plan::new().build().await;
            harness.fake.fault(Fault::error(name).times(1));
            assert_counted(&harness, name).await;
        });
    }
}

#[test]
fn a_name_is_found_in_every_place_and_form() {
    let other = "Other";
    for (name, place, label) in [
        ("NotFoundException", Place::Type, "NotFoundException"),
        ("NotFoundException", Place::Code, "NotFoundException"),
        ("NotFoundException:", Place::Header, "NotFoundException"),
        ("ThrottlingException:http://internal.amazon.com/#x", Place::Header, "ThrottlingException"),
        ("com.amazonaws.pinpoint#ForbiddenException", Place::Type, "ForbiddenException"),
        ("aws#TooManyRequestsException:http://a/#b", Place::Code, "TooManyRequestsException"),
        ("Throttling", Place::Header, "ThrottlingException"),
        ("ServiceUnavailable", Place::Type, "ServiceUnavailableException"),
        ("SignatureDoesNotMatchException", Place::Header, "SignatureDoesNotMatch"),
        ("InternalServerError", Place::Header, "InternalServerErrorException"),
        ("SomethingNewException", Place::Header, other),
        ("notfoundexception", Place::Header, other),
        // Names that the exporter itself gives are none of AWS's.
        ("Timeout", Place::Header, other),
        ("CredentialsError", Place::Type, other),
    ] {
        run(async move {
            let harness = Plan::new().build().await;
            let fault = Fault::Error {
                name: name.to_owned(),
                status: None,
                place,
                message: None,
                headers: BTreeMap::new(),
            };
            harness.fake.fault(fault.times(1));
            assert_counted(&harness, label).await;
        });
    }
}

#[test]
fn without_a_name_the_status_decides_and_with_an_unknown_one_it_does_not() {
    for (status, label) in [
        (400, "BadRequestException"),
        (403, "ForbiddenException"),
        (404, "NotFoundException"),
        (405, "MethodNotAllowedException"),
        (413, "PayloadTooLargeException"),
        (429, "TooManyRequestsException"),
        (500, "InternalServerErrorException"),
        (502, "InternalServerErrorException"),
        (503, "ServiceUnavailableException"),
        (504, "InternalServerErrorException"),
        (401, "Other"),
        (410, "Other"),
        (302, "Other"),
    ] {
        for body in ["", "<html>no</html>", "{}", r#"{"__type":5,"code":null}"#] {
            run(async move {
                let harness = Plan::new().build().await;
                let fault = Fault::Answer { status, headers: BTreeMap::new(), body: body.to_owned() };
                harness.fake.fault(fault.times(1));
                assert_counted(&harness, label).await;
            });
        }
        run(async move {
            let harness = Plan::new().build().await;
            let body = r#"{"__type":"NobodyKnows"}"#.to_owned();
            harness.fake.fault(Fault::Answer { status, headers: BTreeMap::new(), body }.times(1));
            assert_counted(&harness, "Other").await;
        });
    }
}

#[test]
fn an_answer_that_does_not_come_in_time_is_a_timeout() {
    for fault in [Fault::Hang, Fault::HangInBody, Fault::Drip { bytes: 1, milliseconds: 100 }] {
        run_in_virtual_time(async move {
            let harness = Plan::new().set("REQUEST_TIMEOUT", "200ms").build().await;
            harness.fake.fault(fault.times(1));
            assert_counted(&harness, "Timeout").await;
        });
    }
}

#[test]
fn a_connection_that_breaks_or_cannot_be_made_is_a_connection_error() {
    for fault in [Fault::Reset, Fault::ResetInBody, Fault::Truncated] {
        run(async move {
            let harness = Plan::new().build().await;
            harness.fake.fault(fault.times(1));
            assert_counted(&harness, "ConnectionError").await;
        });
    }
    run(async {
        let harness = Plan::new().endpoint(&format!("http://{}", closed_address())).build().await;
        assert_counted(&harness, "ConnectionError").await;
    });
    run(async {
        let harness = Plan::new().endpoint("http://no-such-host.invalid").build().await;
        assert_counted(&harness, "ConnectionError").await;
    });
}

#[test]
fn answers_that_are_not_what_the_operation_answers_are_invalid() {
    for fault in [
        Fault::Html,
        Fault::Wrapped,
        Fault::Empty,
        Fault::NoItem,
        Fault::CorruptGzip,
        Fault::Oversized { mebibytes: 64, gzip: false },
        Fault::Oversized { mebibytes: 64, gzip: true },
        Fault::Answer {
            status: 200,
            headers: [("Content-Encoding".to_owned(), "br".to_owned())].into(),
            body: "x".to_owned(),
        },
        Fault::Answer { status: 204, headers: BTreeMap::new(), body: String::new() },
    ] {
        run(async move {
            let harness = Plan::new().build().await;
            harness.fake.fault(fault.times(1));
            assert_counted(&harness, "InvalidResponse").await;
        });
    }
    run(async {
        let harness = Plan::new().endpoint(&format!("http://{}", no_http().await)).build().await;
        assert_counted(&harness, "InvalidResponse").await;
    });
}

fn encoded(status: u16, coding: &str, body: &[u8]) -> Fault {
    let headers = [("Content-Encoding".to_owned(), coding.to_owned())].into();
    Fault::AnswerBytes { status, headers, body: body.to_vec() }
}

#[test]
fn content_encodings_are_read_as_http_writes_them() {
    let plain = br#"{"Item":[]}"#.to_vec();
    let once = packed(&plain);
    let twice = packed(&once);
    for (coding, body) in [
        ("Identity", plain),
        ("GZIP", once.clone()),
        ("X-GZip", once.clone()),
        ("identity, gzip", once.clone()),
        (" , gzip ,identity,", once),
        ("gzip, gzip", twice),
    ] {
        run(async move {
            let harness = Plan::new().build().await;
            harness.fake.fault(encoded(200, coding, &body).times(1));
            let scrape = harness.scrape().await;
            assert_eq!(counted(&scrape), [], "{coding}");
            assert_eq!(scrape.value("pinpoint_target_up", &[]), Some(1.0), "{coding}");
        });
    }
    for coding in ["gzip, br", "gzip, gzip, gzip, gzip, gzip", "gzip"] {
        run(async move {
            let harness = Plan::new().build().await;
            harness.fake.fault(encoded(200, coding, br#"{"Item":[]}"#).times(1));
            assert_counted(&harness, "InvalidResponse").await;
        });
    }
}

#[test]
fn an_error_whose_body_cannot_be_read_is_counted_by_its_status_and_headers() {
    let large = packed(&vec![b' '; 2 * 1024 * 1024]);
    for (coding, body) in [("br", b"x".to_vec()), ("gzip", b"no gzip".to_vec()), ("gzip", large)] {
        run(async move {
            let harness = Plan::new().build().await;
            harness.fake.fault(encoded(404, coding, &body).times(1));
            assert_counted(&harness, "NotFoundException").await;
        });
    }
    run(async {
        let harness = Plan::new().build().await;
        let headers = [("Content-Encoding", "br"), ("x-amzn-ErrorType", "AccessDeniedException")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        harness.fake.fault(Fault::Answer { status: 400, headers, body: "x".to_owned() }.times(1));
        assert_counted(&harness, "AccessDeniedException").await;
    });
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_page_that_is_understood_only_in_part_counts_once_and_the_refresh_succeeds() {
    run(async {
        let harness = Plan::new().build().await;
        let body = r#"{"\ud800":1e999,"Item":[1e999,["\ud800"],{"Id":"good","TotalPieces":-1,"Type":7,"\udfff":1e999},{}]}"#;
        harness
            .fake
            .fault(Fault::Answer { status: 200, headers: BTreeMap::new(), body: body.to_owned() }.times(1));
        let scrape = harness.scrape().await;
        assert_eq!(counted(&scrape), [("InvalidResponse".to_owned(), 1)]);
        assert_eq!(scrape.value("pinpoint_target_up", &[]), Some(1.0));
        assert_eq!(scrape.value("pinpoint_api_skipped_items_total", &[OPERATION]), Some(3.0));
        assert_eq!(scrape.samples("pinpoint_export_job_info", &[("job_id", "good")]).len(), 1);
        assert_eq!(scrape.samples("pinpoint_export_job_pieces", &[]).len(), 0);
    });
}

/// A server that answers with something else than HTTP.
async fn no_http() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let _ = socket.write_all(b"220 mail.example.com ESMTP\r\n\r\n").await;
        }
    });
    address
}

#[test]
fn a_body_of_just_64_mib_is_read_plain_and_compressed() {
    for gzip in [false, true] {
        run(async move {
            let harness = Plan::new().build().await;
            harness.fake.fault(Fault::Oversized { mebibytes: 63, gzip }.times(1));
            let scrape = harness.scrape().await;
            assert_eq!(scrape.value("pinpoint_target_up", &[]), Some(1.0));
        });
    }
}

#[test]
fn good_answers_of_every_make_are_read() {
    for fault in [
        Fault::Gzip,
        Fault::Chunked,
        Fault::Drip { bytes: 5, milliseconds: 1 },
        Fault::NoDate,
        Fault::Age { seconds: 5 },
        Fault::Date { offset: -90_000 },
    ] {
        run(async move {
            let harness = Plan::new().build().await;
            harness.fake.fault(fault.always());
            let scrape = harness.scrape().await;
            assert_eq!(counted(&scrape), []);
            assert_eq!(scrape.value("pinpoint_target_up", &[]), Some(1.0));
            harness.assert_equation(1).await;
        });
    }
}

#[test]
fn a_certificate_that_is_not_trusted_is_a_tls_error_and_a_ca_bundle_makes_it_trusted() {
    let (server, pem) = tls::self_signed();
    let (untrusted, trusted) = (Arc::clone(&server), server);
    run(async move {
        let harness = Plan::new().fake(|options| options.tls = Some(untrusted)).build().await;
        assert_counted(&harness, "TlsError").await;
        assert_eq!(harness.listings(), 0);
    });
    run(async move {
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("bundle.pem");
        std::fs::write(&bundle, pem).unwrap();
        let plan = Plan::new().aws("AWS_CA_BUNDLE", bundle.to_str().unwrap());
        let harness = plan.fake(|options| options.tls = Some(trusted)).build().await;
        let scrape = harness.scrape().await;
        assert_eq!(counted(&scrape), []);
        assert_eq!(harness.listings(), 1);
    });
    run(async {
        // The other end speaks no TLS.
        let harness = Plan::new().endpoint(&format!("https://{}", no_http().await)).build().await;
        assert_counted(&harness, "TlsError").await;
    });
}

#[test]
fn without_credentials_there_is_an_error_and_no_attempt() {
    run(async {
        let harness = Plan::new().build().await;
        harness.source.give(None);
        assert_counted(&harness, "CredentialsError").await;
        assert_eq!(harness.listings(), 0);
    });
}

#[test]
fn credentials_that_fit_in_no_header_are_a_credentials_error() {
    run(async {
        let harness = Plan::new().build().await;
        let broken = Key { session_token: Some("line\nbreak".to_owned()), ..Options::default_key() };
        harness.source.give(Some(credentials(&broken, None)));
        assert_counted(&harness, "CredentialsError").await;
        assert_eq!(harness.listings(), 0);
    });
}

#[test]
fn the_fakes_own_refusals_are_counted_under_their_names() {
    let key = Options::default_key;
    let other = |change: fn(&mut Key)| {
        let mut key = key();
        change(&mut key);
        key
    };
    for (key, label) in [
        (other(|key| key.secret_access_key.push('x')), "InvalidSignatureException"),
        (other(|key| key.access_key_id.push('X')), "UnrecognizedClientException"),
        (other(|key| key.session_token = Some("unasked".to_owned())), "UnrecognizedClientException"),
    ] {
        run(async move {
            let harness = Plan::new().build().await;
            harness.source.give(Some(credentials(&key, None)));
            assert_counted(&harness, label).await;
        });
    }
}
