//! The file of `WEB_CONFIG_FILE`, beside a certificate and its key.

use std::{fs, sync::LazyLock};

use pinpoint_exporter::web::config::{self, WebConfig};
use tempfile::TempDir;

/// What no fault may show: somebody forgot to hash it.
const PASSWORD: &str = "hush7zQ";

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = TempDir::new().expect("a folder");
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    for (name, text) in [
        ("server.crt", certificate.cert.pem()),
        ("server.key", certificate.signing_key.serialize_pem()),
        ("hush7zQ.key", "no key".to_owned()),
    ] {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    folder
});

pub(crate) fn check(data: &[u8]) {
    let outcome = read(data);
    assert_eq!(
        format!("{outcome:?}"),
        format!("{:?}", read(data)),
        "the same file is the same configuration"
    );
    match outcome {
        Ok(config) => accepted(&config),
        Err(faults) => one_line_each(&faults),
    }
    let text = String::from_utf8_lossy(data);
    if !text.contains(PASSWORD) {
        let with_password = format!("basic_auth_users:\n  alice: {PASSWORD}\n{text}");
        let faults = read(with_password.as_bytes()).expect_err("a password is no hash");
        assert!(!faults.concat().contains(PASSWORD), "a password is shown: {faults:?}");
    }
}

fn read(bytes: &[u8]) -> Result<WebConfig, Vec<String>> {
    let path = FOLDER.path().join("web.yml");
    fs::write(&path, bytes).expect("a file");
    config::read(&path)
}

fn one_line_each(faults: &[String]) {
    assert!(!faults.is_empty(), "refused without a fault");
    for fault in faults {
        assert!(!fault.is_empty() && !fault.chars().any(char::is_control), "{fault:?}");
    }
}

/// What the server relies on.
fn accepted(config: &WebConfig) {
    if let Some(limit) = config.rate_limit {
        assert!(limit.burst > 0 && !limit.interval.is_zero(), "{limit:?}");
    }
    for (user, hash) in &config.users {
        assert!(!user.contains(':'), "{user:?}");
        let bytes = hash.as_bytes();
        assert!(
            bytes.len() == 60 && hash.starts_with("$2") && bytes[3] == b'$',
            "{hash} is not a bcrypt hash"
        );
        assert!(matches!(hash[4..6].parse(), Ok(4..=18)), "the cost of {hash}");
    }
    for (name, _) in &config.headers {
        let known = [
            "strict-transport-security",
            "x-content-type-options",
            "x-frame-options",
            "x-xss-protection",
            "content-security-policy",
        ];
        assert!(known.contains(&name.as_str()), "{name}");
    }
}
