//! What people read when something is wrong: sentences with the culprit, never Rust's debug form.

use std::{fs, net::TcpListener, path::Path};

use crate::support::program::command;

/// Parts of debug forms that the texts of this program have no other use for.
pub(crate) const DEBUG_FORMS: [&str; 12] = [
    "Error(",
    "Error {",
    "Some(",
    "None",
    "Ok(",
    "Err(",
    "Os {",
    "kind:",
    "source:",
    "Custom",
    "InvalidCertificate",
    "DnsName(",
];

pub(crate) fn assert_readable(text: &str) {
    for form in DEBUG_FORMS {
        assert!(!text.contains(form), "{form} in {text}");
    }
}

#[test]
fn every_way_to_fail_at_the_start_is_told_in_words_that_name_the_culprit() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let missing = folder.path().join("missing").to_str().unwrap().to_owned();
    let folder_path = folder.path().to_str().unwrap().to_owned();
    let text = file("text", b"no certificate");
    let bytes = file("bytes", b"\xff\xfe");
    let yaml = file("yaml", b"tls_server_config: [1, 2");
    let pem = file("pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let tls = file("tls", format!("tls_server_config: {{cert_file: {pem}, key_file: {text}}}").as_bytes());
    let good = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL_PINPOINT", "http://127.0.0.1:9"),
        ("PINPOINT_EXPORTER_TARGETS", "app/segment"),
        ("PINPOINT_EXPORTER_LISTEN_ADDRESS", "127.0.0.1:0"),
    ];
    let failing: &[(&[&str], &str, &str)] = &[
        (&[], "PINPOINT_EXPORTER_LISTEN_ADDRESS", &taken),
        (&[], "PINPOINT_EXPORTER_LISTEN_ADDRESS", "192.0.2.1:9787"),
        (&[], "PINPOINT_EXPORTER_LISTEN_ADDRESS", "nowhere"),
        (&["check"], "PINPOINT_EXPORTER_TARGETS", "a/b/c"),
        (&["check"], "PINPOINT_EXPORTER_TARGETS", "arn:aws:s3:::x"),
        (&["check"], "PINPOINT_EXPORTER_CACHE_TTL", "584942417355y"),
        (&["check"], "PINPOINT_EXPORTER_MAX_STALENESS", "99999999999999999999d"),
        (&["check"], "PINPOINT_EXPORTER_FINISHED_JOB_MAX_AGE", "584942417355y"),
        (&["check"], "PINPOINT_EXPORTER_PAGE_SIZE", "4294967295"),
        (&["check"], "PINPOINT_EXPORTER_MAX_REQUESTS_PER_SECOND", "4294967295"),
        (&["check"], "PINPOINT_EXPORTER_SHARD", "0/4294967295"),
        (&["check"], "PINPOINT_EXPORTER_ROLE_ARNS", "role"),
        (&["check"], "PINPOINT_EXPORTER_LOG_LEVEL", "loud"),
        (&["check"], "PINPOINT_EXPORTER_WEB_CONFIG_FILE", &missing),
        (&["check"], "PINPOINT_EXPORTER_WEB_CONFIG_FILE", &folder_path),
        (&["check"], "PINPOINT_EXPORTER_WEB_CONFIG_FILE", &bytes),
        (&["check"], "PINPOINT_EXPORTER_WEB_CONFIG_FILE", &yaml),
        (&["check"], "PINPOINT_EXPORTER_WEB_CONFIG_FILE", &tls),
        (&["check"], "AWS_CA_BUNDLE", &missing),
        (&["check"], "AWS_CA_BUNDLE", &folder_path),
        (&["check"], "AWS_CA_BUNDLE", &text),
        (&["check"], "AWS_ENDPOINT_URL_PINPOINT", "ftp://host"),
        (&["check"], "AWS_REGION", "No Region"),
        (&["healthcheck"], "PINPOINT_EXPORTER_LISTEN_ADDRESS", "127.0.0.1:9"),
    ];
    for (arguments, variable, value) in failing {
        let output = command(arguments, &[&good[..], &[(variable, value)]].concat());
        assert!(matches!(output.status.code(), Some(1 | 64)), "{variable}={value}: {output:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        let shown =
            Path::new(value).file_name().unwrap().to_str().unwrap().chars().take(20).collect::<String>();
        assert!(error.contains(variable) || error.contains(&shown), "{variable}={value}: {error}");
        assert_readable(&error);
    }
}

#[test]
fn no_error_is_formatted_in_its_debug_form() {
    fn visit(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                visit(&entry, found);
                continue;
            }
            let text = fs::read_to_string(&entry).unwrap_or_default();
            let code = text.split("#[cfg(test)]").next().unwrap();
            let forms =
                ["error:?}", "{e:?}", "{err:?}", "{source:?}", "{failure:?}", "{:#?}", "?error", "?failure"];
            found.extend(
                forms
                    .iter()
                    .filter(|form| code.contains(**form))
                    .map(|form| format!("{form} in {}", entry.display())),
            );
        }
    }
    let mut found = Vec::new();
    visit(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut found);
    assert_eq!(found, [""; 0]);
}
