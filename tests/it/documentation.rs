//! What the documentation says is what the code does: the tables of settings and metrics, the names in the text, and the tests that
//! SECURITY.md names.

use std::{fs, path::Path};

use pinpoint_exporter::{
    config::{AWS_VARIABLES, SETTINGS, Setting},
    metrics::catalogue::FAMILIES,
    model::job_status::JobStatus,
};

const README: &str = include_str!("../../README.md");

/// Labels that METRICS.md explains once, above the table.
const COMMON: [&str; 5] = ["aws_account_id", "aws_region", "application_id", "segment_id", "job_id"];

fn assert_table(page: &str, name: &str, expected: &str) {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let table = page.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end)).map(|(table, _)| table);
    assert!(table == Some(expected), "the table of {name} in docs should be:\n{expected}");
}

#[test]
fn the_table_of_metrics_is_the_catalogue() {
    let mut table = "| name | type | labels of its own | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for family in FAMILIES {
        let labels: Vec<_> = family.labels.iter().filter(|label| !COMMON.contains(label)).collect();
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let help = family.help.strip_suffix(" Cached.").unwrap_or(family.help);
        let row =
            format!("| `{}` | {} | {} | {help} |\n", family.name, family.kind.as_str(), labels.join(", "));
        table.push_str(&row);
    }
    assert_table(include_str!("../../docs/METRICS.md"), "metrics", &table);
}

#[test]
fn the_table_of_settings_is_the_codes() {
    let mut table = "| `PINPOINT_EXPORTER_…` | default | meaning |\n| --- | --- | --- |\n".to_owned();
    for setting in SETTINGS {
        table.push_str(&format!("| `{}` | {} | {} |\n", setting.name, default(setting), setting.meaning));
    }
    assert_table(include_str!("../../docs/SETTINGS.md"), "settings", &table);
}

/// The default as the tables show it.
fn default(setting: &Setting) -> String {
    if setting.default.is_empty() { String::new() } else { format!("`{}`", setting.default) }
}

#[test]
fn the_short_table_of_settings_in_the_readme_has_the_defaults_of_the_code() {
    let (_, section) = README.split_once("\n## Settings\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows: Vec<_> = section.lines().filter_map(|line| line.strip_prefix("| `")).skip(1).collect();
    assert!(rows.len() > 5, "{} rows are too few to be all", rows.len());
    for row in rows {
        let (name, rest) = row.split_once("` |").unwrap();
        let (shown, _) = rest.split_once('|').unwrap();
        let setting = SETTINGS.iter().find(|setting| setting.name == name);
        let setting = setting.unwrap_or_else(|| panic!("{name} is not a setting"));
        assert_eq!(shown.trim(), default(setting), "the default of {name}");
    }
}

#[test]
fn the_end_of_pinpoint_stands_near_the_top() {
    let top: String = README.lines().take(25).collect();
    assert!(top.contains("30 October 2026") && top.contains("AWS_ENDPOINT_URL_PINPOINT"));
}

#[test]
fn the_readme_has_at_most_250_lines() {
    let lines = README.lines().count();
    assert!(lines <= 250, "{lines} lines: move reference material to docs");
}

/// The pages for users, with their paths.
fn pages() -> Vec<(String, String)> {
    fn collect(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![("README.md".to_owned(), README.to_owned())];
    for folder in ["docs", "deploy", "grafana"] {
        collect(&root.join(folder), &mut found);
    }
    assert!(found.len() > 30, "{} pages are too few to be all", found.len());
    found
}

#[test]
fn every_setting_that_a_page_names_exists() {
    let is_known = |name: &str| SETTINGS.iter().any(|setting| setting.name == name);
    for (path, page) in pages() {
        for name in page.split("PINPOINT_EXPORTER_").skip(1) {
            let name: String = name.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
            assert!(
                name.is_empty() || is_known(&name),
                "{path} names PINPOINT_EXPORTER_{name}, which is not a setting"
            );
        }
        // The pages of `deploy` also have placeholders and settings of other programs.
        if !path.starts_with("deploy") {
            assert_bare_settings_exist(&path, &page);
        }
    }
}

/// Settings without their prefix, as inline code: names of several words in capital letters, such as `CACHE_TTL`.
fn assert_bare_settings_exist(path: &str, page: &str) {
    let is_status = |name: &str| JobStatus::ALL.iter().any(|status| status.as_str() == name);
    let is_aws_variable =
        |name: &str| AWS_VARIABLES.iter().any(|variable| variable.name.split(", ").any(|one| one == name));
    let prose = page.split("```").step_by(2);
    for code in prose.flat_map(|text| text.split('`').skip(1).step_by(2)) {
        let name = code.split('=').next().unwrap_or_default().trim_start_matches("PINPOINT_EXPORTER_");
        let is_name =
            name.trim_matches('_').contains('_') && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        let is_known = name.starts_with("AWS_")
            || is_status(name)
            || is_aws_variable(name)
            || SETTINGS.iter().any(|setting| setting.name == name);
        assert!(!is_name || is_known, "{path} names {name}, which is not a setting");
    }
}

/// The code of a folder's files, one after the other.
fn code(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let code = entries.filter(|path| !path.ends_with("target")).map(|path| {
        let is_code = path.extension().is_some_and(|extension| extension == "rs");
        if path.is_dir() {
            code(&path)
        } else if is_code {
            fs::read_to_string(path).unwrap()
        } else {
            String::new()
        }
    });
    code.collect()
}

#[test]
fn every_claim_about_security_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code = ["src", "tests"].map(|folder| code(&root.join(folder))).concat();
    let targets = include_str!("../../Makefile");
    let claims = include_str!("../../SECURITY.md").lines().filter(|line| line.starts_with("| "));
    let claims = claims.filter(|line| !line.starts_with("| claim") && !line.starts_with("| ---"));
    let mut claimed = 0;
    for claim in claims {
        let (_, kept_by) = claim.trim_end_matches(" |").rsplit_once(" | ").unwrap();
        let names: Vec<_> = kept_by.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "nothing keeps: {claim}");
        for name in names {
            if let Some(target) = name.strip_prefix("make ") {
                assert!(targets.contains(&format!("\n{target}: ")), "there is no target {target}");
                continue;
            }
            let (before, _) =
                code.split_once(&format!("fn {name}(")).unwrap_or_else(|| panic!("no test {name}"));
            let attribute = before.lines().rev().take_while(|line| !line.starts_with('}')).take(4);
            assert!(attribute.into_iter().any(|line| line.contains("test")), "{name} is no test");
        }
        claimed += 1;
    }
    assert!(claimed > 20, "{claimed} claims");
}
