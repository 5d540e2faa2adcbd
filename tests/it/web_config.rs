//! The file of `WEB_CONFIG_FILE`: what is accepted and refused, and what becomes of a change. The cases are those of
//! exporter-toolkit's documentation and of its tests (v0.20.0), told anew.

use std::{fs, path::Path, sync::Arc};

use pinpoint_exporter::{
    model::clock::SystemClock,
    web::config::{self, Reload, WatchedWebConfig},
};

use crate::support::{pki::Pki, program::command};

/// What becomes of a file here, and in exporter-toolkit.
enum Verdict {
    /// Accepted in both.
    Accepted,
    /// Refused in both; this is what is said.
    Refused(&'static str),
    /// Accepted there, and refused here, with these words. docs/PORT.md lists why.
    RefusedHere(&'static str),
}

use Verdict::{Accepted, Refused, RefusedHere};

/// The certificate, its key, and what follows.
macro_rules! tls {
    ($($rest:literal),*) => {
        concat!("tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n", $("  ", $rest, "\n"),*)
    };
}

macro_rules! headers {
    ($header:literal) => {
        concat!("http_server_config:\n  headers:\n    ", $header, "\n")
    };
}

const HASH: &str = "$2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze";

const CASES: &[(&str, &str, Verdict)] = &[
    ("an empty file", "", Accepted),
    ("TLS", tls!(), Accepted),
    ("junk", "hWkNKCp3fvIx3jKnsaBI\nTuEjdwNS8A2vYdFbiKqr\n", Refused("write a map")),
    (
        "an unknown field",
        "tls_server_config:\n  cert_filse: server.crt\n",
        Refused("line 2: tls_server_config.cert_filse: unknown field; the closest is cert_file"),
    ),
    (
        "no certificate",
        "tls_server_config:\n  cert_file: ''\n  key_file: server.key\n",
        Refused("write cert_file or cert"),
    ),
    (
        "no inline certificate",
        "tls_server_config:\n  cert: ''\n  key_file: server.key\n",
        Refused("write cert_file or cert"),
    ),
    (
        "no key",
        "tls_server_config:\n  cert_file: server.crt\n  key_file: ''\n",
        Refused("write key_file or key"),
    ),
    (
        "no inline key",
        "tls_server_config:\n  cert_file: server.crt\n  key: ''\n",
        Refused("write key_file or key"),
    ),
    (
        "neither, and an invented policy",
        "tls_server_config:\n  cert_file: ''\n  key_file: ''\n  client_auth_type: x\n",
        Refused("unknown client_auth_type \"x\""),
    ),
    (
        "a certificate that is not there",
        "tls_server_config:\n  cert_file: none\n  key_file: server.key\n",
        Refused("cannot read \"none\""),
    ),
    (
        "a key that is not there",
        "tls_server_config:\n  cert_file: server.crt\n  key_file: none\n",
        Refused("cannot read \"none\""),
    ),
    ("authorities that nobody asks", tls!("client_ca_file: ca.pem"), Refused("write client_auth_type")),
    (
        "authorities that are not there",
        tls!("client_auth_type: RequireAndVerifyClientCert", "client_ca_file: none"),
        Refused("cannot read \"none\""),
    ),
    ("NoClientCert", tls!("client_auth_type: NoClientCert"), Accepted),
    ("RequestClientCert", tls!("client_auth_type: RequestClientCert"), Accepted),
    ("RequireAnyClientCert", tls!("client_auth_type: RequireAnyClientCert"), Accepted),
    ("its old name", tls!("client_auth_type: RequireClientCert"), Accepted),
    ("VerifyClientCertIfGiven", tls!("client_auth_type: VerifyClientCertIfGiven"), Accepted),
    (
        "RequireAndVerifyClientCert",
        tls!("client_auth_type: RequireAndVerifyClientCert", "client_ca_file: ca.pem"),
        Accepted,
    ),
    (
        "a policy without authorities",
        tls!("client_auth_type: RequireAndVerifyClientCert"),
        RefusedHere("set it to the CA of your clients"),
    ),
    (
        "allowed names",
        tls!(
            "client_auth_type: RequireAndVerifyClientCert",
            "client_ca_file: ca.pem",
            "client_allowed_sans: [one, test3]"
        ),
        Accepted,
    ),
    (
        "allowed names that nobody asks",
        tls!("client_allowed_sans: [one]"),
        RefusedHere("clients are not asked for certificates"),
    ),
    (
        "no allowed name",
        tls!("client_auth_type: RequireAnyClientCert", "client_allowed_sans: []"),
        RefusedHere("an empty list lets nobody in"),
    ),
    (
        "every suite that is safe",
        tls!(
            "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,",
            "  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,",
            "  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,",
            "  TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256]"
        ),
        Accepted,
    ),
    (
        "a suite with CBC",
        tls!("cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]"),
        RefusedHere("rustls) does not support it, because it is insecure"),
    ),
    (
        "an invented suite",
        tls!("cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA2048]"),
        Refused("the closest is TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ),
    (
        "a version and no certificate",
        "tls_server_config:\n  min_version: TLS13\n",
        RefusedHere("it needs a certificate"),
    ),
    ("curves", tls!("curve_preferences: [CurveP256, CurveP384, X25519]"), Accepted),
    ("P-521", tls!("curve_preferences: [CurveP521]"), RefusedHere("has no P-521")),
    ("an invented curve", tls!("curve_preferences: [CurveP257]"), Refused("the closest is CurveP256")),
    ("versions", tls!("min_version: TLS12", "max_version: TLS12"), Accepted),
    ("an invented version", tls!("min_version: TLS111"), Refused("is not a supported version of TLS")),
    ("TLS 1.0", tls!("min_version: TLS10"), RefusedHere("TLS10 is insecure")),
    ("TLS 1.1 at most", tls!("max_version: TLS11"), RefusedHere("TLS11 is insecure")),
    (
        "versions upside down",
        tls!("min_version: TLS13", "max_version: TLS12"),
        RefusedHere("it is above max_version"),
    ),
    (
        "HTTP/2 without its suite",
        tls!("cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]", "max_version: TLS12"),
        Refused("HTTP/2 needs TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ),
    (
        "the same without HTTP/2",
        concat!(
            tls!("cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]", "max_version: TLS12"),
            "http_server_config:\n  http2: false\n"
        ),
        Accepted,
    ),
    ("the client's order of suites", tls!("prefer_server_cipher_suites: false"), Accepted),
    (
        "headers",
        headers!("{X-Frame-Options: deny, Strict-Transport-Security: max-age=31536000; includeSubDomains}"),
        Accepted,
    ),
    ("a header that is a number", headers!("X-XSS-Protection: 1"), Accepted),
    ("a header that is left blank", headers!("X-Frame-Options: ''"), Accepted),
    ("a wrong X-Content-Type-Options", headers!("X-Content-Type-Options: sniff"), Refused("write nosniff")),
    ("a wrong X-Frame-Options", headers!("X-Frame-Options: foo"), Refused("write deny or sameorigin")),
    ("another header", headers!("Content-Type: foo"), Refused("unknown field")),
    ("a header of two lines", headers!("X-XSS-Protection: \"a\\nb\""), RefusedHere("write it in one line")),
    (
        "users",
        "basic_auth_users:\n  alice: $2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze\n",
        Accepted,
    ),
    (
        "a password that is not hashed",
        "basic_auth_users:\n  john: doe\n",
        Refused("this is not a bcrypt hash"),
    ),
    (
        "a hash that is cut",
        "basic_auth_users:\n  john: $2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPz\n",
        Refused("this is not a bcrypt hash"),
    ),
    (
        "a name with a colon",
        "basic_auth_users:\n  a:b: $2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze\n",
        RefusedHere("a name with a colon"),
    ),
    (
        "a cost that nobody can wait for",
        "basic_auth_users:\n  john: $2y$31$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze\n",
        RefusedHere("the bcrypt cost 31 is too high"),
    ),
    ("no rate limit", "rate_limit:\n  interval: 0\n  burst: 0\n", Accepted),
    ("a rate limit", "rate_limit:\n  interval: 1s\n  burst: 20\n", Accepted),
    (
        "a rate limit that lets nothing through",
        "rate_limit:\n  interval: 1s\n  burst: 0\n",
        RefusedHere("lets no request through"),
    ),
    ("an interval in nanoseconds", "rate_limit:\n  interval: 5\n  burst: 1\n", RefusedHere("lacks a unit")),
    ("a field twice", "rate_limit:\n  burst: 1\n  burst: 2\n", Refused("written twice")),
];

#[test]
fn files_are_accepted_and_refused_as_exporter_toolkit_does_or_with_the_reason() {
    let pki = Pki::new();
    for (name, text, verdict) in CASES {
        let path = pki.write("web.yml", text);
        let faults = config::read(Path::new(&path)).err().map(|faults| faults.join("\n"));
        match (verdict, faults) {
            (Accepted, None) => {}
            (Refused(words) | RefusedHere(words), Some(faults)) if faults.contains(words) => {}
            (_, faults) => panic!("{name}: {faults:?}"),
        }
    }
    let path = pki.path().join("none.yml");
    assert!(config::read(&path).unwrap_err()[0].starts_with("cannot read it: "));
}

#[test]
fn certificate_and_key_may_stand_in_the_file_itself() {
    let pki = Pki::new();
    let indented = |name| pki.read(name).lines().map(|line| format!("    {line}\n")).collect::<String>();
    let (cert, key, ca) = (indented("server.crt"), indented("server.key"), indented("ca.pem"));
    let text = format!(
        "tls_server_config:\n  cert: |\n{cert}  key: |\n{key}  client_ca: |\n{ca}  client_auth_type: VerifyClientCertIfGiven\n"
    );
    let path = pki.write("web.yml", &text);
    assert!(config::read(Path::new(&path)).unwrap().tls.is_some());
    let both = format!("{text}  cert_file: server.crt\n");
    let path = pki.write("web.yml", &both);
    assert_eq!(
        config::read(Path::new(&path)).unwrap_err(),
        [format!(
            "line {}: tls_server_config.cert_file: there is cert too; keep one of the two",
            both.lines().count()
        )]
    );
}

#[test]
fn keys_that_cannot_be_used_are_refused_with_the_cure() {
    let pki = Pki::new();
    let path = pki.write("web.yml", tls!());
    let own = pki.read("server.key");
    for (key, words) in [
        (pki.read("Stranger.key"), "this is not the key of the certificate"),
        (own.replace("PRIVATE", "ENCRYPTED PRIVATE"), "encrypted private keys are not supported"),
        (own.replace("PRIVATE", "PUBLIC"), "it contains no private key"),
        (String::new(), "it contains no private key"),
    ] {
        pki.write("server.key", &key);
        let faults = config::read(Path::new(&path)).unwrap_err().join("\n");
        assert!(faults.contains(words), "{faults}");
        let secret = own.lines().nth(1).unwrap();
        assert!(!faults.contains(secret), "{faults}");
    }
    let inline: String = own.lines().map(|line| format!("    {line}\n")).collect();
    let misplaced = pki
        .write("misplaced.yml", &tls!().replace("key_file: server.key\n", &format!("key_file: |\n{inline}")));
    assert_eq!(
        config::read(Path::new(&misplaced)).unwrap_err(),
        ["line 3: tls_server_config.key_file: this is PEM (not shown) instead of a path; write it as key"]
    );
    pki.write("server.key", &own);
    pki.write("server.crt", "no certificate");
    let faults = config::read(Path::new(&path)).unwrap_err();
    assert_eq!(faults, ["line 2: tls_server_config.cert_file: it contains no certificate; write one in PEM"]);
}

#[test]
fn everything_that_is_wrong_is_said_at_once_by_every_command_and_no_secret_with_it() {
    let pki = Pki::new();
    let text = "tls_server_config:\n  cert_file: none\n  min_version: TLS10\n  prefer_server_cipher_suites: maybe\nbasic_auth_user: {}\nbasic_auth_users:\n  \
                alice: open sesame\n";
    let path = pki.write("web.yml", text);
    let variables = [("PINPOINT_EXPORTER_WEB_CONFIG_FILE", path.as_str()), ("AWS_REGION", "us-east-1")];
    for arguments in [&[][..], &["check"], &["plan"], &["plan", "--offline", "--segments", "1"]] {
        let output = command(arguments, &variables);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{said}");
        let words = [
            "cannot read \"none\"",
            "tls_server_config: the private key is missing",
            "line 3: tls_server_config.min_version: TLS10 is insecure",
            "line 4: tls_server_config.prefer_server_cipher_suites: \"maybe\" is neither",
            "line 5: basic_auth_user: unknown field; the closest is basic_auth_users",
            "line 7: basic_auth_users.alice: this is not a bcrypt hash",
        ];
        for words in words {
            let line =
                said.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{words}: {said}"));
            assert!(line.starts_with(&format!("PINPOINT_EXPORTER_WEB_CONFIG_FILE=\"{path}\": ")), "{line}");
        }
        assert!(!said.contains("sesame"), "{said}");
        assert_eq!(said.contains("PINPOINT_EXPORTER_TARGETS: it is required"), arguments.len() < 2, "{said}");
    }
}

fn watched(path: &str) -> WatchedWebConfig {
    WatchedWebConfig::open(Path::new(path), Arc::new(SystemClock)).unwrap()
}

fn users(watched: &WatchedWebConfig) -> Vec<String> {
    watched.current().users.keys().cloned().collect()
}

fn user(name: &str) -> String {
    format!("basic_auth_users:\n  {name}: {HASH}\n")
}

#[test]
fn a_change_holds_when_it_has_been_seen_twice_and_a_broken_file_changes_nothing() {
    let pki = Pki::new();
    let path = pki.write("web.yml", &user("alice"));
    let watched = watched(&path);
    let Reload { successful: true, last_success: first } = watched.last_reload() else { panic!() };
    watched.reload_if_changed();
    pki.write("web.yml", &user("bob"));
    watched.reload_if_changed();
    assert_eq!(users(&watched), ["alice"], "it may be half written");
    watched.reload_if_changed();
    assert_eq!(users(&watched), ["bob"]);
    let Reload { successful: true, last_success: second } = watched.last_reload() else { panic!() };
    assert!(second > first);

    let broken = Reload { successful: false, last_success: second };
    for text in ["", "# nothing\n", "basic_auth_users:\n  carol: open sesame\n", "x: 1"] {
        pki.write("web.yml", text);
        watched.reload_if_changed();
        watched.reload_if_changed();
        assert_eq!((users(&watched), watched.last_reload()), (vec!["bob".to_owned()], broken), "{text}");
    }
    fs::remove_file(&path).unwrap();
    watched.reload_if_changed();
    watched.reload_if_changed();
    assert_eq!((users(&watched), watched.last_reload()), (vec!["bob".to_owned()], broken));
    pki.write("web.yml", &user("carol"));
    watched.reload_if_changed();
    watched.reload_if_changed();
    assert_eq!((users(&watched), watched.last_reload().successful), (vec!["carol".to_owned()], true));
}

#[test]
fn a_file_that_comes_back_as_it_was_is_whole_again() {
    let pki = Pki::new();
    let path = pki.write("web.yml", &user("alice"));
    let watched = watched(&path);
    for (text, successful) in [("x: 1", false), (&user("alice"), true)] {
        pki.write("web.yml", text);
        watched.reload_if_changed();
        watched.reload_if_changed();
        assert_eq!(watched.last_reload().successful, successful);
    }
}

#[test]
fn tls_is_neither_switched_on_nor_off_on_the_way() {
    let pki = Pki::new();
    for (before, after) in [(tls!().to_owned(), user("alice")), (user("alice"), tls!().to_owned())] {
        let path = pki.write("web.yml", &before);
        let watched = watched(&path);
        let had_tls = watched.current().tls.is_some();
        pki.write("web.yml", &after);
        watched.reload_if_changed();
        watched.reload_if_changed();
        assert_eq!((watched.current().tls.is_some(), watched.last_reload().successful), (had_tls, false));
    }
}

#[test]
fn a_certificate_whose_key_has_not_come_yet_is_waited_for() {
    let pki = Pki::new();
    let path = pki.write("web.yml", tls!());
    let watched = watched(&path);
    let old = watched.current();
    let key = pki.read("server.key");
    pki.renew_server();
    let new = pki.read("server.key");
    pki.write("server.key", &key);
    watched.reload_if_changed();
    pki.write("server.key", &new);
    watched.reload_if_changed();
    assert!(Arc::ptr_eq(&watched.current(), &old) && watched.last_reload().successful);
    watched.reload_if_changed();
    assert!(!Arc::ptr_eq(&watched.current(), &old) && watched.last_reload().successful);
}

/// As much as a fuzzer tries.
const LENGTH: usize = 64 * 1024;

#[test]
fn a_file_that_is_nested_too_deeply_is_refused_with_its_line_and_the_old_one_stays() {
    let pki = Pki::new();
    let path = pki.write("web.yml", &user("alice"));
    let watched = watched(&path);
    let indented = |line: &str| (0..360).map(|depth| format!("{}{line}\n", " ".repeat(depth))).collect();
    for (line, text) in [
        (1, "- ".repeat(LENGTH / 2)),
        (1, "[".repeat(LENGTH)),
        (1, "{a: ".repeat(LENGTH / 4)),
        (1, "[{a: ".repeat(LENGTH / 5)),
        (1, "? ".repeat(LENGTH / 2)),
        (1, "- ? ".repeat(LENGTH / 4)),
        (1, format!("{}{}", "[".repeat(200), "]".repeat(200))),
        (33, indented("a:")),
        (33, indented("-")),
        (4, format!("{}rate_limit:\n  {}", user("bob"), "- ".repeat(LENGTH / 2))),
    ] {
        let shown = &text[..text.len().min(40)];
        let faults = config::read(Path::new(&pki.write("other.yml", &text))).unwrap_err();
        let [fault] = &faults[..] else { panic!("{shown:?}: {faults:#?}") };
        assert!(
            fault.starts_with(&format!("line {line}: this is nested too deeply; ")),
            "{shown:?}: {fault}"
        );
        pki.write("web.yml", &text);
        watched.reload_if_changed();
        watched.reload_if_changed();
        assert_eq!(
            (users(&watched), watched.last_reload().successful),
            (vec!["alice".to_owned()], false),
            "{shown}"
        );
    }
}

#[test]
fn a_file_of_many_faults_is_refused_soon_with_the_first_of_them() {
    let pki = Pki::new();
    // Fields that do not exist, and one that is written many times.
    let strange: String = (0..20_000).map(|number| format!("{number:x}:\n")).collect();
    for text in [strange, "rate_limit:\n".repeat(20_000)] {
        let faults = config::read(Path::new(&pki.write("web.yml", &text))).unwrap_err();
        assert_eq!(faults.len(), 21);
        assert!(
            faults[0].starts_with("line ") && faults[20].contains(" more errors are not shown"),
            "{faults:#?}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_no_regular_file_or_too_large_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    assert!(std::process::Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
    fs::write(path("large"), "#".repeat((1 << 20) + 1)).unwrap();
    for (path, words) in [
        (path("fifo"), "it is not a regular file"),
        (path(""), "it is not a regular file"),
        ("/dev/zero".into(), "it is not a regular file"),
        (path("large"), "it is larger than 1 MiB"),
        (path("none"), "No such file or directory"),
    ] {
        let faults = config::read(&path).unwrap_err();
        assert!(faults[0].starts_with("cannot read it: ") && faults[0].contains(words), "{faults:#?}");
    }
}

#[test]
fn a_file_is_read_again_at_once_when_it_is_asked_for() {
    let pki = Pki::new();
    let path = pki.write("web.yml", &user("alice"));
    let watched = watched(&path);
    let first = watched.last_reload().last_success;
    pki.write("web.yml", &user("bob"));
    watched.reload();
    assert_eq!(users(&watched), ["bob"]);
    let second = watched.last_reload().last_success;
    watched.reload();
    assert!(first < second && second < watched.last_reload().last_success);
    pki.write("web.yml", "x: 1");
    watched.reload();
    assert_eq!((users(&watched), watched.last_reload().successful), (vec!["bob".to_owned()], false));
}

#[test]
fn certificates_of_version_1_or_with_a_key_that_cannot_be_used_are_refused_with_the_cure() {
    let pki = Pki::new();
    let path = pki.write("web.yml", tls!());
    for (certificate, expected) in [
        (include_str!("certificates/v1.pem"), "the certificate has X.509 version 1, and"),
        (
            include_str!("certificates/rsa1024.pem"),
            "RSA key has 1024 bits, and the exporter's cryptography (ring) takes 2048 to 4096",
        ),
        (include_str!("certificates/rsa4104.pem"), "RSA key has 4104 bits, and"),
        (include_str!("certificates/p521.pem"), "the certificate's key is on the curve P-521, which"),
    ] {
        pki.write("server.crt", certificate);
        let faults = config::read(Path::new(&path)).unwrap_err().join("\n");
        assert!(
            faults.contains("line 2: tls_server_config.cert_file: ") && faults.contains(expected),
            "{faults}"
        );
        assert!(faults.contains("issue it "), "{faults}");
    }
}
