//! Rules about the source that can be kept by reading it.

use std::{fs, path::Path};

/// Every file of `src`, with its path from there and its lines that are code, up to the tests in it.
fn sources() -> Vec<(String, String)> {
    fn collect(folder: &Path, root: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, root, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap();
                let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                found.push((name, code.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(found.len() > 20, "{} files are too few to be all", found.len());
    found
}

/// The files whose code holds the text.
fn users(text: &str) -> Vec<String> {
    let mut users: Vec<_> =
        sources().into_iter().filter(|(_, code)| code.contains(text)).map(|(name, _)| name).collect();
    users.sort();
    users
}

#[test]
fn each_outside_crate_has_its_one_user() {
    for (text, allowed) in [
        ("reqwest::", &["pinpoint/send.rs"][..]),
        ("aws_sigv4::", &["pinpoint/sign.rs"]),
        ("aws_config::", &["pinpoint/chain.rs", "pinpoint/provider_error.rs"]),
        ("aws_sdk_sts::", &["pinpoint/provider_error.rs", "pinpoint/sts.rs"]),
        ("envy::", &["config.rs", "config/settings.rs"]),
        ("flate2::", &["metrics/exposition.rs", "pinpoint/send.rs"]),
        ("prometheus::", &["exporter.rs", "metrics/telemetry.rs"]),
        ("hyper_util::", &["command/healthcheck.rs", "web/connection.rs"]),
        ("lexopt::", &["command/mod.rs"]),
        ("bcrypt::", &["web/passwords.rs", "web_config/mod.rs"]),
        ("saphyr_parser::", &["web_config/document.rs"]),
        ("tokio_rustls::", &["command/healthcheck.rs", "web/connection.rs", "web/tls.rs"]),
        ("webpki::", &["pinpoint/trust.rs", "web_config/client_certificates.rs"]),
        ("x509_cert::", &["web_config/certificate.rs", "web_config/client_certificates.rs"]),
        ("SystemTime::now", &["clock.rs"]),
        ("std::env", &[]),
    ] {
        let users = users(text);
        assert!(users.iter().all(|user| allowed.contains(&user.as_str())), "{text} is used by {users:?}");
    }
    assert_eq!(users("reqwest::"), ["pinpoint/send.rs"], "the rule above finds what it looks for");
}

#[test]
fn each_dependency_says_what_it_is_for() {
    let manifest = include_str!("../../Cargo.toml");
    let (_, rest) = manifest.split_once("\n[dependencies]\n").unwrap();
    let lines: Vec<_> = rest.lines().take_while(|line| !line.is_empty()).collect();
    assert!(lines.len() > 40, "{} are too few to be all", lines.len());
    let silent: Vec<_> = lines.iter().filter(|line| !line.contains(" # ")).collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn only_retries_and_the_queue_of_requests_sleep_in_the_client() {
    let users: Vec<_> = users("sleep").into_iter().filter(|name| name.starts_with("pinpoint/")).collect();
    // The sources of credentials name the sleep that AWS's clients use.
    assert_eq!(users, ["pinpoint/chain.rs", "pinpoint/limit.rs", "pinpoint/retry.rs", "pinpoint/sts.rs"]);
}

#[test]
fn values_import_nothing_of_ours_but_values() {
    for (name, code) in sources() {
        let allowed: &[&str] = match name.as_str() {
            "job.rs" | "clock.rs" | "target.rs" => &[],
            "snapshot.rs" => &["crate::job"],
            _ => continue,
        };
        let imports: Vec<_> = code.match_indices("crate::").map(|(at, _)| &code[at..]).collect();
        for import in imports {
            let known = allowed.iter().any(|allowed| import.starts_with(allowed));
            assert!(known, "{name} imports {}", import.lines().next().unwrap());
        }
    }
}

#[test]
fn rooms_know_only_those_before_them() {
    for (name, code) in sources() {
        for (room, unknown) in [
            ("pinpoint/", &["metrics", "collect", "web"][..]),
            ("web/", &["metrics", "collect", "pinpoint"]),
            ("metrics/", &["collect", "web"]),
            ("status/", &["accounts", "collect", "metrics", "web"]),
            ("web_config/", &["metrics", "collect", "pinpoint", "web::"]),
        ] {
            for unknown in unknown.iter().filter(|_| name.starts_with(room)) {
                assert!(!code.contains(&format!("crate::{unknown}")), "{name} knows {unknown}");
            }
        }
    }
}

#[test]
fn only_known_places_read_texts_from_outside_without_the_mask() {
    // They read dates, numbers, the name of an exception, and the origin of a redirect.
    let known = ["pinpoint/error.rs", "pinpoint/foreign.rs", "pinpoint/mod.rs", "pinpoint/secrets.rs"];
    assert_eq!(users("unmasked()"), known[..3]);
    assert_eq!(users("fn unmasked("), known[3..]);
}

#[test]
fn main_is_short() {
    let main = include_str!("../../src/main.rs");
    assert!(main.lines().count() <= 80, "{} lines", main.lines().count());
}

#[test]
fn the_compiler_forbids_unsafe_code_in_every_crate() {
    let read = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let workspace = read("Cargo.toml");
    assert!(workspace.contains("[workspace.lints.rust]\nunsafe_code = \"forbid\"\n"));
    let members = workspace.lines().find_map(|line| line.strip_prefix("members = ")).unwrap();
    let members: Vec<String> = serde_json::from_str(members).unwrap();
    for member in members.iter().map(String::as_str).chain(["."]) {
        let manifest = read(&format!("{member}/Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true\n"), "{member} has no lints of the workspace");
    }
}
